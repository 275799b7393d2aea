//! The values of the newest cycles, each cycle by what has changed since the one before it (pure).
//!
//! The values are kept by position; who has a position is decided by the caller. The newest cycle is kept whole, and
//! replaced by the next one as long as that follows closely on the cycle before: a client that scrapes every second
//! fills the ring no faster than one that scrapes every [`SPACING`].

use super::changes;
use std::collections::VecDeque;
use std::mem::size_of;
use std::time::Duration;

/// How long a cycle is kept.
pub const WINDOW: Duration = Duration::from_mins(30);

/// Shortest time between two cycles that are kept, the newest not included.
pub const SPACING: Duration = Duration::from_secs(5);

/// The newest cycles.
#[derive(Debug)]
pub(super) struct Ring {
    /// Bytes that it may take; see [`Self::bytes`].
    limit: usize,
    /// Values before the first of the cycles.
    before: Vec<f64>,
    /// Every cycle but the newest, oldest first.
    cycles: VecDeque<Cycle>,
    /// Bytes of their changes.
    changes: usize,
    /// Values of the last of the cycles.
    last: Vec<f64>,
    newest: Option<(Duration, Vec<f64>)>,
}

#[derive(Debug)]
struct Cycle {
    at: Duration,
    changes: Box<[u8]>,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            before: Vec::new(),
            cycles: VecDeque::new(),
            changes: 0,
            last: Vec::new(),
            newest: None,
        }
    }

    /// Adds a cycle; times ascend. `others` are the bytes that the caller takes from the same limit. Returns the time of
    /// the oldest cycle that is kept.
    pub(super) fn push(&mut self, at: Duration, values: Vec<f64>, others: usize) -> Duration {
        if self.keeps_newest()
            && let Some((before, newest)) = self.newest.take()
        {
            let changes = changes::encode(&self.last, &newest);
            self.changes += changes.len();
            self.cycles.push_back(Cycle { at: before, changes });
            self.last = newest;
        }
        self.before.resize(values.len(), f64::NAN);
        self.newest = Some((at, values));
        let old = |cycle: &Cycle| at.saturating_sub(cycle.at) > WINDOW;
        while self.cycles.front().is_some_and(old) || self.bytes() + others > self.limit {
            let Some(oldest) = self.cycles.pop_front() else { break };
            self.changes -= oldest.changes.len();
            changes::apply(&oldest.changes, &mut self.before);
        }
        self.cycles.front().map_or(at, |cycle| cycle.at)
    }

    /// Whether the newest cycle stays when the next one is added.
    pub(super) fn keeps_newest(&self) -> bool {
        let last = self.cycles.back().map(|cycle| cycle.at);
        let since = |last| self.newest.as_ref().map(|(at, _)| at.saturating_sub(last));
        last.and_then(since).is_none_or(|since| since >= SPACING)
    }

    /// Time of the newest cycle.
    pub(super) fn at(&self) -> Duration {
        self.newest.as_ref().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Values of the newest cycle.
    pub(super) fn newest(&self) -> &[f64] {
        self.newest.as_ref().map_or(&[], |(_, values)| values)
    }

    /// Number of cycles.
    pub(super) fn len(&self) -> usize {
        self.cycles.len() + usize::from(self.newest.is_some())
    }

    /// Heap that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        let newest = self.newest.as_ref().map_or(0, |(_, values)| values.capacity());
        (self.before.capacity() + self.last.capacity() + newest) * size_of::<f64>()
            + self.cycles.capacity() * size_of::<Cycle>()
            // The allocator rounds up, and has a word of its own for each.
            + self.cycles.len() * ALLOCATION
            + self.changes
    }

    /// Calls a function with the time and the values of each cycle, oldest first.
    pub(super) fn each(&self, mut visit: impl FnMut(Duration, &[f64])) {
        let mut values = self.before.clone();
        values.resize(self.before.len().max(self.newest().len()), f64::NAN);
        for cycle in &self.cycles {
            changes::apply(&cycle.changes, &mut values);
            visit(cycle.at, &values);
        }
        if let Some((at, values)) = &self.newest {
            visit(*at, values);
        }
    }
}

/// What an allocation takes besides its bytes, at most.
pub(super) const ALLOCATION: usize = 16;

#[cfg(test)]
mod tests;
