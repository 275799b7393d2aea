//! Connections in accept queues, counted in the group of the listening socket (pure).

use super::super::accept::QueuedConnection;
use super::super::diag::Record;
use super::Tracker;
use std::time::Instant;

impl Tracker {
    /// Counts a connection of the dump if it is in an accept queue. A connection closed by its client is counted once
    /// as abandoned.
    pub fn note_waiting(&mut self, namespace: u32, record: &Record<'_>, now: Instant) {
        let Some(waiting) = QueuedConnection::of(record) else { return };
        let Some(state) = self.namespaces.get(&namespace) else { return };
        let Some(group) = state.listener_group(record.local.port()) else { return };
        if state.has_ended(record.cookie) {
            return;
        }
        let known = self.sockets.get_mut(&record.cookie);
        let newly =
            waiting.abandoned && known.is_some_and(|known| !std::mem::replace(&mut known.abandoned, true));
        self.groups.add_waiting(group, waiting.age, newly, now);
    }
}
