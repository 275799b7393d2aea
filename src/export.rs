//! A reader and its provider: one `SdkMeterProvider` per reader.
//!
//! With two readers on one provider the SDK writes what one reader observes into the other's aggregation (series that
//! are gone come back, counters go backwards), so every reader has a provider, a [`Cycle`] and instruments of its own,
//! with the same resource.

use crate::cycle::{Cycle, Sources};
use crate::metric::Limits;
use crate::metric::naming::Profile;
use instruments::Recorder;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::reader::MetricReader;
use std::sync::Arc;

pub mod instruments;
pub mod otlp;
pub mod prometheus;
pub mod resource;
pub mod stdout;

/// What every reader is made with.
pub struct Shared {
    /// Who the metrics are of.
    pub resource: Resource,
    /// What is asked.
    pub sources: Arc<Sources>,
    /// Where distributions go.
    pub recorder: Recorder,
    /// How many series there may be.
    pub limits: Limits,
}

/// A provider with its cycle.
pub struct Reader {
    /// The SDK's part.
    pub provider: SdkMeterProvider,
    /// Ours.
    pub cycle: Arc<Cycle>,
}

impl Reader {
    /// Puts a reader of the SDK on a provider of its own, with every instrument of the table that the profile has.
    pub fn new(
        shared: &Shared,
        reader: impl MetricReader,
        profile: Profile,
        exponential_histograms: bool,
    ) -> Self {
        let cycle = Arc::new(Cycle::new(Arc::clone(&shared.sources)));
        let provider = SdkMeterProvider::builder()
            .with_resource(shared.resource.clone())
            .with_reader(reader)
            .with_view(instruments::view(shared.limits, profile, exponential_histograms))
            .build();
        let meter = provider.meter("connscope");
        instruments::register(&meter, &cycle, profile);
        shared.recorder.add(&meter, profile);
        Self { provider, cycle }
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
