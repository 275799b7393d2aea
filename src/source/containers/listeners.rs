//! Listen addresses of containers: from listening sockets to the addresses that clients can connect to.

use super::labels::MOST_LISTENERS;
use super::listen::{Listening, expand};
use super::namespaces::Namespaces;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The value of the label `proxy` of a port that Docker publishes.
pub(super) const DOCKER: &str = "dockerd";

/// Maximum number of addresses over the limit that are remembered, so that each is counted once.
const REMEMBERED: usize = 65_536;

/// An address that a container listens on, or on which Docker publishes its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenAddress {
    /// The number of the container.
    pub(super) workload: u64,
    /// Where.
    pub(super) at: SocketAddr,
    /// Whether it is a port that Docker publishes.
    pub(super) published: bool,
}

/// The current listen addresses, and recent ones.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    seen: BTreeMap<ListenAddress, Instant>,
    now: Option<Instant>,
    /// Addresses over the limit in this cycle, and those of the last one.
    without: [HashSet<ListenAddress>; 2],
    /// Addresses over the limit so far.
    pub(super) left_out: u64,
    namespaces: Namespaces,
}

impl Listeners {
    /// Begins a cycle. Addresses that nothing listened on for `retention` are removed.
    pub(super) fn begin(&mut self, retention: Duration, now: Instant) {
        self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < retention);
        if let Some(cycle) = self.now {
            self.namespaces.forget_before(cycle);
        }
        let [latest, before] = &mut self.without;
        *before = std::mem::take(latest);
        self.now = Some(now);
    }

    /// Adds a listening socket of a container in the network namespace of these processes of `/proc`; some may have ended.
    pub(super) fn take(&mut self, workload: u64, listening: Listening, namespace: u64, processes: &[String]) {
        self.add(workload, listening, namespace, processes, false);
    }

    /// Adds a port that Docker publishes, in the network namespace of the agent.
    pub(super) fn publish(&mut self, workload: u64, at: SocketAddr, namespace: u64) {
        // Docker names both families. Loopback is left out as in other namespaces: who connects there is on this host.
        let listening = Listening { at, only: true, host: false };
        self.add(workload, listening, namespace, &["self".to_owned()], true);
    }

    fn add(
        &mut self,
        workload: u64,
        listening: Listening,
        namespace: u64,
        processes: &[String],
        published: bool,
    ) {
        let Some(now) = self.now else { return };
        let known = if listening.at.ip().is_unspecified() {
            self.namespaces.addresses(namespace, processes, now)
        } else {
            &[]
        };
        let unknown = known.is_empty() && listening.at.ip().is_unspecified();
        for at in if unknown { vec![listening.at] } else { expand(listening, known) } {
            let at = ListenAddress { workload, at, published };
            if self.seen.contains_key(&at) || self.seen.len() < MOST_LISTENERS {
                self.seen.insert(at, now);
            } else {
                self.leave_out(at);
            }
        }
    }

    /// Follows renamed containers. `current` returns the present number of a number; `None`: its addresses are dropped.
    pub(super) fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<(ListenAddress, Instant)> =
            self.seen.extract_if(.., |at, _| current(at.workload) != Some(at.workload)).collect();
        for (at, seen) in moved {
            let Some(workload) = current(at.workload) else { continue };
            let latest = self.seen.entry(ListenAddress { workload, ..at }).or_insert(seen);
            *latest = seen.max(*latest);
        }
    }

    /// Counts an address when it is first over the limit.
    fn leave_out(&mut self, at: ListenAddress) {
        let [latest, before] = &mut self.without;
        if latest.len() < REMEMBERED && latest.insert(at) && !before.contains(&at) {
            self.left_out += 1;
        }
    }

    /// Every address, and whether something listens on it now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ListenAddress, bool)> {
        self.seen.iter().map(|(at, seen)| (*at, Some(*seen) == self.now))
    }
}
