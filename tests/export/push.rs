//! The reader that pushes, driven from the test: a source of its own, and a cycle when the test says so.

use crate::support::PATIENCE;
use crate::support::receiver::Receiver;
use crate::support::table::table;
use connscope::catalog::Config;
use connscope::config::Flags;
use connscope::cycle::Sources;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::outcomes::Exports;
use connscope::export::{Reader, Shared, otlp, resource};
use connscope::metric::Table;
use connscope::reading::{Readings, SourceError};
use connscope::source::Source;
use connscope::source::worker::Worker;
use connscope::stop::Stop;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A source that observes what the test tells it to.
pub(super) struct Fake<F>(F);

impl<F: FnMut(&mut Readings) + Send> Source for Fake<F> {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        (self.0)(out);
        Ok(())
    }
}

/// The reader that pushes, without an agent around it: a cycle is run when the test says so.
pub(super) struct Push {
    pub(super) reader: Reader,
    pub(super) stop: Stop,
    pub(super) runtime: Option<tokio::runtime::Runtime>,
}

impl Push {
    pub(super) fn start(
        receiver: &Receiver,
        timeout: Duration,
        table: Arc<Table>,
        read: impl FnMut(&mut Readings) + Send + 'static,
    ) -> Self {
        let timeout = timeout.as_millis().to_string();
        let variables = HashMap::from([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000".to_owned()),
        ]);
        let config = Config::load(None, &|name| variables.get(name).cloned(), &Flags::default());
        let config = config.expect("a configuration");
        let stop = Stop::new().expect("a token");
        let exports = Arc::new(Exports::new(otlp::labels(&config.export.otlp)));
        let worker = Worker::start("fake", PATIENCE, Box::new(Fake(read))).expect("a thread");
        let sources = Sources::of(vec![worker], table, Some(exports.clone()), &stop);
        let shared = Shared {
            resource: resource::resource(&config).into(),
            sources: Arc::new(sources),
            recorder: HistogramRecorder::default(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let exporter = otlp::exporter(&shared, &config, &exports, runtime.handle(), &stop);
        let exporter = exporter.expect("a configuration that works").expect("an exporter");
        let reader = otlp::start(exporter, &shared, &config);
        Self { reader, stop, runtime: Some(runtime) }
    }

    /// One cycle and its export.
    pub(super) fn cycle(&self) -> Result<(), String> {
        self.reader.provider.force_flush().map_err(|error| error.to_string())
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // The provider exports once more when it goes; with the runtime gone that is over at once.
        self.stop.drain();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A table for few CPUs and namespaces.
pub(super) fn few() -> Arc<Table> {
    table(4, 4)
}

pub(super) fn nothing(_: &mut Readings) {}
