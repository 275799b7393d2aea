//! What the metrics were in the last half hour, for the page at `/` and `GET /api/history`.
//!
//! Every cycle of any reader is recorded, up to one every [`SPACING`]. There are two histories, with limits of their own,
//! so that many series do not shorten what the page plots: the totals of each metric over all of its series, and the
//! series themselves. Both together take [`LIMIT`] bytes at most, whatever the sources report: at the limit the oldest
//! cycles go, and a series that finds a list full is left out and counted.

use crate::metric::{Kind, Label, Labels, Metric, Value};
use crate::reading::{Reading, Snapshot};
use index::{Index, Stat};
use merged::Merged;
use ring::Ring;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod answer;
mod changes;
pub mod index;
mod merged;
pub mod query;
mod ring;

pub use ring::{SPACING, WINDOW};

/// Most bytes that the totals take.
const TOTALS: usize = 256 * 1024;
/// Most bytes that the series take.
const SERIES: usize = 768 * 1024;
/// Most bytes that the history takes.
pub const LIMIT: usize = TOTALS + SERIES;

/// Most series of a metric.
const OF_A_METRIC: u16 = 512;

/// Counters whose totals are divided by a label of few values.
const DIVIDED: [(&str, Label); 3] = [
    ("tcp.segments", Label::IoDirection),
    ("tcp.connections", Label::Event),
    ("container.tcp.connections", Label::Event),
];

/// Beginnings of the names of counters that the agent counts itself, from 0 when a series begins: its first value has
/// been counted since the cycle before. Others are the kernel's, and may be as old as the machine.
const COUNTED_FROM_ZERO: [&str; 8] = [
    "tcp.retransmits",
    "tcp.segments",
    "tcp.connections",
    "tcp.listen.queue.overflow",
    "tcp.accept.abandoned",
    "udp.drops",
    "container.tcp.",
    "probe.",
];

/// The values of the last half hour.
#[derive(Debug)]
pub struct History {
    began: Instant,
    /// Unique among the histories of this machine.
    id: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: Vec<&'static Metric>,
    totals: Kept,
    series: Kept,
    merged: Merged,
    /// Number of readings of the newest cycle that are not among the series.
    left_out: usize,
    /// Number of recorded cycles.
    recorded: u64,
}

#[derive(Debug)]
struct Kept {
    index: Index,
    ring: Ring,
}

/// What a history takes and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Heap, bytes.
    pub bytes: usize,
    /// Number of cycles of the totals, and of the series.
    pub cycles: (usize, usize),
    /// Number of readings of the newest cycle that are not among the series.
    pub left_out: usize,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Self { index: Index::default(), ring: Ring::new(limit) }
    }

    fn bytes(&self) -> usize {
        self.index.bytes() + self.ring.bytes()
    }

    fn newest(&self, at: usize) -> f64 {
        self.ring.newest().get(at).copied().unwrap_or(f64::NAN)
    }

    fn push(&mut self, at: Duration, values: Vec<f64>, others: usize) {
        let oldest = self.ring.push(at, values, self.index.bytes() + others);
        self.index.forget(whole_seconds(oldest));
    }
}

