//! The result of one probe (pure: the time is told, not asked).

use super::fault::Fault;
use crate::source::probes::config::Family;
use crate::source::probes::labels::{Outcome, Phase, ProbeError};
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// The result of one probe.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// When it began, by the wall clock.
    pub began: SystemTime,
    /// The same by the monotonic clock.
    pub began_at: Instant,
    /// Duration of the whole probe.
    pub took: Duration,
    /// Phases that were completed, each once.
    pub phases: Vec<(Phase, Duration)>,
    /// Reason of the failure; `None` if the probe succeeded.
    pub fault: Option<Fault>,
    /// Address that was probed; where redirects led elsewhere, the first.
    pub peer: Option<IpAddr>,
    /// The last TLS handshake.
    pub tls: Option<TlsSession>,
    /// The last HTTP response.
    pub http: Option<HttpResponse>,
    /// Echo requests and replies.
    pub echoes: Option<Echoes>,
    /// Log of the steps, where it was asked for (`/probe?debug=true`).
    pub notes: Option<Vec<String>>,
}

/// When the first certificate expires, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Of all that the peer sent.
    pub sent: Option<i64>,
    /// Of the chain that was verified.
    pub verified: Option<i64>,
}

/// A TLS handshake, also one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// Version of the protocol, `TLS 1.3`, once it is agreed upon.
    pub version: Option<&'static str>,
    /// When the certificate chain expires.
    pub expiry: Expiry,
}

/// An HTTP response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HttpResponse {
    /// Status code of the response.
    pub status: u16,
    /// HTTP version of the response: 1.0 or 1.1.
    pub version: f64,
    /// Redirects that were followed before it.
    pub redirects: u32,
}

/// Echo requests of one probe, and the round trips of those that were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echoes {
    /// Requests sent.
    pub sent: u32,
    /// One for each reply.
    pub round_trips: Vec<Duration>,
}

impl ProbeResult {
    /// That of a probe which begins now by these two clocks; `notes` asks for a log of its steps.
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

    /// Whether the probe succeeded, failed, or says nothing.
    pub fn outcome(&self) -> Outcome {
        match self.fault.as_ref().map(|fault| fault.error) {
            None => Outcome::Success,
            Some(ProbeError::NoAnswer) => Outcome::NoAnswer,
            Some(_) => Outcome::Failure,
        }
    }

    /// When the first certificate expires, in seconds since 1970: that of the chain that was verified, or of all that the
    /// peer sent where none was.
    pub fn certificate_expiry(&self) -> Option<i64> {
        let expiry = self.tls?.expiry;
        expiry.verified.or(expiry.sent)
    }

    /// Family of the address that was probed.
    pub fn family(&self) -> Option<Family> {
        self.peer.map(Family::of)
    }
}
