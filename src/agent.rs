//! The life of the agent: start, run until a signal, flush, leave.

#![expect(clippy::disallowed_methods, reason = "the parts of stopping share one deadline")]

use crate::catalog::SOURCES;
use crate::config::{Config, Export, Listen, Protocol, endpoint};
use crate::cycle::Sources;
use crate::export::instruments::HistogramRecorder;
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{self, Reader, Shared, otlp, resource, stdout};
use crate::host::Host;
use crate::metric::{Bounds, Part, Table};
use crate::reading::chain;
use crate::runtime;
use crate::signals::{self, ShutdownMode};
use crate::source::{Mode, list};
use crate::stop::Stop;
use crate::sys::process;
use crate::timeouts;
use crate::vitals::{self, Vital};
use crate::web::{self, Web};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use service::Service;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

mod service;

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Something in the configuration is wrong.
    #[error("{0}")]
    Input(String),
    /// The machine did not give what was needed.
    #[error("{doing}")]
    Start {
        /// The operation that failed, as a phrase.
        doing: String,
        /// The underlying error.
        #[source]
        cause: std::io::Error,
    },
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// The parts of the table: those of the sources, of the exporter, and of the agent itself.
pub fn parts() -> Vec<&'static Part> {
    list::parts(SOURCES).chain([&export::metrics::PART, &vitals::metrics::PART]).collect()
}

/// The table, with what this configuration makes of its bounds.
pub fn table(bounds: &Bounds) -> Result<Arc<Table>, AgentError> {
    Table::of(&parts(), bounds).map(Arc::new).map_err(|error| AgentError::Failed(error.to_string()))
}

