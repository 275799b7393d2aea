//! The life cycle of the agent: start, run until a signal, flush, exit.

#![expect(clippy::disallowed_methods, reason = "the phases of a shutdown share one deadline")]

use crate::catalog::{Config, SOURCES};
use crate::cloud::{self, Cloud};
use crate::config::{Export, Protocol, endpoint};
use crate::cycle::Sources;
use crate::cycle::set::{SourceDependencies, SourceSet};
use crate::export::instruments::HistogramRecorder;
use crate::export::outcomes::Exports;
use crate::export::resource::{self, CurrentResource};
use crate::export::{self, Shared, otlp};
use crate::host::Host;
use crate::metric::{Part, Table};
use crate::reading::chain;
use crate::runtime;
use crate::self_metrics::{self, ConfigLoadStatus, SelfMetrics};
use crate::signals::{self, ShutdownMode};
use crate::source::{Mode, list};
use crate::stop::Stop;
use crate::sys::activation::{HandedOver, ListeningSocket};
use crate::sys::{names, process};
use crate::timeouts;
use crate::web::Web;
use crate::web::guard::Guard;
use crate::web::lifecycle::{ReloadQueue, ReloadRequests};
use crate::web::listener::{self, BindError, Bound, SocketFile};
use crate::web::timeouts::SOCKETS;
use readers::Prepared;
use reload::{ActiveConfig, Given, Load, Reloader};
use service::Service;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};

mod readers;
pub mod reload;
mod service;
pub mod startable;

/// Reason why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration is invalid.
    #[error("{0}")]
    Input(String),
    /// The system refused something.
    #[error("{doing}")]
    Start {
        /// The operation that failed, as a phrase.
        doing: String,
        /// The underlying error.
        #[source]
        cause: std::io::Error,
    },
    /// Another error.
    #[error("{0}")]
    Failed(String),
}

/// The parts of the table that belong to no source: those of the exporter, and of the agent itself.
const OWN_PARTS: [&Part; 2] = [&export::metrics::PART, &self_metrics::metrics::PART];

/// The parts of the table: those of the sources, of the exporter, and of the agent itself.
pub fn parts() -> Vec<&'static Part> {
    list::parts(SOURCES).chain(OWN_PARTS).collect()
}

/// The table of an agent with this configuration: the rows of the enabled sources, with their bounds. The rows of a
/// disabled source are not in it: each would be an instrument that the SDK collects in every cycle, empty.
pub fn table(config: &Config, host: &Host) -> Result<Arc<Table>, AgentError> {
    let parts: Vec<_> = list::enabled_parts(SOURCES, &config.sources).chain(OWN_PARTS).collect();
    let bounds = list::bounds(SOURCES, &config.sources, host);
    Table::of(&parts, &bounds).map(Arc::new).map_err(|error| AgentError::Failed(error.to_string()))
}

/// The sources and the table for one cycle of this configuration.
pub fn shared(config: &Config, stop: &Stop) -> Result<Shared, AgentError> {
    export::start_time::note();
    let (host, cloud) = host(config, stop);
    // What is printed is complete, if the cloud answers.
    cloud.awaited(cloud::timeouts::FIRST_EXPORT);
    started(config, &host, &cloud, Mode::Once, Vec::new(), stop)
}

/// The sources and the table for repeated cycles of this configuration. Nothing is waited for.
pub fn watched(config: &Config, stop: &Stop) -> Result<Shared, AgentError> {
    export::start_time::note();
    let (host, cloud) = host(config, stop);
    started(config, &host, &cloud, Mode::Run, Vec::new(), stop)
}

/// The machine, in its cloud, which is asked from now on.
fn host(config: &Config, stop: &Stop) -> (Host, Arc<Cloud>) {
    let cloud = Arc::new(Cloud::new(&config.resource.cloud, &config.inventory.root));
    if !config.environment.disabled
        && let Err(error) = cloud.start(stop)
    {
        tracing::warn!(%error, "the cloud's metadata is not asked for: the thread could not be started");
    }
    (Host::new(&config.inventory).in_cloud(&cloud), cloud)
}

fn started(
    config: &Config,
    host: &Host,
    cloud: &Arc<Cloud>,
    mode: Mode,
    self_metrics: Vec<Arc<dyn SelfMetrics>>,
    stop: &Stop,
) -> Result<Shared, AgentError> {
    if let Err(error) = process::raise_descriptors() {
        tracing::debug!(%error, "the limit of open descriptors could not be raised");
    }
    let table = table(config, host)?;
    let dependencies = SourceDependencies { host, mode, table, self_metrics, stop };
    let set = SourceSet::start(SOURCES, &config.sources, dependencies, |_| None)
        .map_err(|error| AgentError::Failed(chain(&error)))?;
    Ok(Shared {
        resource: CurrentResource::new(config, cloud),
        sources: Arc::new(Sources::new(set, stop)),
        recorder: HistogramRecorder::default(),
    })
}

