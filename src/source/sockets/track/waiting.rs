//! The connections that wait to be accepted, counted in the group of the socket that listens (pure).

use super::super::accept::Waiting;
use super::super::diag::Record;
use super::Tracker;
use std::time::Instant;

impl Tracker {
    /// Takes a connection of the dump that waits to be accepted; others are ignored. One that its client has closed
    /// is counted once.
    pub fn note_waiting(&mut self, namespace: u32, record: &Record<'_>, now: Instant) {
        let Some(waiting) = Waiting::of(record) else { return };
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
