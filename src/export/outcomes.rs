//! How the exports of the OTLP exporter ended.

use super::metrics;
use crate::metric::Label;
use crate::reading::Readings;
use crate::vitals::Vital;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How the exports of the OTLP exporter ended, under the names of the semantic conventions
/// ("Semantic conventions for OpenTelemetry SDK metrics").
#[derive(Debug)]
pub struct Exports {
    labels: Vec<(Label, Arc<str>)>,
    inflight: AtomicU64,
    exported: Mutex<BTreeMap<Option<ErrorType>, u64>>,
}

impl Exports {
    /// Nothing exported yet. `labels` tell which exporter this is.
    pub fn new(labels: Vec<(Label, Arc<str>)>) -> Self {
        Self { labels, inflight: AtomicU64::new(0), exported: Mutex::new(BTreeMap::from([(None, 0)])) }
    }

    /// Data points are handed over.
    pub fn begin(&self, points: u64) {
        self.inflight.fetch_add(points, Ordering::Relaxed);
    }

    /// What became of data points that were handed over.
    pub fn end(&self, points: u64, error: Option<ErrorType>) {
        self.inflight.fetch_sub(points, Ordering::Relaxed);
        let mut exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner);
        *exported.entry(error).or_default() += points;
    }

    /// The labels of this exporter, with the error if there was one.
    pub fn labels(&self, error: Option<ErrorType>) -> Vec<(Label, Arc<str>)> {
        let mut labels = self.labels.clone();
        labels.extend(error.map(|error| (Label::ErrorType, error.word().into())));
        labels
    }
}

impl Vital for Exports {
    fn observe(&self, out: &mut Readings) {
        let exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (error, points) in exported {
            out.observe(metrics::OTEL_EXPORTED, &self.labels(error), points);
        }
        out.observe(metrics::OTEL_INFLIGHT, &self.labels, self.inflight.load(Ordering::Relaxed));
    }
}

/// Why an export failed: the closed set of values of `error.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorType(&'static str);

/// The names of the gRPC status codes, by number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The HTTP status codes an OTLP receiver or a proxy before it is known to give.
const HTTP: [(u16, &str); 14] = [
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

impl ErrorType {
    /// How many there are, success included.
    pub const BOUND: usize = GRPC.len() + HTTP.len() + 5;

    /// No answer in time.
    pub const TIMEOUT: Self = Self("timeout");
    /// The connection could not be made or broke.
    pub const CONNECTION: Self = Self("connection");
    /// The receiver took the message and threw data points of it away.
    pub const REJECTED: Self = Self("rejected");
    /// None of the others.
    pub const OTHER: Self = Self("_OTHER");

    /// That of a gRPC status.
    pub fn grpc(code: tonic::Code) -> Self {
        usize::try_from(code as i32)
            .ok()
            .and_then(|code| GRPC.get(code))
            .map_or(Self::OTHER, |name| Self(name))
    }

    /// That of an HTTP status.
    pub fn http(status: u16) -> Self {
        HTTP.iter().find(|(code, _)| *code == status).map_or(Self::OTHER, |(_, name)| Self(name))
    }

    /// The label value.
    pub fn word(self) -> &'static str {
        self.0
    }
}
