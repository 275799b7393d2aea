//! What ran and has ended, for a while: the kernel may report its last connections, waits and kills after a walk has missed it
//! (pure).

use super::entry::{CgroupRef, TopGroup};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Containers and services that are remembered, at most.
const ENDED: usize = 20_000;

/// One that has ended.
#[derive(Debug)]
pub(super) struct EndedUnit {
    /// Its groups, one for each hierarchy.
    pub(super) tops: Vec<TopGroup>,
    /// Its entry; `None` if it had none.
    pub(super) number: Option<u64>,
    /// Whether it was over the limit.
    pub(super) left_out: bool,
    /// When it ended, as far as walks tell.
    pub(super) at: Instant,
}

/// The containers and services that ended less than the retention ago, by their keys.
#[derive(Debug, Default)]
pub(super) struct EndedUnits {
    by_key: HashMap<Arc<str>, EndedUnit>,
}

impl EndedUnits {
    /// Remembers one.
    pub(super) fn remember(&mut self, key: Arc<str>, unit: EndedUnit) {
        if self.by_key.len() < ENDED {
            self.by_key.insert(key, unit);
        }
    }

    /// Whose a group was that was there before its container ended. `None` for a group that was made later: the container was
    /// started again. `top` says that it is the container's own group, whose number tells.
    pub(super) fn of(&self, key: &str, group: CgroupRef<'_>, top: bool) -> Option<&EndedUnit> {
        let ended = self.by_key.get(key)?;
        let later = |known: &TopGroup| known.hierarchy == group.hierarchy && known.id < group.id;
        (!top || !ended.tops.iter().any(later)).then_some(ended)
    }

    /// Whether one was over the limit.
    pub(super) fn is_left_out(&self, key: &str) -> bool {
        self.by_key.get(key).is_some_and(|ended| ended.left_out)
    }

    /// Forgets one: it runs again.
    pub(super) fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Forgets those that ended longer ago than the retention.
    pub(super) fn expire(&mut self, retention: Duration, now: Instant) {
        self.by_key.retain(|_, ended| now.saturating_duration_since(ended.at) < retention);
    }
}
