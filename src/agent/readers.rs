//! The readers of a configuration: periodic ones, and the one for scrapes.

use super::{AgentError, start_error};
use crate::catalog::Config;
use crate::config::{self, Protocol};
use crate::cycle::Sources;
use crate::export::jitter;
use crate::export::otlp::{self, Exporter};
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{Reader, Shared, stdout};
use crate::stop::{ChildStop, Stop};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

/// The readers that collect periodically.
pub(super) struct Push {
    otlp: Arc<Mutex<Otlp>>,
    console: Option<Reader>,
    /// Ends exports in progress, and the wait for the first push.
    stop: ChildStop,
}

/// The reader that pushes over OTLP.
enum Otlp {
    /// Waiting for the first push, which is due then.
    Waiting(Box<Start>, Instant),
    Pushing(Reader),
    /// Disabled, or ended.
    None,
}

/// Parameters of the OTLP reader.
struct Start {
    exporter: Exporter,
    shared: Shared,
    config: Config,
}

/// A push that can be started.
pub(super) struct Prepared {
    exporter: Option<Exporter>,
    stop: ChildStop,
}

/// Delay of the first push after a start: a random part of the jitter.
pub(super) fn initial_delay(config: &Config) -> Duration {
    jitter::part(config.export.otlp.longest_wait(), jitter::random())
}

/// When the first push is due that replaces another. With the same settings it is when the next of the other was, `next`; with other ones
/// it is at a random time, within an interval also if the jitter is longer: nothing is pushed meanwhile.
pub(super) fn due_after(otlp: &config::Otlp, next: Option<Instant>, now: Instant) -> Instant {
    let Some(mut due) = next else {
        return now + jitter::part(otlp.longest_wait().min(otlp.interval), jitter::random());
    };
    while due < now {
        due += otlp.interval;
    }
    due
}

/// Whether this configuration pushes over OTLP.
pub(super) fn pushes(config: &Config) -> bool {
    !config.environment.disabled && config.export.otlp.protocol != Protocol::None
}

impl Prepared {
    /// Creates the exporter; the error names the part of the configuration that is wrong.
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

    /// Starts the console reader, if configured, for the sources that run now. The OTLP reader is started by [`first_cycle`] when
    /// it is `due`.
    pub(super) fn start(self, config: &Config, shared: &Shared, due: Instant) -> Push {
        let console = config.environment.console && !config.environment.disabled;
        let console = console.then(|| stdout::console(shared, config.export.otlp.interval));
        let otlp = self.exporter.map_or(Otlp::None, |mut exporter| {
            exporter.renew_cycle(shared);
            let (shared, config) = (shared.clone(), config.clone());
            Otlp::Waiting(Box::new(Start { exporter, shared, config }), due)
        });
        Push { otlp: Arc::new(Mutex::new(otlp)), console, stop: self.stop }
    }
}

