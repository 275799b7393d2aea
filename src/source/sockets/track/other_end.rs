//! The other ends of connections within this machine (pure).
//!
//! Both ends of a connection over loopback have a destroy event. If one of them has lost its counters and the peer's
//! port, because it sent a reset or because of MPTCP (see [`mptcp`](super::super::mptcp)), the other event has the
//! missing facts: which end opened the connection, and as bytes received what this end has sent.

use super::super::connect::Handshake;
use super::super::diag::Record;
use super::super::direction::Direction;
use super::super::sample::{Counters, Measurements, Sample};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Maximum number of ends that are remembered until the event of the other end comes.
const ENDS: usize = 8192;

/// A socket whose destroy event had its counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedSocket {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// The end that opened the connection, if certain.
    pub(super) direction: Option<Direction>,
    pub(super) in_order: bool,
    pub(super) sample: Sample,
    /// Number of the dump during which the event came.
    pub(super) dump: u32,
}

/// Sockets whose other end had no destroy event yet. The key is what a socket without the peer's port still has: the
/// peer's address, and its own port.
#[derive(Debug, Default)]
pub(super) struct OtherEnds {
    ends: HashMap<(IpAddr, u16), Vec<ClosedSocket>>,
    count: usize,
}

impl OtherEnds {
    /// Adds an event. If it is the other end of a remembered one, both are removed.
    pub(super) fn add(&mut self, record: &Record<'_>, end: ClosedSocket) {
        if !is_local(record)
            || self
                .remove(record.peer.ip(), record.local.port(), |end| {
                    end.local == record.peer && end.peer == record.local
                })
                .is_some()
        {
            return;
        }
        if self.count < ENDS {
            self.count += 1;
            self.ends.entry((record.local.ip(), record.peer.port())).or_default().push(end);
        }
    }

    /// The other end of a connection that has lost its counters. Among several candidates, one that ended in the same
    /// way: in order with MPTCP, by a reset without.
    pub(super) fn take(&mut self, record: &Record<'_>, mptcp: bool) -> Option<ClosedSocket> {
        let (address, port) = (record.peer.ip(), record.local.port());
        self.remove(address, port, |end| end.in_order == mptcp && end.is_other_of(record))
            .or_else(|| self.remove(address, port, |end| end.is_other_of(record)))
    }

    fn remove(
        &mut self,
        address: IpAddr,
        port: u16,
        is: impl Fn(&ClosedSocket) -> bool,
    ) -> Option<ClosedSocket> {
        let ends = self.ends.get_mut(&(address, port))?;
        let index = ends.iter().position(is)?;
        let end = ends.swap_remove(index);
        if ends.is_empty() {
            self.ends.remove(&(address, port));
        }
        self.count -= 1;
        Some(end)
    }

    /// Removes ends whose events came before this dump.
    pub(super) fn forget_before(&mut self, dump: u32) {
        if self.count > 0 {
            self.ends.retain(|_, ends| {
                ends.retain(|end| end.dump >= dump);
                !ends.is_empty()
            });
            self.count = self.ends.values().map(Vec::len).sum();
        }
    }
}

impl ClosedSocket {
    /// Whether this socket may be the other end of a connection that has lost the peer's port.
    pub(super) fn is_other_of(&self, record: &Record<'_>) -> bool {
        let local = record.local.ip();
        self.local.ip() == record.peer.ip()
            && self.peer.port() == record.local.port()
            && (local.is_unspecified() || local == self.peer.ip())
    }

    /// The counters of the socket at the other end, as far as these give them: payload and segments.
    pub(super) fn mirrored(&self) -> Sample {
        let own = &self.sample.counters;
        let sent = own.received.saturating_sub(1); // without the FIN
        Sample {
            counters: Counters {
                sent,
                received: own.sent + 1,
                acked: sent + 2,
                segs_out: own.segs_in,
                segs_in: own.segs_out,
                ..Counters::default()
            },
            measurements: Measurements::default(),
            path: None,
            handshake: Handshake::default(),
            established: true,
            supported: self.sample.supported,
        }
    }

    /// The direction as seen from the other end.
    pub(super) fn mirrored_direction(&self) -> Option<Direction> {
        match self.direction? {
            Direction::Incoming => Some(Direction::Outgoing),
            Direction::Outgoing => Some(Direction::Incoming),
            Direction::Unknown => None,
        }
    }
}

/// Whether both ends of a connection are certainly on this machine.
pub(super) fn is_local(record: &Record<'_>) -> bool {
    let (local, peer) = (record.local.ip(), record.peer.ip());
    local == peer || (peer.is_loopback() && (local.is_loopback() || local.is_unspecified()))
}
