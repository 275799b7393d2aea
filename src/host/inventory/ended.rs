//! Ended containers and services, kept for the retention: the kernel may report their last connections, waits and OOM
//! kills after a walk has missed them (pure).

use super::entry::{CgroupRef, TopGroup};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Maximum number of ended containers and services.
const ENDED: usize = 20_000;

/// An ended container or service.
#[derive(Debug)]
pub(super) struct EndedUnit {
    /// Its control groups, one for each hierarchy.
    pub(super) tops: Vec<TopGroup>,
    /// Number of its entry; `None` without an entry.
    pub(super) number: Option<u64>,
    /// Whether it was over the limit.
    pub(super) left_out: bool,
    /// Time of the walk that missed it.
    pub(super) at: Instant,
}

/// Containers and services that ended less than the retention ago, by key.
#[derive(Debug, Default)]
pub(super) struct EndedUnits {
    by_key: HashMap<Arc<str>, EndedUnit>,
}

impl EndedUnits {
    /// Adds an ended container or service.
    pub(super) fn remember(&mut self, key: Arc<str>, unit: EndedUnit) {
        if self.by_key.len() < ENDED {
            self.by_key.insert(key, unit);
        }
    }

    /// The ended container of a group that existed before the end. `None` for a group that was created later: the
    /// container was restarted. `top` says that it is the container's own group, whose id shows that.
    pub(super) fn of(&self, key: &str, group: CgroupRef<'_>, top: bool) -> Option<&EndedUnit> {
        let ended = self.by_key.get(key)?;
        let later = |known: &TopGroup| known.hierarchy == group.hierarchy && known.id < group.id;
        (!top || !ended.tops.iter().any(later)).then_some(ended)
    }

    /// Whether an ended container or service was over the limit.
    pub(super) fn is_left_out(&self, key: &str) -> bool {
        self.by_key.get(key).is_some_and(|ended| ended.left_out)
    }

    /// Removes a container or service that runs again.
    pub(super) fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Removes those that ended longer ago than the retention.
    pub(super) fn expire(&mut self, retention: Duration, now: Instant) {
        self.by_key.retain(|_, ended| now.saturating_duration_since(ended.at) < retention);
    }
}
