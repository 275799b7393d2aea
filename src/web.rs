//! The HTTP endpoint: `/metrics`, `/-/healthy`, `/-/ready` and a page at `/`.
//!
//! Bounded in every direction: connections, scrapes at a time, how long a request may take to arrive and how long a
//! connection may last.

use crate::catalog::SOURCES;
use crate::cycle::Sources;
use crate::export::exposition;
use crate::export::prometheus::{Pull, Scrape};
use crate::source::Reason;
use crate::source::report::{Report, ReportError, ReportFuture, ReportRequest};
use crate::stop::Stop;
use crate::timeouts;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Scrapes at a time; each costs a cycle.
const SCRAPES: usize = 3;

/// Connections at a time; a Prometheus keeps one.
const CONNECTIONS: usize = 128;

const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = exposition::CONTENT_TYPE;
const HTML: &str = "text/html; charset=utf-8";

/// What the endpoint answers from.
pub struct Web {
    pull: Option<Arc<Pull>>,
    sources: Arc<Sources>,
    pushing: bool,
    stale_after: Duration,
    scrapes: Arc<Semaphore>,
}

type Answer = Response<Full<Bytes>>;

impl Web {
    /// `pull` is `None` where nothing is collected at all; `interval` is set where a push keeps the state fresh.
    pub fn new(pull: Option<Arc<Pull>>, sources: Arc<Sources>, interval: Option<Duration>) -> Self {
        let stale_after = interval
            .map_or(timeouts::STALE_LEAST, |interval| interval * timeouts::STALE_INTERVALS)
            .max(timeouts::STALE_LEAST);
        let scrapes = Arc::new(Semaphore::new(SCRAPES));
        Self { pull, sources, pushing: interval.is_some(), stale_after, scrapes }
    }