/// Everything that readers share, for this configuration.
pub fn shared(
    config: &Config,
    mode: Mode,
    exports: Option<Arc<dyn Vital>>,
    stop: &Stop,
) -> Result<Shared, AgentError> {
    if let Err(error) = process::raise_descriptors() {
        tracing::debug!(%error, "the limit of open descriptors stays what it is");
    }
    let host = Host::new(&config.inventory);
    let table = table(&list::bounds(SOURCES, &config.sources, &host))?;
    let sources = Sources::start(SOURCES, &config.sources, &host, mode, table, exports, stop)
        .map_err(|error| AgentError::Failed(chain(&error)))?;
    Ok(Shared {
        resource: resource::resource(config),
        sources: Arc::new(sources),
        recorder: HistogramRecorder::default(),
    })
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Result<(), AgentError> {
    if exports_nothing(config) {
        return Err(AgentError::Input(
            "nothing is exported: set export.otlp.protocol to grpc or http/protobuf, or export.prometheus.listen to an address"
                .to_owned(),
        ));
    }
    let stop = stop_on_signals(ShutdownMode::Drain)?;
    let runtime =
        runtime::of_one_thread("export-blocking", 4).map_err(start_error("starting the runtime"))?;
    let ended = runtime.block_on(live(config, &stop));
    // What still blocks (a source that hangs) ends with the process.
    runtime.shutdown_background();
    ended
}

fn start_error(doing: &str) -> impl FnOnce(io::Error) -> AgentError {
    let doing = doing.to_owned();
    move |cause| AgentError::Start { doing, cause }
}

/// Whether metrics are collected and cannot leave the agent.
fn exports_nothing(config: &Config) -> bool {
    let Export { otlp, prometheus } = &config.export;
    let exported = otlp.protocol != Protocol::None || prometheus.listen != Listen::Off;
    !exported && !config.environment.console && !config.environment.disabled
}

/// A token that a signal stops.
pub fn stop_on_signals(ending: ShutdownMode) -> Result<Stop, AgentError> {
    let stop = Stop::new().map_err(start_error("making an eventfd"))?;
    signals::listen(&stop, ending).map_err(start_error("listening for signals"))?;
    Ok(stop)
}

/// What runs, once everything was started.
struct Running {
    readers: Vec<Reader>,
    pull: Option<Arc<Pull>>,
    sources: Arc<Sources>,
}

async fn live(config: &Config, stop: &Stop) -> Result<(), AgentError> {
    // The address first: an agent that cannot listen is not to push either. Its name may take long to look up.
    let listener = match &config.export.prometheus.listen {
        Listen::Off => None,
        Listen::At { host, port } => tokio::select! {
            bound = web::listener::bind(host, *port) => {
                Some(bound.map_err(|cause| cannot_listen(&config.export.prometheus.listen, cause))?)
            }
            () = stop.exhausted(Duration::ZERO) => return Ok(()),
        },
    };
    // Making the sources ready may block (files, certificates); this thread must notice a stop all the same.
    let (handle, own, token) = (Handle::current(), config.clone(), stop.clone());
    let starting = tokio::task::spawn_blocking(move || start(&own, listener, &handle, &token));
    let running = tokio::select! {
        started = starting => started.map_err(|error| AgentError::Failed(format!("starting: {error}")))??,
        () = stop.exhausted(Duration::ZERO) => return Ok(()),
    };
    let service = Arc::new(Service::of_process());
    let collecting = !config.environment.disabled;
    tokio::spawn(service.tell(Arc::clone(&running.sources), collecting, stop.clone()));
    let failed = first_cycle(&running)?;
    tokio::select! {
        () = stop.exhausted(Duration::ZERO) => {}
        Ok(cause) = failed => return Err(AgentError::Failed(cause)),
    }
    let leave_by = Instant::now() + timeouts::EXIT;
    let token = stop.clone();
    let left = tokio::task::spawn_blocking(move || leave(running, &token, leave_by));
    let _in_time_or_not = tokio::time::timeout_at((leave_by + timeouts::REAP).into(), left).await;
    Ok(())
}

/// Starts everything: sources, readers, the endpoint.
fn start(
    config: &Config,
    listener: Option<TcpListener>,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Running, AgentError> {
    let exports = Arc::new(Exports::new(otlp::labels(&config.export.otlp)));
    let enabled = !config.environment.disabled;
    let pushing = enabled && config.export.otlp.protocol != Protocol::None;
    let shared = shared(config, Mode::Run, pushing.then(|| exports.clone() as Arc<dyn Vital>), stop)?;
    let readers = if enabled { push(config, &shared, &exports, runtime, stop)? } else { Vec::new() };
    let pull = if enabled && (listener.is_some() || readers.is_empty()) {
        let pull = Pull::new(&shared, config.export.prometheus.naming).map_err(AgentError::Failed)?;
        Some(Arc::new(pull))
    } else {
        None
    };
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = listener {
        let interval = pushing.then_some(config.export.otlp.interval);
        let web = Web::new(pull.clone(), Arc::clone(&shared.sources), interval, &config.export.prometheus);
        let started = web.and_then(|web| web.start(listener, stop));
        started.map_err(start_error("starting the HTTP endpoint"))?;
    }
    say_start(config, address);
    Ok(Running { readers, pull, sources: shared.sources })
}

/// One last cycle and its export, then the end of what is still running, no later than `leave_by`.
fn leave(running: Running, stop: &Stop, leave_by: Instant) {
    let Running { readers, pull, sources } = running;
    let (flushed, wait) = std::sync::mpsc::channel();
    let providers: Vec<SdkMeterProvider> = readers.iter().map(|reader| reader.provider.clone()).collect();
    let flush = move || {
        for provider in providers {
            // The exporter has logged how its last export ended.
            let _logged = provider.shutdown();
        }
        drop((readers, pull));
        let _nobody_waits = flushed.send(());
    };
    match std::thread::Builder::new().name("flush".to_owned()).spawn(flush) {
        Ok(_) => {
            let left = leave_by.saturating_duration_since(Instant::now());
            let _in_time_or_not = wait.recv_timeout(left);
        }
        Err(error) => {
            tracing::warn!(%error, "the last export was skipped: no thread could be started for it");
        }
    }
    stop.kill();
    let until = leave_by.max(Instant::now() + timeouts::REAP);
    if let Some(sources) = Arc::into_inner(sources) {
        sources.finish(until);
    } else {
        // A reader is still in a cycle; its child was just killed and is being reaped.
        std::thread::sleep(timeouts::REAP);
    }
}

/// An address that is no address of this machine's is bad input; one that is taken is not.
fn cannot_listen(listen: &Listen, cause: std::io::Error) -> AgentError {
    let doing = format!("listening on {listen}");
    match cause.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => AgentError::Start { doing, cause },
        _ => AgentError::Input(format!("{doing}: {cause}")),
    }
}

/// The readers that drive themselves.
fn push(
    config: &Config,
    shared: &Shared,
    exports: &Arc<Exports>,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Vec<Reader>, AgentError> {
    let otlp = otlp::start(shared, config, exports, runtime, stop).map_err(AgentError::Input)?;
    let console = config.environment.console.then(|| stdout::console(shared, config.export.otlp.interval));
    Ok(otlp.into_iter().chain(console).collect())
}

/// One cycle at once, through a reader that there is: what cannot be read is in the log within the first second, and
/// a receiver does not wait a whole interval for the first numbers. What is sent to the channel ends the agent: a reader of
/// the SDK has no thread, of which it tells only its own log.
fn first_cycle(running: &Running) -> Result<oneshot::Receiver<String>, AgentError> {
    let (failed, failure) = oneshot::channel();
    let provider = running.readers.first().map(|reader| reader.provider.clone());
    let pull = running.pull.clone();
    let cycle = move || match (provider, pull) {
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
    };
    let spawned = std::thread::Builder::new().name("first-cycle".to_owned()).spawn(cycle);
    spawned.map(|_| failure).map_err(start_error("starting the first cycle"))
}

fn say_start(config: &Config, address: Option<std::net::SocketAddr>) {
    let version = env!("CARGO_PKG_VERSION");
    if config.environment.disabled {
        tracing::warn!(version, "OTEL_SDK_DISABLED is true: nothing is collected and nothing sent");
        return;
    }
    for warning in list::without_effect(SOURCES, &config.sources, config.export.prometheus.naming) {
        tracing::warn!("{warning}");
    }
    let otlp = match config.export.otlp.protocol {
        Protocol::None => None,
        _ => config.export.otlp.endpoint.as_deref().map(endpoint::shown),
    };
    let interval = humantime::format_duration(config.export.otlp.interval).to_string();
    let metrics = address.map(|address| format!("http://{address}/metrics"));
    tracing::info!(
        version,
        metrics,
        interval = otlp.is_some().then_some(interval),
        otlp,
        "connscope is running"
    );
}
