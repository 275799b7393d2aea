//! What travels from a source to an instrument: readings, why one could not be made, and the snapshot of one cycle.

use crate::metric::{Handle, Labels, Metric, Part, Table, Value};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub mod error;
pub mod first;

pub use first::{FirstPoint, Readers};

pub use error::{Cause, SourceError, chain};

/// One number a source gave, with the attributes it belongs to.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The metric's row in the table.
    pub metric: &'static Metric,
    /// Its attributes, in the order of the row.
    pub labels: Labels,
    /// The observed value, in the unit of the metric.
    pub value: Value,
}

/// What one source gave in one cycle: numbers, and the parts that failed.
#[derive(Debug, Default)]
pub struct Readings {
    numbers: Vec<Reading>,
    failures: Vec<Failure>,
    readers: Readers,
}

/// A part of a source (a network namespace, say) that could not be read, while the rest could.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What failed; empty for the source as a whole.
    pub part: String,
    /// Why that part could not be read.
    pub error: Arc<SourceError>,
}

impl Readings {
    /// Nothing yet, for this reader.
    pub fn asked_by(readers: Readers) -> Self {
        Self { readers, ..Self::default() }
    }

    /// The reader that asks, and those that there are.
    pub fn readers(&self) -> Readers {
        self.readers
    }

    /// Takes one number. The handle says what it is; the labels are those of its row, in any order.
    pub fn observe<H: Handle>(&mut self, metric: H, labels: impl Into<Labels>, value: H::Value) {
        let (metric, labels) = (metric.metric(), labels.into());
        debug_assert!(
            labels.iter().all(|(label, _)| metric.takes(*label)),
            "{} has no such label",
            metric.name
        );
        self.numbers.push(Reading { metric, labels, value: H::value(value) });
    }

    /// Notes that a part could not be read; what was observed stays.
    pub fn fail(&mut self, part: impl Into<String>, error: SourceError) {
        self.failures.push(Failure { part: part.into(), error: Arc::new(error) });
    }

    /// The errors so far.
    pub fn failed(&self) -> impl Iterator<Item = &SourceError> {
        self.failures.iter().map(|failure| failure.error.as_ref())
    }

    /// The numbers, in the order they were observed.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.numbers.iter()
    }

    /// Whether no number was observed.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Takes the numbers and the failed parts out.
    pub fn into_parts(self) -> (Vec<Reading>, Vec<Failure>) {
        (self.numbers, self.failures)
    }
}

/// How one source did in one cycle.
#[derive(Debug, Clone)]
pub struct SourceOutcome {
    /// Name of the source.
    pub source: &'static str,
    /// Whether it answered in time and as a whole.
    pub up: bool,
    /// What failed, whole or in part.
    pub failures: Vec<Failure>,
    /// How long it took, or how long it was waited for.
    pub took: Duration,
    /// How many numbers it gave, those about the agent itself not included.
    pub readings: usize,
    /// What it left out because of its limits: the name of the metric that counts it, with its attributes, and the number.
    pub limits: Vec<(String, f64)>,
}

/// What every source gave in one cycle of one reader, kept by row of the table.
#[derive(Debug)]
pub struct Snapshot {
    table: Arc<Table>,
    /// One for each row, once there is a reading.
    by_metric: Vec<Vec<Reading>>,
    readings: usize,
    /// Result of each source in this cycle.
    pub outcomes: Vec<SourceOutcome>,
    /// Since when each part counts that does not since the start of the process: those of the sources, and of the exporter.
    pub began: Vec<(&'static Part, SystemTime)>,
}

impl Snapshot {
    /// A snapshot with nothing in it.
    pub fn empty(table: &Arc<Table>) -> Self {
        Self {
            table: Arc::clone(table),
            by_metric: Vec::new(),
            readings: 0,
            outcomes: Vec::new(),
            began: Vec::new(),
        }
    }

    /// The rows that readings are kept by.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes a reading unless its metric has reached its limit or is not in the table; says whether it did.
    pub fn take(&mut self, reading: Reading) -> bool {
        let limit = self.table.limit(reading.metric);
        let index = self.table.index(reading.metric);
        if self.by_metric.is_empty() {
            self.by_metric.resize_with(self.table.rows().len(), Vec::new);
        }
        match index.and_then(|index| self.by_metric.get_mut(index)) {
            Some(readings) if readings.len() < limit => {
                readings.push(reading);
                self.readings += 1;
                true
            }
            _ => false,
        }
    }

    /// The readings of one metric.
    pub fn of(&self, metric: &Metric) -> &[Reading] {
        self.table.index(metric).and_then(|index| self.by_metric.get(index)).map_or(&[], Vec::as_slice)
    }

    /// Takes the readings of one metric out.
    pub fn remove(&mut self, metric: &Metric) -> Vec<Reading> {
        let readings = self.table.index(metric).and_then(|index| self.by_metric.get_mut(index));
        readings.map(std::mem::take).unwrap_or_default()
    }

    /// The number of readings, including those that were taken out.
    pub fn readings(&self) -> usize {
        self.readings
    }

    /// Whether any source answered: with numbers, or that there are none.
    pub fn answered(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.up || outcome.readings > 0)
    }
}
