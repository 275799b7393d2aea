//! One OTLP message to the receiver and its answer back, over gRPC or HTTP/protobuf.

use super::grpc::{Grpc, Keepalive};
use super::http::Http;
use super::refusal::{Refusal, clean};
use crate::config::{Otlp, Protocol};
use crate::export::encode::Message;
use std::ffi::OsString;
use std::time::Duration;

/// What a receiver that took a message rejected of it.
#[derive(Debug, Default)]
pub struct Rejected {
    /// Data points.
    pub points: u64,
    /// Message of the receiver, cut and cleaned of control characters.
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
            _ => Self::grpc(otlp, Keepalive::between(otlp.interval)),
        }
    }

    /// Over gRPC, on connections that are kept alive like this.
    pub fn grpc(otlp: &Otlp, keepalive: Keepalive) -> Result<Self, String> {
        Grpc::new(otlp, keepalive).map(Box::new).map(Self::Grpc)
    }

    /// Reads certificates again whose files have changed; the next message then goes over a new connection. May block for
    /// as long as a file system does.
    pub fn refresh(&self) {
        match self {
            Self::Grpc(grpc) => grpc.refresh(),
            Self::Http(http) => http.refresh(),
        }
    }

    /// The name of the receiver, or of a proxy, while it is looked up and nobody has answered.
    pub fn looking_up(&self) -> Option<&str> {
        match self {
            Self::Grpc(grpc) => grpc.looking_up(),
            Self::Http(http) => http.looking_up(),
        }
    }

    /// Sends one message, within a time that the caller watches: dropping the future gives the connection up.
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
