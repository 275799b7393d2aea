//! A counter whose series begins with a point of 0 (pure).

use crate::reading::{FirstPoint, Readers};

/// A number that only grows, and whether its series has begun. It begins with a point of 0: of what happened before the
/// first point, `increase()` would see nothing.
#[derive(Debug, Default)]
pub struct SeriesCounter {
    /// Number of events.
    pub total: u64,
    first: FirstPoint,
}

impl SeriesCounter {
    /// Begins with a first one.
    pub fn first() -> Self {
        Self { total: 1, first: FirstPoint::default() }
    }

    /// Present value of its series for the reader that asks.
    pub fn observed(&mut self, readers: Readers) -> u64 {
        if self.first.is_due(readers) { 0 } else { self.total }
    }

    /// The counts of another series go on with this one.
    pub fn join(&mut self, other: &Self) {
        self.total += other.total;
        self.first.join(other.first);
    }
}
