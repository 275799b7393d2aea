//! The first point of a series that begins with 0, for each reader: the push and the endpoint collect at different times, and each
//! backend has to see the 0 (pure).

/// A kind of reader; there is one of each at most. Another that takes its place goes on with the series of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderKind {
    /// Pushes over OTLP.
    Otlp = 1,
    /// Serves Prometheus, or prints one collection.
    Prometheus = 2,
    /// Prints every collection.
    Console = 4,
}

/// Who asks a source, and who else will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readers {
    asking: u8,
    all: u8,
    late: bool,
}

impl Default for Readers {
    /// One reader, and no other.
    fn default() -> Self {
        Self { asking: 1, all: 1, late: false }
    }
}

impl Readers {
    /// These readers, of which none asks.
    pub fn of(all: impl IntoIterator<Item = ReaderKind>) -> Self {
        let all = all.into_iter().fold(0, |bits, kind| bits | kind as u8);
        Self { asking: 0, all, late: false }
    }

    /// One of them asks. `late`: for the first time, and so long after it could have that a 0 would date what happened before
    /// to now.
    #[must_use]
    pub fn asks(self, kind: ReaderKind, late: bool) -> Self {
        Self { asking: kind as u8, all: self.all | kind as u8, late }
    }
}

/// Which readers are still to get the point of 0 of a counter's series; `None` before the series has begun. A reader that comes
/// later gets the count at once, since the series is none that begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstPoint(Option<u8>);

impl FirstPoint {
    /// Whether the point that is told now is the first of the reader that asks, and 0.
    pub fn is_due(&mut self, readers: Readers) -> bool {
        let Readers { asking, all, late } = readers;
        let waiting = self.0.get_or_insert(all);
        let due = *waiting & asking != 0 && !late;
        *waiting &= !asking;
        due
    }

    /// The series goes on as another that has begun, if either has.
    pub fn join(&mut self, other: Self) {
        self.0 = match (self.0, other.0) {
            (Some(one), Some(other)) => Some(one & other),
            (one, other) => one.or(other),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::ReaderKind::{Console, Otlp, Prometheus};
    use super::{FirstPoint, Readers};

    #[test]
    fn every_reader_that_was_there_gets_a_first_point_and_one_that_comes_later_gets_the_count() {
        let both = Readers::of([Otlp, Prometheus]);
        let mut point = FirstPoint::default();
        assert!(!point.is_due(both), "nobody asks");
        let due =
            [Prometheus, Prometheus, Otlp, Otlp, Prometheus].map(|kind| point.is_due(both.asks(kind, false)));
        assert_eq!(due, [true, false, true, false, false]);
        assert!(!point.is_due(Readers::of([Otlp, Prometheus, Console]).asks(Console, false)));
        let mut point = FirstPoint::default();
        assert!(point.is_due(both.asks(Otlp, false)));
        assert!(!point.is_due(both.asks(Prometheus, true)), "days later");
        assert!(!point.is_due(both.asks(Prometheus, false)));
        let mut alone = FirstPoint::default();
        assert_eq!([(); 2].map(|()| alone.is_due(Readers::default())), [true, false]);
    }

    #[test]
    fn joined_series_have_begun_where_one_of_them_has() {
        let both = Readers::of([Otlp, Prometheus]);
        let (mut one, mut other) = (FirstPoint::default(), FirstPoint::default());
        assert!(one.is_due(both.asks(Otlp, false)));
        other.join(one);
        assert!(!other.is_due(both.asks(Otlp, false)));
        assert!(other.is_due(both.asks(Prometheus, false)));
        let mut begun = one;
        begun.join(FirstPoint::default());
        assert!(!begun.is_due(both.asks(Otlp, false)));
    }
}
