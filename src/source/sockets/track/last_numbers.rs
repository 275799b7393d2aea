//! The last numbers of a connection, and how it ended (pure).

use super::super::diag::Record;
use super::super::direction::{Direction, ended_in_order};
use super::super::sample::Sample;
use super::super::socket::KnownSocket;
use super::namespace::NamespaceState;
use super::other_end::{End, OtherEnds};
use crate::source::sockets::labels::Event;

/// What a destroy event says of a connection, or where it has lost its counters, what the event of its other end said.
pub(super) struct LastNumbers<'a> {
    /// The event, with the addresses that the other end has where they are gone.
    pub(super) record: Record<'a>,
    pub(super) sample: Sample,
    /// Whether there are counters.
    pub(super) has_counters: bool,
    /// Which end opened the connection, if the other end says it.
    pub(super) direction: Option<Direction>,
    mirrored: bool,
}

impl<'a> LastNumbers<'a> {
    pub(super) fn of(record: &Record<'a>, sample: Sample, other_ends: &mut OtherEnds) -> Self {
        let counters = &sample.counters;
        // `tcp_disconnect` clears them, and forgets the peer's port.
        let lost = record.peer.port() == 0
            && counters.acked == 0
            && counters.received == 0
            && counters.segs_out == 0
            && counters.segs_in == 0;
        let event = Self { record: *record, sample, has_counters: !lost, direction: None, mirrored: false };
        let other = if lost && sample.established { other_ends.take(record) } else { None };
        let Some(other) = other else { return event };
        let record = Record { local: other.peer, peer: other.local, ..*record };
        let direction = other.mirrored_direction();
        Self { record, sample: other.mirrored(), has_counters: true, direction, mirrored: true }
    }

    /// What became of the connection. The end is remembered for the other end.
    pub(super) fn event(&self, known: &KnownSocket, state: &mut NamespaceState) -> Event {
        if !known.established {
            return Event::Failed;
        }
        if self.mirrored {
            return Event::Closed;
        }
        if !self.has_counters {
            return if state.was_aborted(known.mptcp) { Event::Reset } else { Event::Closed };
        }
        let in_order = ended_in_order(&self.record, known.direction);
        if !in_order && self.record.receive_queue > 0 {
            state.note_reset_told(); // it was closed with data that nobody has read
        }
        let dump = state.dump;
        state.other_ends.add(&self.record, || End {
            local: self.record.local,
            peer: self.record.peer,
            direction: known.direction,
            in_order,
            sample: self.sample,
            dump,
        });
        if in_order { Event::Closed } else { Event::Reset }
    }
}
