//! The state of each socket between two cycles, from which changes are counted (pure).
//!
//! Sockets are identified by their cookie, which is unique since boot. A dump has the sockets that exist; destroy
//! events report those that have ended, with their last numbers. The two come over different netlink sockets and in no
//! order, so:
//!
//! - a socket that ends during a dump is remembered until the dump has ended, because the dump may still have it;
//! - a socket that is no longer in a dump ends with its event, or, without one, when the next dump does not have it
//!   either;
//! - a socket in the first dump of a network namespace existed before the agent: it is counted from its present values.
//!   Later sockets are counted from 0.

use super::accept::is_queued;
use super::attributes::{Attributes, Attribution, known_uid};
use super::delta::ConnectionDelta;
use super::diag::{Record, State};
use super::group::{Group, Groups};
use super::listen::Listeners;
use super::socket::{NO_GROUP, Observation, TrackedSocket};
use crate::host::ephemeral::EphemeralPorts;
use crate::source::sockets::config::GroupBy;
use crate::source::sockets::labels::Key;
use ended::Deferred;
use namespace::NamespaceState;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

mod ended;
mod last_numbers;
mod namespace;
mod other_end;
mod waiting;

/// Name of the upper layer protocol of an MPTCP subflow.
const MPTCP: &str = "mptcp";

/// A socket without a group until its owner is found.
#[derive(Debug)]
struct PendingSocket {
    cookie: u64,
    local: SocketAddr,
    attributes: Attributes,
    /// The latest observation.
    observation: Observation,
    /// Whether the socket existed before the agent.
    preexisting: bool,
    /// Whether the path of its control group is still being looked up.
    cgroup_pending: bool,
    /// Whether its user is known only once a process accepts it.
    uid_pending: bool,
}

/// The tracked sockets, and their groups.
#[derive(Debug)]
pub struct Tracker {
    /// The groups to which changes are added.
    pub groups: Groups,
    /// Tracked sockets by cookie.
    sockets: HashMap<u64, TrackedSocket>,
    pending: HashMap<u64, PendingSocket>,
    deferred: Vec<Deferred>,
    namespaces: HashMap<u32, NamespaceState>,
    limit: usize,
    /// Whether the kernel sends destroy events.
    events: bool,
    /// Whether a socket has no group until its process was looked up.
    by_process: bool,
}

impl Tracker {
    /// Creates it without sockets. `limit` is the maximum number of tracked sockets; `events` says that the kernel
    /// sends destroy events; `by_process` says that a socket has no group until [`Tracker::attribute`] gives it an
    /// owner.
    pub fn new(groups: Groups, limit: usize, events: bool, by_process: bool) -> Self {
        Self {
            groups,
            sockets: HashMap::new(),
            pending: HashMap::new(),
            deferred: Vec::new(),
            namespaces: HashMap::new(),
            limit,
            events,
            by_process,
        }
    }

    /// Number of tracked sockets.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether no socket is tracked.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Begins a dump of a network namespace.
    pub fn begin_dump(&mut self, namespace: u32) {
        self.namespaces.entry(namespace).or_default().begin_dump();
    }

    /// Sets the listening sockets of a network namespace. They come before its other sockets, whose direction depends
    /// on them.
    pub fn set_listeners(
        &mut self,
        namespace: u32,
        listeners: Listeners,
        ephemeral: EphemeralPorts,
        now: Instant,
    ) {
        let Self { namespaces, sockets, .. } = self;
        let is_tracked = |cookie| sockets.contains_key(&cookie);
        namespaces.entry(namespace).or_default().set_listeners(listeners, ephemeral, is_tracked, now);
    }

