//! The push side: OTLP over gRPC or HTTP/protobuf.
//!
//! The SDK's periodic reader drives the cycles and hands each to the exporter here. It is our own over
//! `opentelemetry-proto` (the messages and the gRPC client that `opentelemetry-otlp` is made of), because that crate's
//! exporter cannot do what is asked of this one: split what is larger than a message may be (`ResourceMetrics` cannot be
//! made outside the SDK), tell how many points a receiver rejected, say what the receiver said, and read certificates.

use super::{Reader, Shared, distributions};
use crate::config::{Config, Otlp, Protocol, values};
use crate::cycle::Cycle;
use crate::metric::label::{ErrorType, Label};
use crate::metric::naming::Profile;
use crate::metric::table as metrics;
use crate::stop::Stop;
use crate::timeouts;
use crate::vitals::Exports;
use instruments::Recorder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use split::MOST_BYTES;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use transport::{Refusal, Transport};

use super::instruments;

mod connect;
pub mod grpc;
pub mod http;
mod proxy;
pub mod split;
mod tls;
pub mod transport;

/// How often one message is tried before the cycle's export has failed.
const TRIES: u32 = 5;

/// Sends what the periodic reader collects.
pub struct Exporter {
    sender: Arc<Sender>,
    cycle: Arc<Cycle>,
    runtime: tokio::runtime::Handle,
}

struct Sender {
    transport: Transport,
    /// URL of the receiver, for the log.
    endpoint: String,
    timeout: Duration,
    exports: Arc<Exports>,
    recorder: Recorder,
    link: Mutex<Link>,
    stop: Stop,
}

/// What was last said of the receiver.
#[derive(Debug, Default)]
struct Link {
    state: State,
    failed: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Untried,
    Up,
    Rejecting,
    Down,
}

/// The labels under which the semantic conventions want the outcome of exports.
pub fn labels(otlp: &Otlp) -> Vec<(Label, Arc<str>)> {
    let kind = match otlp.protocol {
        Protocol::HttpProtobuf => "otlp_http_metric_exporter",
        _ => "otlp_grpc_metric_exporter",
    };
    let mut labels: Vec<(Label, Arc<str>)> =
        vec![(Label::ComponentName, format!("{kind}/0").into()), (Label::ComponentType, kind.into())];
    let endpoint = otlp.endpoint.as_deref().unwrap_or_default();
    if let Some(path) = values::unix_path(endpoint) {
        labels.push((Label::ServerAddress, path.display().to_string().into()));
    } else if let Ok(uri) = endpoint.parse() {
        let (host, port) = connect::host_and_port(&uri);
        labels.push((Label::ServerAddress, host.into()));
        labels.push((Label::ServerPort, port.to_string().into()));
    }
    labels
}

/// Starts pushing; `None` where the configuration does not want it. The error names what in the configuration is
/// wrong (a certificate that cannot be read, say).
pub fn start(
    shared: &Shared,
    config: &Config,
    exports: &Arc<Exports>,
    runtime: &tokio::runtime::Handle,
    stop: &Stop,
) -> Result<Option<Reader>, String> {
    let otlp = &config.export.otlp;
    if otlp.protocol == Protocol::None {
        return Ok(None);
    }
    if let Some(preference) = &config.environment.temporality {
        tracing::warn!(
            "{preference} temporality was asked for; connscope stays cumulative: kernel counters are totals, and a \
             difference that is lost on the way is lost for good"
        );
    }
    let sender = Sender {
        transport: Transport::new(otlp, &|name| std::env::var_os(name))?,
        endpoint: otlp.endpoint.clone().unwrap_or_default(),
        timeout: otlp.timeout,
        exports: Arc::clone(exports),
        recorder: shared.recorder.clone(),
        link: Mutex::default(),
        stop: stop.clone(),
    };
    let cycle = shared.cycle();
    let exporter = Exporter { sender: Arc::new(sender), cycle: Arc::clone(&cycle), runtime: runtime.clone() };
    let reader = PeriodicReader::builder(exporter).with_interval(otlp.interval).build();
    Ok(Some(Reader::new(shared, cycle, reader, Profile::Otel, config.environment.exponential_histograms)))
}

