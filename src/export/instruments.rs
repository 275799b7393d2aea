//! Creates the instruments of a provider from the table.
//!
//! A callback takes the readings of its row in the present cycle and observes them. A panic in a callback would poison
//! the SDK's pipeline, so panics are caught.

use crate::cycle::Cycle;
use crate::metric::naming::Profile;
use crate::metric::{Kind, Label, Metric, Number, Table, Value};
use crate::reading::Reading;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Name and description of the instrument of a row; `None` if the profile does not have it.
fn named(metric: &Metric, profile: Profile) -> Option<(&'static str, &'static str)> {
    match profile {
        Profile::Otel => (!metric.only_classic).then_some((metric.name, metric.description)),
        Profile::Classic => metric.classic.map(|classic| (classic.name, classic.help)),
    }
}

/// A view that sets the cardinality limit of each instrument to that of its row. The SDK's default is 2000 for all, and
/// combines the series over it into one wrong value.
pub fn view(
    table: Arc<Table>,
    profile: Profile,
    exponential_histograms: bool,
) -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static {
    move |instrument| {
        let metric = table
            .rows()
            .find(|metric| named(metric, profile).is_some_and(|(name, _)| name == instrument.name()))?;
        // A series that ended still counts in the cycle in which its successor appears.
        let points = if metric.kind == Kind::Gauge { 2 } else { 1 };
        let limit = table.limit(metric).saturating_mul(points).saturating_add(1);
        let mut stream = Stream::builder().with_cardinality_limit(limit);
        if exponential_histograms && instrument.kind() == InstrumentKind::Histogram {
            stream = stream.with_aggregation(Aggregation::Base2ExponentialHistogram {
                max_size: 160,
                max_scale: 20,
                record_min_max: true,
            });
        }
        stream.build().ok()
    }
}

/// Creates an observable instrument for every row that is observed.
pub fn register(meter: &Meter, cycle: &Arc<Cycle>, profile: Profile) {
    macro_rules! observable {
        ($builder:ident, $metric:expr, $name:expr, $description:expr, $variant:path) => {{
            let (cycle, metric): (Arc<Cycle>, &'static Metric) = (Arc::clone(cycle), $metric);
            meter
                .$builder($name)
                .with_unit(metric.unit)
                .with_description($description)
                .with_callback(move |observer| {
                    observe(&cycle, metric, observer, |value| match value {
                        $variant(value) => Some(*value),
                        _ => None,
                    });
                })
                .build();
        }};
    }
    for metric in cycle.table().rows() {
        let Some((name, description)) = named(metric, profile) else { continue };
        match (metric.kind, metric.number) {
            (Kind::Counter, Number::F64) => {
                observable!(f64_observable_counter, metric, name, description, Value::F64);
            }
            (Kind::Counter, _) => {
                observable!(u64_observable_counter, metric, name, description, Value::U64);
            }
            (Kind::UpDownCounter, _) => {
                observable!(i64_observable_up_down_counter, metric, name, description, Value::I64);
            }
            (Kind::Gauge, Number::F64) => {
                observable!(f64_observable_gauge, metric, name, description, Value::F64);
            }
            (Kind::Gauge, _) => {
                observable!(u64_observable_gauge, metric, name, description, Value::U64);
            }
            // Observed histograms are exported beside the SDK (see `distributions`); recorded ones are not observed
            // (see `HistogramRecorder`).
            (Kind::Histogram | Kind::RecordedHistogram, _) => {}
        }
    }
}

fn observe<T>(
    cycle: &Cycle,
    metric: &'static Metric,
    observer: &dyn AsyncInstrument<T>,
    number: impl Fn(&Value) -> Option<T>,
) {
    let observed = catch_unwind(AssertUnwindSafe(|| {
        for reading in cycle.readings(metric) {
            if let Some(value) = number(&reading.value) {
                observer.observe(value, &attributes(&reading));
            }
        }
    }));
    if observed.is_err() {
        tracing::error!(metric = metric.name, "observing panicked; this is a defect of connscope");
    }
}

fn attributes(reading: &Reading) -> Vec<KeyValue> {
    reading.labels.iter().map(|(label, value)| attribute(*label, value)).collect()
}

fn attribute(label: Label, value: &Arc<str>) -> KeyValue {
    KeyValue::new(Key::from_static_str(label.key()), Arc::clone(value))
}

/// Number of the provider, the row, and its histogram.
type RecordedHistogram = (u64, &'static Metric, Histogram<f64>);

/// Records values in the histograms of every provider at the time of the event.
#[derive(Debug, Clone, Default)]
pub struct HistogramRecorder {
    histograms: Arc<RwLock<Vec<RecordedHistogram>>>,
}

impl HistogramRecorder {
    /// Creates the histograms of another provider. They are removed when the result is dropped.
    pub fn add(&self, table: &Table, meter: &Meter, profile: Profile) -> Recording {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let provider = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut histograms = self.histograms.write().unwrap_or_else(PoisonError::into_inner);
        for metric in table.rows().filter(|metric| metric.kind == Kind::RecordedHistogram) {
            if let Some((name, description)) = named(metric, profile) {
                let histogram = meter
                    .f64_histogram(name)
                    .with_unit(metric.unit)
                    .with_description(description)
                    .with_boundaries(metric.boundaries.to_vec())
                    .build();
                histograms.push((provider, metric, histogram));
            }
        }
        Recording { provider, recorder: self.clone() }
    }

    /// Records one value.
    pub fn record(&self, metric: crate::metric::RecordedHistogram, labels: &[(Label, Arc<str>)], value: f64) {
        let mut attributes: Vec<KeyValue> =
            labels.iter().map(|(label, value)| attribute(*label, value)).collect();
        attributes.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        let histograms = self.histograms.read().unwrap_or_else(PoisonError::into_inner);
        for (_, _, histogram) in histograms.iter().filter(|(_, row, _)| std::ptr::eq(*row, metric.metric())) {
            histogram.record(value, &attributes);
        }
    }
}

/// The histograms of a provider in a [`HistogramRecorder`], which are removed when this is dropped.
#[derive(Debug)]
pub struct Recording {
    provider: u64,
    recorder: HistogramRecorder,
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut histograms = self.recorder.histograms.write().unwrap_or_else(PoisonError::into_inner);
        histograms.retain(|(provider, ..)| *provider != self.provider);
    }
}
