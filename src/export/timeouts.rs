//! Fixed time-outs of the push.

use std::time::Duration;

/// First delay between two attempts of a message; doubled with every attempt.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Maximum delay between two attempts of a message.
pub const RETRY_MOST: Duration = Duration::from_secs(5);

/// Maximum to which repeated delays requested by the receiver grow; a longer requested delay is used as it is.
pub const THROTTLE_MOST: Duration = Duration::from_mins(1);

/// Maximum delay requested by the receiver that is honoured; a later date comes from a wrong clock.
pub const THROTTLE_LONGEST: Duration = Duration::from_hours(1);

/// Minimum interval between two log lines of the same cause of failed exports.
pub const CAUSE_AGAIN: Duration = Duration::from_mins(1);

/// Duration of an unlimited export (`timeout: 0s`): a year.
pub const UNLIMITED: Duration = Duration::from_hours(365 * 24);

/// Delay between the attempts of two addresses of the receiver (RFC 8305, section 5).
pub const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Idle time of a connection to the receiver before the kernel sends a keepalive probe, and the interval of each of
/// three probes.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Minimum idle time of an HTTP/2 connection before a ping: at most two pings between two exports, because gRPC servers
/// close a connection with more (gRFC A8, `too_many_pings`).
pub const HTTP2_KEEPALIVE: Duration = Duration::from_secs(30);

/// Time-out of the response to a ping.
pub const HTTP2_KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
