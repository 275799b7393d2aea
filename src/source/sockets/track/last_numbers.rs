//! The last counters of a connection, and its closing event (pure).

use super::super::diag::{Record, State};
use super::super::direction::{Direction, ended_in_order};
use super::super::sample::Sample;
use super::super::socket::TrackedSocket;
use super::super::tcp_info::TcpInfo;
use super::namespace::NamespaceState;
use super::other_end::ClosedSocket;
use crate::metric::label::Event;

/// The destroy event of a connection; if it has lost its counters, completed from the event of the other end.
#[derive(Debug)]
pub(super) struct LastNumbers<'a> {
    /// The destroy event, with the addresses from the other end if they were lost.
    pub(super) record: Record<'a>,
    pub(super) sample: Sample,
    /// Whether the event has counters.
    pub(super) has_counters: bool,
    /// The end that opened the connection, if the other end's event has it.
    pub(super) direction: Option<Direction>,
    /// The end that opened the connection by its ports, if there is no evidence.
    pub(super) guess: Option<Direction>,
    mirrored: bool,
}

impl<'a> LastNumbers<'a> {
    /// Reads a destroy event.
    pub(super) fn of(record: &Record<'a>, sample: Sample) -> Self {
        let counters = &sample.counters;
        // `tcp_disconnect` clears the counters and the peer's port.
        let lost = record.peer.port() == 0
            && counters.acked == 0
            && counters.received == 0
            && counters.segs_out == 0
            && counters.segs_in == 0;
        Self { record: *record, sample, has_counters: !lost, direction: None, guess: None, mirrored: false }
    }

    /// Whether an established connection has lost its counters.
    pub(super) fn lost(&self) -> bool {
        !self.has_counters && self.sample.established
    }

    /// A copy that borrows nothing. Attributes of an event without counters are not needed.
    pub(super) fn to_static(&self) -> LastNumbers<'static> {
        let Record { family, local, peer, cookie, .. } = self.record;
        let tcp = Some(TcpInfo::new(&[]));
        let record = Record { cookie, tcp, ..Record::new(family, State::Close, local, peer) };
        LastNumbers { record, ..*self }
    }

    /// Takes the lost addresses from the other end; also the counters, if MPTCP may have lost those of an orderly end.
    pub(super) fn complete(&mut self, other: &ClosedSocket, mptcp: bool) {
        self.record.local = other.peer;
        self.record.peer = other.local;
        self.direction = other.mirrored_direction();
        if mptcp && other.in_order {
            self.sample = other.mirrored();
            self.has_counters = true;
            self.mirrored = true;
        }
    }

    /// The event with which the connection ended.
    pub(super) fn event(&self, known: &TrackedSocket, state: &mut NamespaceState) -> Event {
        let reset = if !known.established {
            return Event::Failed;
        } else if self.mirrored {
            false
        } else if self.has_counters {
            let reset = !ended_in_order(&self.record, known.direction.or(self.guess));
            if reset {
                state.note_reset(known, self.record.receive_queue > 0);
            }
            reset
        } else {
            state.was_aborted(known)
        };
        if reset { Event::Reset } else { Event::Closed }
    }
}
