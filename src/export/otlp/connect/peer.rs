//! The receiver or proxy as configured, and error messages that say what to change (pure).

use super::observed::{CloseReason, ConnectionObservation, is_closed};
use crate::peer::Protocol;
use crate::tls::explain;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A peer, and the protocol used with it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `grpc`, `http/protobuf`, or the protocol of a proxy.
    protocol: &'static str,
    /// Whether TLS is used.
    secure: bool,
    /// Address of the peer: host and port, or a path.
    address: String,
    /// Configuration key or variable that names the peer.
    setting: &'static str,
    /// Whether the peer has answered a message: then the port is right.
    answered: Arc<AtomicBool>,
}

/// The two protocols of OTLP; a message about one suggests the other.
const GRPC: &str = "grpc";
const HTTP: &str = "http/protobuf";

impl Peer {
    /// The receiver, with HTTP/2 if `grpc`.
    pub(super) fn receiver(grpc: bool, secure: bool, address: String) -> Self {
        Self {
            protocol: if grpc { GRPC } else { HTTP },
            secure,
            address,
            setting: "export.otlp.endpoint",
            answered: Arc::default(),
        }
    }

    /// The proxy named by this variable.
    pub(super) fn proxy(variable: &'static str, secure: bool, address: String) -> Self {
        Self { protocol: "HTTP/1.1", secure, address, setting: variable, answered: Arc::default() }
    }

    /// Records that the peer has answered a message.
    pub(super) fn has_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// How an error names this peer: the receiver, or the proxy of a variable.
    pub(super) fn name(&self) -> String {
        match self.protocol {
            GRPC | HTTP => "the receiver".to_owned(),
            _ => format!("the proxy of {}", self.setting),
        }
    }

    /// Protocol and address, for a message.
    fn request_name(&self) -> String {
        let Self { protocol, address, .. } = self;
        format!("{protocol} over {}:// at {address}", if self.secure { "https" } else { "http" })
    }

    /// Error message of a failed TLS handshake.
    pub(super) fn handshake(&self, error: &Error) -> String {
        if is_closed(error) {
            return format!(
                "{} closed the connection during the TLS handshake: does it accept TLS at {}, as https:// in {} says?",
                self.name(),
                self.address,
                self.setting
            );
        }
        explain::of_io(error).map_or_else(|| error.to_string(), |tls| self.tls(tls))
    }

    /// Error message of a message without a response. `error` is that of the protocol library.
    pub(crate) fn broken(&self, seen: &ConnectionObservation, error: &str) -> String {
        if let Some(advice) = seen.beginning.protocol().and_then(|spoken| self.advice(spoken)) {
            return advice;
        }
        match seen.end() {
            Some(CloseReason::Tls(error)) => self.tls(error),
            Some(CloseReason::Failed(why)) => why.clone(),
            // The receiver gave a reason before it closed the connection (GOAWAY, RFC 9113, section 6.8).
            Some(CloseReason::Closed)
                if error.contains("connection error received") && !error.contains(NO_ERROR) =>
            {
                error.to_owned()
            }
            Some(CloseReason::Closed) => {
                let closed = format!(
                    "{} closed the connection without an answer to {}",
                    self.name(),
                    self.request_name()
                );
                match self.otherwise() {
                    Some((other, _)) if !self.answered.load(Ordering::Relaxed) => {
                        format!("{closed}: if the receiver uses {other}, set export.otlp.protocol to that")
                    }
                    _ => closed,
                }
            }
            None => error.to_owned(),
        }
    }

    /// What to change if the peer uses another protocol.
    fn advice(&self, spoken: Protocol) -> Option<String> {
        let (asked, setting) = (self.request_name(), self.setting);
        match (self.protocol, spoken) {
            (_, Protocol::Tls) if !self.secure => {
                Some(format!("{asked} was answered in TLS: write https:// instead of http:// in {setting}"))
            }
            (GRPC, Protocol::Http1) => Some(self.other("HTTP/1.1")),
            (HTTP, Protocol::Http2) => Some(self.other("HTTP/2, as gRPC is")),
            _ => None,
        }
    }

    /// Error message of an HTTP/2 response without gRPC.
    pub(crate) fn without_grpc(&self) -> String {
        self.other("HTTP without gRPC")
    }

    /// The other protocol of OTLP, and its default port.
    fn otherwise(&self) -> Option<(&'static str, u16)> {
        match self.protocol {
            GRPC => Some((HTTP, 4317)),
            HTTP => Some((GRPC, 4318)),
            _ => None,
        }
    }

    fn other(&self, spoken: &str) -> String {
        let answered = format!("{} was answered in {spoken}", self.request_name());
        let own = self.protocol;
        match self.otherwise() {
            Some((other, port)) => format!(
                "{answered}: set export.otlp.protocol to {other}, or name the port of {own} (as a rule {port})"
            ),
            None => answered,
        }
    }

    /// Error message of a TLS error, with what to change.
    fn tls(&self, error: &TlsError) -> String {
        let (asked, setting) = (self.request_name(), self.setting);
        let why = explain::explain(error);
        match error {
            _ if explain::limit(error).is_some() => {
                format!("{why}: give {} a certificate with another key, of P-256 for instance", self.name())
            }
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => format!(
                "{asked} was answered in something other than TLS: write http:// instead of https:// in {setting}"
            ),
            TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
                "the receiver requires a client certificate: set export.otlp.tls.cert_file and key_file"
                    .to_owned()
            }
            TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                self.other("TLS for other protocols (no_application_protocol)")
            }
            TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => {
                format!("{why}; name its authority in export.otlp.tls.ca_file")
            }
            _ => why,
        }
    }
}

/// h2's message of an orderly end.
const NO_ERROR: &str = "not a result of an error";
