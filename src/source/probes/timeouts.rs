//! Fixed time-outs of the source `probes`.

use std::time::Duration;

/// Time-out of a read that only copies results.
pub const COPY: Duration = Duration::from_secs(5);
