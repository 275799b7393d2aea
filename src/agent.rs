//! The life of the agent: start, run until a signal, flush, leave.

use crate::catalog;
use crate::config::{Config, Listen, Protocol, endpoint};
use crate::cycle::Sources;
use crate::export::instruments::Recorder;
use crate::export::outcomes::Exports;
use crate::export::prometheus::Pull;
use crate::export::{self, Reader, Shared, otlp, resource, stdout};
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Part, Table};
use crate::source::chain;
use crate::stop::Stop;
use crate::sys::process;
use crate::timeouts;
use crate::vitals::{self, Vital};
use crate::web::{self, Web};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Something in the configuration is wrong.
    #[error("{0}")]
    Input(String),
    /// The machine did not give what was needed.
    #[error("{doing}")]
    Start {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        cause: std::io::Error,
    },
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// The parts of the table: those of the sources, of the exporter, and of the agent itself.
pub fn parts() -> Vec<&'static Part> {
    catalog::parts().chain([&export::metrics::PART, &vitals::metrics::PART]).collect()
}

/// The table, with what this configuration makes of its bounds.
pub fn table(bounds: &Bounds) -> Result<Arc<Table>, AgentError> {
    Table::of(&parts(), bounds).map(Arc::new).map_err(|error| AgentError::Failed(error.to_string()))
}

/// Everything that readers share, for this configuration.
pub fn shared(config: &Config, exports: Option<Arc<dyn Vital>>, stop: &Stop) -> Result<Shared, AgentError> {
    if let Err(error) = process::raise_descriptors() {
        tracing::debug!(%error, "the limit of open descriptors stays what it is");
    }
    let sources = Sources::start(config, table(&catalog::bounds(config))?, exports, stop)
        .map_err(|error| AgentError::Failed(chain(&error)))?;
    Ok(Shared {
        resource: resource::resource(config),
        sources: Arc::new(sources),
        recorder: Recorder::default(),
    })
}

/// Makes the TLS library's choice of cryptography once for the process.
fn choose_cryptography() {
    // Chosen already: by an earlier call of ours.
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
}

/// Runs the agent until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Result<(), AgentError> {
    choose_cryptography();
    let stop = new_stop()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1) // an HTTP endpoint and one connection to the receiver; the cycles have threads of their own
        .max_blocking_threads(8)
        .thread_name("runtime")
        .enable_all()
        .build()
        .map_err(|cause| AgentError::Start { doing: "starting the runtime".to_owned(), cause })?;
    let ended = runtime.block_on(live(config, &stop));
    // What still blocks (a source that hangs) ends with the process.
    runtime.shutdown_background();
    ended
}

/// A token to stop with.
pub fn new_stop() -> Result<Stop, AgentError> {
    Stop::new().map_err(|cause| AgentError::Start { doing: "making an eventfd".to_owned(), cause })
}

/// For the commands that end by themselves: a signal kills the child that is running, which is in a process group
/// of its own and would outlive the command; the command then ends with what it has.
pub fn kill_on_signal(stop: &Stop) -> Result<(), AgentError> {
    let failed = |cause| AgentError::Start { doing: "listening for signals".to_owned(), cause };
    let stop = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let listening = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    drop(listening);
    let listen = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        stop.kill();
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    Ok(())
}

async fn live(config: &Config, stop: &Stop) -> Result<(), AgentError> {
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |cause| AgentError::Start { doing, cause }
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("listening for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("listening for SIGINT"))?;
    // The address first: an agent that cannot listen is not to push either.
    let listener = match &config.export.prometheus.listen {
        Listen::Off => None,
        Listen::At { host, port } => {
            let bound = web::bind(host, *port).await;
            Some(bound.map_err(|cause| cannot_listen(&config.export.prometheus.listen, cause))?)
        }
    };
    let exports = Arc::new(Exports::new(otlp::labels(&config.export.otlp)));
    let enabled = !config.environment.disabled;
    let pushing = enabled && config.export.otlp.protocol != Protocol::None;
    let shared = shared(config, pushing.then(|| exports.clone() as Arc<dyn Vital>), stop)?;
    let readers = if enabled { push(config, &shared, &exports, stop)? } else { Vec::new() };
    let pull = if enabled && (listener.is_some() || readers.is_empty()) {
        let pull = Pull::new(&shared, config.export.prometheus.naming).map_err(AgentError::Failed)?;
        Some(Arc::new(pull))
    } else {
        None
    };
    say_start(config, listener.as_ref().map(|(_, address)| *address));
    first_cycle(&readers, pull.as_ref());
    let served = listener.map(|(listener, _)| {
        let interval = pushing.then_some(config.export.otlp.interval);
        let web = Web::new(pull.clone(), Arc::clone(&shared.sources), interval);
        tokio::spawn(Arc::new(web).serve(listener))
    });
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM, leaving"),
        _ = interrupt.recv() => tracing::info!("SIGINT, leaving"),
    }
    let leave_by = Instant::now() + timeouts::EXIT;
    stop.drain();
    served.inspect(tokio::task::JoinHandle::abort);
    let providers: Vec<SdkMeterProvider> = readers.iter().map(|reader| reader.provider.clone()).collect();
    let flushed = tokio::task::spawn_blocking(move || {
        for provider in providers {
            // The exporter has logged how its last export ended.
            let _logged = provider.shutdown();
        }
    });
    let _in_time_or_not = tokio::time::timeout_at(leave_by.into(), flushed).await;
    stop.kill();
    drop((readers, pull));
    if let Some(sources) = Arc::into_inner(shared.sources) {
        let until = leave_by.max(Instant::now() + timeouts::REAP);
        let _ended = tokio::task::spawn_blocking(move || sources.finish(until)).await;
    } else {
        // A reader is still in a cycle; its child was just killed and is being reaped.
        tokio::time::sleep(timeouts::REAP).await;
    }
    Ok(())
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
    stop: &Stop,
) -> Result<Vec<Reader>, AgentError> {
    let runtime = tokio::runtime::Handle::current();
    let otlp = otlp::start(shared, config, exports, &runtime, stop).map_err(AgentError::Input)?;
    let console = config.environment.console.then(|| stdout::console(shared, config.export.otlp.interval));
    Ok(otlp.into_iter().chain(console).collect())
}

/// One cycle at once, through a reader that there is: what cannot be read is in the log within the first second, and
/// a receiver does not wait a whole interval for the first numbers.
fn first_cycle(readers: &[Reader], pull: Option<&Arc<Pull>>) {
    match (readers.first(), pull) {
        (Some(reader), _) => {
            let provider = reader.provider.clone();
            tokio::task::spawn_blocking(move || {
                let _logged = provider.force_flush();
            });
        }
        (None, Some(pull)) => {
            let pull = Arc::clone(pull);
            tokio::task::spawn_blocking(move || {
                let _logged = pull.scrape();
            });
        }
        (None, None) => {}
    }
}

fn say_start(config: &Config, address: Option<std::net::SocketAddr>) {
    let version = env!("CARGO_PKG_VERSION");
    if config.environment.disabled {
        tracing::warn!(version, "OTEL_SDK_DISABLED is true: nothing is collected and nothing sent");
        return;
    }
    if address.is_none() && config.export.otlp.protocol == Protocol::None && !config.environment.console {
        tracing::warn!("nothing is pushed and nothing can be scraped: every way out is off");
    }
    if config.sources.sockets.classic.enabled && config.export.prometheus.naming != Profile::Classic {
        tracing::warn!(
            "sources.sockets.classic is on and is nowhere to be seen: export.prometheus.naming is not classic"
        );
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
