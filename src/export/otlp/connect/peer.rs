//! The receiver or a proxy as it is configured, and why it could not be spoken to, in words that say what to change (pure).

use super::observed::{CloseReason, ConnectionObservation, is_closed};
use crate::peer::Protocol;
use crate::tls::explain;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is spoken, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `grpc` or `http/protobuf`, or what a proxy is asked in.
    protocol: &'static str,
    /// Whether TLS is spoken to it.
    secure: bool,
    /// The place where it is: a port, or a path.
    place: String,
    /// The key or the variable that names it.
    setting: &'static str,
    /// Whether it has answered a message: then the port is the right one.
    answered: Arc<AtomicBool>,
}

/// The two ways of OTLP; each is the other's advice.
const GRPC: &str = "grpc";
const HTTP: &str = "http/protobuf";

impl Peer {
    /// The receiver, which `h2` is spoken to if it is asked by gRPC.
    pub(super) fn receiver(grpc: bool, secure: bool, place: String) -> Self {
        Self {
            protocol: if grpc { GRPC } else { HTTP },
            secure,
            place,
            setting: "export.otlp.endpoint",
            answered: Arc::default(),
        }
    }

    /// The proxy that this variable names.
    pub(super) fn proxy(variable: &'static str, secure: bool, place: String) -> Self {
        Self { protocol: "HTTP/1.1", secure, place, setting: variable, answered: Arc::default() }
    }

    /// It has answered a message.
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

    /// What was asked, and where.
    fn asked(&self) -> String {
        let Self { protocol, place, .. } = self;
        format!("{protocol} over {}:// at {place}", if self.secure { "https" } else { "http" })
    }

    /// Why the handshake of TLS failed.
    pub(super) fn handshake(&self, error: &Error) -> String {
        if is_closed(error) {
            return format!(
                "{} closed the connection during the TLS handshake: does it accept TLS at {}, as https:// in {} says?",
                self.name(),
                self.place,
                self.setting
            );
        }
        explain::of_io(error).map_or_else(|| error.to_string(), |tls| self.tls(tls))
    }

    /// Why a message was not answered. `error` is what the library for the protocol says.
    pub(crate) fn broken(&self, seen: &ConnectionObservation, error: &str) -> String {
        if let Some(advice) = seen.beginning.protocol().and_then(|spoken| self.advice(spoken)) {
            return advice;
        }
        match seen.end() {
            Some(CloseReason::Tls(error)) => self.tls(error),
            Some(CloseReason::Failed(why)) => why.clone(),
            // A receiver that says why before it closes the connection (GOAWAY, RFC 9113, section 6.8).
            Some(CloseReason::Closed)
                if error.contains("connection error received") && !error.contains(NO_ERROR) =>
            {
                error.to_owned()
            }
            Some(CloseReason::Closed) => {
                let closed =
                    format!("{} closed the connection without an answer to {}", self.name(), self.asked());
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

    /// What to change where it speaks another protocol.
    fn advice(&self, spoken: Protocol) -> Option<String> {
        let (asked, setting) = (self.asked(), self.setting);
        match (self.protocol, spoken) {
            (_, Protocol::Tls) if !self.secure => {
                Some(format!("{asked} was answered in TLS: write https:// instead of http:// in {setting}"))
            }
            (GRPC, Protocol::Http1) => Some(self.other("HTTP/1.1")),
            (HTTP, Protocol::Http2) => Some(self.other("HTTP/2, as gRPC is")),
            _ => None,
        }
    }

    /// What to change where gRPC was answered in HTTP/2 that is no gRPC.
    pub(crate) fn without_grpc(&self) -> String {
        self.other("HTTP without gRPC")
    }

    /// The protocol of OTLP that it is not asked in, and the usual port of the one that it is.
    fn otherwise(&self) -> Option<(&'static str, u16)> {
        match self.protocol {
            GRPC => Some((HTTP, 4317)),
            HTTP => Some((GRPC, 4318)),
            _ => None,
        }
    }

    fn other(&self, spoken: &str) -> String {
        let answered = format!("{} was answered in {spoken}", self.asked());
        let own = self.protocol;
        match self.otherwise() {
            Some((other, port)) => format!(
                "{answered}: set export.otlp.protocol to {other}, or name the port of {own} (as a rule {port})"
            ),
            None => answered,
        }
    }

    /// Why TLS failed, with what to change.
    fn tls(&self, error: &TlsError) -> String {
        let (asked, setting) = (self.asked(), self.setting);
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

/// h2's words for an end in order.
const NO_ERROR: &str = "not a result of an error";
