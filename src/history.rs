//! What the metrics were in the last half hour, for the page at `/` and `GET /api/history`.
//!
//! Every cycle of any reader is recorded, up to one every [`SPACING`]; one that began no later than the newest is not. There are
//! two histories, with limits of their own, so that many series do not shorten what the page plots: the totals of each metric
//! over all of its series, and the series themselves. Both together take [`LIMIT`] bytes at most, whatever the sources report:
//! at the limit the oldest cycles go, and series are left out and counted. How a metric is taken is said by [its
//! row](crate::metric::Recording).

use crate::metric::{Kind, Labels, Metric, Value};
use crate::reading::Snapshot;
use increase::{Increase, LeftOut};
use index::{Index, Stat};
use merged::Merged;
use ring::{Ring, Stamp};
use room::{Asked, Place};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod answer;
mod changes;
mod increase;
pub mod index;
mod merged;
pub mod query;
mod ring;
mod room;

pub use ring::{SPACING, WINDOW};

/// Most bytes that the totals take.
const TOTALS: usize = 256 * 1024;
/// Most bytes that the series take.
const SERIES: usize = 768 * 1024;
/// Most bytes that the history takes.
pub const LIMIT: usize = TOTALS + SERIES;

/// Most series of a metric.
const OF_A_METRIC: u16 = 512;

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
    /// The metrics that were recorded, by the position that the indexes know.
    rows: Vec<&'static Metric>,
    /// Number of the last cycle in which each of them had readings, by row.
    read: Vec<u32>,
    totals: Kept,
    series: Kept,
    merged: Merged,
    /// Series of counters that had no room in the newest cycle.
    increases: Vec<LeftOut>,
    /// Number of readings of the newest cycle that are not among the series, by row.
    left_out: Vec<(u16, usize)>,
    /// Number of recorded cycles.
    recorded: u32,
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

    fn push(&mut self, stamp: Stamp, values: Vec<f64>, others: usize) {
        let oldest = self.ring.push(stamp, values, self.index.bytes() + others);
        self.index.forget(oldest);
    }
}

