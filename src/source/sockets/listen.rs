//! Listening sockets, and those that closed in the last minutes (pure).

use super::diag::{Family, Record, SocketOptions};
use crate::source::sockets::timeouts;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// Maximum number of closed listening sockets that are remembered.
const CLOSED: usize = 4096;

/// The addresses of the listening sockets of a network namespace. `0.0.0.0` and `::` stand for every address of their
/// family.
#[derive(Debug, Default)]
pub struct Listeners {
    open: HashSet<SocketAddr>,
    ports: HashSet<u16>,
    /// Whether a socket accepts connections to addresses of other hosts (`IP_TRANSPARENT`).
    transparent: bool,
    /// Addresses of sockets that closed lately, with the time of the last dump that had them: a connection may outlive
    /// its listener.
    closed: HashMap<SocketAddr, Instant>,
}

impl Listeners {
    /// Adds a listening socket.
    pub fn add(&mut self, record: &Record<'_>) {
        self.open.insert(record.local);
        self.ports.insert(record.local.port());
        self.transparent |= record.options.is_some_and(SocketOptions::transparent);
        // The IPv6 wildcard accepts IPv4 unless `IPV6_V6ONLY` is set. Kernels before 2.6.36 do not report it; the
        // default is off.
        if record.local.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && record.v6_only != Some(true) {
            self.open.insert(wildcard(Family::V4, record.local.port()));
        }
    }

    /// These listening sockets, and those of `before` that have closed and are still remembered.
    #[must_use]
    pub fn replacing(mut self, before: Self, now: Instant) -> Self {
        let gone = before.open.into_iter().map(|address| (address, now)).chain(before.closed);
        for (address, seen) in gone {
            let recent = now.saturating_duration_since(seen) < timeouts::LISTENER_CLOSED;
            if recent && !self.open.contains(&address) && self.closed.len() < CLOSED {
                self.closed.entry(address).or_insert(seen);
            }
        }
        self
    }

    /// Whether a socket listens on this address, or did in the last minutes.
    pub fn has(&self, family: Family, local: SocketAddr) -> bool {
        let everywhere = wildcard(family, local.port());
        [local, everywhere].iter().any(|at| self.open.contains(at) || self.closed.contains_key(at))
    }

    /// Whether a socket listens on this port now, on any address.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether a socket accepts connections to addresses of other hosts, as transparent proxies do.
    pub fn transparent(&self) -> bool {
        self.transparent
    }

    /// Ports of the sockets that listen, or did in the last minutes.
    pub fn ports(&self) -> HashSet<u16> {
        self.ports.iter().copied().chain(self.closed.keys().map(SocketAddr::port)).collect()
    }
}

fn wildcard(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
        Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}
