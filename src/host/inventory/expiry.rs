//! Who goes when: names that are looked up again, and containers that ended (pure).

use std::time::{Duration, Instant};

/// From one question for a name to the next.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a name that nobody knows is asked for.
const ASKING: Duration = Duration::from_mins(1);

/// When a name is asked for.
#[derive(Debug, Clone, Copy)]
pub struct NameRetry {
    began: Instant,
    latest: Instant,
}

impl NameRetry {
    /// It was asked for the first time.
    pub fn begun(now: Instant) -> Self {
        Self { began: now, latest: now }
    }

    /// Whether it is time to ask once more; notes that it is done.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.latest) >= AGAIN && !self.is_over(self.latest);
        if due {
            self.latest = now;
        }
        due
    }

    /// Whether it is asked for no more.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= ASKING
    }
}

/// Whether one that ended at a time has kept its series for long enough.
pub fn is_over(ended: Option<Instant>, retention: Duration, now: Instant) -> bool {
    ended.is_some_and(|ended| now.saturating_duration_since(ended) >= retention)
}

/// Of those there are, the one that ended first: whose place a new one takes where there is no other.
pub fn first_to_go<Key>(ended: impl Iterator<Item = (Key, Option<Instant>)>) -> Option<Key> {
    ended.filter_map(|(key, ended)| Some((key, ended?))).min_by_key(|(_, ended)| *ended).map(|(key, _)| key)
}
