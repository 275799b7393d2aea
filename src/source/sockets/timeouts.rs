//! The time-outs of this source that are not configured.

use std::time::Duration;

/// How long a group of sockets lasts in which nothing is left. Longer than any interval at which it is asked for, so that
/// what happened last is seen.
pub const GROUP_IDLE: Duration = Duration::from_mins(5);

/// How long the sockets that are open in other network namespaces stay open while nobody collects: a namespace that is
/// deleted lasts as long as they do.
pub const NAMESPACE_HELD: Duration = Duration::from_mins(2);

/// How often whoever waits for the ends of sockets looks whether anything else is to be done: whether nobody has collected
/// for long, and whether what was in its way is gone.
pub const EVENTS_IDLE: Duration = Duration::from_secs(10);

/// How long an address is remembered that nobody listens on any more: connections outlive their listener.
pub const LISTENER_CLOSED: Duration = Duration::from_mins(5);

/// How often the names of hosts that flows are selected by are looked up again.
pub const HOSTS: Duration = Duration::from_mins(1);

/// How long after a network namespace had more sockets than can be remembered those that are not known are taken for old.
pub const OVERFULL: Duration = Duration::from_mins(1);

/// How late a destroy event may come: a worker of the kernel sends them, on a busy machine some hundred milliseconds after
/// the socket has left the dumps.
pub const EVENT_LATE: Duration = Duration::from_secs(2);
