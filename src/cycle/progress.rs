//! Progress of each reader, to distinguish a collection that never ends from one that nobody requests.

use crate::reading::first::ReaderKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a reader that has never collected is waited for: until then, the series that begin have a first point for it.
const FIRST: Duration = Duration::from_mins(10);

/// Progress of one reader.
#[derive(Debug)]
pub struct Progress {
    kind: ReaderKind,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Interval of a reader that collects periodically; `None` for a reader that is scraped.
    interval: Option<Duration>,
    /// When it began to collect last.
    begun: Option<Instant>,
    at: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Waiting for the next collection, since this time.
    Waiting(Instant),
    /// Collecting, since this time.
    Collecting(Instant),
    /// Exporting to a receiver, for any time.
    Exporting,
}

impl Progress {
    pub(super) fn new(kind: ReaderKind, now: Instant) -> Self {
        let state = State { interval: None, begun: None, at: Phase::Waiting(now) };
        Self { kind, since: now, state: Mutex::new(state) }
    }

    /// The kind of the reader.
    pub(super) fn kind(&self) -> ReaderKind {
        self.kind
    }

    /// Whether it collects, or may be about to begin.
    pub(super) fn is_there(&self, now: Instant) -> bool {
        self.lock().begun.is_some() || now.saturating_duration_since(self.since) < FIRST
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the interval of a reader that collects periodically.
    pub fn every(&self, interval: Duration) {
        self.lock().interval = Some(interval);
    }

    /// When the next collection is due; `None` if it has not collected, or if nobody knows.
    pub fn next(&self) -> Option<Instant> {
        let state = self.lock();
        Some(state.begun? + state.interval?)
    }

    /// Records that a collection begins. Whether it is the first, and the reader was there long before.
    pub fn collecting(&self, now: Instant) -> bool {
        let late = !self.is_there(now);
        let mut state = self.lock();
        (state.at, state.begun) = (Phase::Collecting(now), Some(now));
        late
    }

    /// Records that the collection has ended, and its export begins.
    pub fn exporting(&self) {
        self.lock().at = Phase::Exporting;
    }

    /// Records that the export has ended.
    pub fn waiting(&self, now: Instant) {
        self.lock().at = Phase::Waiting(now);
    }

    /// Whether a collection is overdue by `grace`: it has lasted that long, or should have begun that long ago.
    pub fn overdue(&self, now: Instant, grace: Duration) -> bool {
        let state = self.lock();
        match (state.at, state.interval) {
            (Phase::Collecting(since), _) => now.saturating_duration_since(since) > grace,
            (Phase::Waiting(since), Some(interval)) => {
                now.saturating_duration_since(since) > interval + grace
            }
            (Phase::Waiting(_), None) | (Phase::Exporting, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::reading::first::ReaderKind;
    use std::time::{Duration, Instant};

    #[test]
    fn only_a_collection_can_be_late_and_never_a_receiver() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let grace = Duration::from_mins(1);
        let progress = Progress::new(ReaderKind::Prometheus, now);
        assert!(!progress.overdue(after(1_000_000), grace), "nobody has asked");
        progress.collecting(now);
        assert!(!progress.overdue(after(60), grace) && progress.overdue(after(61), grace));
        progress.exporting();
        assert!(!progress.overdue(after(1_000_000), grace), "the receiver takes its time");
        progress.every(Duration::from_secs(10));
        progress.waiting(now);
        assert!(!progress.overdue(after(70), grace) && progress.overdue(after(71), grace));
    }

    #[test]
    fn an_endpoint_that_nobody_asks_is_not_waited_for() {
        let now = Instant::now();
        let after = |minutes| now + Duration::from_mins(minutes);
        let progress = Progress::new(ReaderKind::Prometheus, now);
        assert!(progress.is_there(after(9)) && !progress.is_there(after(10)));
        assert!(progress.collecting(after(10)), "its first collection is late");
        assert!(progress.is_there(after(1000)) && !progress.collecting(after(1000)));
        assert!(!Progress::new(ReaderKind::Prometheus, now).collecting(after(9)));
    }
}
