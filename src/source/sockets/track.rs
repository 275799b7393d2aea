//! What is remembered of each socket from one cycle to the next, so that only differences are counted (pure).
//!
//! Sockets are known by their cookie, which no other socket has had since the machine was started. A dump says which
//! there are; the destroy events say which have ended, with their last numbers. The two come over different sockets and
//! in no order, so:
//!
//! - what ended while a dump is read is remembered until the dump has ended, for the dump may still bring it;
//! - what a dump no longer has ends when its event comes, and without one when the next dump does not have it either;
//! - what is there in the first dump of a network namespace was there before the agent: it is counted from where it
//!   stands. What comes later is counted from nothing.

use super::attributes::{Attributes, Attribution};
use super::delta::ConnectionDelta;
use super::diag::{Record, State};
use super::group::Groups;
use super::listen::Listeners;
use super::socket::{KnownSocket, NO_GROUP, Observation};
use crate::host::ephemeral::EphemeralPorts;
use crate::source::sockets::labels::Key;
use ended::Deferred;
use namespace::NamespaceState;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

mod ended;
mod last_numbers;
mod namespace;
mod other_end;
mod waiting;

/// Name of the protocol above a subflow of Multipath TCP.
const MPTCP: &str = "mptcp";

/// A socket that has no group before its owner is found.
#[derive(Debug)]
struct PendingSocket {
    attributes: Attributes,
    /// The latest there is of it.
    observation: Observation,
    /// Whether it was there before the agent.
    preexisting: bool,
    /// Whether the path of its control group is still being looked up.
    cgroup_pending: bool,
}

/// The sockets that are remembered, and the groups they are counted in.
#[derive(Debug)]
pub struct Tracker {
    /// The groups that the differences are added to.
    pub groups: Groups,
    /// By their cookies.
    sockets: HashMap<u64, KnownSocket>,
    pending: HashMap<u64, PendingSocket>,
    deferred: Vec<Deferred>,
    namespaces: HashMap<u32, NamespaceState>,
    limit: usize,
    /// Whether the kernel sends destroy events.
    events: bool,
    /// Whether a socket has no group before its process was looked for.
    by_process: bool,
}

impl Tracker {
    /// Nothing remembered yet; at most `limit` sockets will be. `events` says that the kernel sends destroy events,
    /// `by_process` that a socket has no group before [`Tracker::attribute`] gave it an owner.
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

    /// How many sockets are remembered.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Begins a dump of a network namespace.
    pub fn begin_dump(&mut self, namespace: u32) {
        self.namespaces.entry(namespace).or_default().begin_dump();
    }

    /// Takes who listens in a network namespace. They come before its other sockets, whose direction they tell.
    pub fn set_listeners(
        &mut self,
        namespace: u32,
        listeners: Listeners,
        ephemeral: EphemeralPorts,
        now: Instant,
    ) {
        self.namespaces.entry(namespace).or_default().set_listeners(listeners, ephemeral, now);
    }

    /// Takes a connection, a listening socket or a UDP socket of the dump. What a connection did since the last dump is
    /// for whoever shows single flows.
    pub fn update(
        &mut self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        now: Instant,
    ) -> Option<ConnectionDelta> {
        let state = self.namespaces.get_mut(&namespace)?;
        if state.has_ended(record.cookie) {
            return None; // the dump is older than the event
        }
        if matches!(record.state, State::SynRecv | State::NewSynRecv) {
            state.note_handshake(record.cookie);
        }
        let observation = Observation::of(record)?;
        // One that had ended and is there again was connected again.
        if let Some(known) = self.sockets.get_mut(&record.cookie).filter(|known| !known.ended) {
            known.dump = state.dump;
            known.mptcp = record.ulp == Some(MPTCP);
            if known.group == NO_GROUP {
                if let Some(pending) = self.pending.get_mut(&record.cookie) {
                    pending.update(observation, attribution);
                }
                return None;
            }
            let delta = known.update(&observation);
            self.groups.add(known.group, &delta, now);
            return delta.connection();
        }
        // A UDP socket that has dropped nothing has nothing to remember.
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
        let mut known = KnownSocket::new(namespace, state.dump, &observation, preexisting);
        known.direction = attributes.direction.filter(|_| attributes.certain);
        known.mptcp = record.ulp == Some(MPTCP);
        let cgroup_pending = attribution.cgroup_pending;
        let pending = PendingSocket { attributes, observation, preexisting, cgroup_pending };
        let mut delta = None;
        if self.by_process || cgroup_pending {
            self.pending.insert(record.cookie, pending);
        } else {
            delta = pending.settle(state, &mut self.groups, &mut known, now);
        }
        self.sockets.insert(record.cookie, known);
        delta
    }

