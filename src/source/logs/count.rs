//! A counter whose series begins with a point of 0 (pure).

/// A number that only grows, and whether its series has begun. It begins with a point of 0: of what happened before the
/// first point, `increase()` would see nothing.
#[derive(Debug, Default)]
pub struct SeriesCounter {
    /// Number of events.
    pub total: u64,
    begun: bool,
}

impl SeriesCounter {
    /// Begins with a first one.
    pub fn first() -> Self {
        Self { total: 1, begun: false }
    }

    /// Present value of its series.
    pub fn observed(&mut self) -> u64 {
        if std::mem::replace(&mut self.begun, true) { self.total } else { 0 }
    }

    /// The counts of another series go on with this one.
    pub fn join(&mut self, other: &Self) {
        self.total += other.total;
        self.begun |= other.begun;
    }
}
