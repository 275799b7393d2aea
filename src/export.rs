//! A reader and its provider: one `SdkMeterProvider` per reader.
//!
//! With two readers on one provider the SDK writes what one reader observes into the other's aggregation (series that
//! are gone come back, counters go backwards), so every reader has a provider, a [`Cycle`] and instruments of its own,
//! with the same resource.

use crate::cycle::{Cycle, Sources};
use crate::metric::naming::Profile;
use instruments::{HistogramRecorder, Recording};
use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::reader::MetricReader;
use std::sync::Arc;

pub mod distributions;
pub mod encode;
pub mod error_type;
pub mod exposition;
pub mod instruments;
pub mod jitter;
pub mod metrics;
pub mod otlp;
pub mod outcomes;
pub mod prometheus;
pub mod resource;
pub mod start_time;
pub mod stdout;
pub mod timeouts;

/// Numbers of one cycle from which on it is worth the while to give back what they took: some 4 MiB.
const MANY: usize = 2000;

/// The end of a collection of so many readings.
fn give_memory_back(readings: usize) {
    if readings > MANY {
        crate::sys::process::give_memory_back();
    }
}

/// What every reader is made with.
#[derive(Clone)]
pub struct Shared {
    /// Who the metrics are of.
    pub resource: Resource,
    /// The sources, read once per cycle of each reader.
    pub sources: Arc<Sources>,
    /// Records what the agent measures of itself, in every reader.
    pub recorder: HistogramRecorder,
}

impl Shared {
    /// The cycles of one more reader.
    pub fn cycle(&self) -> Arc<Cycle> {
        Arc::new(Cycle::new(Arc::clone(&self.sources)))
    }
}

/// A provider with its cycle.
pub struct Reader {
    /// The meter provider of this reader.
    pub provider: SdkMeterProvider,
    /// Ours.
    pub cycle: Arc<Cycle>,
    _recording: Recording,
}

impl Reader {
    /// Puts a reader of the SDK on a provider of its own, with every instrument of the table that the profile has.
    /// `cycle` is the reader's own ([`Shared::cycle`]).
    pub fn new(
        shared: &Shared,
        cycle: Arc<Cycle>,
        reader: impl MetricReader,
        profile: Profile,
        exponential_histograms: bool,
    ) -> Self {
        start_time::note();
        let provider = SdkMeterProvider::builder()
            .with_resource(shared.resource.clone())
            .with_reader(reader)
            .with_view(instruments::view(shared.sources.table(), profile, exponential_histograms))
            .build();
        let scope =
            InstrumentationScope::builder("connscope").with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = provider.meter_with_scope(scope);
        instruments::register(&meter, &cycle, profile);
        let recording = shared.recorder.add(&shared.sources.table(), &meter, profile);
        Self { provider, cycle, _recording: recording }
    }
}
