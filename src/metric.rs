//! What a metric is: its row in [the table](crate::metric::table), the kinds, the labels and their bounds.
//!
//! A row is reached through a typed handle ([`Counter`], [`UpDownCounter`], [`Gauge`], [`Histogram`], [`Recorded`]), so the
//! kind of a metric and the type of its values are settled where the row is written, not where it is observed.

use distribution::Distribution;
use std::marker::PhantomData;
use std::sync::Arc;

pub mod distribution;
pub mod label;
pub mod labels;
pub mod naming;
pub mod reference;
pub mod table;

pub use label::{Bound, Label};
pub use labels::Labels;

/// One row of the table: everything that is ever said about a metric, said once.
#[derive(Debug)]
pub struct Metric {
    /// Position in [`table::METRICS`]; instruments and readings are kept by it.
    pub index: usize,
    /// OpenTelemetry name: lowercase, dotted, without unit and without `total`.
    pub name: &'static str,
    /// Which instrument carries it.
    pub kind: Kind,
    /// Type of its values.
    pub number: Number,
    /// UCUM unit; empty for a 0/1 state.
    pub unit: &'static str,
    /// Attributes its readings may carry, in alphabetical order of their keys.
    pub labels: &'static [Label],
    /// One sentence: rustdoc, OpenTelemetry description, `# HELP` and METRICS.md.
    pub description: &'static str,
    /// Name and help in the `classic` profile; `None` leaves the metric out of it.
    pub classic: Option<Classic>,
    /// Whether only the `classic` profile has it: a number whose unit or whose labels nobody would choose today.
    pub only_classic: bool,
    /// Upper bounds of the buckets of a histogram; empty for every other kind.
    pub boundaries: &'static [f64],
}

/// What the exporters that connscope replaces call a metric.
#[derive(Debug, Clone, Copy)]
pub struct Classic {
    /// Prometheus name as they print it, without a suffix.
    pub name: &'static str,
    /// Their `# HELP` text.
    pub help: &'static str,
}

/// The kinds of instrument the agent makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; a fall is a reset.
    Counter,
    /// A level that can be added up over its attributes (entries, bytes).
    UpDownCounter,
    /// A level that cannot be added up (a ratio, a state).
    Gauge,
    /// A distribution that its source keeps, and observes as a whole in every cycle: its series end with what they are
    /// about.
    Histogram,
    /// A distribution, recorded when its event happens; its series last as long as the agent.
    Recorded,
}

impl Kind {
    /// Lower-case word for METRICS.md and `connscope metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram | Self::Recorded => "histogram",
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

/// What this machine and this configuration make of the bounds that are not known at build time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Possible CPUs.
    pub cpus: usize,
    /// Network namespaces read at once.
    pub namespaces: usize,
    /// Sources at work.
    pub sources: usize,
    /// Groups of sockets, of all network namespaces together.
    pub groups: usize,
    /// Flows of the `classic` profile.
    pub flows: usize,
    /// Flows that are shown for being the worst.
    pub top: usize,
    /// Targets of the probes.
    pub targets: usize,
}

/// Series of one metric that are always allowed, however few CPUs there are: a `conntrack` that answers for
/// another machine (a test, a replay) may name more CPUs than this one has.
const LEAST_SERIES: usize = 1024;

impl Metric {
    /// Whether it is about the agent and not about what the agent is there to read.
    pub fn is_own(&self) -> bool {
        self.name.starts_with("connscope.")
    }

    /// How many series the metric may have at most: the product of its labels' bounds. Labels that are bounded together
    /// (those of a group, those of a flow) count once, and for all network namespaces.
    pub fn cardinality(&self, limits: Limits) -> usize {
        let has = |bound| self.labels.iter().any(|label| label.bound() == bound);
        let mut product = 1usize;
        let mut together = false;
        for (bound, limit) in [
            (Bound::Groups, limits.groups),
            (Bound::Flows, limits.flows),
            (Bound::Top, limits.top),
            (Bound::Targets, limits.targets),
        ] {
            if has(bound) {
                together = true;
                product = product.saturating_mul(limit.max(1));
            }
        }
        for label in self.labels {
            let bound = match label.bound() {
                Bound::Cpus => limits.cpus,
                Bound::Namespaces if together => 1,
                Bound::Namespaces => limits.namespaces,
                Bound::Sources => limits.sources,
                Bound::Groups | Bound::Flows | Bound::Top | Bound::Targets => 1,
                Bound::Values(values) => values,
            };
            product = product.saturating_mul(bound.max(1));
        }
        if has(Bound::Cpus) { product.max(LEAST_SERIES) } else { product }
    }
}

/// A typed way to a row of the table.
pub trait Handle: Copy {
    /// What may be observed through it.
    type Value;
    /// The row.
    fn metric(self) -> &'static Metric;
    /// The value as the readings keep it.
    fn value(value: Self::Value) -> Value;
}

/// Handle of a counter row.
#[derive(Debug)]
pub struct Counter<T>(pub(crate) usize, pub(crate) PhantomData<fn(T)>);
/// Handle of an up-down counter row; its values are levels, never negative here.
#[derive(Debug, Clone, Copy)]
pub struct UpDownCounter(pub(crate) usize);
/// Handle of a gauge row.
#[derive(Debug)]
pub struct Gauge<T>(pub(crate) usize, pub(crate) PhantomData<fn(T)>);
/// Handle of a histogram row that is observed as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(pub(crate) usize);
/// Handle of a histogram row that has no observable values, only recorded ones.
#[derive(Debug, Clone, Copy)]
pub struct Recorded(pub(crate) usize);

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

/// The row at an index that a handle carries.
#[allow(
    clippy::indexing_slicing,
    reason = "the macro that writes the table makes a handle and its row together"
)]
fn row(index: usize) -> &'static Metric {
    &table::METRICS[index]
}

impl Handle for Counter<u64> {
    type Value = u64;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: u64) -> Value {
        Value::U64(value)
    }
}

impl Handle for Counter<f64> {
    type Value = f64;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: f64) -> Value {
        Value::F64(value)
    }
}

impl Handle for UpDownCounter {
    type Value = u64;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: u64) -> Value {
        Value::I64(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Handle for Gauge<u64> {
    type Value = u64;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: u64) -> Value {
        Value::U64(value)
    }
}

impl Handle for Gauge<f64> {
    type Value = f64;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: f64) -> Value {
        Value::F64(value)
    }
}

impl Handle for Histogram {
    type Value = Arc<Distribution>;
    fn metric(self) -> &'static Metric {
        row(self.0)
    }
    fn value(value: Arc<Distribution>) -> Value {
        Value::Distribution(value)
    }
}

impl Recorded {
    /// The row.
    pub fn metric(self) -> &'static Metric {
        row(self.0)
    }
}
