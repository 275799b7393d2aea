//! Progress of each reader, to distinguish a collection that never ends from one that nobody requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Progress of one reader.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Interval of a reader that collects periodically; `None` for a reader that is scraped.
    interval: Option<Duration>,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// Waiting for the next collection, since this time.
    Waiting(Instant),
    /// Collecting, since this time.
    Collecting(Instant),
    /// Exporting to a receiver, for any time.
    Exporting,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: Mutex::new(State { interval: None, at: At::Waiting(now) }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the interval of a reader that collects periodically.
    pub fn every(&self, interval: Duration) {
        self.lock().interval = Some(interval);
    }

    /// Records that a collection begins.
    pub fn collecting(&self, now: Instant) {
        self.lock().at = At::Collecting(now);
    }

    /// Records that the collection has ended, and its export begins.
    pub fn exporting(&self) {
        self.lock().at = At::Exporting;
    }

    /// Records that the export has ended.
    pub fn waiting(&self, now: Instant) {
        self.lock().at = At::Waiting(now);
    }

    /// Whether a collection is overdue by `grace`: it has lasted that long, or should have begun that long ago.
    pub fn overdue(&self, now: Instant, grace: Duration) -> bool {
        let state = self.lock();
        match (state.at, state.interval) {
            (At::Collecting(since), _) => now.saturating_duration_since(since) > grace,
            (At::Waiting(since), Some(interval)) => now.saturating_duration_since(since) > interval + grace,
            (At::Waiting(_), None) | (At::Exporting, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use std::time::{Duration, Instant};

    #[test]
    fn only_a_collection_can_be_late_and_never_a_receiver() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let grace = Duration::from_mins(1);
        let progress = Progress::new(now);
        assert!(!progress.overdue(after(1_000_000), grace), "nobody has asked");
        progress.collecting(now);
        assert!(!progress.overdue(after(60), grace) && progress.overdue(after(61), grace));
        progress.exporting();
        assert!(!progress.overdue(after(1_000_000), grace), "the receiver takes its time");
        progress.every(Duration::from_secs(10));
        progress.waiting(now);
        assert!(!progress.overdue(after(70), grace) && progress.overdue(after(71), grace));
    }
}
