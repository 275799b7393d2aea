//! Where containers listen: from the sockets that were found to the addresses they can be connected to at.

use super::labels::MOST_LISTENERS;
use super::listen::{Listening, expand};
use super::namespaces::Namespaces;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The value of the label `proxy` of a port that Docker publishes.
pub(super) const DOCKER: &str = "dockerd";

/// Addresses without room that are remembered, so that each is counted once.
const REMEMBERED: usize = 65_536;

/// Where a container listens, or Docker for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenAddress {
    /// The number of the container.
    pub(super) who: u64,
    /// Where.
    pub(super) at: SocketAddr,
    /// Whether it is a port that Docker publishes.
    pub(super) published: bool,
}

/// The addresses that are listened at, with those that were not long ago.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    seen: BTreeMap<ListenAddress, Instant>,
    now: Option<Instant>,
    /// Those that find no room in this cycle, and those of the last one.
    without: [HashSet<ListenAddress>; 2],
    /// Addresses that found no room so far.
    pub(super) left_out: u64,
    namespaces: Namespaces,
}

impl Listeners {
    /// A cycle begins. What was not listened at for so long is forgotten.
    pub(super) fn begin(&mut self, retention: Duration, now: Instant) {
        self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < retention);
        if let Some(cycle) = self.now {
            self.namespaces.forget_before(cycle);
        }
        let [latest, before] = &mut self.without;
        *before = std::mem::take(latest);
        self.now = Some(now);
    }

    /// A socket of a container, in a network namespace that these processes are in, as `/proc` calls them; some may be gone.
    pub(super) fn take(&mut self, who: u64, listening: Listening, namespace: u64, processes: &[String]) {
        self.add(who, listening, namespace, processes, false);
    }

    /// A port that Docker publishes, in the network namespace of the agent.
    pub(super) fn publish(&mut self, who: u64, at: SocketAddr, namespace: u64) {
        // Docker names both families. Loopback is left out as in other namespaces: who connects there is on this host.
        let listening = Listening { at, only: true, host: false };
        self.add(who, listening, namespace, &["self".to_owned()], true);
    }

    fn add(&mut self, who: u64, listening: Listening, namespace: u64, processes: &[String], published: bool) {
        let Some(now) = self.now else { return };
        let known = if listening.at.ip().is_unspecified() {
            self.namespaces.addresses(namespace, processes, now)
        } else {
            &[]
        };
        let unknown = known.is_empty() && listening.at.ip().is_unspecified();
        for at in if unknown { vec![listening.at] } else { expand(listening, known) } {
            let at = ListenAddress { who, at, published };
            if self.seen.contains_key(&at) || self.seen.len() < MOST_LISTENERS {
                self.seen.insert(at, now);
            } else {
                self.leave_out(at);
            }
        }
    }

    /// `current` says who has a number now: nobody, or another one whose the addresses are from now on.
    pub(super) fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<(ListenAddress, Instant)> =
            self.seen.extract_if(.., |at, _| current(at.who) != Some(at.who)).collect();
        for (at, seen) in moved {
            let Some(who) = current(at.who) else { continue };
            let latest = self.seen.entry(ListenAddress { who, ..at }).or_insert(seen);
            *latest = seen.max(*latest);
        }
    }

    /// Counts an address when it first finds no room.
    fn leave_out(&mut self, at: ListenAddress) {
        let [latest, before] = &mut self.without;
        if latest.len() < REMEMBERED && latest.insert(at) && !before.contains(&at) {
            self.left_out += 1;
        }
    }

    /// Every address with whether it is listened at now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ListenAddress, bool)> {
        self.seen.iter().map(|(at, seen)| (*at, Some(*seen) == self.now))
    }
}
