//! The state of one network namespace between its dumps (pure).

use super::super::attributes::{Attributes, Attribution, PortKind};
use super::super::diag::Record;
use super::super::direction::{Direction, NamespaceEvidence, Verdict};
use super::super::listen::Listeners;
use super::super::mptcp::ResetCounts;
use super::super::socket::TrackedSocket;
use super::other_end::OtherEnds;
use super::waiting::WaitingConnection;
use crate::host::ephemeral::EphemeralPorts;
use crate::source::sockets::timeouts;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Maximum number of cookies of connections in `SYN_RECV` that are remembered.
const HANDSHAKES: usize = 16_384;

/// State of a network namespace: its listening sockets and the progress of its dumps.
#[derive(Debug, Default)]
pub(super) struct NamespaceState {
    listeners: Listeners,
    ephemeral: EphemeralPorts,
    /// Cookies of connections in `SYN_RECV` in the latest dump, and in the one before it.
    handshakes: [HashSet<u64>; 2],
    /// Owners of the listening sockets in groups, and of those that closed in the last minutes, by cookie: the most
    /// likely owners of connections that end before a dump has them.
    owners: HashMap<u64, ListenerOwner>,
    /// Connections in accept queues of the latest dump whose listening socket had no group yet.
    pub(super) waiting: Vec<WaitingConnection>,
    /// Number of the latest dump, complete or not.
    pub(super) dump: u32,
    /// Numbers of the latest complete dump and of the complete one before it; 0 for none.
    pub(super) complete: [u32; 2],
    /// Number of the latest dump of which every TCP socket was read; 0 for none.
    pub(super) read_tcp: u32,
    /// Number of the latest complete dump for which every destroy event has had time to come; 0 for none.
    pub(super) settled: u32,
    /// The complete dump that becomes `settled` next.
    settling: Checkpoint<u32>,
    /// Whether a dump is in progress.
    reading: bool,
    /// Cookies of sockets that ended during the dump in progress.
    ended: HashSet<u64>,
    /// Time of the last dump with more sockets than can be tracked: an unknown socket may have existed before the
    /// agent.
    pub(super) overfull: Option<Instant>,
    /// Destroy events of sockets whose other end is on this machine too.
    pub(super) other_ends: OtherEnds,
    resets: Resets,
    /// Resets sent that aborted an MPTCP connection.
    fast_closes: Resets,
    /// Resets received by which a peer aborted an MPTCP connection.
    fast_closes_received: Resets,
    /// Whether destroy events were lost since the last complete dump: sockets that the next one does not have have
    /// ended.
    pub(super) events_lost: bool,
}

/// Count of resets of one kind, where MPTCP is in use.
#[derive(Debug, Default)]
struct Resets {
    /// Resets so far; `None` if MPTCP was not in use yet.
    total: Option<u64>,
    /// Resets at an earlier time.
    earlier: Checkpoint<u64>,
    /// Resets of connections whose destroy event has come.
    with_event: u64,
}

impl Resets {
    /// Sets the number of resets so far.
    fn set_total(&mut self, total: u64, now: Instant) {
        if self.total.replace(total).is_none() {
            self.with_event = 0; // earlier resets were without MPTCP
        }
        if let Some(earlier) = self.earlier.passed(self.with_event, total, now) {
            // Resets without an event by now answered segments of no connection, which have no event.
            self.with_event = self.with_event.max(earlier);
        }
    }

    /// Whether there were more resets than events of reset connections; `None` if unknown.
    fn any_left(&self) -> Option<bool> {
        self.total.map(|total| total > self.with_event)
    }

    /// Assigns a reset to the event of a connection; returns whether there was one left.
    fn take(&mut self) -> bool {
        let any = self.any_left() == Some(true);
        self.with_event += u64::from(any);
        any
    }
}

/// A number at an earlier time, kept until every destroy event from before that time has come.
#[derive(Debug, Default)]
struct Checkpoint<T>(Option<(Instant, T)>);

impl<T: Copy> Checkpoint<T> {
    /// The stored number, once events have had time to come; then `latest` is stored. The first call stores `first`.
    fn passed(&mut self, first: T, latest: T, now: Instant) -> Option<T> {
        let (since, noted) = *self.0.get_or_insert((now, first));
        let passed = now.saturating_duration_since(since) >= timeouts::EVENT_LATE;
        if passed {
            self.0 = Some((now, latest));
        }
        passed.then_some(noted)
    }
}

