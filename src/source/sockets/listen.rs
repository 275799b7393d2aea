//! Listening sockets, and those that closed in the last minutes (pure).

use super::diag::{Family, Record, SocketOptions};
use crate::source::sockets::timeouts;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

/// Maximum number of closed listening sockets that are remembered.
const CLOSED: usize = 4096;

/// A listening socket, as far as it matters for whose connections it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Socket cookie.
    pub cookie: u64,
    /// User id of the owner.
    pub uid: u32,
    /// Index of the interface that it is bound to; 0 for none.
    interface: u32,
    /// Cgroup id, which the connections that it accepts inherit.
    cgroup: Option<u64>,
    /// Whether connections wait in its accept queue.
    has_waiting: bool,
    /// Whether it is of the other family: `::`, which accepts IPv4 too.
    mapped: bool,
}

/// The addresses of the listening sockets of a network namespace. `0.0.0.0` and `::` stand for every address of their
/// family.
#[derive(Debug, Default)]
pub struct Listeners {
    /// More than one at an address with `SO_REUSEPORT`, or bound to different interfaces.
    open: HashMap<SocketAddr, Vec<ListeningSocket>>,
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
        let socket = ListeningSocket {
            cookie: record.cookie,
            uid: record.uid,
            interface: record.interface,
            cgroup: record.cgroup,
            has_waiting: record.receive_queue > 0,
            mapped: false,
        };
        self.open.entry(record.local).or_default().push(socket);
        self.ports.insert(record.local.port());
        self.transparent |= record.options.is_some_and(SocketOptions::transparent);
        // The IPv6 wildcard accepts IPv4 unless `IPV6_V6ONLY` is set. Kernels before 2.6.36 do not report it; the
        // default is off.
        if record.local.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && record.v6_only != Some(true) {
            let everywhere = wildcard(Family::V4, record.local.port());
            self.open.entry(everywhere).or_default().push(ListeningSocket { mapped: true, ..socket });
        }
    }

    /// These listening sockets, and those of `before` that have closed and are still remembered.
    #[must_use]
    pub fn replacing(mut self, before: Self, now: Instant) -> Self {
        let gone = before.open.into_keys().map(|address| (address, now)).chain(before.closed);
        for (address, seen) in gone {
            let recent = now.saturating_duration_since(seen) < timeouts::LISTENER_CLOSED;
            if recent && !self.open.contains_key(&address) && self.closed.len() < CLOSED {
                self.closed.entry(address).or_insert(seen);
            }
        }
        self
    }

    /// Whether a socket listens on this address, or did in the last minutes.
    pub fn has(&self, family: Family, local: SocketAddr) -> bool {
        let everywhere = wildcard(family, local.port());
        [local, everywhere].iter().any(|at| self.open.contains_key(at) || self.has_closed(*at))
    }

    /// Whether a socket that listened on exactly this address closed in the last minutes, and no other listens there.
    pub fn has_closed(&self, local: SocketAddr) -> bool {
        self.closed.contains_key(&local)
    }

    /// Cookies of the sockets that listen now.
    pub fn cookies(&self) -> HashSet<u64> {
        self.open.values().flatten().map(|socket| socket.cookie).collect()
    }

    /// The socket that accepts a connection: the kernel looks for one at exactly its address, then at all addresses
    /// (`__inet_lookup_listener`), and prefers one that is bound to the interface and one of the same family. Among
    /// sockets that share an address (`SO_REUSEPORT`) it is one of the connection's control group, and one with
    /// connections in its queue; if there are several, any of them.
    pub fn of(&self, record: &Record<'_>) -> Option<&ListeningSocket> {
        let takes = |socket: &&ListeningSocket| socket.interface == 0 || socket.interface == record.interface;
        let score = |socket: &&ListeningSocket| {
            let kernel = u8::from(socket.interface != 0) + u8::from(!socket.mapped);
            (kernel, record.cgroup.is_some() && socket.cgroup == record.cgroup, socket.has_waiting)
        };
        let at = [record.local, wildcard(record.family, record.local.port())];
        at.iter().find_map(|at| self.open.get(at)?.iter().filter(takes).max_by_key(score))
    }

    /// Whether a socket listens on this port now, on any address.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether a socket accepts connections to addresses of other hosts, as transparent proxies do.
    pub fn transparent(&self) -> bool {
        self.transparent
    }
}

fn wildcard(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
        Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
    }
}
