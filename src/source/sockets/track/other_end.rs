//! The other ends of connections within this machine (pure).
//!
//! Both ends of a connection over loopback have a destroy event. Where one of them has lost its counters and its peer's port, because
//! it sent a reset or by Multipath TCP (see [`mptcp`](super::super::mptcp)), the other says what it was: which end opened
//! it, and what one end has sent the other has received.

use super::super::diag::Record;
use super::super::direction::Direction;
use super::super::sample::{Counters, Measurements, Sample};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Ends that are remembered until that of the other socket is told, at most.
const ENDS: usize = 8192;

/// A socket whose destroy event had its counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedSocket {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// Which end opened the connection, if that was certain.
    pub(super) direction: Option<Direction>,
    pub(super) in_order: bool,
    pub(super) sample: Sample,
    /// The dump in which it was told.
    pub(super) dump: u32,
}

/// The sockets whose other end had no destroy event yet, by what a socket that has lost its peer's port still knows of them: their
/// address, and its own port.
#[derive(Debug, Default)]
pub(super) struct OtherEnds {
    ends: HashMap<(IpAddr, u16), Vec<ClosedSocket>>,
    count: usize,
}

impl OtherEnds {
    /// Takes an event; if it is the other end of one that is remembered, both are complete.
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

    /// The other end of a connection that has lost its counters. Of several that may be it, one that ended as it did: in
    /// order with Multipath TCP, by a reset without.
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
        let place = ends.iter().position(is)?;
        let end = ends.swap_remove(place);
        if ends.is_empty() {
            self.ends.remove(&(address, port));
        }
        self.count -= 1;
        Some(end)
    }

    /// Forgets those whose events came before this dump.
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
    /// Whether it is the other end of a connection that has lost its peer's port, or one like it.
    pub(super) fn is_other_of(&self, record: &Record<'_>) -> bool {
        let local = record.local.ip();
        self.local.ip() == record.peer.ip()
            && self.peer.port() == record.local.port()
            && (local.is_unspecified() || local == self.peer.ip())
    }

    /// What the socket at the other end has counted, as far as this one says: payload and segments.
    pub(super) fn mirrored(&self) -> Sample {
        let own = &self.sample.counters;
        let sent = own.received.saturating_sub(1); // the FIN
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
            established: true,
            present: self.sample.present,
        }
    }

    /// Which end opened the connection, as seen from the other.
    pub(super) fn mirrored_direction(&self) -> Option<Direction> {
        match self.direction? {
            Direction::Incoming => Some(Direction::Outgoing),
            Direction::Outgoing => Some(Direction::Incoming),
            Direction::Unknown => None,
        }
    }
}

/// Whether both ends of a connection are on this machine, for certain.
pub(super) fn is_local(record: &Record<'_>) -> bool {
    let (local, peer) = (record.local.ip(), record.peer.ip());
    local == peer || (peer.is_loopback() && (local.is_loopback() || local.is_unspecified()))
}