    /// Answers on a thread of its own until the agent stops.
    pub fn start(self, listener: std::net::TcpListener, stop: &Stop) -> std::io::Result<()> {
        let runtime = crate::runtime::of_one_thread("scrape", SCRAPES + 1)?;
        let stop = stop.clone();
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = Arc::new(self).serve(listener) => {}
                    () = stop.exhausted(Duration::ZERO) => {}
                }
            });
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("http".to_owned()).spawn(serve)?;
        Ok(())
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The semaphore is never closed, so a permit always comes.
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let web = Arc::clone(&self);
                    tokio::spawn(async move {
                        web.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, as a rule; the next try may do better, but not at once.
                    tracing::debug!(%error, "accepting a connection");
                    tokio::time::sleep(timeouts::GLANCE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let web = Arc::clone(&self);
            async move { Ok::<_, Infallible>(web.answer(&request).await) }
        });
        let mut connection = std::pin::pin!(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(timeouts::HTTP_HEADER)
                .serve_connection(TokioIo::new(stream), service)
        );
        // Whoever reads slowly or keeps asking is asked to come again.
        let ended = tokio::time::timeout(timeouts::CONNECTION, connection.as_mut()).await;
        if ended.is_err() {
            connection.as_mut().graceful_shutdown();
            let _closed_either_way = tokio::time::timeout(timeouts::HTTP, connection).await;
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD are answered\n".to_owned());
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/-/healthy" => respond(StatusCode::OK, TEXT, "healthy\n".to_owned()),
            "/-/ready" => self.ready().await,
            "/" => respond(StatusCode::OK, HTML, self.page()),
            _ => match self.report(request) {
                Some(report) => match report.await {
                    Ok(Report::Text(text)) => respond(StatusCode::OK, TEXT, text),
                    Ok(Report::Gauges { gauges, notes: None }) => {
                        respond(StatusCode::OK, EXPOSITION, exposition::gauges(&gauges))
                    }
                    Ok(Report::Gauges { gauges, notes: Some(notes) }) => {
                        let mut text = notes.into_iter().map(|note| note + "\n").collect::<String>();
                        text.push_str("\nMetrics:\n");
                        text.push_str(&exposition::gauges(&gauges));
                        respond(StatusCode::OK, TEXT, text)
                    }
                    Err(error) => respond(status(&error), TEXT, format!("{error}\n")),
                },
                None => respond(StatusCode::NOT_FOUND, TEXT, self.what_there_is()),
            },
        }
    }

    /// The report of a source at `/NAME`.
    fn report(&self, request: &Request<Incoming>) -> Option<ReportFuture> {
        let name = request.uri().path().strip_prefix('/')?;
        let timeout = request.headers().get("x-prometheus-scrape-timeout-seconds");
        let timeout = timeout.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let wanted = ReportRequest {
            name: name.to_owned(),
            parameters: parameters(request.uri().query().unwrap_or("")),
            timeout: timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        };
        self.sources.reports().find_map(|reports| reports.report(&wanted))
    }

    fn what_there_is(&self) -> String {
        let mut paths = "there are /metrics, /-/healthy, /-/ready".to_owned();
        for name in self.sources.reports().flat_map(|reports| reports.names()) {
            let _infallible = write!(paths, ", /{name}");
        }
        paths + " and /\n"
    }

    async fn metrics(&self) -> Answer {
        match self.scrape().await {
            Ok(text) => respond(StatusCode::OK, EXPOSITION, text),
            Err(why) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
        }
    }

    /// One cycle of the pull reader, off the runtime's threads. The permit goes with it: a client that has gone does
    /// not make room for the next before its cycle is over.
    async fn scrape(&self) -> Result<String, String> {
        let Some(pull) = self.pull.clone() else {
            return Err("nothing is collected: OTEL_SDK_DISABLED is true\n".to_owned());
        };
        let Ok(permit) = Arc::clone(&self.scrapes).try_acquire_owned() else {
            return Err(format!("{SCRAPES} scrapes are already in progress\n"));
        };
        let scrape = tokio::task::spawn_blocking(move || {
            let scrape = pull.scrape();
            drop(permit);
            scrape
        });
        match scrape.await {
            Ok(Scrape::Exposition(text)) => Ok(text),
            Ok(Scrape::Nothing(why)) => Err(why),
            Err(error) => Err(format!("the scrape broke: {error}\n")),
        }
    }

    async fn ready(&self) -> Answer {
        if self.pull.is_none() {
            return respond(
                StatusCode::OK,
                TEXT,
                "ready: OTEL_SDK_DISABLED is true, nothing is collected\n".to_owned(),
            );
        }
        let fresh = || self.sources.health.last_success().is_some_and(|age| age <= self.stale_after);
        if !fresh() && !self.pushing {
            // Nobody pushes, so cycles come from scrapes; and nobody may scrape what is not ready.
            let _told_by_health = self.scrape().await;
        }
        if fresh() {
            return respond(StatusCode::OK, TEXT, "ready\n".to_owned());
        }
        let mut why = match self.sources.health.last_success() {
            None => "not ready: no cycle has succeeded yet\n".to_owned(),
            Some(age) => format!("not ready: the last cycle that succeeded is {} s old\n", age.as_secs()),
        };
        for (source, health) in self.sources.health.sources() {
            for ((part, reason), text) in &health.failures {
                let part = if part.is_empty() { String::new() } else { format!(" {part}") };
                let _infallible = writeln!(why, "{source}{part}: {}: {text}", reason.word());
            }
        }
        respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
    }

    fn page(&self) -> String {
        let mut rows = String::new();
        let known = self.sources.health.sources();
        for spec in SOURCES {
            let (state, detail) = match known.get(spec.name) {
                None => ("not asked yet", String::new()),
                Some(health) if health.failures.is_empty() => ("up", String::new()),
                Some(health) => {
                    let absent = health.failures.keys().all(|(_, reason)| *reason == Reason::Absent);
                    let state = match (health.up, absent) {
                        (true, _) => "up in part",
                        (false, true) => "absent",
                        (false, false) => "down",
                    };
                    (state, health.failures.values().cloned().collect::<Vec<_>>().join("; "))
                }
            };
            let detail = escape(&detail);
            let _infallible =
                writeln!(rows, "<tr><td>{}</td><td>{state}</td><td>{detail}</td></tr>", spec.name);
        }
        let mut links = String::new();
        for name in self.sources.reports().flat_map(|reports| reports.names()) {
            let _infallible = writeln!(links, "<li><a href=\"/{name}\">{name}</a></li>");
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>connscope</title></head>\n<body>\n\
             <h1>connscope {}</h1>\n<p>What the Linux kernel knows about connections.</p>\n\
             <ul>\n<li><a href=\"/metrics\">metrics</a></li>\n<li><a href=\"/-/healthy\">healthy</a></li>\n\
             <li><a href=\"/-/ready\">ready</a></li>\n{links}</ul>\n\
             <table>\n<tr><th>source</th><th>state</th><th></th></tr>\n{rows}</table>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION")
        )
    }
}

fn status(error: &ReportError) -> StatusCode {
    match error {
        ReportError::Invalid(_) => StatusCode::BAD_REQUEST,
        ReportError::Missing(_) => StatusCode::NOT_FOUND,
        ReportError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        ReportError::Defect(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The parameters of a query, decoded as a form's (`application/x-www-form-urlencoded`).
fn parameters(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Binds the endpoint: name or address and port. A name may have several addresses; the first that works is used.
pub async fn bind(host: &str, port: u16) -> std::io::Result<std::net::TcpListener> {
    TcpListener::bind((host, port)).await?.into_std()
}
