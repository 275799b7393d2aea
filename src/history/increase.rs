//! By how much the series of a counter have grown together since the cycle before (pure).
//!
//! Of the series that have room, each by itself. Of those that have none only their sum is remembered: it grows with them, and
//! is too small in a cycle in which one of them ends. In the first cycle with readings after one without, nothing has grown.

use super::room::Place;
use crate::metric::Label;
use crate::reading::Reading;
use std::sync::Arc;

/// The series of a metric that had no room in a cycle, or those of them with one value of a label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeftOut {
    pub(super) row: u16,
    part: Option<Arc<str>>,
    series: i64,
    sum: f64,
}

/// By how much the series with one value of the label that divides them have grown; without such a label, all of them.
pub(super) type Grown = (Option<Arc<str>>, f64);

/// What is added up of the series with one value of the label that divides them.
#[derive(Debug, Default)]
struct Part {
    name: Option<Arc<str>>,
    grown: f64,
    left: i64,
    sum: f64,
    /// What the sum would be, and of how many series, if none had grown.
    expected: (i64, f64),
}

/// The increase of one counter in one cycle.
#[derive(Debug)]
pub(super) struct Increase<'a> {
    row: u16,
    from_zero: bool,
    divided_by: Option<Label>,
    /// Whether series of this metric had no room in the cycle before.
    was_left_out: bool,
    /// Whether a series that has no value in the cycle before has been counted since that cycle.
    is_new: bool,
    before: &'a [LeftOut],
    parts: Vec<Part>,
}

impl<'a> Increase<'a> {
    /// Begins with nothing. `before` are the series without room in the cycle before, `follows` says whether the
    /// metric had readings in it, or in none of those before; in the first cycle of all it does not.
    pub(super) fn new(
        row: u16,
        from_zero: bool,
        divided_by: Option<Label>,
        follows: bool,
        before: &'a [LeftOut],
    ) -> Self {
        let was_left_out = before.iter().any(|left| left.row == row);
        let is_new = from_zero && follows && !was_left_out;
        Self { row, from_zero, divided_by, was_left_out, is_new, before, parts: Vec::new() }
    }

    /// Whether a series that has no value in the cycle before has been counted since that cycle.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Adds a series with its value now and, if it had room, in the cycle before.
    pub(super) fn add(&mut self, reading: &Reading, place: Place, value: f64, before: f64) {
        let (is_new, was_left_out) = (self.is_new, self.was_left_out);
        let label = reading.labels.iter().find(|(label, _)| Some(*label) == self.divided_by);
        let name = label.map(|(_, name)| name);
        let at = self.parts.iter().position(|part| part.name.as_ref() == name).unwrap_or_else(|| {
            self.parts.push(Part { name: name.cloned(), ..Part::default() });
            self.parts.len() - 1
        });
        let Some(part) = self.parts.get_mut(at) else { return };
        match place {
            Place::Kept(positions) if positions.new => {
                if is_new {
                    part.grown += value;
                } else if was_left_out {
                    // It is no longer among those without room.
                    part.expected = (part.expected.0 - 1, part.expected.1 - value);
                }
            }
            Place::Kept(_) if before.is_nan() => {}
            // A counter that was reset has counted its value since.
            Place::Kept(_) => part.grown += if value >= before { value - before } else { value },
            Place::LeftOut { before } => {
                part.left += 1;
                part.sum += value;
                let known = before.or_else(|| (!is_new && !was_left_out).then_some(value));
                if let Some(known) = known {
                    part.expected = (part.expected.0 + 1, part.expected.1 + known);
                }
            }
        }
    }

    /// The increase by value of the label, and what is to be remembered of the series without room.
    pub(super) fn finish(self) -> (Vec<Grown>, Vec<LeftOut>) {
        let Self { row, from_zero, before, parts, .. } = self;
        let mut left_out = Vec::new();
        let grown = parts.into_iter().map(|part| {
            let known = before.iter().find(|left| left.row == row && left.part == part.name);
            let (series, sum) = known.map_or((0, 0.0), |left| (left.series, left.sum));
            let (series, sum) = (series + part.expected.0, sum + part.expected.1);
            // Of a counter of the kernel the value of one more series is as old as the machine.
            let grown = if from_zero || part.left <= series { (part.sum - sum).max(0.0) } else { 0.0 };
            if part.left > 0 {
                let (series, sum) = (part.left, part.sum);
                left_out.push(LeftOut { row, part: part.name.clone(), series, sum });
            }
            (part.name, part.grown + if part.left > 0 { grown } else { 0.0 })
        });
        let grown = grown.collect();
        (grown, left_out)
    }
}