    /// Updates a socket from a record of the dump. Returns the changes of a connection since the last dump, for the
    /// series of single flows.
    pub fn update(
        &mut self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        now: Instant,
    ) -> Option<ConnectionDelta> {
        let state = self.namespaces.get_mut(&namespace)?;
        if state.has_ended(record.cookie) {
            return None; // the destroy event is newer than the dump
        }
        if matches!(record.state, State::SynRecv | State::NewSynRecv) {
            state.note_handshake(record.cookie);
        }
        let observation = Observation::of(record)?;
        // A socket that had ended and is in the dump again was connected again.
        if let Some(known) = self.sockets.get_mut(&record.cookie).filter(|known| !known.ended) {
            known.dump = state.dump;
            known.mptcp = record.ulp == Some(MPTCP);
            if known.group == NO_GROUP {
                if let Some(pending) = self.pending.get_mut(&record.cookie) {
                    pending.update(observation, record, attribution);
                }
                return None;
            }
            let delta = known.update(&observation);
            self.groups.add(known.group, &delta, now);
            return delta.connection();
        }
        // A UDP socket without drops needs no state.
        if matches!(observation, Observation::Datagrams { drops: 0 }) {
            return None;
        }
        if self.sockets.len() >= self.limit {
            self.groups.leave_out(Key::Track);
            state.overfull = Some(now);
            return None;
        }
        let preexisting = !state.was_read() || state.overflowed(now);
        let attributes = state.attributes(namespace, record, attribution);
        let mut known = TrackedSocket::new(namespace, state.dump, &observation, preexisting);
        known.direction = attributes.direction.filter(|_| attributes.certain);
        known.mptcp = record.ulp == Some(MPTCP);
        let cgroup_pending = attribution.cgroup_pending;
        // The process that accepts a connection may be another user's than the one that listens.
        let uid_pending = self.groups.is_by(GroupBy::Uid) && is_queued(record);
        let (cookie, local) = (record.cookie, record.local);
        let pending = PendingSocket {
            cookie,
            local,
            attributes,
            observation,
            preexisting,
            cgroup_pending,
            uid_pending,
        };
        let mut delta = None;
        if self.by_process || cgroup_pending || uid_pending {
            self.pending.insert(record.cookie, pending);
        } else {
            delta = pending.settle(state, &mut self.groups, &mut known, now);
        }
        self.sockets.insert(record.cookie, known);
        delta
    }

    /// Whether a socket waits for its owner.
    pub fn is_pending(&self, cookie: u64) -> bool {
        self.pending.contains_key(&cookie)
    }

