//! Sends an OTLP message over gRPC or HTTP/protobuf, and receives the response.

use super::grpc::{Grpc, Keepalive};
use super::http::Http;
use super::refusal::{Refusal, clean};
use crate::config::{Otlp, Protocol};
use crate::export::encode::Message;
use std::ffi::OsString;
use std::time::Duration;

/// Data points that a receiver rejected from a message that it accepted.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Number of rejected data points.
    pub points: u64,
    /// Message of the receiver, truncated and without control characters.
    pub message: String,
}

/// A client of the receiver, by protocol. It connects when a message is sent, and again after the connection is lost.
pub enum Transport {
    /// gRPC over HTTP/2.
    Grpc(Box<Grpc>),
    /// Protobuf over HTTP/1.1.
    Http(Box<Http>),
}

impl Transport {
    /// Creates the client without connecting. The error names the part of the configuration, or the variable of a
    /// proxy, that is wrong.
    pub fn new(otlp: &Otlp, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        match otlp.protocol {
            Protocol::HttpProtobuf => Http::new(otlp, variable).map(Box::new).map(Self::Http),
            _ => Self::grpc(otlp, Keepalive::between(otlp.interval)),
        }
    }

    /// Creates a gRPC client with this keepalive.
    pub fn grpc(otlp: &Otlp, keepalive: Keepalive) -> Result<Self, String> {
        Grpc::new(otlp, keepalive).map(Box::new).map(Self::Grpc)
    }

    /// Reloads certificates whose files have changed; the next message then uses a new connection. May block on the
    /// file system.
    pub fn refresh(&self) {
        match self {
            Self::Grpc(grpc) => grpc.refresh(),
            Self::Http(http) => http.refresh(),
        }
    }

    /// The name of the receiver or of a proxy, while its lookup has no answer.
    pub fn looking_up(&self) -> Option<&str> {
        match self {
            Self::Grpc(grpc) => grpc.looking_up(),
            Self::Http(http) => http.looking_up(),
        }
    }

    /// Sends a message, within a time that the caller enforces: dropping the future closes the connection.
    pub async fn send(&self, message: &Message, within: Duration) -> Result<Rejected, Refusal> {
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