/// An abort of an MPTCP connection: a reset with the option `MP_FASTCLOSE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FastClose {
    /// This end aborted it.
    Sent,
    /// The peer aborted it.
    Received,
}

/// Owner of a listening socket.
#[derive(Debug, Clone)]
struct ListenerOwner {
    local: SocketAddr,
    uid: Option<u32>,
    cgroup: Option<Arc<str>>,
    process: Option<Arc<str>>,
    /// Number of the group of the listening socket.
    group: u32,
}

impl NamespaceState {
    /// Begins a dump.
    pub(super) fn begin_dump(&mut self) {
        self.reading = true;
        self.handshakes.swap(0, 1);
        let [latest, _] = &mut self.handshakes;
        latest.clear();
        self.waiting = Vec::new();
        self.dump = self.dump.saturating_add(1); // at one dump per second, 136 years
    }

    /// Records that every TCP socket of the dump in progress was read.
    pub(super) fn end_connections(&mut self) {
        self.read_tcp = self.dump;
    }

    /// Ends a dump; `complete` says that every socket was read.
    pub(super) fn end_dump(&mut self, complete: bool) {
        self.reading = false;
        self.ended = HashSet::new();
        if complete {
            self.end_connections();
            let [latest, before] = self.complete;
            self.complete = [self.dump, latest];
            self.other_ends.forget_before(before.min(self.settled));
        }
    }

    /// Updates `settled`, once per cycle.
    pub(super) fn settle(&mut self, now: Instant) {
        let [latest, _] = self.complete;
        if let Some(dump) = self.settling.passed(latest, latest, now) {
            self.settled = dump;
        }
    }

    /// Sets the numbers of resets so far, if MPTCP is in use.
    pub(super) fn note_resets(&mut self, counts: ResetCounts, now: Instant) {
        self.resets.set_total(counts.all, now);
        self.fast_closes.set_total(counts.fast_close, now);
        self.fast_closes_received.set_total(counts.fast_close_received, now);
    }

    /// Whether MPTCP was in use.
    pub(super) fn uses_mptcp(&self) -> bool {
        self.resets.total.is_some()
    }

    /// Whether a connection that has lost its counters was reset. With MPTCP, one that ended in order has lost them too;
    /// then fewer resets were sent and received than connections have ended so.
    pub(super) fn was_aborted(&mut self, known: &TrackedSocket) -> bool {
        let abort = self.take_fast_close(known);
        let plain = || !known.mptcp && self.resets.any_left().unwrap_or(true);
        let reset = abort.is_some() || plain();
        self.note_reset_sent(abort, reset && abort.is_none());
        reset
    }

    /// Counts the destroy event of a connection that was reset and has kept its counters. This end sent the reset if
    /// there was unread data, or if it aborted an MPTCP connection.
    pub(super) fn note_reset(&mut self, known: &TrackedSocket, unread: bool) {
        let abort = self.take_fast_close(known);
        self.note_reset_sent(abort, unread);
    }

    /// Assigns an abort of an MPTCP connection to the event of this connection, if it may have been one.
    fn take_fast_close(&mut self, known: &TrackedSocket) -> Option<FastClose> {
        // A connection that no dump had may have used MPTCP or not.
        if !known.mptcp && !known.is_unseen() {
            return None;
        }
        let sent = self.fast_closes.take().then_some(FastClose::Sent);
        sent.or_else(|| self.fast_closes_received.take().then_some(FastClose::Received))
    }

    /// Counts the destroy event of a connection, if this end sent a reset. To the abort of a peer it may have answered
    /// with one.
    fn note_reset_sent(&mut self, abort: Option<FastClose>, plain: bool) {
        if plain || abort == Some(FastClose::Sent) {
            self.resets.with_event += 1;
        } else if abort == Some(FastClose::Received) {
            self.resets.take();
        }
    }

    /// Sets the listening sockets. A dump may skip one, which is in the next again: it keeps its owner while it is tracked.
    pub(super) fn set_listeners(
        &mut self,
        listeners: Listeners,
        ephemeral: EphemeralPorts,
        is_tracked: impl Fn(u64) -> bool,
        now: Instant,
    ) {
        self.listeners = listeners.replacing(std::mem::take(&mut self.listeners), now);
        self.ephemeral = ephemeral;
        let (open, listeners) = (self.listeners.cookies(), &self.listeners);
        let is_there = |cookie| open.contains(&cookie) || is_tracked(cookie);
        self.owners.retain(|cookie, owner| is_there(*cookie) || listeners.has_closed(owner.local));
    }

