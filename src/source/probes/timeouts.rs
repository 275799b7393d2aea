//! The time-outs of this source that are not configured.

use std::time::Duration;

/// How long a source that only copies what it knows may take.
pub const COPY: Duration = Duration::from_secs(5);
