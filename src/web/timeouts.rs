//! The time-outs of the HTTP endpoint that are not configured.

use std::time::Duration;

/// How long the HTTP endpoint waits for a request on a connection. Shorter than a Prometheus waits for a scrape, so that
/// connections that say nothing cannot keep it out.
pub const HTTP_HEADER: Duration = Duration::from_secs(3);

/// How long a connection that has lasted too long may take to finish the response in progress.
pub const HTTP: Duration = Duration::from_secs(10);

/// How long one HTTP connection may last before it is closed after the request in progress.
pub const CONNECTION: Duration = Duration::from_mins(5);

/// How long a client may take nothing of an answer before its connection is closed.
pub const STALLED: Duration = Duration::from_secs(5);

/// How long clients have at least to fetch an answer before it goes in favour of a new one.
pub const FETCHED: Duration = Duration::from_secs(2);

/// How long a new connection waits where every other has an answer being made.
pub const ANSWERS_MADE: Duration = Duration::from_millis(500);

/// A last success older than this many intervals makes the agent not ready, but never before [`STALE_LEAST`].
pub const STALE_INTERVALS: u32 = 3;

/// See [`STALE_INTERVALS`].
pub const STALE_LEAST: Duration = Duration::from_secs(30);

/// How often it is looked whether the files of Unix sockets are still there.
pub const SOCKETS: Duration = Duration::from_secs(2);

/// How often the web configuration, and what it names, is looked at.
pub const GUARD: Duration = Duration::from_secs(1);
