//! The readers of a configuration: what pushes, and what a scrape drives.

use super::{AgentError, start_error};
use crate::config::{Config, Protocol};
use crate::cycle::Sources;
use crate::export::otlp::{self, Exporter};
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{Reader, Shared, stdout};
use crate::stop::{ChildStop, Stop};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

/// What drives itself.
pub(super) struct Push {
    readers: Vec<Reader>,
    /// Exports that are in progress end with this.
    stop: ChildStop,
}

/// A push that is ready to be started.
pub(super) struct Prepared {
    exporter: Option<Exporter>,
    stop: ChildStop,
}

/// Whether this configuration pushes over OTLP.
pub(super) fn pushes(config: &Config) -> bool {
    !config.environment.disabled && config.export.otlp.protocol != Protocol::None
}

impl Prepared {
    /// Reads what the push needs; the error names what in the configuration is wrong.
    pub(super) fn new(
        config: &Config,
        shared: &Shared,
        exports: &Arc<Exports>,
        runtime: &Handle,
        stop: &Stop,
    ) -> Result<Self, AgentError> {
        let stop = stop.child().map_err(start_error("making an eventfd"))?;
        let exporter = if pushes(config) {
            let exporter = otlp::exporter(shared, config, exports, runtime, stop.token());
            exporter.map_err(AgentError::Input)?
        } else {
            None
        };
        Ok(Self { exporter, stop })
    }

    /// Starts the reader that pushes over OTLP and, where it is asked for, the one that prints to the console.
    pub(super) fn start(self, config: &Config, shared: &Shared) -> Push {
        let console = config.environment.console && !config.environment.disabled;
        let console = console.then(|| stdout::console(shared, config.export.otlp.interval));
        let otlp = self.exporter.map(|exporter| otlp::start(exporter, shared, config));
        Push { readers: otlp.into_iter().chain(console).collect(), stop: self.stop }
    }
}

impl Push {
    /// Whether nothing drives itself.
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Runs a last cycle and exports it.
    pub(super) fn flush(self) {
        for reader in &self.readers {
            // The exporter has logged how its last export ended.
            let _logged = reader.provider.shutdown();
        }
    }

    /// Ends it in favour of another: what is in progress has as long as the last export of the agent.
    pub(super) fn give_way(self) {
        self.stop.token().drain();
        self.flush();
    }

    /// The provider of the first, for a first cycle.
    pub(super) fn provider(&self) -> Option<SdkMeterProvider> {
        self.readers.first().map(|reader| reader.provider.clone())
    }
}

/// One cycle at once, through a reader that there is: what cannot be read is in the log within the first second, and
/// a receiver does not wait a whole interval for the first numbers. What is sent to the channel ends the agent: a reader of
/// the SDK has no thread, of which it tells only its own log.
pub(super) fn first_cycle(
    push: &Push,
    pull: Option<&Arc<Pull>>,
    failed: UnboundedSender<String>,
) -> Result<(), AgentError> {
    let (provider, pull) = (push.provider(), pull.cloned());
    let cycle = move || {
        match (provider, pull) {
            (Some(provider), _) => {
                let flushed = provider.force_flush().map_err(|error| error.to_string());
                if flushed.is_err_and(|error| error.contains("closed channel")) {
                    let _gone = failed.send("the thread that pushes could not be started".to_owned());
                }
            }
            (None, Some(pull)) => {
                let _logged = pull.scrape();
            }
            (None, None) => {}
        }
        crate::sys::memory::unmap_code();
    };
    let spawned = std::thread::Builder::new().name("first-cycle".to_owned()).spawn(cycle);
    spawned.map(drop).map_err(start_error("starting the first cycle"))
}

/// The reader that scrapes drive, where somebody may scrape, or nobody collects otherwise.
pub(super) fn pull(
    config: &Config,
    shared: &Shared,
    listening: bool,
    push: &Push,
) -> Result<Option<Arc<Pull>>, AgentError> {
    if config.environment.disabled || !(listening || push.is_empty()) {
        return Ok(None);
    }
    let pull = Pull::new(shared, config.export.prometheus.naming).map_err(AgentError::Failed)?;
    Ok(Some(Arc::new(pull)))
}

/// Whether two tables limit any row differently: the instruments of a provider are made for one of them.
pub(super) fn other_limits(sources: &Sources, table: &crate::metric::Table) -> bool {
    let now = sources.table();
    now.rows().any(|row| now.limit(row) != table.limit(row))
}
