//! The entries of the inventory: containers and services that run, that ended, and their restarts (pure: names, and
//! whether a group still exists, are callbacks).
//!
//! A `RunningUnit` is a running instance; its key is the container id or the name of the unit. An [`Entry`] is a
//! container or service; its key is the identity. A restarted container is another instance, or the same with other
//! groups, of the same entry.

use super::ended::{EndedUnit, EndedUnits};
use super::entry::{CgroupRef, Entry, TopGroup};
use super::expiry::{self, NameRetry};
use super::identity::{CgroupOwner, ContainerMetadata, Name, OwnerKind, Workload};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod renames;

/// Information from outside of the entries.
pub trait HostLookup {
    /// The name and metadata of a container by its id.
    fn name(&mut self, id: &str, top: &str) -> Option<ContainerMetadata>;
    /// Whether a control group still exists.
    fn is_there(&self, top: &TopGroup) -> bool;
    /// Whether an identity is included by the settings.
    fn wants(&self, identity: &str) -> bool;
}

/// Maximum number of running instances, including those without an entry: there may be no walk for a long time while a
/// source reports groups.
const SUBJECTS: usize = 20_000;

/// A running instance of a container or service.
#[derive(Debug)]
struct RunningUnit {
    tops: Vec<TopGroup>,
    /// Number of its entry; `None` for a sandbox, or if it is excluded or over the limit.
    number: Option<u64>,
    left_out: bool,
    asking: Option<NameRetry>,
    /// Whether a group of it was seen since the latest sweep.
    met: bool,
}

impl RunningUnit {
    /// The record of the instance after its end.
    fn ended(self, now: Instant) -> EndedUnit {
        let Self { tops, number, left_out, .. } = self;
        EndedUnit { tops, number, left_out, at: now }
    }
}

/// Running and ended containers and services.
#[derive(Debug)]
pub struct Entries {
    limit: usize,
    retention: Duration,
    subjects: HashMap<Arc<str>, Box<RunningUnit>>,
    /// Ended instances.
    ended: EndedUnits,
    by_number: BTreeMap<u64, Entry>,
    by_identity: HashMap<Arc<str>, u64>,
    /// Entries that were merged into another when their name was found.
    same_as: HashMap<u64, u64>,
    next: u64,
    /// Containers and services over the limit so far.
    pub left_out: u64,
}

impl Entries {
    /// Creates it without entries.
    pub fn new(limit: usize, retention: Duration) -> Self {
        Self {
            limit,
            retention,
            subjects: HashMap::new(),
            ended: EndedUnits::default(),
            by_number: BTreeMap::new(),
            by_identity: HashMap::new(),
            same_as: HashMap::new(),
            next: 1,
            left_out: 0,
        }
    }

    /// Records a control group. Returns the number of its entry.
    pub fn record_group(
        &mut self,
        group: CgroupRef<'_>,
        now: Instant,
        host: &mut dyn HostLookup,
    ) -> Option<u64> {
        let place = CgroupOwner::of(group.path)?;
        let key = place.key();
        let top = (place.top.len() == group.path.len()).then(|| TopGroup {
            hierarchy: group.hierarchy,
            id: group.id,
            path: group.path.into(),
        });
        let Some(subject) = self.subjects.get_mut(key.as_str()) else {
            if let Some(ended) = self.ended.of(&key, group, top.is_some()) {
                return ended.number;
            }
            return self.begin(&place, key.into(), top, now, host);
        };
        subject.met = true;
        let number = subject.number;
        if let Some(top) = top {
            match subject.tops.iter_mut().find(|known| known.hierarchy == top.hierarchy) {
                None => {
                    // As a rule the path is the same in every hierarchy.
                    let same = subject.tops.iter().find(|known| known.path == top.path);
                    let path = same.map_or(top.path, |known| Arc::clone(&known.path));
                    subject.tops.push(TopGroup { path, ..top });
                }
                // An older group was recorded earlier.
                Some(known) if known.id >= top.id => {}
                Some(_) => {
                    // The groups in the other hierarchies were recreated as well.
                    subject.tops = vec![top];
                    if let Some(entry) = number.and_then(|number| self.by_number.get_mut(&number)) {
                        entry.restarted();
                    }
                }
            }
        }
        number
    }

    /// Whether the container or service of a group is over the limit.
    pub fn is_left_out(&self, group: CgroupRef<'_>) -> bool {
        let place = CgroupOwner::of(group.path);
        let key = place.map(|place| place.key());
        key.is_some_and(|key| match self.subjects.get(key.as_str()) {
            Some(subject) => subject.left_out,
            None => self.ended.is_left_out(&key),
        })
    }

