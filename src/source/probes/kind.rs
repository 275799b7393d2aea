//! The probers, by kind; each kind has its file.

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

/// Probes a target in the way of its kind.
#[derive(Debug)]
pub enum Prober {
    /// Connects and, where configured, talks, also over TLS.
    Tcp(tcp::Tcp),
    /// Sends a datagram and waits for an answer.
    Udp(udp::Udp),
    /// Sends echo requests.
    Icmp(icmp::Icmp),
    /// Connects to a socket of this machine and, where configured, talks.
    Unix(unix::Unix),
    /// An HTTP request.
    Http(Box<http::Http>),
}

impl Prober {
    /// The prober of a target, whose probes each take at most `timeout`.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        Ok(match settings.kind.protocol() {
            Protocol::Tcp | Protocol::Tls => Self::Tcp(tcp::Tcp::new(settings)?),
            Protocol::Udp => Self::Udp(udp::Udp::new(settings)?),
            Protocol::Icmp => Self::Icmp(icmp::Icmp::new(settings, timeout)?),
            Protocol::Unix => Self::Unix(unix::Unix::new(settings)?),
            Protocol::Http => Self::Http(Box::new(http::Http::new(settings)?)),
        })
    }

    /// How it speaks TLS, if it may.
    pub fn tls(&self) -> Option<&tls::Tls> {
        match self {
            Self::Tcp(tcp) => tcp.tls(),
            Self::Http(http) => http.tls(),
            Self::Udp(_) | Self::Icmp(_) | Self::Unix(_) => None,
        }
    }

    /// Probes once; `attempt` takes what is seen.
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
