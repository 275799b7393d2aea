//! Fixed time-outs of the source `sockets`.

use std::time::Duration;

/// Time after which a group without sockets ends. Longer than any interval between cycles, so that its last counts are
/// observed.
pub const GROUP_IDLE: Duration = Duration::from_mins(5);

/// Time for which sockets in other network namespaces stay open without a cycle: a deleted namespace exists as long as
/// they do.
pub const NAMESPACE_HELD: Duration = Duration::from_mins(2);

/// Interval at which the events thread checks whether namespaces are gone or cycles have stopped, and whether an earlier
/// error is gone. Half of the time for which a deleted namespace may be held (docs/limits.md): a check that finds a cycle
/// in progress leaves it to the next one.
pub const EVENTS_IDLE: Duration = Duration::from_secs(5);

/// Time for which the address of a closed listening socket is remembered: connections outlive their listener.
pub const LISTENER_CLOSED: Duration = Duration::from_mins(5);

/// Interval at which the host names of flow conditions are resolved.
pub const HOSTS: Duration = Duration::from_mins(1);

/// Time after a dump had more sockets than can be tracked, in which an unknown socket counts as one from before the
/// agent.
pub const OVERFULL: Duration = Duration::from_mins(1);

/// Maximum delay of a destroy event: a kernel worker sends it, on a busy machine some hundred milliseconds after the
/// socket has left the dumps.
pub const EVENT_LATE: Duration = Duration::from_secs(2);
