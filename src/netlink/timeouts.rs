//! The time-outs of netlink that are not configured.

use std::time::Duration;

/// How long each datagram of a netlink answer may take; it comes within microseconds or the kernel is in trouble.
pub const DATAGRAM: Duration = Duration::from_millis(400);

/// How long a netlink answer may take as a whole: some ten million sockets.
pub const DUMP: Duration = Duration::from_secs(10);

/// Time for which events are collected before they are received together. A wake for each event takes longer than the
/// event; but while hundreds are counted, another program waits for the CPU. A receive buffer of `net.core.rmem_max`,
/// 208 KiB, holds the destroy events of this time at 180,000 sockets a second.
pub const EVENTS_TOGETHER: Duration = Duration::from_millis(1);
