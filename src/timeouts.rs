//! The time-outs of the agent that are not configured. Those of one source are in its folder.

use std::time::Duration;

/// How long each datagram of a netlink answer may take; it comes within microseconds or the kernel is in trouble.
pub const NETLINK: Duration = Duration::from_millis(400);

/// How long a netlink answer may take as a whole: some ten million sockets.
pub const DUMP: Duration = Duration::from_secs(10);

/// What is left of a cycle after `conntrack -S` was killed, for the next way to answer in.
pub const GRACE: Duration = Duration::from_millis(500);

/// How often a wait looks whether the agent is stopping.
pub const GLANCE: Duration = Duration::from_millis(50);

/// From the signal to the end of the last cycle. The whole of stopping is to take less than 5 s.
pub const DRAIN: Duration = Duration::from_millis(1500);

/// From the signal to the end of the last export, retries included.
pub const LAST_EXPORT: Duration = Duration::from_millis(3500);

/// From the signal to the end of everything.
pub const EXIT: Duration = Duration::from_millis(4200);

/// From the signal to the end of the process where something did not end by itself.
pub const FORCED_EXIT: Duration = Duration::from_millis(4800);

/// How long the last lines of the log may take to be written.
pub const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long the HTTP endpoint waits for a request on a connection. Shorter than a Prometheus waits for a scrape, so that
/// connections that say nothing cannot keep it out.
pub const HTTP_HEADER: Duration = Duration::from_secs(3);

/// How long a connection that has lasted too long may take to finish the response in progress.
pub const HTTP: Duration = Duration::from_secs(10);

/// A last success older than this many intervals makes the agent not ready, but never before [`STALE_LEAST`].
pub const STALE_INTERVALS: u32 = 3;

/// See [`STALE_INTERVALS`].
pub const STALE_LEAST: Duration = Duration::from_secs(30);

/// First pause between two tries of one export; it doubles with every try.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);

/// Longest pause between two tries of one export.
pub const RETRY_MOST: Duration = Duration::from_secs(5);

/// Longest pause that a receiver's delays grow to when it names them again and again; one that is longer stays as it is.
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

/// How long one HTTP connection may last before it is closed after the request in progress.
pub const CONNECTION: Duration = Duration::from_mins(5);

/// How long a killed child may take to be gone.
pub const REAP: Duration = Duration::from_millis(300);

/// How long after a walk over the cgroups an unknown id may cause the next one.
pub const CGROUP_PAUSE: Duration = Duration::from_secs(10);

/// How long a walk over the cgroups may take.
pub const CGROUP_WALK: Duration = Duration::from_millis(100);

/// How long a client may take nothing of an answer before its connection is closed.
pub const STALLED: Duration = Duration::from_secs(5);

/// How long clients have at least to fetch an answer before it goes in favour of a new one.
pub const FETCHED: Duration = Duration::from_secs(2);

/// How long a new connection waits where every other has an answer being made.
pub const ANSWERS_MADE: Duration = Duration::from_millis(500);
