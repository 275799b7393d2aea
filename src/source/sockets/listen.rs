//! Who listens, and so which end opened a connection.
//!
//! A connection whose local end is one that somebody listens on was opened by the peer. Where that cannot be told (the
//! listener is gone, or came after the last look), the kernel's count of acknowledged bytes gives it away: it has one
//! more for the SYN of the end that sent one (`tcp_rcv_synsent_state_process` in `net/ipv4/tcp_input.c`), and one more
//! for the FIN.

use super::diag::{Family, Record};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// Which end opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer: this end serves.
    Incoming,
    /// This end.
    Outgoing,
}

impl Direction {
    /// The value of the attribute `direction`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

/// The addresses that are listened on in one network namespace.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Ports on every address of a family.
    any: HashSet<(Family, u16)>,
    at: HashSet<SocketAddr>,
    /// Who listened at the look before: what ends with its listener is told of later than that is gone.
    before: Option<Box<Self>>,
}

impl Listeners {
    /// Takes a socket that listens.
    pub fn add(&mut self, record: &Record<'_>) {
        let port = record.local.port();
        match record.local.ip() {
            IpAddr::V4(address) if address.is_unspecified() => {
                self.any.insert((Family::V4, port));
            }
            IpAddr::V6(address) if address.is_unspecified() => {
                self.any.insert((Family::V6, port));
                // Kernels before 2.6.36 do not say; the default of the kernel is to take both.
                if record.v6_only != Some(true) {
                    self.any.insert((Family::V4, port));
                }
            }
            _ => {
                self.at.insert(record.local);
            }
        }
    }

    /// These now, and these others at the look before.
    #[must_use]
    pub fn after(self, before: Self) -> Self {
        Self { before: Some(Box::new(Self { before: None, ..before })), ..self }
    }

    /// Whether somebody listens there, or did at the look before.
    pub fn has(&self, family: Family, local: SocketAddr) -> bool {
        self.any.contains(&(family, local.port()))
            || self.at.contains(&local)
            || self.before.as_ref().is_some_and(|before| before.has(family, local))
    }

    /// The ports that are listened on, or were at the look before.
    pub fn ports(&self) -> HashSet<u16> {
        let now = self.any.iter().map(|(_, port)| *port).chain(self.at.iter().map(SocketAddr::port));
        now.chain(self.before.iter().flat_map(|before| before.ports())).collect()
    }

    /// How many addresses are listened on now.
    pub fn len(&self) -> usize {
        self.any.len() + self.at.len()
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who opened a connection.
    pub fn direction(&self, record: &Record<'_>) -> Direction {
        if self.has(record.family, record.local) {
            return Direction::Incoming;
        }
        match opened_here(record) {
            Some(false) => Direction::Incoming,
            Some(true) | None => Direction::Outgoing,
        }
    }
}

/// Whether a connection was opened from this end, by the kernel's count of bytes; `None` where that does not tell.
fn opened_here(record: &Record<'_>) -> Option<bool> {
    if record.peer.port() == 0 {
        return None; // it was refused, or reset from here, and has lost its counters
    }
    let tcp = record.tcp?;
    let payload = tcp.payload_sent()?;
    let ended = record.state == super::diag::State::Close;
    if !ended && (record.state != super::diag::State::Established || tcp.unacked()? > 0) {
        return None;
    }
    if ended && tcp.min_rtt().is_none() {
        return None; // it was never made
    }
    match (ended, tcp.bytes_acked()?.checked_sub(payload)?) {
        // Neither a SYN nor a FIN.
        (_, 0) => Some(false),
        // The FIN of who was connected to, or the SYN of who was reset by the peer. Services have the lower port.
        (true, 1) => Some(record.local.port() > record.peer.port()),
        (false, 1) | (true, 2) => Some(true),
        _ => None,
    }
}
