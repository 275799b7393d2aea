//! The ends of connections, from destroy events (pure).

use super::super::diag::Record;
use super::super::direction::{Direction, ended_in_order};
use super::super::group::Groups;
use super::super::mptcp::ResetCounts;
use super::super::sample::Sample;
use super::super::socket::{NO_GROUP, TrackedSocket};
use super::last_numbers::LastNumbers;
use super::namespace::NamespaceState;
use super::other_end::{ClosedSocket, is_local};
use super::{PendingSocket, Tracker};
use crate::source::sockets::labels::Key;
use crate::source::sockets::timeouts;
use std::time::Instant;

/// Maximum number of connections that wait for the event of their other end.
const DEFERRED: usize = 1024;

/// A connection that has ended without counters, and waits for the destroy event of its other end.
#[derive(Debug)]
pub(super) struct Deferred {
    last: LastNumbers<'static>,
    known: TrackedSocket,
    pending: Option<PendingSocket>,
    /// Number of the dump during which it ended, and the time.
    dump: u32,
    since: Instant,
}

impl Tracker {
    /// Counts the end of a TCP socket from its destroy event. Returns whether [`Tracker::select`] had marked it.
    pub fn closed(&mut self, namespace: u32, record: &Record<'_>, now: Instant) -> bool {
        let Some(state) = self.namespaces.get_mut(&namespace) else { return false };
        state.note_ended(record.cookie);
        let Some(tcp) = record.tcp else { return false };
        let known = self.sockets.remove(&record.cookie);
        if known.is_none() && !state.was_read() {
            return false; // the socket existed before the agent, as far as is known
        }
        if known.is_none() && record.peer.ip().is_unspecified() {
            return false; // the socket listened, or was never used
        }
        if known.is_none() && state.overflowed(now) {
            self.groups.leave_out(Key::Track);
            return false; // the socket may be one that exceeded the limit
        }
        let pending = self.pending.remove(&record.cookie);
        let mut known = known.unwrap_or_else(|| TrackedSocket::unseen(namespace));
        let mut last = LastNumbers::of(record, Sample::of(tcp, record.state));
        if known.ended {
            if last.has_counters {
                self.groups.add(known.group, &known.last_update(&last.sample), now);
            }
            return known.selected;
        }
        if !known.is_connection() {
            self.groups.leave(known.group, now);
            return false;
        }
        let selected = known.selected;
        let mptcp = state.uses_mptcp();
        let unseen = known.group == NO_GROUP && pending.is_none();
        if last.lost() && (mptcp || unseen && !state.verdict(record).certain) {
            if let Some(other) = state.other_ends.take(record, mptcp) {
                last.complete(&other, mptcp);
            } else if is_local(record) && self.deferred.len() < DEFERRED {
                let (last, dump) = (last.to_static(), state.dump);
                self.deferred.push(Deferred { last, known, pending, dump, since: now });
                return selected;
            }
        }
        let direction = finish(&mut self.groups, state, known, pending, &mut last, now);
        if last.has_counters && is_local(record) {
            let in_order = ended_in_order(record, direction);
            let (sample, dump) = (last.sample, state.dump);
            let end =
                ClosedSocket { local: record.local, peer: record.peer, direction, in_order, sample, dump };
            self.take_other_end(namespace, record, end, now);
        }
        selected
    }

    /// Records one end of a connection within this machine, for the other end, which may wait for it or come later.
    fn take_other_end(&mut self, namespace: u32, record: &Record<'_>, end: ClosedSocket, now: Instant) {
        let Some(state) = self.namespaces.get_mut(&namespace) else { return };
        let waits = |deferred: &Deferred| {
            deferred.known.namespace == namespace && end.is_other_of(&deferred.last.record)
        };
        if let Some(index) = self.deferred.iter().position(waits) {
            let Deferred { mut last, known, pending, .. } = self.deferred.swap_remove(index);
            last.complete(&end, state.uses_mptcp());
            finish(&mut self.groups, state, known, pending, &mut last, now);
        } else {
            state.other_ends.add(record, end);
        }
    }

    /// Counts ended connections whose other end had no event within a cycle and the maximum delay of events.
    pub(super) fn finish_deferred(&mut self, now: Instant) {
        let (groups, namespaces) = (&mut self.groups, &mut self.namespaces);
        let mut waiting = Vec::new();
        for mut deferred in std::mem::take(&mut self.deferred) {
            let Some(state) = namespaces.get_mut(&deferred.known.namespace) else {
                groups.leave(deferred.known.group, now);
                continue;
            };
            let late = now.saturating_duration_since(deferred.since) >= timeouts::EVENT_LATE;
            if deferred.dump >= state.dump || !late {
                waiting.push(deferred);
            } else {
                finish(groups, state, deferred.known, deferred.pending, &mut deferred.last, now);
            }
        }
        self.deferred = waiting;
    }

    /// Records the number of resets that a network namespace has sent, if MPTCP is in use there: then a connection
    /// without counters at its end was not necessarily reset from this end.
    pub fn note_resets(&mut self, namespace: u32, sent: ResetCounts, now: Instant) {
        if let Some(state) = self.namespaces.get_mut(&namespace) {
            state.note_resets(sent, now);
        }
    }
}

/// Counts the end of a connection. Returns the end that opened it, if that is certain.
fn finish(
    groups: &mut Groups,
    state: &mut NamespaceState,
    mut known: TrackedSocket,
    pending: Option<PendingSocket>,
    last: &mut LastNumbers<'_>,
    now: Instant,
) -> Option<Direction> {
    if known.group == NO_GROUP {
        // The process of an ended socket is not looked up any more.
        if let Some(pending) = pending {
            pending.settle(state, groups, &mut known, now);
        } else {
            let attributes = state.attributes_of_ended(known.namespace, &last.record, last.direction);
            known.direction = attributes.direction.filter(|_| attributes.certain);
            last.guess = attributes.direction;
            known.group = groups.join(&attributes, now);
        }
    }
    if last.has_counters {
        groups.add(known.group, &known.last_update(&last.sample), now);
    }
    let established = known.note_established(&last.sample);
    groups.add(known.group, &established, now);
    let event = last.event(&known, state);
    groups.add(known.group, &known.end(Some(event)), now);
    groups.leave(known.group, now);
    known.direction
}
