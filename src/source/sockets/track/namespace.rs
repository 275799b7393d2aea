//! What is known of one network namespace between its dumps (pure).

use super::super::attributes::{Attributes, Attribution, PortKind};
use super::super::diag::Record;
use super::super::direction::{Direction, NamespaceEvidence, Verdict};
use super::super::listen::Listeners;
use super::super::mptcp::ResetsSent;
use super::super::socket::KnownSocket;
use super::other_end::OtherEnds;
use crate::host::ephemeral::EphemeralPorts;
use crate::source::sockets::timeouts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// Cookies that are remembered of connections in `SYN_RECV`, at most.
const HANDSHAKES: usize = 16_384;

/// A network namespace: who listens in it, and which dump of it is the latest.
#[derive(Debug, Default)]
pub(super) struct NamespaceState {
    listeners: Listeners,
    ephemeral: EphemeralPorts,
    /// Cookies that the latest dump had in `SYN_RECV`, and those that the one before it had.
    handshakes: [HashSet<u64>; 2],
    /// Who listens on a port: the owner of what ends before a dump has it, as far as anybody can tell.
    owners: HashMap<u16, ListenerOwner>,
    /// Number of the latest dump, be it complete or not.
    pub(super) dump: u32,
    /// Number of the latest that was complete, and of the one that was so before it; 0 for none.
    pub(super) complete: [u32; 2],
    /// The latest complete dump since which there was time for every destroy event to come; 0 for none.
    pub(super) settled: u32,
    /// The complete dump that will be that next.
    settling: Checkpoint<u32>,
    /// A dump is being read.
    reading: bool,
    /// Cookies that ended while it is.
    ended: HashSet<u64>,
    /// When a dump last had more than could be remembered: what is not remembered may have been there before.
    pub(super) overfull: Option<Instant>,
    /// Destroy events of sockets whose other end is on this machine too.
    pub(super) other_ends: OtherEnds,
    resets: Resets,
    /// Those that aborted a connection of Multipath TCP.
    fast_closes: Resets,
    /// Destroy events were lost since the last complete dump: what the next does not have has ended.
    pub(super) events_lost: bool,
}

/// Resets that were sent, where Multipath TCP is in use.
#[derive(Debug, Default)]
struct Resets {
    /// How many there were so far; `None` where MPTCP was not in use yet.
    sent: Option<u64>,
    /// How many there were some time ago.
    earlier: Checkpoint<u64>,
    /// How many belong to connections that had their events.
    told: u64,
}

impl Resets {
    /// Takes how many were sent so far.
    fn note(&mut self, sent: u64, now: Instant) {
        if self.sent.replace(sent).is_none() {
            self.told = 0; // those were sent before
        }
        if let Some(earlier) = self.earlier.passed(self.told, sent, now) {
            // Those without an event by now answered segments of no connection: no event is sent for them.
            self.told = self.told.max(earlier);
        }
    }

    /// Whether more were sent than belong to connections that had their events; `None` where that is not known.
    fn any_left(&self) -> Option<bool> {
        self.sent.map(|sent| sent > self.told)
    }
}

/// What a number was at some time, until every destroy event of before has come.
#[derive(Debug, Default)]
struct Checkpoint<T>(Option<(Instant, T)>);

impl<T: Copy> Checkpoint<T> {
    /// The number that was noted, once events have had their time since; then `latest` is noted. The first time it is
    /// `first` that is noted.
    fn passed(&mut self, first: T, latest: T, now: Instant) -> Option<T> {
        let (since, noted) = *self.0.get_or_insert((now, first));
        let passed = now.saturating_duration_since(since) >= timeouts::EVENT_LATE;
        if passed {
            self.0 = Some((now, latest));
        }
        passed.then_some(noted)
    }
}

/// The owner of a socket that listens.
#[derive(Debug, Clone)]
struct ListenerOwner {
    uid: Option<u32>,
    cgroup: Option<Arc<str>>,
    process: Option<Arc<str>>,
    /// Number of the group of the socket that listens.
    group: u32,
}

impl NamespaceState {
    /// Begins a dump.
    pub(super) fn begin_dump(&mut self) {
        self.reading = true;
        self.handshakes.swap(0, 1);
        let [latest, _] = &mut self.handshakes;
        latest.clear();
        self.dump = self.dump.saturating_add(1); // enough for a dump a second in 136 years
    }

    /// Ends a dump; `complete` says that it had every socket there is.
    pub(super) fn end_dump(&mut self, complete: bool) {
        self.reading = false;
        self.ended = HashSet::new();
        if complete {
            let [latest, before] = self.complete;
            self.complete = [self.dump, latest];
            self.other_ends.forget_before(before.min(self.settled));
        }
    }

    /// Notes that there was time for the destroy events of what a dump does not have any more, once per cycle.
    pub(super) fn settle(&mut self, now: Instant) {
        let [latest, _] = self.complete;
        if let Some(dump) = self.settling.passed(latest, latest, now) {
            self.settled = dump;
        }
    }

