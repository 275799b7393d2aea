//! Fixed time-outs of the HTTP endpoint.

use std::time::Duration;

/// Maximum time until a request arrives on a connection. Shorter than Prometheus' scrape time-out, so that silent
/// connections cannot block it.
pub const HTTP_HEADER: Duration = Duration::from_secs(3);

/// Maximum time in which a connection that has reached its maximum duration may finish its response.
pub const HTTP: Duration = Duration::from_secs(10);

/// Maximum duration of a connection; it is closed after the request in progress.
pub const CONNECTION: Duration = Duration::from_mins(5);

/// Maximum time in which a client reads nothing of a response; then its connection is closed.
pub const STALLED: Duration = Duration::from_secs(5);

/// Minimum time that clients have to read a response before it is dropped for a new one.
pub const FETCHED: Duration = Duration::from_secs(2);

/// Time for which a new connection waits if every other one has a response being rendered.
pub const ANSWERS_MADE: Duration = Duration::from_millis(500);

/// The agent is not ready if the last success is older than this many intervals, and older than [`MIN_STALE`].
pub const STALE_INTERVALS: u32 = 3;

/// Minimum age of a last success that makes the agent not ready; see [`STALE_INTERVALS`].
pub const MIN_STALE: Duration = Duration::from_secs(30);

/// Interval at which the files of Unix sockets are checked for removal.
pub const SOCKETS: Duration = Duration::from_secs(2);

/// Interval at which the web configuration and the files that it names are checked for changes.
pub const GUARD: Duration = Duration::from_secs(1);

/// Maximum time to resolve the name of a listen address: enough for the C library to ask a third name server after two that
/// do not answer.
pub const LOOK_UP: Duration = Duration::from_secs(15);