    /// Adds a running instance.
    fn begin(
        &mut self,
        place: &CgroupOwner<'_>,
        key: Arc<str>,
        top: Option<TopGroup>,
        now: Instant,
        host: &mut dyn HostLookup,
    ) -> Option<u64> {
        if self.subjects.len() >= SUBJECTS {
            self.left_out += 1;
            return None;
        }
        let found = match place.what {
            OwnerKind::Container(id) => host.name(id, place.top),
            OwnerKind::Named(..) | OwnerKind::Unit(..) => None,
        };
        let asking = matches!(place.what, OwnerKind::Container(_)) && found.is_none();
        // Most have one group, or one in each of two hierarchies.
        let mut tops = Vec::with_capacity(usize::from(top.is_some()));
        tops.extend(top);
        let mut subject = RunningUnit {
            tops,
            number: None,
            left_out: false,
            asking: asking.then(|| NameRetry::started(now)),
            met: true,
        };
        if !found.as_ref().is_some_and(|found| matches!(found.name, Name::Sandbox(_))) {
            match self.admit(place, &key, found.as_ref(), now, host) {
                Admission::Entry(number) => subject.number = Some(number),
                Admission::NotWanted => {}
                Admission::NoRoom => {
                    subject.left_out = true;
                    self.left_out += 1;
                }
            }
        }
        let number = subject.number;
        let entry = number.and_then(|number| self.by_number.get_mut(&number));
        if let Some((entry, top)) = entry.zip(subject.tops.first())
            && entry.cgroup == top.path
        {
            entry.cgroup = Arc::clone(&top.path);
        }
        self.ended.forget(&key);
        self.subjects.insert(key, Box::new(subject));
        number
    }

    /// The entry of a running instance: the one with its identity, or a new one.
    fn admit(
        &mut self,
        place: &CgroupOwner<'_>,
        key: &Arc<str>,
        found: Option<&ContainerMetadata>,
        now: Instant,
        host: &mut dyn HostLookup,
    ) -> Admission {
        let mut workload = Workload::new(self.next, *place, found, false);
        if !host.wants(&workload.identity) {
            return Admission::NotWanted;
        }
        if self.runs_elsewhere(&workload.identity, key, now, host) {
            workload = Workload::new(self.next, *place, found, true);
        }
        if let Some(number) = self.by_identity.get(&workload.identity).copied() {
            if let Some(entry) = self.by_number.get_mut(&number) {
                entry.restarted();
                entry.runs(key, place, found);
            }
            return Admission::Entry(number);
        }
        if self.by_number.len() >= self.limit {
            let ended = self.by_number.iter().map(|(number, entry)| (*number, entry.ended));
            match expiry::first_to_go(ended) {
                Some(number) => self.remove(number),
                None => return Admission::NoRoom,
            }
        }
        let number = self.next;
        self.next += 1;
        self.by_identity.insert(Arc::clone(&workload.identity), number);
        self.by_number.insert(number, Entry::new(workload, key, place, found));
        Admission::Entry(number)
    }

