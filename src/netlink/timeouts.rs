//! The time-outs of netlink that are not configured.

use std::time::Duration;

/// How long each datagram of a netlink answer may take; it comes within microseconds or the kernel is in trouble.
pub const DATAGRAM: Duration = Duration::from_millis(400);

/// How long a netlink answer may take as a whole: some ten million sockets.
pub const DUMP: Duration = Duration::from_secs(10);
