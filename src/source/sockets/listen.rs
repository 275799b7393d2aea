//! Who listens, and who did within the last minutes (pure).

use super::diag::{Family, Record, SocketOptions};
use crate::source::sockets::timeouts;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// Addresses that nobody listens on any more and that are remembered, at most.
const CLOSED: usize = 4096;

/// The addresses that are listened on in one network namespace. `0.0.0.0` and `::` stand for every address of their
/// family.
#[derive(Debug, Default)]
pub struct Listeners {
    open: HashSet<SocketAddr>,
    ports: HashSet<u16>,
    /// Whether one of them takes connections to addresses of others (`IP_TRANSPARENT`).
    transparent: bool,
    /// When the addresses that were listened on lately were last seen so: a connection may outlive its listener.
    closed: HashMap<SocketAddr, Instant>,
}

impl Listeners {
    /// Takes a socket that listens.
    pub fn add(&mut self, record: &Record<'_>) {
        self.open.insert(record.local);
        self.ports.insert(record.local.port());
        self.transparent |= record.options.is_some_and(SocketOptions::transparent);
        // A wildcard of IPv6 takes IPv4 too, unless it says not to. Kernels before 2.6.36 do not say; by default it does.
        if record.local.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && record.v6_only != Some(true) {
            self.open.insert(wildcard(Family::V4, record.local.port()));
        }
    }

    /// These now, and what others say was listened on before, as long as it is remembered.
    #[must_use]
    pub fn after(mut self, before: Self, now: Instant) -> Self {
        let gone = before.open.into_iter().map(|address| (address, now)).chain(before.closed);
        for (address, seen) in gone {
            let recent = now.saturating_duration_since(seen) < timeouts::LISTENER_CLOSED;
            if recent && !self.open.contains(&address) && self.closed.len() < CLOSED {
                self.closed.entry(address).or_insert(seen);
            }
        }
        self
    }

    /// Whether somebody listens on this address, or did within the last minutes.
    pub fn has(&self, family: Family, local: SocketAddr) -> bool {
        let everywhere = wildcard(family, local.port());
        [local, everywhere].iter().any(|at| self.open.contains(at) || self.closed.contains_key(at))
    }

    /// Whether somebody listens on this port now, on whatever address.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether somebody takes connections to addresses of others, as transparent proxies do.
    pub fn transparent(&self) -> bool {
        self.transparent
    }

    /// The ports that are listened on, or were within the last minutes.
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
