//! Containers that are renamed while they run (`docker rename`): each is another container from then on, and its former name is
//! free for the next one.

use super::super::expiry::NameRetry;
use super::super::identity::{CgroupOwner, ContainerMetadata, Workload};
use super::{Entries, HostLookup};
use std::sync::Arc;
use std::time::Instant;

impl Entries {
    /// Whether another instance with this identity is running. An instance whose groups are gone is not, even before a
    /// walk has missed it; nor is one that was renamed since.
    pub(super) fn runs_elsewhere(
        &mut self,
        identity: &str,
        key: &Arc<str>,
        now: Instant,
        world: &mut dyn HostLookup,
    ) -> bool {
        let Some(entry) = self.by_identity.get(identity).and_then(|number| self.by_number.get(number)) else {
            return false;
        };
        if entry.ended.is_some() || entry.key == *key {
            return false;
        }
        let (number, other) = (entry.workload.number, Arc::clone(&entry.key));
        let top =
            self.subjects.get(&other).and_then(|subject| subject.tops.iter().find(|top| world.is_there(top)));
        let Some(path) = top.map(|top| Arc::clone(&top.path)) else {
            if let Some(subject) = self.subjects.remove(&other) {
                self.ended.remember(other, subject.ended(now));
            }
            return false;
        };
        let named = world.name(&other, &path);
        if named.is_none_or(|found| is_called(number, &path, &found, identity)) {
            return true;
        }
        if let Some(subject) = self.subjects.get_mut(&other) {
            // The next sweep asks what it is called now.
            (subject.number, subject.asking) = (None, Some(NameRetry::overdue(now)));
        }
        false
    }

    /// Takes the name that an engine has for a running container now. One that was renamed has an entry of its own from then on.
    pub fn renamed(
        &mut self,
        key: &str,
        found: &ContainerMetadata,
        now: Instant,
        world: &mut dyn HostLookup,
    ) {
        let Some(subject) = self.subjects.get(key) else { return };
        let Some((number, top)) = subject.number.zip(subject.tops.first()) else { return };
        let Some(entry) = self.by_number.get_mut(&number).filter(|entry| entry.named && *entry.key == *key)
        else {
            return;
        };
        if is_called(number, &top.path, found, &entry.workload.identity) {
            return;
        }
        (entry.ended, entry.first) = (Some(now), None);
        if let Some(subject) = self.subjects.get_mut(key) {
            subject.number = None;
        }
        self.found(key, found, now, world);
        let new = self.subjects.get(key).and_then(|subject| subject.number);
        if let Some(entry) = new.and_then(|new| self.by_number.get_mut(&new)) {
            // What happened before is the other name's.
            entry.before = true;
        }
    }
}

/// Whether this is the identity of a container with this metadata, the only one with its name or one of several.
fn is_called(number: u64, path: &str, found: &ContainerMetadata, identity: &str) -> bool {
    let Some(place) = CgroupOwner::of(path) else { return true };
    [false, true]
        .into_iter()
        .any(|twin| *Workload::new(number, place, Some(found), twin).identity == *identity)
}
