//! The entries of the inventory: who is there, who ended, and who is restarted (pure: the names and whether a group is
//! still there are asked of whoever calls).
//!
//! What runs is a `RunningUnit`, known by its id or the name of its unit; who it is, an [`Entry`], known by its identity. A
//! container that is restarted is another subject, or the same with other groups, and the same entry with one restart
//! more.

use super::ended::{EndedUnit, EndedUnits};
use super::entry::{CgroupRef, Entry, TopGroup};
use super::expiry::{self, NameRetry};
use super::identity::{CgroupOwner, ContainerMetadata, Name, OwnerKind, Workload};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the entries cannot know by themselves.
pub trait HostLookup {
    /// What a container with an id is called.
    fn name(&mut self, id: &str, top: &str) -> Option<ContainerMetadata>;
    /// Whether a group is still there.
    fn is_there(&self, top: &TopGroup) -> bool;
    /// Whether an identity is wanted.
    fn wants(&self, identity: &str) -> bool;
}

/// Containers and services that are known at the same time, those without an entry included: nobody may walk over the groups
/// for a long time while somebody reports what the kernel sees.
const SUBJECTS: usize = 20_000;

/// Something that runs.
#[derive(Debug)]
struct RunningUnit {
    tops: Vec<TopGroup>,
    /// Its entry; `None` if it has none: it is a sandbox, is excluded, or is over the limit.
    number: Option<u64>,
    left_out: bool,
    asking: Option<NameRetry>,
    /// Whether it was met since the latest sweep.
    met: bool,
}

impl RunningUnit {
    /// What is remembered of it once it has ended.
    fn ended(self, now: Instant) -> EndedUnit {
        let Self { tops, number, left_out, .. } = self;
        EndedUnit { tops, number, left_out, at: now }
    }
}

/// The containers and services that are known, and what is remembered of those that ended.
#[derive(Debug)]
pub struct Entries {
    limit: usize,
    retention: Duration,
    subjects: HashMap<Arc<str>, RunningUnit>,
    /// Those that were subjects.
    ended: EndedUnits,
    by_number: BTreeMap<u64, Entry>,
    by_identity: HashMap<Arc<str>, u64>,
    /// Entries that turned out to be another, once their name was known.
    same_as: HashMap<u64, u64>,
    next: u64,
    /// Containers and services over the limit so far.
    pub left_out: u64,
}

impl Entries {
    /// None yet.
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

