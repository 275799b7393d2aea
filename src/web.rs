//! The HTTP endpoint: `/metrics`, the state of the agent ([`state`]), and the reports of the sources.
//!
//! It has a thread of its own, which renders no bodies ([`texts`]), so health requests are answered at any time.
//! Everything is bounded: connections ([`arrivals`], [`connections`]), bytes of unsent bodies, the time for a request
//! to arrive, the time without progress of a client, the duration of a connection; and the hosts that are answered
//! ([`hosts`]).

use crate::config::Prometheus;
use crate::cycle::Sources;
use crate::export::exposition;
use crate::export::prometheus::{Pull, Scrape};
use crate::history::query::Query;
use crate::self_metrics::ConfigLoadStatus;
use crate::source::report::{PendingReport, Report, ReportError, ReportRequest};
use crate::sys::activation::ListeningSocket;
use arrivals::Arrivals;
use connections::{ConnectionTicket, Connections, StallGuardedStream};
use guard::Guard;
use hosts::Hosts;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lifecycle::ReloadRequests;
use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use texts::{Renderer, Text, UnsentTexts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

pub mod arrivals;
pub mod connections;
pub mod guard;
mod history;
pub mod hosts;
pub mod lifecycle;
pub mod listener;
mod page;
mod serve;
pub mod state;
pub mod stream;
pub mod texts;
pub mod timeouts;

const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = exposition::CONTENT_TYPE;
const HTML: &str = "text/html; charset=utf-8";

/// The HTTP endpoint.
pub struct Web {
    current: RwLock<Arc<Current>>,
    sources: Arc<Sources>,
    reloads: ReloadRequests,
    loads: Arc<ConfigLoadStatus>,
    /// TLS, passwords and limits; `None` without `--web.config.file`.
    guard: Option<Arc<Guard>>,
    arrivals: Arc<Arrivals>,
    connections: Arc<Connections>,
    scrapes: Renderer<()>,
    reports: Renderer<ReportRequest>,
    histories: Renderer<Query>,
    /// Texts of `histories`.
    unsent: Arc<UnsentTexts>,
    /// Sockets created while the endpoint runs.
    more: (UnboundedSender<ListeningSocket>, Mutex<Option<UnboundedReceiver<ListeningSocket>>>),
}

type HttpResponse = Response<Full<Bytes>>;
type Rendered = (StatusCode, &'static str, String);

/// The part of the endpoint that depends on the configuration; a reload replaces it.
pub struct Current {
    pull: Option<Arc<Pull>>,
    pushing: bool,
    /// Interval of the reader that collects periodically; `None` if only scrapes drive cycles.
    collecting: Option<Duration>,
    stale_after: Duration,
    hosts: Hosts,
    lifecycle: bool,
    /// Whether there is the page.
    page: bool,
}

impl Current {
    /// `pull` is `None` if no reader collects; `interval` is the push interval, `None` without a push.
    pub fn new(pull: Option<Arc<Pull>>, interval: Option<Duration>, settings: &Prometheus) -> Self {
        let stale_after = interval
            .map_or(timeouts::MIN_STALE, |interval| interval * timeouts::STALE_INTERVALS)
            .max(timeouts::MIN_STALE);
        let hosts = Hosts::new(&settings.hosts, &settings.listen);
        let (lifecycle, page) = (settings.lifecycle, settings.page);
        Self { pull, pushing: interval.is_some(), collecting: interval, stale_after, hosts, lifecycle, page }
    }

    /// Sets the interval at which a reader collects, which may be another one than that of the push.
    #[must_use]
    pub fn collecting(self, collecting: Option<Duration>) -> Self {
        Self { collecting, ..self }
    }
}

impl Web {
    /// Creates the endpoint; [`Self::start`] accepts connections. The error is that of starting a thread.
    pub fn new(
        current: Current,
        sources: Arc<Sources>,
        reloads: ReloadRequests,
        loads: Arc<ConfigLoadStatus>,
        guard: Option<Arc<Guard>>,
    ) -> io::Result<Self> {
        let connections = Arc::new(Connections::default());
        let kept = Arc::new(UnsentTexts::new(Arc::clone(&connections)));
        let (sender, receiver) = mpsc::unbounded_channel();
        Ok(Self {
            current: RwLock::new(Arc::new(current)),
            sources,
            reloads,
            loads,
            guard,
            arrivals: Arc::default(),
            connections,
            scrapes: Renderer::start("scrape", &kept)?,
            reports: Renderer::start("reports", &kept)?,
            histories: Renderer::start("history", &kept)?,
            unsent: kept,
            more: (sender, Mutex::new(Some(receiver))),
        })
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the part that depends on the configuration.
    pub fn replace(&self, current: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
    }

    /// Does the TLS handshake, if configured.
    async fn accept_tls(self: Arc<Self>, stream: StallGuardedStream, keep: bool) {
        let ticket = stream.ticket();
        let Some(acceptor) = self.guard.as_ref().and_then(|guard| guard.acceptor()) else {
            return self.connection(stream, ticket, keep).await;
        };
        match tokio::time::timeout(timeouts::HTTP_HEADER, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.connection(stream, ticket, keep).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS with a client"),
            Err(_) => tracing::debug!("a client did not end its TLS handshake in time"),
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        ticket: Arc<ConnectionTicket>,
        keep: bool,
    ) {
        let service = service_fn(move |request| {
            let (web, ticket) = (Arc::clone(&self), Arc::clone(&ticket));
            async move {
                let _answering = ticket.answering();
                Ok::<_, Infallible>(web.authorize(&request, &ticket).await)
            }
        });
        let mut connection = std::pin::pin!(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(timeouts::HTTP_HEADER)
                .half_close(true)
                .keep_alive(keep)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service)
        );
        // A client that reads slowly or keeps the connection busy has to reconnect.
        let ended = tokio::time::timeout(timeouts::CONNECTION, connection.as_mut()).await;
        if ended.is_err() {
            connection.as_mut().graceful_shutdown();
            let _closed_either_way = tokio::time::timeout(timeouts::HTTP, connection).await;
        }
    }

    async fn authorize(&self, request: &Request<Incoming>, ticket: &ConnectionTicket) -> HttpResponse {
        let Some(guard) = &self.guard else { return self.route(request, ticket).await };
        let mut answer = match guard.refusal(request).await {
            None => self.route(request, ticket).await,
            Some((status, why)) => respond(status, TEXT, why.to_owned()),
        };
        if answer.status() == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        answer.headers_mut().extend(guard.headers());
        answer
    }

    async fn route(&self, request: &Request<Incoming>, ticket: &ConnectionTicket) -> HttpResponse {
        if let Some(why) = self.current().hosts.refusal(request) {
            return respond(StatusCode::FORBIDDEN, TEXT, why + "\n");
        }
        if request.uri().path() == "/-/reload" {
            return self.reload(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD are answered\n".to_owned());
        }
        match request.uri().path() {
            "/metrics" => self.metrics(takes_gzip(request), ticket).await,
            "/-/healthy" => respond(StatusCode::OK, TEXT, "healthy\n".to_owned()),
            "/-/ready" => self.ready().await,
            "/-/status" => self.status().await,
            "/api/history" => self.history(request, ticket).await,
            path if path == "/" || path.starts_with("/page/") => self.page(request),
            _ => match self.report(request, ticket).await {
                Some(answer) => answer,
                None => respond(StatusCode::NOT_FOUND, TEXT, self.available_paths()),
            },
        }
    }

    /// The response to `/NAME`, the path of a report.
    async fn report(&self, request: &Request<Incoming>, ticket: &ConnectionTicket) -> Option<HttpResponse> {
        let name = request.uri().path().strip_prefix('/')?;
        let timeout = request.headers().get("x-prometheus-scrape-timeout-seconds");
        let timeout = timeout.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let wanted = ReportRequest {
            name: name.to_owned(),
            parameters: parameters(request.uri().query().unwrap_or("")),
            timeout: timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        Some(match self.sources.reports().iter().find_map(|reports| reports.report(&wanted))? {
            PendingReport::Wait(report) => {
                let (status, content_type, text) = rendered(report.await);
                respond(status, content_type, text)
            }
            PendingReport::Work(work) => {
                match self.reports.text(wanted, false, move || rendered(work())).await {
                    Some(text) => send(&text, false, ticket),
                    None => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, TOO_MANY.to_owned()),
                }
            }
        })
    }

    fn available_paths(&self) -> String {
        let mut paths = "there are /metrics, /api/history, /-/healthy, /-/ready, /-/status".to_owned();
        for name in self.sources.reports().iter().flat_map(|reports| reports.names()) {
            let _infallible = write!(paths, ", /{name}");
        }
        paths + " and /\n"
    }

    async fn metrics(&self, gzip: bool, ticket: &ConnectionTicket) -> HttpResponse {
        match self.scrape(gzip).await {
            Ok(text) => send(&text, gzip, ticket),
            Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why.to_owned()),
        }
    }

    /// Renders `/metrics` from a new cycle of the pull reader, or shares the one in progress.
    async fn scrape(&self, gzip: bool) -> Result<Arc<Text>, &'static str> {
        let Some(pull) = self.current().pull.clone() else {
            return Err("nothing is collected: OTEL_SDK_DISABLED is true\n");
        };
        let make = move || match pull.scrape() {
            Scrape::Exposition(text) => (StatusCode::OK, EXPOSITION, text),
            Scrape::Nothing(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
        };
        self.scrapes
            .text((), gzip, make)
            .await
            .ok_or("the scrape broke, or too many wait; the log says more\n")
    }
}

fn status_of(error: &ReportError) -> StatusCode {
    match error {
        ReportError::Invalid(_) => StatusCode::BAD_REQUEST,
        ReportError::Missing(_) => StatusCode::NOT_FOUND,
        ReportError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ReportError::Defect(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The decoded parameters of a query (`application/x-www-form-urlencoded`), at most 32.
fn parameters(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .take(32)
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

const TOO_MANY: &str = "too many reports wait to be made\n";

fn rendered(report: Result<Report, ReportError>) -> Rendered {
    match report {
        Ok(Report::Text(text)) => (StatusCode::OK, TEXT, text),
        Ok(Report::Gauges { gauges, notes: None }) => {
            (StatusCode::OK, EXPOSITION, exposition::gauges(&gauges))
        }
        Ok(Report::Gauges { gauges, notes: Some(notes) }) => {
            let mut text = notes.into_iter().map(|note| note + "\n").collect::<String>();
            text.push_str("\nMetrics:\n");
            text.push_str(&exposition::gauges(&gauges));
            (StatusCode::OK, TEXT, text)
        }
        Err(error) => (status_of(&error), TEXT, format!("{error}\n")),
    }
}

/// Whether the client accepts gzip (RFC 9110, 12.5.3).
fn takes_gzip(request: &Request<Incoming>) -> bool {
    let codings = request.headers().get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let weights = codings.flat_map(|value| value.split(',')).map(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        // The names are case-insensitive.
        let (key, weight) = parameters.split_once('=').unwrap_or(("q", "1"));
        let weight = if key.trim().eq_ignore_ascii_case("q") { weight.trim().parse().ok() } else { None };
        (name.trim().to_ascii_lowercase(), weight.unwrap_or(0.0f32))
    });
    let weights: Vec<_> = weights.collect();
    let of = |name: &str| weights.iter().find(|(known, _)| known == name).map(|(_, weight)| *weight);
    of("gzip").or_else(|| of("*")).is_some_and(|weight| weight > 0.0)
}

/// The response with a body that other connections may share.
fn send(text: &Arc<Text>, gzip: bool, ticket: &ConnectionTicket) -> HttpResponse {
    ticket.set_text(text.id);
    let compressed = if gzip { text.gzip() } else { None };
    let encoded = compressed.is_some();
    let mut answer = Response::new(Full::new(compressed.unwrap_or_else(|| text.plain())));
    *answer.status_mut() = text.status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text.content_type));
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if encoded {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}
