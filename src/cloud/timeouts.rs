//! The time-outs of the metadata that are not configured.

use std::time::Duration;

/// How long one request may take, the connection included. The services answer within milliseconds.
pub const REQUEST: Duration = Duration::from_secs(1);

/// How long the first export waits for the metadata.
pub const FIRST_EXPORT: Duration = Duration::from_secs(1);

/// How long to wait after the first failures before the metadata is asked for again.
pub const AGAIN: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_mins(1), Duration::from_mins(10), Duration::from_hours(1)];

/// How long to wait after each further failure.
pub const LATER: Duration = Duration::from_hours(1);
