//! A reader and its provider: one `SdkMeterProvider` per reader.
//!
//! With two readers on one provider, the SDK writes what one reader observes into the other's aggregation (series that
//! are gone come back, counters go backwards). So every reader has a provider, a [`Cycle`] and instruments of its own,
//! with the same resource.

use crate::cycle::{Cycle, Sources};
use crate::metric::naming::Profile;
use crate::reading::first::ReaderKind;
use instruments::{HistogramRecorder, Recording};
use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::reader::MetricReader;
use resource::CurrentResource;
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

/// Number of readings in a cycle (about 4 MiB) above which freed memory is returned to the system.
const LARGE_CYCLE: usize = 2000;

/// Ends a collection of this many readings: returns freed memory to the system after a large one.
fn release_memory(readings: usize) {
    if readings > LARGE_CYCLE {
        crate::sys::process::give_memory_back();
    }
}

/// Objects that all readers share.
#[derive(Clone)]
pub struct Shared {
    /// The resource of the metrics.
    pub resource: CurrentResource,
    /// The sources, read once per cycle of each reader.
    pub sources: Arc<Sources>,
    /// Records the agent's own measurements, for every reader.
    pub recorder: HistogramRecorder,
}

impl Shared {
    /// Creates the cycles of another reader.
    pub fn cycle(&self, kind: ReaderKind) -> Arc<Cycle> {
        Arc::new(Cycle::new(Arc::clone(&self.sources), kind))
    }
}

/// A meter provider and its cycle.
pub struct Reader {
    /// The meter provider of this reader.
    pub provider: SdkMeterProvider,
    /// Cycle of this reader.
    pub cycle: Arc<Cycle>,
    _recording: Recording,
}

impl Reader {
    /// Creates a provider for an SDK reader, with every instrument of the table that the profile has. `cycle` is from
    /// [`Shared::cycle`].
    pub fn new(
        shared: &Shared,
        cycle: Arc<Cycle>,
        reader: impl MetricReader,
        profile: Profile,
        exponential_histograms: bool,
    ) -> Self {
        start_time::note();
        let provider = SdkMeterProvider::builder()
            .with_resource(shared.resource.at_start().clone())
            .with_reader(reader)
            .with_view(instruments::view(Arc::clone(cycle.table()), profile, exponential_histograms))
            .build();
        let scope =
            InstrumentationScope::builder("connscope").with_version(env!("CARGO_PKG_VERSION")).build();
        let meter = provider.meter_with_scope(scope);
        instruments::register(&meter, &cycle, profile);
        let recording = shared.recorder.add(cycle.table(), &meter, profile);
        Self { provider, cycle, _recording: recording }
    }
}