impl PushMetricExporter for Exporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let snapshot = self.cycle.finish();
        let request = distributions::request(metrics, &snapshot);
        let readings = snapshot.readings();
        drop(snapshot);
        let sender = Arc::clone(&self.sender);
        sender.transport.refresh();
        // The reader's thread is outside the runtime that the connection lives in.
        let sent = self.runtime.spawn(async move { sender.send(request).await }).await;
        super::give_memory_back(readings);
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(refusal)) => Err(OTelSdkError::InternalFailure(refusal.message)),
            Err(error) => {
                tracing::error!(%error, "the export broke; this is a defect of connscope");
                Err(OTelSdkError::InternalFailure(error.to_string()))
            }
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(()) // nothing is held back
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl Sender {
    /// Sends one collection, in as many messages as it takes.
    async fn send(&self, request: ExportMetricsServiceRequest) -> Result<(), Refusal> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut worst: Result<(), Refusal> = Ok(());
        for message in split::split(request, MOST_BYTES) {
            let points = split::points(&message);
            self.exports.begin(points);
            match self.send_message(message, deadline).await {
                Ok(rejected) if rejected.points == 0 => {
                    self.exports.end(points, None);
                    if !rejected.message.is_empty() {
                        // Nothing was thrown away: a receiver's advice to whoever reads closely.
                        tracing::debug!(endpoint = self.endpoint.as_str(), advice = rejected.message);
                    }
                }
                Ok(rejected) => {
                    let lost = rejected.points.min(points);
                    self.exports.end(points - lost, None);
                    self.exports.end(lost, Some(ErrorType::REJECTED));
                    let text = format!("rejected {lost} of {points} data points: {}", rejected.message);
                    worst = worst.and(Err(Refusal::new(ErrorType::REJECTED, text)));
                }
                Err(refusal) => {
                    self.exports.end(points, Some(refusal.error));
                    worst = worst.and(Err(refusal));
                }
            }
        }
        let error = worst.as_ref().err().map(|refusal| refusal.error);
        let took = started.elapsed().as_secs_f64();
        self.recorder.record(metrics::OTEL_OPERATION_DURATION, &self.exports.labels(error), took);
        self.note(&worst);
        worst
    }

    /// Sends one message, again where that may help, until the deadline.
    async fn send_message(
        &self,
        message: ExportMetricsServiceRequest,
        deadline: Instant,
    ) -> Result<transport::Rejected, Refusal> {
        let mut pause = timeouts::RETRY_FIRST;
        let mut tried = 0;
        let mut said: Option<Refusal> = None;
        loop {
            tried += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = tokio::select! {
                attempt = tokio::time::timeout(left, self.transport.send(&message, left)) => attempt,
                () = self.stop.exhausted(timeouts::LAST_EXPORT) => {
                    return Err(Refusal::new(ErrorType::TIMEOUT, "given up, the agent is stopping"));
                }
            };
            let refusal = match attempt {
                Ok(Ok(rejected)) => return Ok(rejected),
                Ok(Err(refusal)) => refusal,
                Err(_) => {
                    let waited = humantime::format_duration(self.timeout);
                    // A receiver that has refused before the time was up has said more than the time.
                    return Err(said.unwrap_or_else(|| {
                        Refusal::new(ErrorType::TIMEOUT, format!("no answer within {waited}"))
                    }));
                }
            };
            let wait = refusal.retry_after.unwrap_or_else(|| jittered(pause));
            // A receiver may name a time that no clock reaches.
            let too_late = Instant::now().checked_add(wait).is_none_or(|again| again >= deadline);
            if !refusal.retryable || tried >= TRIES || too_late || self.stop.draining() {
                return Err(refusal);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The last cycle is waiting; it has what this message has, and newer.
                () = self.stop.exhausted(Duration::ZERO) => return Err(refusal),
            }
            pause = (pause * 2).min(timeouts::RETRY_MOST);
            said = Some(refusal);
        }
    }

    /// Logs what has changed: one line when the receiver goes, one when it is back.
    fn note(&self, outcome: &Result<(), Refusal>) {
        let endpoint = self.endpoint.as_str();
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match outcome {
            Ok(()) => State::Up,
            Err(refusal) if refusal.error == ErrorType::REJECTED => State::Rejecting,
            Err(_) => State::Down,
        };
        let before = std::mem::replace(&mut link.state, now);
        match (before, now, outcome) {
            (State::Untried, State::Up, _) => tracing::info!(endpoint, "pushing over OTLP"),
            (State::Down | State::Rejecting, State::Up, _) => {
                let failed = link.failed;
                tracing::info!(endpoint, failed, "pushing over OTLP again; the counters have lost nothing");
            }
            (before, now, Err(refusal)) if before != now => {
                let error_type = refusal.error.word();
                let (what, then) = match now {
                    _ if self.stop.draining() => ("the last push over OTLP failed", "the agent is leaving"),
                    State::Rejecting => {
                        ("the OTLP receiver throws data points away", "it is sent all of them in every cycle")
                    }
                    _ => ("cannot push over OTLP", "tried again in every cycle"),
                };
                tracing::warn!(endpoint, error.r#type = error_type, "{what}: {}; {then}", refusal.message);
            }
            _ => {}
        }
        link.failed = if now == State::Up { 0 } else { link.failed + 1 };
    }
}

/// A pause between a half and the whole of what is due, so that agents that lost their receiver together do not come
/// back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(());
    let half = pause / 2;
    let thousandths = u32::try_from(random % 1000).unwrap_or(0);
    half + half * thousandths / 1000
}
