//! The receiver or proxy as configured, and error messages that say what to change (pure).

use super::observed::{CloseReason, ConnectionObservation, is_closed};
use crate::peer::Protocol;
use crate::text;
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
            Some(CloseReason::Tls(error)) => return self.tls(error),
            Some(CloseReason::Failed(why)) => return why.clone(),
            _ => {}
        }
        // The receiver gave a reason before it closed the connection.
        if let Some(reason) = goaway(error) {
            return format!("{} ended the connection (GOAWAY): {reason}", self.name());
        }
        match seen.end() {
            Some(CloseReason::Closed) => {
                let closed = format!(
                    "{} closed the connection without an answer to {}",
                    self.name(),
                    self.request_name()
                );
                // A receiver of gRPC that has begun to speak HTTP/2 uses the right protocol.
                let speaks = self.answered.load(Ordering::Relaxed)
                    || self.protocol == GRPC && seen.beginning.protocol() == Some(Protocol::Http2);
                match self.otherwise() {
                    Some((other, _)) if !speaks => {
                        format!("{closed}: if the receiver uses {other}, set export.otlp.protocol to that")
                    }
                    _ => closed,
                }
            }
            _ => error.to_owned(),
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
            TlsError::InvalidCertificate(CertificateError::NotValidForNameContext { .. }) => {
                format!("{why}; write a name that it has into {setting}")
            }
            _ if explain::refuses_client(error) => {
                format!("{why}; what is shown is in export.otlp.tls.cert_file and key_file")
            }
            _ => why,
        }
    }
}

/// h2's message of an orderly end.
const NO_ERROR: &str = "not a result of an error";

/// h2's message of a GOAWAY frame (RFC 9113, section 6.8); the reason follows.
const RECEIVED: &str = "connection error received: ";

/// The reason in a GOAWAY frame, from h2's error message, if it was not an orderly end: that of the error code, and the
/// debug data as a text. h2 has the data as a byte string of Rust in brackets.
fn goaway(error: &str) -> Option<String> {
    let (_, reason) = error.split_once(RECEIVED).filter(|(_, reason)| !reason.starts_with(NO_ERROR))?;
    let data = reason.split_once(" (b\"").and_then(|(code, rest)| Some((code, rest.rsplit_once("\")")?.0)));
    Some(match data {
        Some((code, data)) => {
            format!("{code}: {}", text::bounded_bytes(&unescaped(data), text::LONGEST_NAME))
        }
        None => reason.to_owned(),
    })
}

/// The bytes of a byte string as `bytes::Bytes` prints them.
fn unescaped(printed: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = printed.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'x') => {
                    let digits = [rest.next(), rest.next()].map(Option::unwrap_or_default);
                    std::str::from_utf8(&digits)
                        .ok()
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                        .unwrap_or(b'?')
                }
                Some(other) => other, // a quotation mark or a backslash
                None => b'\\',
            },
            other => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::goaway;

    #[test]
    fn the_reason_of_a_receiver_is_a_text_without_escape_sequences() {
        let of = |reason: &str| {
            goaway(&format!("h2 protocol error: http2 error: connection error received: {reason}"))
        };
        let busy = "detected excessive load generating behavior";
        assert_eq!(of(busy).as_deref(), Some(busy));
        let said = of(&format!(r#"{busy} (b"\x1b[31mcalm \"down\"\xc3\xa9 \\ \xff\n\0")"#));
        let shown = format!("{busy}: \u{fffd}[31mcalm \"down\"é \\ \u{fffd} \u{fffd}");
        assert_eq!(said, Some(shown));
        let long = of(&format!(r#"{busy} (b"{}")"#, "x".repeat(9999))).unwrap();
        assert!(long.len() < 310 && long.ends_with('…'), "{long}");
        assert_eq!(of("not a result of an error"), None);
        assert_eq!(goaway("http2 error: stream error received: refused stream"), None);
    }
}