    /// Takes note of a group; the number of the entry it belongs to.
    pub fn meet(&mut self, group: CgroupRef<'_>, now: Instant, world: &mut dyn HostLookup) -> Option<u64> {
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
            return self.begin(&place, key.into(), top, now, world);
        };
        subject.met = true;
        let number = subject.number;
        if let Some(top) = top {
            match subject.tops.iter_mut().find(|known| known.hierarchy == top.hierarchy) {
                None => subject.tops.push(top),
                // An older one is what somebody had seen before.
                Some(known) if known.id >= top.id => {}
                Some(_) => {
                    // Those of the other hierarchies were recreated as well.
                    subject.tops = vec![top];
                    if let Some(entry) = number.and_then(|number| self.by_number.get_mut(&number)) {
                        entry.restarted();
                    }
                }
            }
        }
        number
    }

    /// Whether a group is of something over the limit.
    pub fn is_left_out(&self, group: CgroupRef<'_>) -> bool {
        let place = CgroupOwner::of(group.path);
        let key = place.map(|place| place.key());
        key.is_some_and(|key| match self.subjects.get(key.as_str()) {
            Some(subject) => subject.left_out,
            None => self.ended.is_left_out(&key),
        })
    }

    /// Takes note of something that was not there before.
    fn begin(
        &mut self,
        place: &CgroupOwner<'_>,
        key: Arc<str>,
        top: Option<TopGroup>,
        now: Instant,
        world: &mut dyn HostLookup,
    ) -> Option<u64> {
        if self.subjects.len() >= SUBJECTS {
            self.left_out += 1;
            return None;
        }
        let found = match place.what {
            OwnerKind::Container(id) => world.name(id, place.top),
            OwnerKind::Named(..) | OwnerKind::Unit(..) => None,
        };
        let asking = matches!(place.what, OwnerKind::Container(_)) && found.is_none();
        let mut subject = RunningUnit {
            tops: top.into_iter().collect(),
            number: None,
            left_out: false,
            asking: asking.then(|| NameRetry::begun(now)),
            met: true,
        };
        if !found.as_ref().is_some_and(|found| matches!(found.name, Name::Sandbox(_))) {
            match self.admit(place, &key, found.as_ref(), now, world) {
                Admission::Entry(number) => subject.number = Some(number),
                Admission::NotWanted => {}
                Admission::NoRoom => {
                    subject.left_out = true;
                    self.left_out += 1;
                }
            }
        }
        let number = subject.number;
        self.ended.forget(&key);
        self.subjects.insert(key, subject);
        number
    }

    /// The entry of something that runs: the one with its identity, or a new one.
    fn admit(
        &mut self,
        place: &CgroupOwner<'_>,
        key: &Arc<str>,
        found: Option<&ContainerMetadata>,
        now: Instant,
        world: &dyn HostLookup,
    ) -> Admission {
        let mut workload = Workload::new(self.next, *place, found, false);
        if !world.wants(&workload.identity) {
            return Admission::NotWanted;
        }
        if self.runs_elsewhere(&workload.identity, key, now, world) {
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

    /// Whether something else with this identity is running. One whose groups are gone is not, though no walk has missed
    /// it yet.
    fn runs_elsewhere(
        &mut self,
        identity: &str,
        key: &Arc<str>,
        now: Instant,
        world: &dyn HostLookup,
    ) -> bool {
        let Some(entry) = self.by_identity.get(identity).and_then(|number| self.by_number.get(number)) else {
            return false;
        };
        if entry.ended.is_some() || entry.key == *key {
            return false;
        }
        let other = Arc::clone(&entry.key);
        let there = self
            .subjects
            .get(&other)
            .is_some_and(|subject| subject.tops.iter().any(|top| world.is_there(top)));
        if !there && let Some(subject) = self.subjects.remove(&other) {
            self.ended.remember(other, subject.ended(now));
        }
        there
    }

    /// After a walk over all groups: what was not met and is not there has ended, names that are due are asked for, what
    /// was left out gets the room there is, and what ended long ago goes.
    pub fn sweep(&mut self, now: Instant, world: &mut dyn HostLookup) {
        self.ended.expire(self.retention, now);
        let gone = self.subjects.extract_if(|_, subject| {
            !std::mem::take(&mut subject.met) && !subject.tops.iter().any(|top| world.is_there(top))
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
        self.admit_left_out(now, world);
        let mut due: Vec<Arc<str>> = Vec::new();
        for (key, subject) in &mut self.subjects {
            if subject.asking.as_mut().is_some_and(|asking| asking.is_due(now)) {
                due.push(Arc::clone(key));
            }
        }
        for key in due {
            let top = self.subjects.get(&key).and_then(|subject| subject.tops.first()).cloned();
            let top = top.map_or_else(|| Arc::clone(&key), |top| top.path);
            if let Some(found) = world.name(&key, &top) {
                self.found(&key, &found, now, world);
            }
        }
    }

    fn admit_left_out(&mut self, now: Instant, world: &dyn HostLookup) {
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
            let Admission::Entry(number) = self.admit(&place, &key, None, now, world) else { continue };
            if let Some(subject) = self.subjects.get_mut(&key) {
                subject.number = Some(number);
                subject.left_out = false;
                // A name that was found meanwhile was not kept.
                subject.asking = matches!(place.what, OwnerKind::Container(_)).then(|| NameRetry::begun(now));
            }
        }
    }

    /// A name was found of something that runs already.
    pub fn found(&mut self, key: &str, found: &ContainerMetadata, now: Instant, world: &dyn HostLookup) {
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
        // It leaves the entry without a name, and takes with it what was counted there.
        let before = number.and_then(|number| self.by_number.get(&number));
        let before = before.map(|entry| (entry.restarts, entry.first, entry.seen, entry.before));
        if let Some(number) = number {
            self.remove(number);
        }
        if matches!(found.name, Name::Sandbox(_)) {
            return;
        }
        let Admission::Entry(new) = self.admit(&place, &key, Some(found), now, world) else { return };
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

    /// The entry with a number, or the one that it turned out to be.
    pub fn get(&self, number: u64) -> Option<&Entry> {
        self.by_number.get(self.same_as.get(&number).unwrap_or(&number))
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_number.values()
    }

    /// Notes that everything so far was there before the agent.
    pub fn all_were_there_before(&mut self) {
        for entry in self.by_number.values_mut() {
            entry.before = true;
        }
    }

    /// The groups of an entry, one for each hierarchy; none once it has ended.
    pub fn tops(&self, entry: &Entry) -> &[TopGroup] {
        let subject = self.subjects.get(&entry.key).filter(|_| entry.ended.is_none());
        subject.map_or(&[], |subject| subject.tops.as_slice())
    }

    /// Every entry that is there, with its groups, one for each hierarchy.
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