/// Runs the agent until SIGTERM or SIGINT. `load` loads the configuration again for a reload; `handed_over` are the
/// sockets passed by the service manager.
pub fn run(config: Config, load: Load, handed_over: Vec<HandedOver>) -> Result<(), AgentError> {
    if let Some(why) = exports_nothing(&config) {
        return Err(AgentError::Input(why.to_owned()));
    }
    let (reloads, queue) = ReloadRequests::channel();
    let hang_up = reloads.clone();
    let stop = stop_on_signals(ShutdownMode::Drain(Box::new(move || drop(hang_up.ask()))))?;
    let runtime =
        runtime::of_one_thread("export-blocking", 4).map_err(start_error("starting the runtime"))?;
    let ended = runtime.block_on(run_until_stopped(config, load, handed_over, (reloads, queue), &stop));
    // A source that still blocks ends with the process.
    runtime.shutdown_background();
    ended
}

fn start_error(doing: &str) -> impl FnOnce(io::Error) -> AgentError {
    let doing = doing.to_owned();
    move |cause| AgentError::Start { doing, cause }
}

/// The reason why this configuration exports nothing, and what to set; `None` if it does.
fn exports_nothing(config: &Config) -> Option<&'static str> {
    let Export { otlp, prometheus } = &config.export;
    let exported = otlp.protocol != Protocol::None || !prometheus.listen.is_off();
    (!exported && !config.environment.console && !config.environment.disabled).then_some(
        "nothing is exported: set export.otlp.protocol to grpc or http/protobuf, or export.prometheus.listen to an address",
    )
}

/// A stop token that a signal triggers.
pub fn stop_on_signals(ending: ShutdownMode) -> Result<Stop, AgentError> {
    let stop = Stop::new().map_err(start_error("making an eventfd"))?;
    signals::listen(&stop, ending).map_err(start_error("listening for signals"))?;
    Ok(stop)
}

async fn run_until_stopped(
    config: Config,
    load: Load,
    handed_over: Vec<HandedOver>,
    (reloads, mut queue): (ReloadRequests, ReloadQueue),
    stop: &Stop,
) -> Result<(), AgentError> {
    let names = handed_over.iter().map(|one| one.name.clone()).collect();
    let given = Given { load, handed_over: names, resource: resource::resource(&config) };
    // The addresses are bound first: an agent that cannot listen does not push either. Resolving a name may take long.
    let Bound { sockets, mut files } = tokio::select! {
        bound = Bound::all(&config.export.prometheus, handed_over) => bound.map_err(cannot_listen)?,
        () = stop.exhausted(Duration::ZERO) => return Ok(()),
    };
    // Preparing the sources may block (files, certificates), and this thread must handle a stop meanwhile.
    let (handle, token) = (Handle::current(), stop.clone());
    let collecting = !config.environment.disabled;
    let (failed, mut failure) = mpsc::unbounded_channel();
    let starting = tokio::task::spawn_blocking(move || {
        start(config, given, sockets, reloads, failed, &handle, &token).map(Arc::new)
    });
    let reloader = tokio::select! {
        started = starting => started.map_err(|error| AgentError::Failed(format!("starting: {error}")))??,
        () = stop.exhausted(Duration::ZERO) => return Ok(()),
    };
    let service = Arc::new(Service::of_process());
    let sources = Arc::clone(&reloader.shared.sources);
    tokio::spawn(Arc::clone(&service).notify(sources, collecting, stop.clone()));
    let mut socket_look = tokio::time::interval(SOCKETS);
    loop {
        tokio::select! {
            () = stop.exhausted(Duration::ZERO) => break,
            _ = socket_look.tick(), if !files.is_empty() => make_sockets_again(&mut files, reloader.web.as_deref()),
            Some(cause) = failure.recv() => return Err(AgentError::Failed(cause)),
            Some(first) = queue.recv() => {
                let mut waiting = vec![first];
                while let Ok(more) = queue.try_recv() {
                    waiting.push(more);
                }
                service.reloading();
                let own = Arc::clone(&reloader);
                let reloaded = tokio::select! {
                    reloaded = tokio::task::spawn_blocking(move || own.reload()) => reloaded,
                    () = stop.exhausted(Duration::ZERO) => break,
                };
                let reloaded = reloaded.unwrap_or_else(|_| Err(reload::PANICKED.to_owned()));
                service.reloaded(&reloader.shared.sources);
                for who in waiting {
                    let _gone = who.send(reloaded.clone());
                }
            }
        }
    }
    let leave_by = Instant::now() + timeouts::EXIT;
    let token = stop.clone();
    let left = tokio::task::spawn_blocking(move || leave(reloader, &token, leave_by));
    let _in_time_or_not = tokio::time::timeout_at((leave_by + timeouts::REAP).into(), left).await;
    Ok(())
}

