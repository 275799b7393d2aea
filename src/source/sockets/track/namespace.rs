//! What is known of one network namespace between its dumps (pure).

use super::super::attributes::{Attributes, Attribution};
use super::super::diag::Record;
use super::super::direction::Direction;
use super::super::listen::Listeners;
use crate::timeouts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// A network namespace: who listens in it, and which dump of it is the latest.
#[derive(Debug, Default)]
pub(super) struct NamespaceState {
    pub(super) listeners: Listeners,
    /// Who listens on a port: the owner of what ends before a dump has it, as far as anybody can tell.
    owners: HashMap<u16, ListenerOwner>,
    /// Number of the latest dump, be it complete or not.
    pub(super) dump: u32,
    /// Number of the latest that was complete, and of the one that was so before it; 0 for none.
    pub(super) complete: [u32; 2],
    /// A dump is being read.
    reading: bool,
    /// Cookies that ended while it is.
    ended: HashSet<u64>,
    /// When a dump last had more than could be remembered: what is not remembered may have been there before.
    pub(super) overfull: Option<Instant>,
    /// Destroy events were lost since the last complete dump: what the next does not have has ended.
    pub(super) events_lost: bool,
}

/// The owner of a socket that listens.
#[derive(Debug, Clone)]
struct ListenerOwner {
    uid: Option<u32>,
    cgroup: Option<Arc<str>>,
    process: Option<Arc<str>>,
}

impl NamespaceState {
    /// Begins a dump.
    pub(super) fn begin_dump(&mut self) {
        self.reading = true;
        self.dump = self.dump.saturating_add(1); // enough for a dump a second in 136 years
    }

    /// Ends a dump; `complete` says that it had every socket there is.
    pub(super) fn end_dump(&mut self, complete: bool) {
        self.reading = false;
        self.ended = HashSet::new();
        if complete {
            let [latest, _] = self.complete;
            self.complete = [self.dump, latest];
        }
    }

    /// Takes who listens now.
    pub(super) fn set_listeners(&mut self, listeners: Listeners) {
        self.listeners = listeners.after(std::mem::take(&mut self.listeners));
        let ports = self.listeners.ports();
        self.owners.retain(|port, _| ports.contains(port));
    }

    /// Notes whose socket it is that listens on a port.
    pub(super) fn note_listener_owner(&mut self, attributes: &Attributes) {
        if let Some(port) = attributes.port {
            let Attributes { uid, cgroup, process, .. } = attributes.clone();
            self.owners.insert(port, ListenerOwner { uid, cgroup, process });
        }
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
    pub(super) fn attributes_of_ended(&self, namespace: u32, record: &Record<'_>) -> Attributes {
        let direction = || Direction::of(record, &self.listeners);
        let mut attributes = Attributes::of(namespace, record, &Attribution::default(), direction);
        if attributes.direction == Some(Direction::Incoming)
            && let Some(owner) = self.owners.get(&record.local.port())
        {
            let ListenerOwner { uid, cgroup, process } = owner.clone();
            attributes = Attributes { uid, cgroup, process, ..attributes };
        }
        attributes
    }
}