    /// Records the cookie of a connection in `SYN_RECV`; the established connection keeps it.
    pub(super) fn note_handshake(&mut self, cookie: u64) {
        let [latest, _] = &mut self.handshakes;
        if latest.len() < HANDSHAKES {
            latest.insert(cookie);
        }
    }

    /// The end that opened a connection.
    pub(super) fn verdict(&self, record: &Record<'_>) -> Verdict {
        let evidence = NamespaceEvidence {
            listeners: &self.listeners,
            ephemeral: self.ephemeral,
            seen_in_handshake: self.handshakes.iter().any(|cookies| cookies.contains(&record.cookie)),
        };
        Verdict::of(record, &evidence)
    }

    /// The attributes of a socket of a dump.
    pub(super) fn attributes(
        &self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
    ) -> Attributes {
        let mut attributes = self.attributes_by(namespace, record, attribution, || self.verdict(record));
        if attributes.uid.is_none() && attributes.direction == Some(Direction::Incoming) {
            attributes.uid = self.listeners.of(record).map(|listener| listener.uid);
        }
        attributes
    }

    fn attributes_by(
        &self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        verdict: impl FnOnce() -> Verdict,
    ) -> Attributes {
        let mut attributes = Attributes::of(namespace, record, attribution, verdict);
        if let Some(port) = attributes.port {
            let ephemeral = self.ephemeral.contains(port);
            attributes.port_kind = if self.listeners.has_port(port) {
                PortKind::Listened { ephemeral }
            } else {
                attributes.port_kind.in_range(ephemeral)
            };
        }
        attributes
    }

    /// Records the owner and the group of the listening socket with this cookie.
    pub(super) fn note_listener_owner(
        &mut self,
        cookie: u64,
        local: SocketAddr,
        attributes: &Attributes,
        group: u32,
    ) {
        let Attributes { uid, cgroup, process, .. } = attributes.clone();
        self.owners.insert(cookie, ListenerOwner { local, uid, cgroup, process, group });
    }

    /// Cookie of the listening socket in whose accept queue a connection is.
    pub(super) fn listener_of(&self, record: &Record<'_>) -> Option<u64> {
        self.listeners.of(record).map(|listener| listener.cookie)
    }

    /// Number of the group of the listening socket with this cookie; `None` if it is in none, or not yet.
    pub(super) fn listener_group(&self, cookie: u64) -> Option<u32> {
        self.owners.get(&cookie).map(|owner| owner.group)
    }

    /// The most likely owner of the socket that accepted a connection: that of the socket that listens on its address,
    /// or did in the last minutes, or on the port at another address.
    fn owner_of_accepted(&self, record: &Record<'_>) -> Option<&ListenerOwner> {
        if let Some(cookie) = self.listener_of(record) {
            return self.owners.get(&cookie);
        }
        let on_port = self.owners.values().filter(|owner| owner.local.port() == record.local.port());
        on_port.max_by_key(|owner| owner.local == record.local)
    }

    /// Records the end of a socket: the dump in progress may still have it.
    pub(super) fn note_ended(&mut self, cookie: u64) {
        if self.reading {
            self.ended.insert(cookie);
        }
    }

    /// Whether a socket ended during the dump in progress.
    pub(super) fn has_ended(&self, cookie: u64) -> bool {
        self.ended.contains(&cookie)
    }

    /// Whether there was a complete dump, so that unknown sockets are new.
    pub(super) fn was_read(&self) -> bool {
        self.complete != [0, 0]
    }

    /// Whether a recent dump had more sockets than can be tracked; the events of some of them may still come.
    pub(super) fn overflowed(&self, now: Instant) -> bool {
        self.overfull.is_some_and(|at| now.saturating_duration_since(at) < timeouts::OVERFULL)
    }

    /// The attributes of a connection that no dump had: the kernel does not report its owner. If the peer opened it,
    /// its owner is most likely that of the socket that listens on its port.
    pub(super) fn attributes_of_ended(
        &self,
        namespace: u32,
        record: &Record<'_>,
        direction: Option<Direction>,
    ) -> Attributes {
        let verdict = || direction.map_or_else(|| self.verdict(record), Verdict::certain);
        let mut attributes = self.attributes_by(namespace, record, &Attribution::default(), verdict);
        if attributes.direction == Some(Direction::Incoming)
            && let Some(owner) = self.owner_of_accepted(record)
        {
            let ListenerOwner { uid, cgroup, process, .. } = owner.clone();
            attributes = Attributes { uid, cgroup, process, ..attributes };
        }
        attributes
    }
}
