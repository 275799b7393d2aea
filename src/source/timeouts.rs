//! The time-outs of every source that are not configured. Those of one source are in its folder.

use std::time::Duration;

/// What is left of a cycle after `conntrack -S` was killed, for the next way to answer in.
pub const GRACE: Duration = Duration::from_millis(500);
