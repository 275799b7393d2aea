//! The time-outs of the push that are not configured.

use std::time::Duration;

/// First pause between two tries of one export; it doubles with every try.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two tries of one export.
pub const RETRY_MOST: Duration = Duration::from_secs(5);

/// Longest pause that a receiver's delays grow to when it names them repeatedly; one that is longer stays as it is.
pub const THROTTLE_MOST: Duration = Duration::from_mins(1);

/// Longest delay of a receiver's that is believed; a date that is further away comes from a clock that is wrong.
pub const THROTTLE_LONGEST: Duration = Duration::from_hours(1);

/// How soon a cause of failed exports that comes back is logged again.
pub const CAUSE_AGAIN: Duration = Duration::from_mins(1);

/// What an export without a time limit (`timeout: 0s`) may take: a year.
pub const UNLIMITED: Duration = Duration::from_hours(365 * 24);

/// How long after one address of the receiver was tried the next is tried too (RFC 8305, section 5).
pub const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// How long a connection to the receiver carries nothing before the kernel asks whether it is still there, and how long
/// it waits for each of three answers.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// How long an HTTP/2 connection carries nothing before the receiver is pinged, at the least: at most two pings between two
/// exports, since gRPC servers close a connection with more (gRFC A8, `too_many_pings`).
pub const HTTP2_KEEPALIVE: Duration = Duration::from_secs(30);

/// How long the answer to a ping may take.
pub const HTTP2_KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);
