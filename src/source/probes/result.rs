//! The result of a probe (pure: times are arguments).

use super::fault::Fault;
use crate::source::probes::config::Family;
use crate::source::probes::labels::{Outcome, Phase, ProbeError};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// The result of a probe.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// Start time, by the wall clock.
    pub began: SystemTime,
    /// Start time, by the monotonic clock.
    pub began_at: Instant,
    /// Duration of the whole probe.
    pub took: Duration,
    /// Completed phases, each once.
    pub phases: Vec<(Phase, Duration)>,
    /// Reason of the failure; `None` if the probe succeeded.
    pub fault: Option<Fault>,
    /// Address that was probed; with redirects, the first.
    pub peer: Option<IpAddr>,
    /// The last TLS handshake.
    pub tls: Option<TlsSession>,
    /// The last HTTP response.
    pub http: Option<HttpResponse>,
    /// Echo requests and replies.
    pub echoes: Option<Echoes>,
    /// Log of the steps, if requested (`/probe?debug=true`).
    pub notes: Option<Vec<String>>,
}

/// Expiry of the first certificate, Unix time in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Among all certificates that the peer sent.
    pub sent: Option<i64>,
    /// Among the verified chain.
    pub verified: Option<i64>,
}

/// A TLS handshake, successful or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// Protocol version, such as `TLS 1.3`, once negotiated.
    pub version: Option<&'static str>,
    /// Expiry of the certificate chain.
    pub expiry: Expiry,
}

/// An HTTP response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HttpResponse {
    /// Status code of the response.
    pub status: u16,
    /// HTTP version of the response: 1.0 or 1.1.
    pub version: f64,
    /// Number of redirects that were followed.
    pub redirects: u32,
}

/// Echo requests of a probe, and the round-trip times of their replies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echoes {
    /// Requests sent.
    pub sent: u32,
    /// Round-trip times, one for each reply.
    pub round_trips: Vec<Duration>,
}

impl ProbeResult {
    /// The result of a probe that begins now by these two clocks; `notes` enables the log of its steps.
    pub fn new(began: SystemTime, began_at: Instant, notes: bool) -> Self {
        Self {
            began,
            began_at,
            took: Duration::ZERO,
            phases: Vec::new(),
            fault: None,
            peer: None,
            tls: None,
            http: None,
            echoes: None,
            notes: notes.then(Vec::new),
        }
    }

    /// Whether the probe succeeded, failed, or got no answer.
    pub fn outcome(&self) -> Outcome {
        match self.fault.as_ref().map(|fault| fault.error) {
            None => Outcome::Success,
            Some(ProbeError::NoAnswer) => Outcome::NoAnswer,
            Some(_) => Outcome::Failure,
        }
    }

    /// Expiry of the first certificate, Unix time in seconds: of the verified chain, or of all certificates that the
    /// peer sent if none was verified.
    pub fn certificate_expiry(&self) -> Option<i64> {
        let expiry = self.tls?.expiry;
        expiry.verified.or(expiry.sent)
    }

    /// Family of the address that was probed.
    pub fn family(&self) -> Option<Family> {
        self.peer.map(Family::of)
    }
}
