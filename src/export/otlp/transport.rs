//! One OTLP message to the receiver and its answer back, over gRPC or HTTP/protobuf.

use super::grpc::Grpc;
use super::http::Http;
use crate::config::{Otlp, Protocol};
use crate::export::error_type::ErrorType;
use crate::text;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use std::ffi::OsString;
use std::time::Duration;

/// How the agent introduces itself (`specification/protocol/exporter.md`, "User Agent").
pub(super) const USER_AGENT: &str =
    concat!("connscope/", env!("CARGO_PKG_VERSION"), " OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"));

/// Why a message was not taken.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For `error.type`.
    pub error: ErrorType,
    /// For the log: what the receiver or the connection said.
    pub message: String,
    /// Whether the same message may be taken later.
    pub retryable: bool,
    /// When, if the receiver said.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One that is final.
    pub fn new(error: ErrorType, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), retryable: false, retry_after: None }
    }

    /// A connection that could not be made, or broke.
    pub(super) fn connection(why: &str) -> Self {
        let message = match mismatch(why) {
            Some(advice) => format!("{} ({advice})", clean(why)),
            None => clean(why),
        };
        Self { error: ErrorType::CONNECTION, message, retryable: true, retry_after: None }
    }
}

/// What to change where a port speaks another protocol than the configuration says, by the words of hyper and rustls.
fn mismatch(why: &str) -> Option<&'static str> {
    let known = [
        (
            "invalid HTTP version parsed",
            "no HTTP/1.1 is spoken at this port: for gRPC, port 4317, set protocol grpc",
        ),
        // Said where the frame that HTTP/2 begins with comes before the request is written.
        (
            "received unexpected message from connection",
            "the receiver spoke first, which is no HTTP/1.1: for gRPC, port 4317, set protocol grpc",
        ),
        ("InvalidContentType", "no TLS is spoken at this port: is the endpoint http:// and not https://?"),
    ];
    known.into_iter().find(|(words, _)| why.contains(words)).map(|(_, advice)| advice)
}

/// What a receiver that took a message rejected of it.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Data points.
    pub points: u64,
    /// Why.
    pub message: String,
}

/// The receiver, by its protocol. A connection is made when it is first needed, and again when it is lost.
pub enum Transport {
    /// gRPC over HTTP/2.
    Grpc(Box<Grpc>),
    /// Protobuf over HTTP/1.1.
    Http(Box<Http>),
}

impl Transport {
    /// Prepares it; nothing is connected yet. The error names what in the configuration, or in the variables of a proxy, is
    /// wrong.
    pub fn new(otlp: &Otlp, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        match otlp.protocol {
            Protocol::HttpProtobuf => Http::new(otlp, variable).map(Box::new).map(Self::Http),
            _ => Grpc::new(otlp).map(Box::new).map(Self::Grpc),
        }
    }

    /// Reads certificates again whose files have changed; the next message then goes over a new connection. May block for
    /// as long as a file system does.
    pub fn refresh(&self) {
        match self {
            Self::Grpc(grpc) => grpc.refresh(),
            Self::Http(http) => http.refresh(),
        }
    }

    /// Sends one message, within a time that the caller watches: dropping the future gives the connection up.
    pub async fn send(
        &self,
        message: &ExportMetricsServiceRequest,
        within: Duration,
    ) -> Result<Rejected, Refusal> {
        let response = match self {
            Self::Grpc(grpc) => grpc.send(message, within).await?,
            Self::Http(http) => http.send(message, within).await?,
        };
        let rejected = response.partial_success.unwrap_or_default();
        Ok(Rejected {
            points: u64::try_from(rejected.rejected_data_points).unwrap_or(0),
            message: clean(&rejected.error_message),
        })
    }
}

/// What a receiver said, fit for a line of the log.
pub(super) fn clean(said: &str) -> String {
    text::bounded(said, text::LONGEST_ERROR)
}