    /// Whether a socket waits to be given an owner.
    pub fn is_pending(&self, cookie: u64) -> bool {
        self.pending.contains_key(&cookie)
    }

    /// Ends a dump; `complete` says that it had every socket there is.
    pub fn end_dump(&mut self, namespace: u32, complete: bool) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.end_dump(complete);
        }
    }

    /// Forgets the sockets that have gone without an event, once per cycle.
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
            // The event of a connection may still be on its way. Of the others nobody tells, but a dump may pass one over
            // where its neighbour ends.
            let told = events && !state.events_lost && known.is_connection();
            let there = known.dump
                >= match (told, known.is_connection()) {
                    (true, _) => before.min(state.settled),
                    (false, false) => before,
                    (false, true) => latest,
                };
            if !there {
                // The queue of who does not listen any more is nobody's.
                let connection = |pending: &PendingSocket| pending.observation.is_connection();
                if let Some(pending) = pending.remove(cookie).filter(connection) {
                    pending.settle(state, groups, known, now);
                }
                groups.add(known.group, &known.vanish(), now);
                groups.leave(known.group, now);
                // A connection leaves the dump when it ends, and its event comes when its process closes it.
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

    /// Whether a socket is remembered.
    pub fn knows(&self, cookie: u64) -> bool {
        self.sockets.contains_key(&cookie)
    }

    /// Notes which of the flows of the latest dump are selected by whoever shows single flows. One that it does not have
    /// stays what it was until its event comes.
    pub fn select(&mut self, selected: &HashSet<u64>) {
        for (cookie, known) in &mut self.sockets {
            if self.namespaces.get(&known.namespace).is_some_and(|state| state.dump == known.dump) {
                known.selected = selected.contains(cookie);
            }
        }
    }

    /// Notes that destroy events were lost: what the next dump does not have has ended.
    pub fn lost(&mut self, namespace: u32) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.events_lost = true;
        }
    }

    /// Gives the pending sockets their owners, as far as they were found; `None` for one that has to wait for the next
    /// cycle.
    pub fn attribute(&mut self, owner: impl Fn(u64) -> Option<Attribution>, now: Instant) {
        let (groups, sockets, namespaces) = (&mut self.groups, &mut self.sockets, &mut self.namespaces);
        self.pending.retain(|cookie, pending| {
            if pending.cgroup_pending {
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
        // As many as at the start of the agent will hardly wait again.
        self.pending.shrink_to(2 * self.pending.len());
    }

    /// Forgets a network namespace that is gone, its groups included.
    pub fn forget(&mut self, namespace: u32, now: Instant) {
        self.namespaces.remove(&namespace);
        let groups = &mut self.groups;
        self.sockets.retain(|_, known| {
            let there = known.namespace != namespace;
            if !there && !known.ended {
                // Some are in the group for the rest, which stays.
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
    /// Takes what the next dump says of it.
    fn update(&mut self, observation: Observation, attribution: &Attribution) {
        self.observation = observation;
        self.cgroup_pending = attribution.cgroup_pending;
        let cgroup = self.attributes.cgroup.take();
        self.attributes.cgroup = cgroup.or_else(|| attribution.cgroup.clone());
    }

    /// Puts the socket into its group, and counts what was seen of it.
    fn settle(
        &self,
        state: &mut NamespaceState,
        groups: &mut Groups,
        known: &mut KnownSocket,
        now: Instant,
    ) -> Option<ConnectionDelta> {
        known.group = groups.join(&self.attributes, now);
        if matches!(self.observation, Observation::Listener { .. }) {
            state.note_listener_owner(&self.attributes, known.group);
        }
        if self.preexisting && self.observation.established() {
            groups.add(known.group, &known.already_open(), now);
        }
        let delta = known.update(&self.observation);
        groups.add(known.group, &delta, now);
        delta.connection()
    }
}