impl History {
    /// Creates an empty one. `id` differs from that of every other history of this machine.
    pub fn new(now: Instant, id: u64) -> Self {
        let state = State {
            rows: Vec::new(),
            read: Vec::new(),
            totals: Kept::new(TOTALS),
            series: Kept::new(SERIES),
            merged: Merged::default(),
            increases: Vec::new(),
            left_out: Vec::new(),
            recorded: 0,
        };
        Self { began: now, id, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves a cycle incomplete, and the next one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a cycle that began at this time. One that began no later than the newest is dropped: of two readers that
    /// collect at the same time it has the older values.
    pub fn record(&self, snapshot: &Snapshot, began: Instant) {
        self.lock().record(snapshot, began.saturating_duration_since(self.began));
    }

    /// What changes with every recorded cycle: the history's own number, and that of its cycles.
    pub fn version(&self) -> (u64, u64) {
        (self.id, self.lock().recorded.into())
    }

    /// How much there is.
    pub fn extent(&self) -> Extent {
        self.lock().extent()
    }
}

impl State {
    fn extent(&self) -> Extent {
        Extent {
            bytes: self.totals.bytes() + self.series.bytes() + self.others(),
            cycles: (self.totals.ring.len(), self.series.ring.len()),
            left_out: self.left_out.iter().map(|(_, readings)| readings).sum(),
        }
    }

    /// Heap besides the two histories, bytes.
    fn others(&self) -> usize {
        self.merged.bytes()
            + self.read.capacity() * size_of::<u32>()
            + self.increases.capacity() * size_of::<LeftOut>()
            + self.left_out.capacity() * size_of::<(u16, usize)>()
    }

    fn record(&mut self, snapshot: &Snapshot, at: Duration) {
        if self.totals.ring.stamp().is_some_and(|newest| at <= newest.at) {
            return;
        }
        self.merged.begin(self.totals.ring.keeps_newest());
        let stamp = Stamp { number: self.recorded.saturating_add(1), at };
        let mut asked = Vec::new();
        for metric in snapshot.table().rows() {
            let readings = snapshot.of(metric);
            if !readings.is_empty() && !metric.only_classic {
                asked.push(Asked { row: self.row(metric), metric, readings });
            }
        }
        let places = room::places(&mut self.series.index, self.series.ring.newest(), &asked, stamp.number);
        let mut cycle = Cycle { number: stamp.number, totals: Vec::new(), series: Vec::new() };
        cycle.totals.resize(self.totals.index.len(), f64::NAN);
        cycle.series.resize(self.series.index.len(), f64::NAN);
        self.left_out.clear();
        let before = std::mem::take(&mut self.increases);
        for (asked, places) in asked.into_iter().zip(places) {
            let left = places.iter().filter(|place| matches!(place, Place::LeftOut { .. })).count();
            if left > 0 {
                self.left_out.push((asked.row, left));
            }
            self.take(asked, &places, &before, &mut cycle);
        }
        self.totals.push(stamp, cycle.totals, self.others());
        self.series.push(stamp, cycle.series, 0);
        self.recorded = stamp.number;
    }

    /// The position of a metric among those that were recorded: the table may have other rows after a reload.
    fn row(&mut self, metric: &'static Metric) -> u16 {
        let known = self.rows.iter().position(|known| std::ptr::eq(*known, metric));
        let position = known.unwrap_or_else(|| {
            self.rows.push(metric);
            self.rows.len() - 1
        });
        u16::try_from(position).unwrap_or(u16::MAX)
    }

    /// Whether a metric that has readings in this cycle had some in the cycle before, or none in any. After a cycle without
    /// its readings nobody knows which of its series have begun since; nor in the first cycle.
    fn follows(&mut self, row: u16, cycle: u32) -> bool {
        let at = usize::from(row);
        self.read.resize(self.read.len().max(at + 1), 0);
        let last = self.read.get_mut(at).map_or(0, |last| std::mem::replace(last, cycle));
        self.recorded > 0 && (last == 0 || last == self.recorded)
    }

    /// Takes the readings of a metric.
    fn take(&mut self, asked: Asked<'_>, places: &[Place], before: &[LeftOut], cycle: &mut Cycle) {
        let Asked { row, metric, readings } = asked;
        let recording = metric.recording;
        let follows = self.follows(row, cycle.number);
        let mut increase = Increase::new(row, recording.from_zero, recording.divided_by, follows, before);
        let (mut sum, mut max, mut count) = (0.0, f64::NEG_INFINITY, 0);
        for (reading, place) in readings.iter().zip(places) {
            let mut value = number(metric, &reading.value);
            if let Value::Distribution(distribution) = &reading.value {
                count += distribution.count();
                #[expect(clippy::cast_precision_loss, reason = "2^53 values are not reached")]
                let number = distribution.count() as f64;
                value = number;
            }
            (sum, max) = (sum + value, f64::max(max, value));
            let mut known = f64::NAN;
            if let Place::Kept(positions) = place {
                known = if positions.new { known } else { self.series.newest(positions.value) };
                put(&mut cycle.series, positions.value, value);
                if let (Some(at), Value::Distribution(distribution)) = (positions.sum, &reading.value) {
                    put(&mut cycle.series, at, distribution.sum());
                }
                if positions.new && increase.is_new() {
                    std::iter::once(positions.value)
                        .chain(positions.sum)
                        .for_each(|at| self.series.index.begins_at_zero(at));
                }
            }
            if metric.kind == Kind::Counter {
                increase.add(reading, *place, value, known);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of readings, or of values below 2^53")]
        let (series, count) = (readings.len() as f64, count as f64);
        let totals: &[(Stat, f64)] = match metric.kind {
            Kind::Counter => {
                let (grown, left_out) = increase.finish();
                self.increases.extend(left_out);
                for (part, grown) in grown {
                    let label = recording.divided_by.zip(part);
                    // A series without the label is in none of the parts.
                    if label.is_some() || recording.divided_by.is_none() {
                        self.total(
                            row,
                            Stat::Increase,
                            &Labels::new(label.into_iter().collect()),
                            grown,
                            cycle,
                        );
                    }
                }
                return;
            }
            Kind::UpDownCounter => &[(Stat::Sum, sum), (Stat::Max, max)],
            Kind::Gauge => &[(Stat::Sum, sum), (Stat::Max, max), (Stat::Series, series)],
            Kind::Histogram | Kind::RecordedHistogram => {
                let [median, high, highest] = self.merged.add(row, readings).map(rounded);
                &[(Stat::Count, count), (Stat::P50, median), (Stat::P95, high), (Stat::P99, highest)]
            }
        };
        for (stat, value) in totals {
            self.total(row, *stat, &Labels::new(Vec::new()), *value, cycle);
        }
    }

    /// Keeps a total; an increase is added to those before.
    fn total(&mut self, row: u16, stat: Stat, labels: &Labels, value: f64, cycle: &mut Cycle) {
        let known = self.totals.index.find(row, stat, labels, cycle.number);
        let before = known.filter(|_| stat == Stat::Increase).map_or(0.0, |at| self.totals.newest(at));
        let at = known.or_else(|| self.totals.index.add(row, stat, labels, cycle.number));
        if let Some(at) = at {
            put(&mut cycle.totals, at, if before.is_nan() { value } else { before + value });
        }
    }
}

/// A cycle while it is recorded.
struct Cycle {
    number: u32,
    totals: Vec<f64>,
    series: Vec<f64>,
}

fn put(values: &mut Vec<f64>, at: usize, value: f64) {
    values.resize(values.len().max(at + 1), f64::NAN);
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

/// The value of a series, as it is kept.
fn number(metric: &Metric, value: &Value) -> f64 {
    match value {
        Value::F64(value) if metric.kind == Kind::Gauge => rounded(*value),
        value => value.number().unwrap_or(f64::NAN),
    }
}

/// A level to seven digits, which take half the bytes; a time since 1970 keeps all of its own.
fn rounded(value: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "that is the rounding")]
    let narrow = value as f32;
    if value.abs() < 1e6 { f64::from(narrow) } else { value }
}
