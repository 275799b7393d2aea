//! The time-outs of this source that are not configured.

use std::time::Duration;

/// How long `via: auto` stays with a way before it tries the better ones again.
pub const SETTLED: Duration = Duration::from_mins(5);