    /// Takes how many resets were sent so far, where Multipath TCP is in use.
    pub(super) fn note_resets_sent(&mut self, sent: ResetsSent, now: Instant) {
        self.resets.note(sent.all, now);
        self.fast_closes.note(sent.fast_close, now);
    }

    /// Whether Multipath TCP was in use.
    pub(super) fn uses_mptcp(&self) -> bool {
        self.resets.sent.is_some()
    }

    /// Whether a connection that has lost its counters was reset from here. With Multipath TCP, one that ended in order
    /// has lost them too; then there is a reset less than connections.
    pub(super) fn was_aborted(&mut self, known: &KnownSocket) -> bool {
        let resets = if known.mptcp { &self.fast_closes } else { &self.resets };
        let aborted = resets.any_left().unwrap_or(!known.mptcp);
        if aborted {
            self.note_reset_told();
            // One that no dump has seen may have been either.
            let either = known.is_unseen() && self.fast_closes.any_left() == Some(true);
            self.fast_closes.told += u64::from(known.mptcp || either);
        }
        aborted
    }

    /// A destroy event of a connection that sent a reset.
    pub(super) fn note_reset_told(&mut self) {
        self.resets.told += 1;
    }

    /// Takes who listens now.
    pub(super) fn set_listeners(&mut self, listeners: Listeners, ephemeral: EphemeralPorts, now: Instant) {
        self.listeners = listeners.after(std::mem::take(&mut self.listeners), now);
        self.ephemeral = ephemeral;
        let ports = self.listeners.ports();
        self.owners.retain(|port, _| ports.contains(port));
    }

    /// Takes the cookie of a connection that is being made by its peer; it keeps it.
    pub(super) fn note_handshake(&mut self, cookie: u64) {
        let [latest, _] = &mut self.handshakes;
        if latest.len() < HANDSHAKES {
            latest.insert(cookie);
        }
    }

    /// Which end opened a connection.
    pub(super) fn verdict(&self, record: &Record<'_>) -> Verdict {
        let surroundings = NamespaceEvidence {
            listeners: &self.listeners,
            ephemeral: self.ephemeral,
            seen_in_handshake: self.handshakes.iter().any(|cookies| cookies.contains(&record.cookie)),
        };
        Verdict::of(record, &surroundings)
    }

    /// The attributes of a socket that a dump has.
    pub(super) fn attributes(
        &self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
    ) -> Attributes {
        self.attributes_by(namespace, record, attribution, || self.verdict(record))
    }

    fn attributes_by(
        &self,
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        verdict: impl FnOnce() -> Verdict,
    ) -> Attributes {
        let mut attributes = Attributes::of(namespace, record, attribution, verdict);
        if attributes.port.is_some_and(|port| self.listeners.has_port(port)) {
            attributes.port_kind = PortKind::Listened;
        }
        attributes
    }

    /// Notes whose socket it is that listens on a port, and its group.
    pub(super) fn note_listener_owner(&mut self, attributes: &Attributes, group: u32) {
        if let Some(port) = attributes.port {
            let Attributes { uid, cgroup, process, .. } = attributes.clone();
            self.owners.insert(port, ListenerOwner { uid, cgroup, process, group });
        }
    }

    /// The group of the socket that listens on a port.
    pub(super) fn listener_group(&self, port: u16) -> Option<u32> {
        self.owners.get(&port).map(|owner| owner.group)
    }

    /// Takes the end of a socket: a dump that is being read may still bring it.
    pub(super) fn note_ended(&mut self, cookie: u64) {
        if self.reading {
            self.ended.insert(cookie);
        }
    }

    /// Whether a socket ended while the dump is being read.
    pub(super) fn has_ended(&self, cookie: u64) -> bool {
        self.ended.contains(&cookie)
    }

    /// Whether there was a complete dump, so that what comes is new.
    pub(super) fn was_read(&self) -> bool {
        self.complete != [0, 0]
    }

    /// Whether there was no room lately for all that a dump had; the events of some of that may still come.
    pub(super) fn overflowed(&self, now: Instant) -> bool {
        self.overfull.is_some_and(|at| now.saturating_duration_since(at) < timeouts::OVERFULL)
    }

    /// What is known of a connection that no dump had: the kernel does not say whose it was. One that was opened by the
    /// peer belonged, most likely, to whoever listens on its port.
    pub(super) fn attributes_of_ended(
        &self,
        namespace: u32,
        record: &Record<'_>,
        direction: Option<Direction>,
    ) -> Attributes {
        let verdict = || direction.map_or_else(|| self.verdict(record), Verdict::certain);
        let mut attributes = self.attributes_by(namespace, record, &Attribution::default(), verdict);
        if attributes.direction == Some(Direction::Incoming)
            && let Some(owner) = self.owners.get(&record.local.port())
        {
            let ListenerOwner { uid, cgroup, process, .. } = owner.clone();
            attributes = Attributes { uid, cgroup, process, ..attributes };
        }
        attributes
    }
}