    /// Completes a walk over all groups: instances that were not seen and do not exist have ended, names are looked up
    /// again, instances over the limit get entries if there is space, and old ended entries are removed.
    pub fn sweep(&mut self, now: Instant, host: &mut dyn HostLookup) {
        self.ended.expire(self.retention, now);
        let gone = self.subjects.extract_if(|_, subject| {
            !std::mem::take(&mut subject.met) && !subject.tops.iter().any(|top| host.is_there(top))
        });
        for (key, subject) in gone {
            let entry = subject.number.and_then(|number| self.by_number.get_mut(&number));
            if let Some(entry) = entry.filter(|entry| entry.key == key) {
                entry.ended = Some(now);
                entry.first = None;
            }
            self.ended.remember(key, subject.ended(now));
        }
        let over: Vec<u64> = self
            .by_number
            .iter()
            .filter(|(_, entry)| expiry::is_over(entry.ended, self.retention, now))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            self.remove(number);
        }
        self.admit_left_out(now, host);
        let mut due: Vec<Arc<str>> = Vec::new();
        for (key, subject) in &mut self.subjects {
            if subject.asking.as_mut().is_some_and(|asking| asking.is_due(now)) {
                due.push(Arc::clone(key));
            }
        }
        for key in due {
            let top = self.subjects.get(&key).and_then(|subject| subject.tops.first()).cloned();
            let top = top.map_or_else(|| Arc::clone(&key), |top| top.path);
            if let Some(found) = host.name(&key, &top) {
                self.found(&key, &found, now, host);
            }
        }
    }

    fn admit_left_out(&mut self, now: Instant, host: &mut dyn HostLookup) {
        if self.by_number.len() >= self.limit && self.by_number.values().all(|entry| entry.ended.is_none()) {
            return;
        }
        let waiting: Vec<(Arc<str>, Arc<str>)> = self
            .subjects
            .iter()
            .filter(|(_, subject)| subject.left_out)
            .filter_map(|(key, subject)| Some((Arc::clone(key), Arc::clone(&subject.tops.first()?.path))))
            .collect();
        for (key, path) in waiting {
            let Some(place) = CgroupOwner::of(&path) else { continue };
            let Admission::Entry(number) = self.admit(&place, &key, None, now, host) else { continue };
            if let Some(subject) = self.subjects.get_mut(&key) {
                subject.number = Some(number);
                subject.left_out = false;
                // A name that was found before the entry existed was not stored.
                subject.asking =
                    matches!(place.what, OwnerKind::Container(_)).then(|| NameRetry::started(now));
            }
        }
    }

    /// Sets the name of a running instance, found later.
    pub fn found(&mut self, key: &str, found: &ContainerMetadata, now: Instant, host: &mut dyn HostLookup) {
        let Some(subject) = self.subjects.get_mut(key) else { return };
        subject.asking = None;
        if subject.number.and_then(|number| self.by_number.get(&number)).is_some_and(|entry| entry.named) {
            return;
        }
        let (number, path) = (subject.number.take(), subject.tops.first().map(|top| Arc::clone(&top.path)));
        if subject.left_out {
            return;
        }
        let key: Arc<str> = key.into();
        let path = path.unwrap_or_else(|| Arc::clone(&key));
        let Some(place) = CgroupOwner::of(&path) else { return };
        // The instance leaves the entry without a name, and its counts move with it.
        let before = number.and_then(|number| self.by_number.get(&number));
        let before = before.map(|entry| (entry.restarts, entry.first, entry.seen, entry.before));
        if let Some(number) = number {
            self.remove(number);
        }
        if matches!(found.name, Name::Sandbox(_)) {
            return;
        }
        let Admission::Entry(new) = self.admit(&place, &key, Some(found), now, host) else { return };
        if let (Some(entry), Some((restarts, first, seen, before))) = (self.by_number.get_mut(&new), before) {
            entry.restarts += restarts;
            (entry.first, entry.seen, entry.before) = (first, seen, before);
        }
        if let Some(number) = number {
            self.same_as.insert(number, new);
        }
        if let Some(subject) = self.subjects.get_mut(&key) {
            subject.number = Some(new);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(entry) = self.by_number.remove(&number) {
            self.by_identity.remove(&entry.workload.identity);
        }
        self.same_as.retain(|_, new| *new != number);
    }

    /// Who has which number, with the numbers that turned out to be another's.
    pub fn by_numbers(&self) -> HashMap<u64, Arc<Workload>> {
        let own = self.by_number.iter().map(|(number, entry)| (*number, entry));
        let others = self.same_as.iter().filter_map(|(old, new)| Some((*old, self.by_number.get(new)?)));
        own.chain(others).map(|(number, entry)| (number, Arc::clone(&entry.workload))).collect()
    }

    /// Containers and services that run and are over the limit.
    pub fn over_limit(&self) -> u64 {
        self.subjects.values().filter(|subject| subject.left_out).count() as u64
    }

    /// The entry with a number, or the one that it was merged into.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.by_number.get(self.same_as.get(&number).unwrap_or(&number))
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_number.values()
    }

    /// Marks all entries as running before the agent.
    pub fn mark_preexisting(&mut self) {
        for entry in self.by_number.values_mut() {
            entry.before = true;
        }
    }

    /// The control groups of an entry, one for each hierarchy; empty once it has ended.
    pub fn tops(&self, entry: &Entry) -> &[TopGroup] {
        let subject = self.subjects.get(&entry.key).filter(|_| entry.ended.is_none());
        subject.map_or(&[], |subject| subject.tops.as_slice())
    }

    /// Every running entry, with its control groups, one for each hierarchy.
    pub fn running(&mut self) -> impl Iterator<Item = (&mut Entry, &[TopGroup])> {
        let subjects = &self.subjects;
        self.by_number.values_mut().filter(|entry| entry.ended.is_none()).map(|entry| {
            let tops = subjects.get(&entry.key).map_or(&[][..], |subject| subject.tops.as_slice());
            (entry, tops)
        })
    }
}

/// Result of adding a new container.
enum Admission {
    Entry(u64),
    NotWanted,
    NoRoom,
}
