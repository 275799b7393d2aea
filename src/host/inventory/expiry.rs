//! Times of the inventory: retries of names, and the retention of ended containers (pure).

use std::time::{Duration, Instant};

/// Interval between two lookups of a name.
const AGAIN: Duration = Duration::from_secs(10);

/// Time for which a name that is not found is looked up.
const ASKING: Duration = Duration::from_mins(1);

/// Schedule of the lookups of a name.
#[derive(Debug, Clone, Copy)]
pub struct NameRetry {
    began: Instant,
    latest: Instant,
}

impl NameRetry {
    /// The schedule after the first lookup.
    pub fn started(now: Instant) -> Self {
        Self { began: now, latest: now }
    }

    /// The schedule of a name that is to be looked up at once.
    pub fn overdue(now: Instant) -> Self {
        Self { began: now, latest: now.checked_sub(AGAIN).unwrap_or(now) }
    }

    /// Whether the name is to be looked up now; if so, records it.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.latest) >= AGAIN && !self.is_over(self.latest);
        if due {
            self.latest = now;
        }
        due
    }

    /// Whether the name is not looked up any more.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= ASKING
    }
}

/// Whether the retention of an ended container has passed.
pub fn is_over(ended: Option<Instant>, retention: Duration, now: Instant) -> bool {
    ended.is_some_and(|ended| now.saturating_duration_since(ended) >= retention)
}

/// The entry that ended first, which is replaced by a new one at the limit.
pub fn first_to_go<Key>(ended: impl Iterator<Item = (Key, Option<Instant>)>) -> Option<Key> {
    ended.filter_map(|(key, ended)| Some((key, ended?))).min_by_key(|(_, ended)| *ended).map(|(key, _)| key)
}