impl History {
    /// Creates an empty one. `id` differs from that of every other history of this machine.
    pub fn new(now: Instant, id: u64) -> Self {
        let state = State {
            rows: Vec::new(),
            totals: Kept::new(TOTALS),
            series: Kept::new(SERIES),
            merged: Merged::default(),
            left_out: 0,
            recorded: 0,
        };
        Self { began: now, id, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves a cycle incomplete, and the next one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a cycle that ends now.
    pub fn record(&self, snapshot: &Snapshot, now: Instant) {
        self.lock().record(snapshot, now.saturating_duration_since(self.began));
    }

    /// What changes with every recorded cycle: the history's own number, and that of its cycles.
    pub fn version(&self) -> (u64, u64) {
        (self.id, self.lock().recorded)
    }

    /// How much there is.
    pub fn extent(&self) -> Extent {
        let state = self.lock();
        Extent {
            bytes: state.totals.bytes() + state.series.bytes() + state.merged.bytes(),
            cycles: (state.totals.ring.len(), state.series.ring.len()),
            left_out: state.left_out,
        }
    }
}

impl State {
    fn record(&mut self, snapshot: &Snapshot, at: Duration) {
        // Another reader may have recorded a later one.
        let at = at.max(self.totals.ring.at());
        let rows = snapshot.table().rows();
        if self.rows.len() != rows.len() {
            self.rows = rows.collect();
        }
        self.merged.begin(self.totals.ring.keeps_newest());
        let mut cycle = Cycle { at: whole_seconds(at), totals: Vec::new(), series: Vec::new() };
        cycle.totals.resize(self.totals.index.len(), f64::NAN);
        cycle.series.resize(self.series.index.len(), f64::NAN);
        self.left_out = 0;
        for (row, metric) in (0u16..).zip(self.rows.clone()) {
            let readings = snapshot.of(metric);
            if !readings.is_empty() && !metric.only_classic {
                self.take(row, metric, readings, &mut cycle);
            }
        }
        self.totals.push(at, cycle.totals, self.merged.bytes());
        self.series.push(at, cycle.series, 0);
        self.recorded += 1;
    }

    /// Takes the readings of a metric.
    fn take(&mut self, row: u16, metric: &Metric, readings: &[Reading], cycle: &mut Cycle) {
        let divided = DIVIDED.iter().find(|(name, _)| *name == metric.name).map(|(_, label)| *label);
        let mut parts: Vec<(Arc<str>, f64)> = Vec::new();
        let from_zero = COUNTED_FROM_ZERO.iter().any(|beginning| metric.name.starts_with(beginning));
        let (mut sum, mut max, mut grown, mut count) = (0.0, f64::NEG_INFINITY, 0.0, 0);
        for reading in readings {
            if let Value::Distribution(distribution) = &reading.value {
                count += distribution.count();
                #[expect(clippy::cast_precision_loss, reason = "2^53 values are not reached")]
                let values = [(Stat::Count, distribution.count() as f64), (Stat::Sum, distribution.sum())];
                for (stat, value) in values {
                    let kept = self.keep(row, stat, &reading.labels, value, cycle);
                    self.left_out += usize::from(stat == Stat::Count && kept.is_none());
                }
                continue;
            }
            let value = number(metric, &reading.value);
            (sum, max) = (sum + value, f64::max(max, value));
            let own = match self.keep(row, Stat::Value, &reading.labels, value, cycle) {
                Some(Before::None) if from_zero && self.recorded > 0 => value,
                Some(Before::Value(before)) if value >= before => value - before,
                // A counter that was reset.
                Some(Before::Value(_)) => value,
                Some(Before::None | Before::Gap) => 0.0,
                None => {
                    self.left_out += 1;
                    0.0
                }
            };
            grown += own;
            let part = reading.labels.iter().find(|(label, _)| Some(*label) == divided);
            if let Some((_, part)) = part {
                match parts.iter_mut().find(|(known, _)| known == part) {
                    Some((_, grown)) => *grown += own,
                    None => parts.push((Arc::clone(part), own)),
                }
            }
        }
        if let Some(label) = divided {
            for (part, grown) in parts {
                self.total(row, Stat::Increase, &Labels::new(vec![(label, part)]), grown, cycle);
            }
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "2^53 values are not reached")]
        let count = count as f64;
        let totals: &[(Stat, f64)] = match metric.kind {
            Kind::Counter => &[(Stat::Increase, grown)],
            Kind::UpDownCounter => &[(Stat::Sum, sum), (Stat::Max, max)],
            #[expect(clippy::cast_precision_loss, reason = "a number of readings")]
            Kind::Gauge => &[(Stat::Sum, sum), (Stat::Max, max), (Stat::Series, readings.len() as f64)],
            Kind::Histogram | Kind::RecordedHistogram => {
                let [median, high, highest] = self.merged.add(row, readings).map(rounded);
                &[(Stat::Count, count), (Stat::P50, median), (Stat::P95, high), (Stat::P99, highest)]
            }
        };
        for (stat, value) in totals {
            self.total(row, *stat, &Labels::new(Vec::new()), *value, cycle);
        }
    }

    /// Keeps a number of a series. Returns its value before; `None` if it is left out.
    fn keep(
        &mut self,
        row: u16,
        stat: Stat,
        labels: &Labels,
        value: f64,
        cycle: &mut Cycle,
    ) -> Option<Before> {
        let position = self.series.index.position(row, stat, labels, cycle.at, OF_A_METRIC)?;
        put(&mut cycle.series, position.at, value);
        let before = self.series.newest(position.at);
        Some(match (position.new, before.is_nan()) {
            (true, _) => Before::None,
            (false, true) => Before::Gap,
            (false, false) => Before::Value(before),
        })
    }

    /// Keeps a total; an increase is added to those before.
    fn total(&mut self, row: u16, stat: Stat, labels: &Labels, value: f64, cycle: &mut Cycle) {
        let Some(position) = self.totals.index.position(row, stat, labels, cycle.at, u16::MAX) else {
            return;
        };
        let before = if stat == Stat::Increase { self.totals.newest(position.at) } else { 0.0 };
        let before = if position.new || before.is_nan() { 0.0 } else { before };
        put(&mut cycle.totals, position.at, before + value);
    }
}

/// A cycle while it is recorded.
struct Cycle {
    at: u32,
    totals: Vec<f64>,
    series: Vec<f64>,
}

/// The value of a series in the cycle before.
enum Before {
    /// The series is new.
    None,
    /// It had none.
    Gap,
    Value(f64),
}

fn put(values: &mut Vec<f64>, at: usize, value: f64) {
    values.resize(values.len().max(at + 1), f64::NAN);
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

fn whole_seconds(at: Duration) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

/// The value of a series, as it is kept.
#[expect(clippy::cast_precision_loss, reason = "it is plotted")]
fn number(metric: &Metric, value: &Value) -> f64 {
    match value {
        Value::U64(value) => *value as f64,
        Value::I64(value) => *value as f64,
        Value::F64(value) if metric.kind == Kind::Gauge => rounded(*value),
        Value::F64(value) => *value,
        Value::Distribution(_) => f64::NAN,
    }
}

/// A level to seven digits, which take half the bytes; a time since 1970 keeps all of its own.
fn rounded(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "that is the rounding")]
    let narrow = value as f32;
    if value.abs() < 1e6 { f64::from(narrow) } else { value }
}
