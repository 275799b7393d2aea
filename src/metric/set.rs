//! Sets of labels that have one bound together, and the bounds that a configuration makes of them.

use super::Label;

/// Labels that have one bound together: a reading of a row has at most so many combinations of their values.
///
/// Always a `static`, never a `const`: a set is known by its address, and equal constants may share one.
#[derive(Debug)]
pub struct LabelSet {
    /// The keys of its labels.
    pub keys: &'static [Label],
    /// How many combinations of values there may be.
    pub bound: Bound,
    /// Series that a row with this set may always have, however small the product of its bounds is.
    pub least: usize,
    /// Whether labels that only the configuration knows ([`Label::Configured`]) may stand beside these.
    pub open: bool,
}

/// How many combinations of values the labels of a set can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// A number known when the agent was built.
    Fixed(usize),
    /// A number that whoever owns the set says from the configuration; the text says in METRICS.md what it is.
    Configured(&'static str),
}

impl Bound {
    /// The number that was known when the agent was built, if it was.
    pub fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(values) => Some(values),
            Self::Configured(_) => None,
        }
    }
}

impl LabelSet {
    /// A set with a bound that is known when the agent is built.
    pub const fn fixed(keys: &'static [Label], values: usize) -> Self {
        Self { keys, bound: Bound::Fixed(values), least: 0, open: false }
    }

    /// A set with a bound that depends on the configuration; `meaning` says in METRICS.md what it is.
    pub const fn configured(keys: &'static [Label], meaning: &'static str) -> Self {
        Self { keys, bound: Bound::Configured(meaning), least: 0, open: false }
    }

    /// The same, for rows that may have `least` series in any case.
    #[must_use]
    pub const fn least(self, least: usize) -> Self {
        Self { least, ..self }
    }

    /// The same, beside which configured labels may stand.
    #[must_use]
    pub const fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// Whether this is that set and not one like it.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// The bound as METRICS.md has it.
    pub fn meaning(&self) -> String {
        match self.bound {
            Bound::Fixed(values) => values.to_string(),
            Bound::Configured(meaning) => meaning.to_owned(),
        }
    }
}

/// The bounds of configured sets. Where several sources say the bound of one set, the largest holds.
pub type Bounds = Vec<(&'static LabelSet, usize)>;