impl Otlp {
    /// Starts the reader if it is waiting, and returns its provider.
    fn start(&mut self) -> Option<SdkMeterProvider> {
        match std::mem::replace(self, Self::None) {
            Self::Waiting(start, _) => {
                let reader = otlp::start(start.exporter, &start.shared, &start.config);
                let provider = reader.provider.clone();
                *self = Self::Pushing(reader);
                Some(provider)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes the reader, to end it.
    fn end(&mut self) -> Option<Reader> {
        self.start();
        match std::mem::replace(self, Self::None) {
            Self::Pushing(reader) => Some(reader),
            _ => None,
        }
    }
}

impl Push {
    /// Whether no reader collects periodically.
    pub(super) fn is_empty(&self) -> bool {
        self.console.is_none() && matches!(*lock(&self.otlp), Otlp::None)
    }

    /// When the next push is due; `None` without a push.
    pub(super) fn next(&self) -> Option<Instant> {
        match &*lock(&self.otlp) {
            Otlp::Waiting(_, due) => Some(*due),
            Otlp::Pushing(reader) => reader.cycle.progress.next(),
            Otlp::None => None,
        }
    }

    /// Runs a last cycle and exports it, also if the first push is still waiting. Nothing is pushed afterwards.
    pub(super) fn flush(&mut self) {
        let otlp = lock(&self.otlp).end();
        for reader in otlp.into_iter().chain(self.console.take()) {
            // The exporter has logged the result of its last export.
            let _logged = reader.provider.shutdown();
        }
    }

    /// Ends the push in favour of another: an export in progress has the same deadline as at the end of the agent.
    pub(super) fn hand_over(&mut self) {
        self.stop.token().drain();
        self.flush();
    }
}

fn lock(otlp: &Mutex<Otlp>) -> MutexGuard<'_, Otlp> {
    otlp.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one cycle at once, so that sources that cannot be read are logged within the first second. The cycle is pushed
/// if the first push is due; otherwise the push follows when it is, in a cycle of its own. A message sent to
/// `failed` ends the agent: the SDK could not start the thread of a reader, which it reports in its own log only.
pub(super) fn first_cycle(
    push: &Push,
    pull: bool,
    sources: &Arc<Sources>,
    failed: UnboundedSender<String>,
) -> Result<(), AgentError> {
    let console = push.console.as_ref().map(|reader| reader.provider.clone());
    let (otlp, stop) = (Arc::clone(&push.otlp), push.stop.token().clone());
    let sources = Arc::clone(sources);
    let due = match &*lock(&otlp) {
        Otlp::Waiting(_, due) => Some(*due),
        _ => None,
    };
    let pushing = due.is_some();
    let wait = move || due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()));
    let flush = move |provider: SdkMeterProvider| {
        let flushed = provider.force_flush().map_err(|error| error.to_string());
        if flushed.is_err_and(|error| error.contains("closed channel")) {
            let _gone = failed.send("the thread that pushes could not be started".to_owned());
        }
    };
    let cycle = move || {
        match console {
            _ if pushing && wait().is_zero() => {}
            Some(provider) => flush(provider),
            // A scrape would take the first points of series, which are for who scrapes.
            None if pushing || pull => sources.try_all(),
            None => {}
        }
        crate::sys::memory::unmap_code();
        drop(sources);
        if pushing && !stop.killed_within(wait()) {
            // The lock is released during the cycle: the agent may have to stop meanwhile.
            let provider = lock(&otlp).start();
            drop(otlp);
            provider.into_iter().for_each(flush);
            crate::sys::memory::unmap_code();
        }
    };
    let spawned = std::thread::Builder::new().name("first-cycle".to_owned()).spawn(cycle);
    spawned.map(drop).map_err(start_error("starting the first cycle"))
}

/// The reader for scrapes, if the endpoint listens, or if there is no other reader.
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

/// Whether this table has other rows than the present one, or other limits: the instruments of a provider are created for
/// one of them.
pub(super) fn other_rows(sources: &Sources, table: &crate::metric::Table) -> bool {
    let now = sources.table();
    now.rows().len() != table.rows().len() || now.rows().any(|row| now.limit(row) != table.limit(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_push_with_the_same_settings_is_due_when_the_next_was_and_another_within_an_interval() {
        let yaml = "export: {otlp: {interval: 10s, jitter: 24h}}\n";
        let otlp = Config::parse(yaml, Path::new("connscope.yaml")).unwrap().export.otlp;
        let next = Instant::now();
        let after = |now: u64| due_after(&otlp, Some(next), next + Duration::from_secs(now)) - next;
        assert_eq!(due_after(&otlp, Some(next + otlp.interval), next), next + otlp.interval, "not due yet");
        assert_eq!([0, 1, 10, 25].map(after), [0, 10, 10, 30].map(Duration::from_secs), "at its pace");
        let due: Vec<_> = (0..100).map(|_| due_after(&otlp, None, next) - next).collect();
        assert!(due.iter().all(|due| *due <= otlp.interval), "{due:?}");
        assert!(due.iter().any(|one| *one != due[0]), "it is a random time: {due:?}");
    }
}
