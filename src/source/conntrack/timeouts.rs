//! Fixed time-outs of the source `conntrack`.

use std::time::Duration;

/// Time after which `via: auto` tries the earlier methods again.
pub const RETRY: Duration = Duration::from_mins(5);

/// Maximum duration of a dump of the table.
pub const ENTRIES: Duration = Duration::from_mins(1);

/// Time after which the time-outs and other sysctls are read again.
pub const SYSCTLS: Duration = Duration::from_mins(1);

/// Interval at which the thread that counts events looks for network namespaces that are gone.
pub const EVENTS_IDLE: Duration = Duration::from_secs(10);

/// Time for which the receivers in other network namespaces stay open without a cycle.
pub const NAMESPACE_HELD: Duration = Duration::from_mins(5);
