//! The push reader: OTLP over gRPC or HTTP/protobuf.
//!
//! The SDK's periodic reader drives the cycles and passes each to this exporter. The exporter is our own, and encodes
//! its messages itself ([`encode`]), for three reasons that no setting of `opentelemetry-otlp` changes:
//!
//! - The distributions that sources keep are part of the same message, and code outside of the SDK cannot put them into
//!   `ResourceMetrics`, which is the only input of that crate's exporter.
//! - Receivers refuse gRPC messages over 4 MiB; that crate sends a collection as one message.
//! - Outcomes (errors by type, rejected data points) are metrics here; that crate only logs them.
//!
//! `opentelemetry-otlp` is the reference with which the tests compare this exporter (`tests/export/reference.rs`):
//! messages, statuses that are retried, variables. Each intended difference is listed there with its reason.

#![expect(clippy::disallowed_methods, reason = "the end of an export is recorded here")]

use super::{Reader, Shared, encode};
use crate::catalog::Config;
use crate::config::{Otlp, Protocol, endpoint};
use crate::cycle::Cycle;
use crate::export::outcomes::Exports;
use crate::export::resource::CurrentResource;
use crate::metric::Label;
use crate::metric::naming::Profile;
use crate::reading::first::ReaderKind;
use crate::stop::Stop;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use sender::Sender;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::instruments;

mod connect;
pub mod grpc;
pub mod http;
mod kept;
mod link;
mod proxy;
pub mod refusal;
pub mod retry;
mod sender;
mod tls;
pub mod transport;

/// `User-Agent` of the exporter (`specification/protocol/exporter.md`, "User Agent").
const USER_AGENT: &str =
    concat!("connscope/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// Exporter for the SDK's periodic reader.
pub struct Exporter {
    sender: Arc<Sender>,
    cycle: Arc<Cycle>,
    runtime: tokio::runtime::Handle,
    resource: CurrentResource,
    /// Whether an export has begun.
    begun: AtomicBool,
}

/// Labels of the metrics of the exporter, as in the semantic conventions.
pub fn labels(otlp: &Otlp) -> Vec<(Label, Arc<str>)> {
    let kind = match otlp.protocol {
        Protocol::HttpProtobuf => "otlp_http_metric_exporter",
        _ => "otlp_grpc_metric_exporter",
    };
    let mut labels: Vec<(Label, Arc<str>)> =
        vec![(Label::ComponentName, format!("{kind}/0").into()), (Label::ComponentType, kind.into())];
    let endpoint = otlp.endpoint.as_deref().unwrap_or_default();
    if let Some(path) = endpoint::unix_path(endpoint) {
        labels.push((Label::ServerAddress, path.display().to_string().into()));
    } else if let Ok(uri) = endpoint.parse() {
        let (host, port) = connect::host_and_port(&uri);
        labels.push((Label::ServerAddress, host.into()));
        labels.push((Label::ServerPort, port.to_string().into()));
    }
    labels
}

/// Creates the exporter of the configuration; `None` if it is disabled. The error names the part of the configuration
/// that is wrong, such as a certificate that cannot be read.
pub fn exporter(
    shared: &Shared,
    config: &Config,
    exports: &Arc<Exports>,
    runtime: &tokio::runtime::Handle,
    stop: &Stop,
) -> Result<Option<Exporter>, String> {
    let otlp = &config.export.otlp;
    if otlp.protocol == Protocol::None {
        return Ok(None);
    }
    if let Some(preference) = &config.environment.temporality {
        tracing::warn!(
            "{preference} temporality is not supported; connscope exports cumulative counters: a delta that is lost in \
             transit cannot be recovered"
        );
    }
    Exporter::new(shared, otlp, exports, runtime, stop).map(Some)
}

/// Reads the certificates that the push needs. The error names the key and the file.
pub fn check_files(otlp: &Otlp) -> Result<(), String> {
    let secure = otlp.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("https:"));
    if otlp.protocol == Protocol::None || !secure {
        return Ok(());
    }
    tls::Tls::new(&otlp.tls, b"h2").map(drop)
}

/// Validates the variables that name a proxy, if the receiver of this configuration is reached through one. The error
/// names the variable.
pub fn check_proxy(otlp: &Otlp, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<(), String> {
    let receiver = otlp.endpoint.as_ref().and_then(|endpoint| endpoint.parse().ok());
    match receiver {
        Some(receiver) if otlp.protocol == Protocol::HttpProtobuf => {
            proxy::Proxy::of(&receiver, variable).map(drop)
        }
        _ => Ok(()),
    }
}

/// Starts the periodic reader.
pub fn start(exporter: Exporter, shared: &Shared, config: &Config) -> Reader {
    let interval = config.export.otlp.interval;
    let cycle = Arc::clone(&exporter.cycle);
    cycle.progress.every(interval);
    let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
    Reader::new(shared, cycle, reader, Profile::Otel, config.environment.exponential_histograms)
}

impl Exporter {
    /// Creates an exporter with a cycle of its own. The error names the part of the configuration that is wrong.
    pub fn new(
        shared: &Shared,
        otlp: &Otlp,
        exports: &Arc<Exports>,
        runtime: &tokio::runtime::Handle,
        stop: &Stop,
    ) -> Result<Self, String> {
        let sender = Sender::new(otlp, exports, &shared.recorder, stop)?;
        let (resource, begun) = (shared.resource.clone(), AtomicBool::new(false));
        Ok(Self {
            sender: Arc::new(sender),
            cycle: shared.cycle(ReaderKind::Otlp),
            runtime: runtime.clone(),
            resource,
            begun,
        })
    }

    /// Gives it another cycle, of the rows that the sources have now: a reload prepares its exporter before it replaces them.
    pub fn renew_cycle(&mut self, shared: &Shared) {
        self.cycle = shared.cycle(ReaderKind::Otlp);
    }
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let snapshot = self.cycle.finish();
        self.cycle.progress.exporting();
        // The reader's thread, which may wait.
        let first = !self.begun.swap(true, Ordering::Relaxed);
        let resource = if first { self.resource.at_first_export() } else { self.resource.now() };
        let messages = encode::messages(metrics, resource.as_ref(), &snapshot, encode::pack::MAX_BYTES);
        let readings = snapshot.readings();
        drop(snapshot);
        let sender = Arc::clone(&self.sender);
        sender.refresh();
        // The reader's thread is outside of the runtime of the connection. The message is sent from the one thread of
        // that runtime: if another thread sends while a connection ends, the message may stay in hyper's queue without
        // a response.
        let sent = self.runtime.spawn(async move { sender.send(messages).await }).await;
        super::release_memory(readings);
        if sent.as_ref().is_err_and(tokio::task::JoinError::is_cancelled) {
            // The runtime is gone: the agent has stopped during the last push.
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let failure = match &sent {
            Ok(Ok(())) => None,
            Ok(Err(refusal)) => Some(refusal.message.clone()),
            Err(error) => Some(error.to_string()),
        };
        self.cycle.health().pushed(failure.as_deref());
        self.cycle.progress.waiting(Instant::now());
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err(OTelSdkError::InternalFailure(refusal.message)),
            Err(error) => {
                tracing::error!(%error, "the export panicked; this is a defect of connscope");
                Err(OTelSdkError::InternalFailure(error.to_string()))
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // nothing is buffered
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
