//! What a metric is: its row in [the table](crate::metric::table), the kinds, the labels and their bounds.
//!
//! A row is reached through a typed handle ([`Counter`], [`UpDownCounter`], [`Gauge`], [`Histogram`], [`RecordedHistogram`]), so the
//! kind of a metric and the type of its values are decided where the row is written, not where it is observed: a gauge row
//! cannot be observed as a counter, for no other handle can be made of it.
//!
//! ```
//! # use connscope::metric::Gauge;
//! connscope::metrics! {
//!     /// Fraction of the queue that is in use.
//!     QUEUE: Gauge<f64> = "sample.queue" in "1";
//! }
//! const SAME: Gauge<f64> = Gauge::<f64>::of(&PART.rows[0]);
//! connscope::reading::Readings::default().observe(SAME, &[], 0.5);
//! ```
//!
//! ```compile_fail,E0080
//! # use connscope::metric::Counter;
//! connscope::metrics! {
//!     /// Fraction of the queue that is in use.
//!     QUEUE: Gauge<f64> = "sample.queue" in "1";
//! }
//! const OTHER: Counter<f64> = Counter::<f64>::of(&PART.rows[0]);
//! connscope::reading::Readings::default().observe(OTHER, &[], 0.5);
//! ```

use distribution::Distribution;
use std::marker::PhantomData;
use std::sync::Arc;

pub mod buckets;
pub mod distribution;
pub mod label;
pub mod labels;
pub mod naming;
pub mod recording;
pub mod reference;
pub mod set;
pub mod table;

pub use label::Label;
pub use labels::Labels;
pub use recording::Recording;
pub use set::{Bound, Bounds, LabelSet};
pub use table::{Part, Table, TableError};

/// One row of the table: the only description of a metric.
#[derive(Debug)]
pub struct Metric {
    /// The part of the table that has the row.
    pub part: &'static Part,
    /// Its position in that part.
    pub row: usize,
    /// OpenTelemetry name: lowercase, dotted, without unit and without `total`.
    pub name: &'static str,
    /// Kind of instrument.
    pub kind: Kind,
    /// Type of its values.
    pub number: Number,
    /// UCUM unit; empty for a 0/1 state.
    pub unit: &'static str,
    /// Label sets of its readings. The maximum number of series is the product of their bounds.
    pub sets: &'static [&'static LabelSet],
    /// One sentence: rustdoc, OpenTelemetry description, `# HELP` and METRICS.md.
    pub description: &'static str,
    /// Name and help in the `classic` profile; `None` leaves the metric out of it.
    pub classic: Option<Classic>,
    /// Whether only the `classic` profile has it, because its unit or labels do not fit the conventions.
    pub only_classic: bool,
    /// Upper bounds of the buckets of a histogram; empty for every other kind.
    pub boundaries: &'static [f64],
    /// How the history of the last half hour takes it.
    pub recording: Recording,
}

/// Name of a metric in an exporter that connscope replaces.
#[derive(Debug, Clone, Copy)]
pub struct Classic {
    /// Prometheus name as they print it, without a suffix.
    pub name: &'static str,
    /// `# HELP` text of the classic names.
    pub help: &'static str,
}

/// The kinds of instrument the agent makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never decreases except by a reset.
    Counter,
    /// A level that can be summed over its attributes (entries, bytes).
    UpDownCounter,
    /// A level that cannot be summed (a ratio, a state).
    Gauge,
    /// A distribution that its source keeps, and observes as a whole in every cycle: its series end with what they are
    /// about.
    Histogram,
    /// A distribution, recorded when its event happens; its series last as long as the agent.
    RecordedHistogram,
}

impl Kind {
    /// Lower-case word for METRICS.md and `connscope metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram | Self::RecordedHistogram => "histogram",
        }
    }
}

/// Type of a metric's values on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// 64-bit floating point.
    F64,
}

/// One value of a reading.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Value of a [`Number::U64`] metric.
    U64(u64),
    /// Value of a [`Number::I64`] metric.
    I64(i64),
    /// Value of a [`Number::F64`] metric.
    F64(f64),
    /// Value of a [`Kind::Histogram`] metric.
    Distribution(Arc<Distribution>),
}

