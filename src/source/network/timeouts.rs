//! The time-outs of this source, none of which is configured.

use std::time::Duration;

/// How long a cycle waits for the source. A card's firmware may take some 10 ms to answer, 512 network namespaces 200 ms.
pub const CYCLE: Duration = Duration::from_secs(5);
