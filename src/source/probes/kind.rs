//! The probers; each kind has its own file.

use super::attempt::Attempt;
use super::fault::Fault;
use crate::source::probes::config::Target as Settings;
use crate::source::probes::config::kind::Protocol;
use std::time::Duration;

pub mod conversation;
pub mod expectation;
pub mod http;
pub mod icmp;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod unix;

/// A prober, by protocol.
#[derive(Debug)]
pub enum Prober {
    /// TCP connection, with an optional conversation and TLS.
    Tcp(tcp::Tcp),
    /// UDP datagram and its response.
    Udp(udp::Udp),
    /// ICMP echo requests.
    Icmp(icmp::Icmp),
    /// Unix socket, with an optional conversation.
    Unix(unix::Unix),
    /// An HTTP request.
    Http(Box<http::Http>),
}

impl Prober {
    /// Creates the prober of a target, whose probes each take at most `timeout`.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        Ok(match settings.kind.protocol() {
            Protocol::Tcp | Protocol::Tls => Self::Tcp(tcp::Tcp::new(settings)?),
            Protocol::Udp => Self::Udp(udp::Udp::new(settings)?),
            Protocol::Icmp => Self::Icmp(icmp::Icmp::new(settings, timeout)?),
            Protocol::Unix => Self::Unix(unix::Unix::new(settings)?),
            Protocol::Http => Self::Http(Box::new(http::Http::new(settings)?)),
        })
    }

    /// The TLS client, if it may use TLS.
    pub fn tls(&self) -> Option<&tls::Tls> {
        match self {
            Self::Tcp(tcp) => tcp.tls(),
            Self::Http(http) => http.tls(),
            Self::Udp(_) | Self::Icmp(_) | Self::Unix(_) => None,
        }
    }

    /// Probes once, and records the phases in `attempt`.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        match self {
            Self::Tcp(tcp) => tcp.run(attempt).await,
            Self::Udp(udp) => udp.run(attempt).await,
            Self::Icmp(icmp) => icmp.run(attempt).await,
            Self::Unix(unix) => unix.run(attempt).await,
            Self::Http(http) => http.run(attempt).await,
        }
    }
}
