//! The values of the newest cycles, each cycle by what has changed since the one before it (pure).
//!
//! The values are kept by position; who has a position is decided by the caller. The newest cycle is kept whole, and
//! replaced by the next one as long as that follows closely on the cycle before: a client that scrapes every second
//! fills the ring no faster than one that scrapes every [`SPACING`].

use super::changes;
use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

/// How long a cycle is kept.
pub const WINDOW: Duration = Duration::from_mins(30);

/// Shortest time between two cycles that are kept, the newest not included.
pub const SPACING: Duration = Duration::from_secs(5);

/// Which cycle it is, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the cycle: 1 is the first that was recorded.
    pub(super) number: u32,
    /// Time since the history began.
    pub(super) at: Duration,
}

/// The newest cycles, within a number of bytes.
#[derive(Debug)]
pub(super) struct Ring {
    /// Bytes that it may take; see [`Self::bytes`].
    limit: usize,
    cycles: Cycles,
    /// Bytes of their changes.
    changes: usize,
    /// Values of the last of the cycles but the newest.
    last: Vec<f64>,
}

/// Cycles and their values. A clone shares what does not change, so it is made quickly.
#[derive(Debug, Clone, Default)]
pub(super) struct Cycles {
    /// Values before the first of the cycles.
    before: Vec<f64>,
    /// Every cycle but the newest, oldest first.
    kept: VecDeque<Cycle>,
    newest: Option<(Stamp, Vec<f64>)>,
}

#[derive(Debug, Clone)]
struct Cycle {
    stamp: Stamp,
    changes: Arc<[u8]>,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, cycles: Cycles::default(), changes: 0, last: Vec::new() }
    }

    /// Adds a cycle; times ascend. `others` are the bytes that the caller takes from the same limit. Returns the number of
    /// the oldest cycle that is kept.
    pub(super) fn push(&mut self, stamp: Stamp, values: Vec<f64>, others: usize) -> u32 {
        if self.keeps_newest()
            && let Some((before, newest)) = self.cycles.newest.take()
        {
            let changes = changes::encode(&self.last, &newest);
            self.changes += changes.len();
            self.cycles.kept.push_back(Cycle { stamp: before, changes: changes.into() });
            self.last = newest;
        }
        self.cycles.before.resize(values.len(), f64::NAN);
        self.cycles.newest = Some((stamp, values));
        let old = |cycle: &Cycle| stamp.at.saturating_sub(cycle.stamp.at) > WINDOW;
        while self.cycles.kept.front().is_some_and(old) || self.bytes() + others > self.limit {
            let Some(oldest) = self.cycles.kept.pop_front() else { break };
            self.changes -= oldest.changes.len();
            changes::apply(&oldest.changes, &mut self.cycles.before);
        }
        self.cycles.kept.front().map_or(stamp.number, |cycle| cycle.stamp.number)
    }

    /// Whether the newest cycle stays when the next one is added.
    pub(super) fn keeps_newest(&self) -> bool {
        let last = self.cycles.kept.back().map(|cycle| cycle.stamp.at);
        let newest = self.cycles.newest.as_ref().map(|(stamp, _)| stamp.at);
        last.zip(newest).is_none_or(|(last, newest)| newest.saturating_sub(last) >= SPACING)
    }

    /// The newest cycle; `None` before the first.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.cycles.newest.as_ref().map(|(stamp, _)| *stamp)
    }

    /// Values of the newest cycle.
    pub(super) fn newest(&self) -> &[f64] {
        self.cycles.newest()
    }

    /// Number of cycles.
    pub(super) fn len(&self) -> usize {
        self.cycles.len()
    }

    /// The cycles, to be read without this ring.
    pub(super) fn share(&self) -> Cycles {
        self.cycles.clone()
    }

    /// Heap that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        let newest = self.cycles.newest.as_ref().map_or(0, |(_, values)| values.capacity());
        (self.cycles.before.capacity() + self.last.capacity() + newest) * size_of::<f64>()
            + self.cycles.kept.capacity() * size_of::<Cycle>()
            // The allocator rounds up, and has a word of its own for each; so has the number of those who share it.
            + self.cycles.kept.len() * (ALLOCATION + 2 * size_of::<usize>())
            + self.changes
    }
}

impl Cycles {
    /// Number of cycles.
    pub(super) fn len(&self) -> usize {
        self.kept.len() + usize::from(self.newest.is_some())
    }

    /// Time of the newest cycle; 0 before the first.
    pub(super) fn at(&self) -> Duration {
        self.newest.as_ref().map_or(Duration::ZERO, |(stamp, _)| stamp.at)
    }

    /// Values of the newest cycle.
    pub(super) fn newest(&self) -> &[f64] {
        self.newest.as_ref().map_or(&[], |(_, values)| values)
    }

    /// Calls a function with the values of each cycle, oldest first.
    pub(super) fn each(&self, mut visit: impl FnMut(Stamp, &[f64])) {
        let mut values = self.before.clone();
        values.resize(self.before.len().max(self.newest().len()), f64::NAN);
        for cycle in &self.kept {
            changes::apply(&cycle.changes, &mut values);
            visit(cycle.stamp, &values);
        }
        if let Some((stamp, values)) = &self.newest {
            visit(*stamp, values);
        }
    }
}

/// What an allocation takes besides its bytes, at most.
pub(super) const ALLOCATION: usize = 16;

#[cfg(test)]
mod tests;
