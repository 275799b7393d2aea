//! The last numbers of a connection, and how it ended (pure).

use super::super::diag::{Record, State};
use super::super::direction::{Direction, ended_in_order};
use super::super::sample::Sample;
use super::super::socket::KnownSocket;
use super::super::tcp_info::TcpInfo;
use super::namespace::NamespaceState;
use super::other_end::ClosedSocket;
use crate::metric::label::Event;

/// What a destroy event says of a connection, or where it has lost its counters, what the event of its other end said.
#[derive(Debug)]
pub(super) struct LastNumbers<'a> {
    /// The event, with the addresses that the other end has where they are gone.
    pub(super) record: Record<'a>,
    pub(super) sample: Sample,
    /// Whether there are counters.
    pub(super) has_counters: bool,
    /// Which end opened the connection, if the other end says it.
    pub(super) direction: Option<Direction>,
    /// Which end opened it by the ports, where there is no evidence.
    pub(super) guess: Option<Direction>,
    mirrored: bool,
}

impl<'a> LastNumbers<'a> {
    /// Of a destroy event.
    pub(super) fn of(record: &Record<'a>, sample: Sample) -> Self {
        let counters = &sample.counters;
        // `tcp_disconnect` clears them, and forgets the peer's port.
        let lost = record.peer.port() == 0
            && counters.acked == 0
            && counters.received == 0
            && counters.segs_out == 0
            && counters.segs_in == 0;
        Self { record: *record, sample, has_counters: !lost, direction: None, guess: None, mirrored: false }
    }

    /// Whether it was an established connection that has lost its counters.
    pub(super) fn lost(&self) -> bool {
        !self.has_counters && self.sample.established
    }

    /// The same without what is borrowed. Of lost counters nothing is.
    pub(super) fn to_static(&self) -> LastNumbers<'static> {
        let Record { family, local, peer, cookie, .. } = self.record;
        let tcp = Some(TcpInfo::new(&[]));
        let record = Record { cookie, tcp, ..Record::new(family, State::Close, local, peer) };
        LastNumbers { record, ..*self }
    }

    /// Takes what was lost from the other end: the addresses, and where Multipath TCP may have lost the counters of an
    /// orderly end, these too.
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

    /// Event of the connection.
    pub(super) fn event(&self, known: &KnownSocket, state: &mut NamespaceState) -> Event {
        let reset = if !known.established {
            return Event::Failed;
        } else if self.mirrored {
            false
        } else if self.has_counters {
            let reset = !ended_in_order(&self.record, known.direction.or(self.guess));
            if reset && self.record.receive_queue > 0 {
                state.note_reset_told(); // it was closed with data that nobody has read
            }
            reset
        } else {
            state.was_aborted(known)
        };
        if reset { Event::Reset } else { Event::Closed }
    }
}