impl Value {
    /// The number, as a float, which is exact up to 2^53; `None` for a distribution.
    #[expect(clippy::cast_precision_loss, reason = "it is shown and compared, not counted with")]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::U64(value) => Some(*value as f64),
            Self::I64(value) => Some(*value as f64),
            Self::F64(value) => Some(*value),
            Self::Distribution(_) => None,
        }
    }
}

impl Metric {
    /// Whether the metric is about the agent itself.
    pub fn is_own(&self) -> bool {
        self.name.starts_with("connscope.")
    }

    /// Attributes of its readings, in alphabetical order of their keys, without those that the configuration
    /// adds ([`LabelSet::open`]).
    pub fn labels(&self) -> Vec<Label> {
        let mut labels: Vec<Label> = self.sets.iter().flat_map(|set| set.keys).copied().collect();
        labels.sort_unstable_by_key(|label| label.key());
        labels
    }

    /// Whether a reading may have this attribute.
    pub fn takes(&self, label: Label) -> bool {
        let configured = matches!(label, Label::Configured(_));
        self.sets.iter().any(|set| set.keys.contains(&label) || (configured && set.open))
    }
}

/// A typed handle of a row of the table.
pub trait Handle: Copy {
    /// Type of the values that can be observed.
    type Value;
    /// The row of the table that the handle is for.
    fn metric(self) -> &'static Metric;
    /// Converts an observed value.
    fn value(value: Self::Value) -> Value;
}

/// Handle of a counter row.
#[derive(Debug)]
pub struct Counter<T>(&'static Metric, PhantomData<fn(T)>);
/// Handle of an up-down counter row; its values are levels, never negative here.
#[derive(Debug, Clone, Copy)]
pub struct UpDownCounter(&'static Metric);
/// Handle of a gauge row.
#[derive(Debug)]
pub struct Gauge<T>(&'static Metric, PhantomData<fn(T)>);
/// Handle of a histogram row that is observed as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(&'static Metric);
/// Handle of a histogram row that has no observable values, only recorded ones.
#[derive(Debug, Clone, Copy)]
pub struct RecordedHistogram(&'static Metric);

impl<T> Clone for Counter<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Counter<T> {}
impl<T> Clone for Gauge<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Gauge<T> {}

/// What [`metrics!`](crate::metrics) needs of each kind of handle.
macro_rules! handle {
    ($handle:ty, $kind:ident, $number:ident, |$row:ident| $make:expr) => {
        impl $handle {
            /// Kind and type of the values of its row.
            pub const KIND: (Kind, Number) = (Kind::$kind, Number::$number);

            /// The handle of a row of this kind; [`metrics!`](crate::metrics) makes them together. Of any other row it does
            /// not compile, and panics where the row is not a constant.
            pub const fn of($row: &'static Metric) -> Self {
                let (kind, number) = Self::KIND;
                assert!(
                    $row.kind as u8 == kind as u8 && $row.number as u8 == number as u8,
                    "the row is of another kind"
                );
                $make
            }
        }
    };
    ($handle:ty, $kind:ident, $number:ident, |$row:ident| $make:expr, $type:ty, |$value:ident| $keep:expr) => {
        handle!($handle, $kind, $number, |$row| $make);

        impl Handle for $handle {
            type Value = $type;
            fn metric(self) -> &'static Metric {
                self.0
            }
            fn value($value: $type) -> Value {
                $keep
            }
        }
    };
}

handle!(Counter<u64>, Counter, U64, |row| Self(row, PhantomData), u64, |value| Value::U64(value));
handle!(Counter<f64>, Counter, F64, |row| Self(row, PhantomData), f64, |value| Value::F64(value));
handle!(Gauge<u64>, Gauge, U64, |row| Self(row, PhantomData), u64, |value| Value::U64(value));
handle!(Gauge<f64>, Gauge, F64, |row| Self(row, PhantomData), f64, |value| Value::F64(value));
handle!(UpDownCounter, UpDownCounter, I64, |row| Self(row), u64, |value| {
    Value::I64(i64::try_from(value).unwrap_or(i64::MAX))
});
handle!(Histogram, Histogram, F64, |row| Self(row), Arc<Distribution>, |value| Value::Distribution(value));
handle!(RecordedHistogram, RecordedHistogram, F64, |row| Self(row));

impl RecordedHistogram {
    /// The row of the table that the handle is for.
    pub fn metric(self) -> &'static Metric {
        self.0
    }
}