/// Recreates Unix sockets whose files were removed, since no scraper can reach them any more.
fn make_sockets_again(files: &mut [SocketFile], web: Option<&Web>) {
    for file in files.iter_mut().filter(|file| file.is_removed()) {
        match file.make_again() {
            Ok(socket) => {
                tracing::warn!("the socket {} was removed, and was made again", file.path().display());
                if let Some(web) = web {
                    web.listen(socket);
                }
            }
            // Its directory may be gone too; tried again later.
            Err(error) => tracing::debug!("a socket was removed: {}", chain(&error)),
        }
    }
}

/// Starts the sources, the readers, the endpoint, and a first cycle.
fn start(
    config: Config,
    given: Given,
    sockets: Vec<ListeningSocket>,
    reloads: ReloadRequests,
    failed: UnboundedSender<String>,
    runtime: &Handle,
    stop: &Stop,
) -> Result<Reloader, AgentError> {
    // Before anything counts, the exports included.
    export::start_time::note();
    let exports = Arc::new(Exports::new(otlp::labels(&config.export.otlp)));
    let loads = Arc::new(ConfigLoadStatus::new(SystemTime::now()));
    let (host, cloud) = host(&config, stop);
    let self_metrics = reload::self_metrics(&config, &exports, &loads);
    let shared = started(&config, &host, &cloud, Mode::Run, self_metrics, stop)?;
    let wait = readers::initial_delay(&config);
    let push = Prepared::new(&config, &shared, &exports, runtime, stop)?.start(
        &config,
        &shared,
        Instant::now() + wait,
    );
    let listening = !sockets.is_empty();
    let pull = readers::pull(&config, &shared, listening, &push)?;
    let guard = startable::web_config(&config)
        .map(|file| Guard::start(file, &loads, stop))
        .transpose()
        .map_err(AgentError::Input)?;
    let secure = guard.as_ref().is_some_and(|guard| guard.acceptor().is_some());
    let urls = listener::urls(&sockets, if secure { "https" } else { "http" });
    reload::record_history(&config, &shared.sources, listening);
    let web = listening.then(|| {
        let current = reload::current(&config, pull.clone());
        let web =
            Arc::new(Web::new(current, Arc::clone(&shared.sources), reloads, Arc::clone(&loads), guard)?);
        web.start(sockets, stop).map(|()| web)
    });
    let web = web.transpose().map_err(start_error("starting the HTTP endpoint"))?;
    log_start(&config, &urls, wait);
    readers::first_cycle(&push, pull.is_some(), &shared.sources, failed.clone())?;
    let running = Mutex::new(Some(ActiveConfig { config, exports, push, pull }));
    let (runtime, stop) = (runtime.clone(), stop.clone());
    Ok(Reloader { given, host, shared, loads, web, runtime, stop, failed, running })
}

/// Runs a last cycle with its export, then stops everything that still runs, by `leave_by` at the latest.
fn leave(reloader: Arc<Reloader>, stop: &Stop, leave_by: Instant) {
    let (flushed, wait) = std::sync::mpsc::channel();
    let own = Arc::clone(&reloader);
    let flush = move || {
        // A reload that is starting sources or readers is waited for.
        if let Some(ActiveConfig { mut push, .. }) = own.take() {
            push.flush();
        }
        drop(own);
        let _nobody_waits = flushed.send(());
    };
    match std::thread::Builder::new().name("flush".to_owned()).spawn(flush) {
        Ok(_) => {
            let left = leave_by.saturating_duration_since(Instant::now());
            let _in_time_or_not = wait.recv_timeout(left);
        }
        Err(error) => {
            tracing::warn!(%error, "the last export was skipped: its thread could not be started");
        }
    }
    stop.kill();
    let until = leave_by.max(Instant::now() + timeouts::REAP);
    let sources = Arc::into_inner(reloader).map(|reloader| reloader.shared.sources);
    if let Some(sources) = sources.and_then(Arc::into_inner) {
        sources.finish(until);
    } else {
        // A reader is still in a cycle; its child process was killed and is being reaped.
        std::thread::sleep(timeouts::REAP);
    }
}

/// An address that the machine does not have, and a name that does not exist, are configuration errors; an address in use, or a
/// name server that does not answer or cannot be reached, is not.
fn cannot_listen(error: BindError) -> AgentError {
    let kinds = [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::TimedOut];
    if kinds.contains(&error.cause.kind()) || names::is_temporary(&error.cause) {
        return AgentError::Start { doing: error.to_string(), cause: error.cause };
    }
    AgentError::Input(chain(&error))
}

fn log_start(config: &Config, urls: &[String], wait: Duration) {
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
    let metrics = (!urls.is_empty()).then(|| urls.join(", "));
    tracing::info!(
        version,
        metrics,
        interval = otlp.is_some().then_some(interval),
        first_export = otlp.is_some().then(|| format!("in {:.1} s", wait.as_secs_f64())),
        otlp,
        "connscope is running"
    );
}
