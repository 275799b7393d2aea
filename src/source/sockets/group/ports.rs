//! The ports that have groups (pure).
//!
//! Ports come and go: those of passive FTP, of a peer that is scanned, of a listener that accepts one connection. So that
//! they do not take the place of services, each rank of ports has a part of the share, and a port that was needed once
//! gives its place to one that is needed repeatedly.

use super::values::{IS_UNKNOWN, Values};
use super::{Group, Groups, PORT};
use crate::source::sockets::attributes::PortKind;
use std::collections::HashMap;
use std::time::Instant;

/// Ports below this are well known.
const WELL_KNOWN: u16 = 1024;

/// Maximum number of refused ports whose attempts are counted.
const REFUSED: usize = 1024;

/// Attempts from which on a port counts as needed repeatedly.
const REPEATED: u8 = 3;

/// Sockets in a group up to which its port counts as needed once: both ends of a connection, or a listener and what it
/// accepted.
const ONCE: u32 = 2;

/// How much of the share a port may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A peer's port in the range of ephemeral ports.
    EphemeralPeer,
    /// Another port of a peer.
    Peer,
    /// A well-known port of a peer.
    WellKnownPeer,
    /// A port in the range of ephemeral ports that a socket of this network namespace listens on.
    EphemeralListened,
    /// Another port that a socket of this network namespace listens on.
    Listened,
}

impl Rank {
    fn of(port: u16, kind: PortKind) -> Self {
        match kind {
            PortKind::Listened { ephemeral: true } => Self::EphemeralListened,
            PortKind::Listened { ephemeral: false } => Self::Listened,
            _ if port < WELL_KNOWN => Self::WellKnownPeer,
            PortKind::Connected { ephemeral: false } => Self::Peer,
            PortKind::Connected { ephemeral: true } | PortKind::Uncertain => Self::EphemeralPeer,
        }
    }
}

/// The ports that have groups, and those that were refused.
#[derive(Debug, Default)]
pub(super) struct Ports {
    ranks: HashMap<u32, Rank>,
    /// Attempts of refused ports.
    refused: HashMap<u16, u8>,
    /// Whether no port can be displaced before the next cycle.
    exhausted: bool,
}

impl Ports {
    /// Removes a port that has no group any more.
    pub(super) fn remove(&mut self, port: u32) {
        self.ranks.remove(&port);
    }

    /// The totals of every group were observed, so that empty groups may end.
    pub(super) fn observed(&mut self) {
        self.exhausted = false;
    }

    /// Whether a port of this rank has room, with a share of `limit` ports. Half of the share is for peers at most;
    /// three quarters of that for ports that are not well known, and half of it for ephemeral ports. A quarter of the
    /// share is for ports that are not ephemeral.
    fn have_room(&self, rank: Rank, limit: usize) -> bool {
        let count = |ranks: &[Rank]| self.ranks.values().filter(|rank| ranks.contains(rank)).count();
        let peers = limit - limit / 2;
        let all_peers = || count(&[Rank::EphemeralPeer, Rank::Peer, Rank::WellKnownPeer]) < peers;
        self.ranks.len() < limit
            && match rank {
                Rank::EphemeralPeer => all_peers() && count(&[Rank::EphemeralPeer]) < peers / 2,
                Rank::Peer => all_peers() && count(&[Rank::EphemeralPeer, Rank::Peer]) < peers - peers / 4,
                Rank::WellKnownPeer => all_peers(),
                Rank::EphemeralListened => {
                    count(&[Rank::EphemeralPeer, Rank::EphemeralListened]) < limit - limit / 4
                }
                Rank::Listened => true,
            }
    }

    /// Whether this port may displace one that was needed once: a well-known one or one that is listened on, or any at
    /// its third attempt.
    fn may_displace(&mut self, port: u16, rank: Rank) -> bool {
        if self.refused.len() >= REFUSED && !self.refused.contains_key(&port) {
            self.refused.clear();
        }
        let attempts = self.refused.entry(port).or_default();
        *attempts = attempts.saturating_add(1);
        (rank >= Rank::WellKnownPeer || *attempts >= REPEATED) && !self.exhausted
    }
}

/// The use of a port by all of its groups.
struct PortUse {
    /// Whether every group is without sockets, and its totals were observed.
    over: bool,
    /// Number of sockets that were ever in them.
    joined: u32,
    /// Time of the latest change.
    touched: Instant,
}

impl Groups {
    /// The code of a port; `None` if it is over its limit.
    pub(super) fn port_code(&mut self, port: Option<u16>, kind: PortKind) -> Option<u32> {
        let Some(port) = port else { return Some(IS_UNKNOWN) };
        let number = u32::from(port);
        let values = self.values.get_mut(PORT)?;
        if values.has_number(number) {
            if kind != PortKind::Uncertain {
                let rank = Rank::of(port, kind);
                self.ports.ranks.entry(number).and_modify(|known| *known = rank.max(*known)).or_insert(rank);
            }
            return Some(number);
        }
        if kind == PortKind::Uncertain {
            return Some(IS_UNKNOWN);
        }
        let (rank, limit) = (Rank::of(port, kind), values.limit());
        let room = self.ports.have_room(rank, limit) || self.displaces(port, rank, limit);
        let number =
            self.values.get_mut(PORT).filter(|_| room).and_then(|values| values.of_number(number))?;
        self.ports.ranks.insert(number, rank);
        self.ports.refused.remove(&port);
        Some(number)
    }

    /// Ends the groups of the port that has been without sockets for the longest time among those that were needed
    /// once, if that makes room for this one.
    fn displaces(&mut self, port: u16, rank: Rank, limit: usize) -> bool {
        if !self.ports.may_displace(port, rank) {
            return false;
        }
        let mut used: HashMap<u32, PortUse> = HashMap::new();
        for group in self.all.values() {
            let over = Group::is_over(group);
            let known =
                used.entry(group.code.port()).or_insert(PortUse { over, joined: 0, touched: group.touched });
            known.over &= over;
            known.joined = known.joined.saturating_add(group.joined);
            known.touched = known.touched.max(group.touched);
        }
        used.retain(|_, used| used.over && used.joined <= ONCE);
        let mut candidates: Vec<_> = used.into_iter().map(|(port, used)| (used.touched, port)).collect();
        candidates.sort_unstable();
        for (_, candidate) in candidates {
            let Some(known) = self.ports.ranks.remove(&candidate) else { continue };
            if self.ports.have_room(rank, limit) {
                let groups = self.all.iter().filter(|(_, group)| group.code.port() == candidate);
                let ended: Vec<u32> = groups.map(|(number, _)| *number).collect();
                for number in ended {
                    self.end(number);
                }
                return !self.values.get(PORT).is_some_and(|values| Values::has_number(values, candidate));
            }
            self.ports.ranks.insert(candidate, known);
        }
        self.ports.exhausted = true;
        false
    }
}
