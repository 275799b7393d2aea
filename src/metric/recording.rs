//! How the history of the last half hour takes a metric: said in the row of the metric, by the source that has it.

use super::{Kind, Label};

/// How the history takes a metric.
///
/// In a row of [the table](super::table): `history [from_zero, listed]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// Whether the agent counts it itself, from 0 when a series begins: the first value of a series was counted since the
    /// cycle before. Other counters are the kernel's, and may be as old as the machine.
    pub from_zero: bool,
    /// Whether the page lists its series: they have room in the history before those of other metrics.
    pub listed: bool,
    /// Whether the smallest values are the worst. Otherwise the greatest are.
    pub low_is_bad: bool,
    /// The label by which the increase over all series is divided; it has few values.
    pub divided_by: Option<Label>,
}

impl Recording {
    /// A metric about which a row says nothing.
    pub const DEFAULT: Self = Self { from_zero: false, listed: false, low_is_bad: false, divided_by: None };

    /// What is known of every metric of a kind: the agent makes distributions itself.
    pub const fn of(kind: Kind) -> Self {
        Self { from_zero: matches!(kind, Kind::Histogram | Kind::RecordedHistogram), ..Self::DEFAULT }
    }

    /// The agent counts it from 0.
    #[must_use]
    pub const fn from_zero(self) -> Self {
        Self { from_zero: true, ..self }
    }

    /// The page lists it.
    #[must_use]
    pub const fn listed(self) -> Self {
        Self { listed: true, ..self }
    }

    /// The smallest values are the worst.
    #[must_use]
    pub const fn low_is_bad(self) -> Self {
        Self { low_is_bad: true, ..self }
    }

    /// Its increase is divided by a label.
    #[must_use]
    pub const fn divided_by(self, label: Label) -> Self {
        Self { divided_by: Some(label), ..self }
    }
}
