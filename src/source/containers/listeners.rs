//! Where containers listen: from the sockets that were found to the addresses they can be connected to at.

use super::addresses;
use super::labels::MOST_LISTENERS;
use super::listen::{Listening, expand};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Most that is read of a file with the addresses or the sockets of a network namespace.
pub(super) const FILE: u64 = 16 * 1024 * 1024;

/// Addresses without room that are remembered, so that each is counted once.
const REMEMBERED: usize = 65_536;

/// The addresses that are listened at, with those that were not long ago.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    seen: BTreeMap<(u64, SocketAddr), Instant>,
    now: Option<Instant>,
    /// Those that find no room in this cycle, and those of the last one.
    without: [HashSet<(u64, SocketAddr)>; 2],
    /// Addresses that found no room so far.
    pub(super) left_out: u64,
    namespaces: HashMap<u64, Vec<IpAddr>>,
}

impl Listeners {
    /// A cycle begins. What was not listened at for so long is forgotten.
    pub(super) fn begin(&mut self, retention: Duration, now: Instant) {
        self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < retention);
        self.namespaces.clear();
        let [latest, before] = &mut self.without;
        *before = std::mem::take(latest);
        self.now = Some(now);
    }

    /// A socket of a container, in a network namespace that a process is in. `None`: its processes cannot be told.
    pub(super) fn take(&mut self, who: u64, listening: Listening, namespace: u64, process: Option<u32>) {
        let Some(now) = self.now else { return };
        let at = if listening.at.ip().is_unspecified() {
            let addresses = self.addresses(namespace, process);
            if addresses.is_empty() { vec![listening.at] } else { expand(listening, &addresses) }
        } else {
            expand(listening, &[])
        };
        for at in at {
            let there = self.seen.contains_key(&(who, at));
            if there || self.seen.len() < MOST_LISTENERS {
                self.seen.insert((who, at), now);
            } else {
                self.leave_out((who, at));
            }
        }
    }

    /// Counts an address when it first finds no room.
    fn leave_out(&mut self, at: (u64, SocketAddr)) {
        let [latest, before] = &mut self.without;
        if latest.len() < REMEMBERED && latest.insert(at) && !before.contains(&at) {
            self.left_out += 1;
        }
    }

    /// The addresses of a network namespace, read once a cycle.
    fn addresses(&mut self, namespace: u64, process: Option<u32>) -> Vec<IpAddr> {
        let Some(process) = process else { return Vec::new() };
        let known = self.namespaces.entry(namespace).or_default();
        if known.is_empty() {
            let read = |name| {
                crate::sys::read_limited(format!("/proc/{process}/net/{name}"), FILE).unwrap_or_default()
            };
            *known = addresses::fib_trie(&read("fib_trie"));
            known.extend(addresses::if_inet6(&read("if_inet6")));
        }
        known.clone()
    }

    /// Every address with whether it is listened at now.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, SocketAddr, bool)> {
        self.seen.iter().map(|((who, at), seen)| (*who, *at, Some(*seen) == self.now))
    }
}
