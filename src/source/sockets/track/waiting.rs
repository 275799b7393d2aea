//! Connections in accept queues, counted in the group of the listening socket (pure).

use super::super::accept::QueuedConnection;
use super::super::diag::Record;
use super::super::socket::TrackedSocket;
use super::Tracker;
use std::collections::HashMap;
use std::time::Instant;

/// Maximum number of connections of a dump that are kept until their listening socket has a group.
const MAX_WAITING: usize = 16_384;

/// A connection in the accept queue of a listening socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingConnection {
    /// Cookies of the connection and of the listening socket.
    cookie: u64,
    listener: u64,
    queued: QueuedConnection,
    /// Whether the client may have closed it before the first dump.
    preexisting: bool,
}

impl WaitingConnection {
    /// Whether it is now known that its client gave up. What happened before the first dump is not counted.
    fn newly_abandoned(&self, sockets: &mut HashMap<u64, TrackedSocket>) -> bool {
        let known = if self.queued.abandoned { sockets.get_mut(&self.cookie) } else { None };
        known.is_some_and(|known| !std::mem::replace(&mut known.abandoned, true)) && !self.preexisting
    }
}

impl Tracker {
    /// Counts a connection of the dump if it is in an accept queue. A connection closed by its client is counted once
    /// as abandoned.
    pub fn note_waiting(&mut self, namespace: u32, record: &Record<'_>, now: Instant) {
        let Some(queued) = QueuedConnection::of(record) else { return };
        let Some(state) = self.namespaces.get_mut(&namespace) else { return };
        let Some(listener) = state.listener_of(record) else { return };
        if state.has_ended(record.cookie) {
            return;
        }
        let preexisting = !state.was_read() || state.overflowed(now);
        let waiting = WaitingConnection { cookie: record.cookie, listener, queued, preexisting };
        if let Some(group) = state.listener_group(listener) {
            let abandoned = waiting.newly_abandoned(&mut self.sockets);
            self.groups.add_waiting(group, queued.age, abandoned, now);
        } else if state.waiting.len() < MAX_WAITING {
            state.waiting.push(waiting);
        }
    }

    /// Counts the waiting connections whose listening socket has got its group since the dump.
    pub(super) fn count_waiting(&mut self, now: Instant) {
        for state in self.namespaces.values_mut() {
            for waiting in std::mem::take(&mut state.waiting) {
                if let Some(group) = state.listener_group(waiting.listener) {
                    let abandoned = waiting.newly_abandoned(&mut self.sockets);
                    self.groups.add_waiting(group, waiting.queued.age, abandoned, now);
                }
            }
        }
    }
}