    /// Records that the dump in progress has every TCP socket: the values of this cycle are all those of TCP.
    pub fn end_connections(&mut self, namespace: u32) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.end_connections();
        }
    }

    /// Ends a dump; `complete` says that every socket was read.
    pub fn end_dump(&mut self, namespace: u32, complete: bool) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.end_dump(complete);
        }
    }

    /// Whether the values of the latest dump, which are those of TCP, are all in the totals of a group: every TCP socket of
    /// its network namespace was read.
    pub fn is_current(&self, group: &Group) -> bool {
        let complete = |state: &NamespaceState| state.read_tcp == state.dump;
        match group.namespace() {
            Some(namespace) => self.namespaces.get(&namespace).is_some_and(complete),
            None => self.namespaces.values().all(complete),
        }
    }

    /// Ends the sockets that are gone without an event, once per cycle.
    pub fn sweep(&mut self, now: Instant) {
        self.finish_deferred(now);
        let (namespaces, groups, events) = (&mut self.namespaces, &mut self.groups, self.events);
        let pending = &mut self.pending;
        for state in namespaces.values_mut() {
            state.settle(now);
        }
        self.sockets.retain(|cookie, known| {
            let Some(state) = namespaces.get_mut(&known.namespace) else {
                groups.add(known.group, &known.end(None), now);
                groups.leave(known.group, now);
                return false;
            };
            if known.ended {
                return !state.events_lost;
            }
            let [latest, before] = state.complete;
            // The event of a connection may still come. Other sockets have none, but a dump may skip a socket when its
            // neighbour ends.
            let told = events && !state.events_lost && known.is_connection();
            let there = known.dump
                >= match (told, known.is_connection()) {
                    (true, _) => before.min(state.settled),
                    (false, false) => before,
                    (false, true) => latest,
                };
            if !there {
                // The accept queue of a socket that does not listen any more is not counted.
                let connection = |pending: &PendingSocket| pending.observation.is_connection();
                if let Some(pending) = pending.remove(cookie).filter(connection) {
                    pending.settle(state, groups, known, now);
                }
                groups.add(known.group, &known.vanish(), now);
                groups.leave(known.group, now);
                // A connection leaves the dump when it ends; its event comes when its process closes it.
                known.ended = told && known.group != NO_GROUP;
            }
            there || known.ended
        });
        for state in self.namespaces.values_mut() {
            let [latest, _] = state.complete;
            state.events_lost &= latest != state.dump;
        }
        self.groups.retire(now);
        if self.sockets.capacity() > 4 * self.sockets.len().max(1024) {
            self.sockets.shrink_to(2 * self.sockets.len());
        }
    }

    /// Whether a socket is tracked.
    pub fn is_tracked(&self, cookie: u64) -> bool {
        self.sockets.contains_key(&cookie)
    }

    /// Marks the flows of the latest dump that the classic profile selected. A flow that the dump does not have keeps
    /// its mark until its event comes.
    pub fn select(&mut self, selected: &HashSet<u64>) {
        for (cookie, known) in &mut self.sockets {
            if self.namespaces.get(&known.namespace).is_some_and(|state| state.dump == known.dump) {
                known.selected = selected.contains(cookie);
            }
        }
    }

    /// Records that destroy events were lost: sockets that the next dump does not have have ended.
    pub fn lost(&mut self, namespace: u32) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.events_lost = true;
        }
    }

    /// Gives pending sockets their owners. `owner` returns `None` for a socket that has to wait for the next cycle.
    pub fn attribute(&mut self, owner: impl Fn(u64) -> Option<Attribution>, now: Instant) {
        let (groups, sockets, namespaces) = (&mut self.groups, &mut self.sockets, &mut self.namespaces);
        self.pending.retain(|cookie, pending| {
            if pending.cgroup_pending || pending.uid_pending {
                return true;
            }
            let Some(found) = owner(*cookie) else { return true };
            let attributes = &mut pending.attributes;
            attributes.process = found.process;
            attributes.cgroup = attributes.cgroup.take().or(found.cgroup);
            if let (Some(known), Some(state)) =
                (sockets.get_mut(cookie), namespaces.get_mut(&attributes.namespace))
            {
                pending.settle(state, groups, known, now);
            }
            false
        });
        // After the start of the agent, few sockets are pending at a time.
        self.pending.shrink_to(2 * self.pending.len());
        self.count_waiting(now);
    }

    /// Removes a network namespace that is gone, with its groups.
    pub fn forget(&mut self, namespace: u32, now: Instant) {
        self.namespaces.remove(&namespace);
        let groups = &mut self.groups;
        self.sockets.retain(|_, known| {
            let there = known.namespace != namespace;
            if !there && !known.ended {
                // Some sockets are in the group `~other`, which stays.
                groups.add(known.group, &known.vanish(), now);
                groups.leave(known.group, now);
            }
            there
        });
        self.pending.retain(|_, pending| pending.attributes.namespace != namespace);
        self.groups.forget(namespace);
    }
}

impl PendingSocket {
    /// Replaces the observation with that of the next dump.
    fn update(&mut self, observation: Observation, record: &Record<'_>, attribution: &Attribution) {
        self.observation = observation;
        if self.uid_pending && !is_queued(record) {
            self.uid_pending = false;
            self.attributes.uid = known_uid(record).or(self.attributes.uid);
        }
        self.cgroup_pending = attribution.cgroup_pending;
        let cgroup = self.attributes.cgroup.take();
        self.attributes.cgroup = cgroup.or_else(|| attribution.cgroup.clone());
    }

    /// Adds the socket to its group, and counts the observation.
    fn settle(
        &self,
        state: &mut NamespaceState,
        groups: &mut Groups,
        known: &mut TrackedSocket,
        now: Instant,
    ) -> Option<ConnectionDelta> {
        known.group = groups.join(&self.attributes, now);
        if matches!(self.observation, Observation::Listener { .. }) {
            state.note_listener_owner(self.cookie, self.local, &self.attributes, known.group);
        }
        if self.preexisting && self.observation.established() {
            groups.add(known.group, &known.already_open(), now);
        }
        let delta = known.update(&self.observation);
        groups.add(known.group, &delta, now);
        delta.connection()
    }
}
