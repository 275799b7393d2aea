//! The targets there are: shared by those who probe and those who read.

use super::entry::TargetEntry;
use super::target::Target;
use crate::metric::Handle;
use crate::metric::distribution::Distribution;
use crate::reading::SourceError;
use crate::source::probes::config::check::TargetSeries;
use crate::source::probes::metrics;
use crate::text::{LONGEST_ERROR, bounded};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// Targets added and removed by one update.
#[derive(Debug, Default)]
pub struct TargetChanges {
    /// New, or with other settings.
    pub added: Vec<Arc<TargetEntry>>,
    /// Gone, or with other settings from now on.
    pub removed: Vec<Arc<TargetEntry>>,
    /// Not all targets of the group were taken: another group has them, or they are over the limit.
    pub short: bool,
}

impl TargetChanges {
    /// All of them, one after the other, as one.
    pub fn of(changes: Vec<Self>) -> Self {
        let mut all = Self::default();
        for change in changes {
            all.added.extend(change.added);
            all.removed.extend(change.removed);
            all.short |= change.short;
        }
        // What came and has gone again is not there.
        let gone: HashSet<u64> = all.removed.iter().map(|entry| entry.number).collect();
        all.added.retain(|entry| !gone.contains(&entry.number));
        all
    }
}

/// Targets by group (the configuration, a file, a name), then by what makes a target another one.
#[derive(Debug, Default)]
struct Groups {
    targets: BTreeMap<String, BTreeMap<String, Arc<TargetEntry>>>,
    /// The series of all groups, and as how many targets they count, so that a change of one need not visit the others.
    series: TargetSeries,
    addresses: usize,
}

impl Groups {
    fn remove(&mut self, group: &str) -> BTreeMap<String, Arc<TargetEntry>> {
        let targets = self.targets.remove(group).unwrap_or_default();
        for entry in targets.values() {
            self.series.remove(&entry.target.settings);
            self.addresses -= entry.target.settings.max_addresses();
        }
        targets
    }
}

/// Why a group could not be had as it is now.
#[derive(Debug)]
enum GroupFailure {
    Wrong(String),
    /// A defect; what was being done.
    Panicked(String),
}

/// All targets.
#[derive(Debug)]
pub struct Registry {
    /// Targets there may be, each counted as often as it may have addresses that are probed.
    pub limit: usize,
    groups: RwLock<Groups>,
    left_out: Mutex<BTreeMap<String, usize>>,
    /// Groups that could not be had as they are now, and why.
    failed: Mutex<BTreeMap<String, GroupFailure>>,
    next: AtomicU64,
    /// Groups not read so far: the files, as one, and each name that stands for targets.
    unseen: AtomicUsize,
    /// Probes in flight.
    pub running: AtomicUsize,
    delay: Mutex<Arc<Distribution>>,
}

impl Registry {
    /// Without targets; at most `limit` are taken.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            groups: RwLock::default(),
            left_out: Mutex::default(),
            failed: Mutex::default(),
            next: AtomicU64::new(0),
            unseen: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            delay: Mutex::new(Arc::new(Distribution::new(
                metrics::CONNSCOPE_PROBES_DELAY.metric().boundaries.into(),
            ))),
        }
    }

    /// Replaces the targets of a group. What stays as it was keeps everything that is known of it;
    /// what has other settings keeps its numbers.
    pub fn set(&self, group: &str, targets: Vec<Target>) -> TargetChanges {
        let mut change = TargetChanges::default();
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = groups.remove(group);
        let mut now = BTreeMap::new();
        let mut left_out = 0;
        for target in targets {
            let key = target.settings.identity();
            if !groups.series.add(&target.settings) {
                left_out += 1;
                continue; // in another file, too, or twice in this one: one series cannot have two values
            }
            let addresses = target.settings.max_addresses();
            if groups.addresses + addresses > self.limit {
                groups.series.remove(&target.settings);
                left_out += 1;
                continue;
            }
            groups.addresses += addresses;
            match before.remove(&key) {
                Some(old) if old.target.settings == target.settings => {
                    now.insert(key, old);
                }
                old => {
                    // Its labels are part of what it is told by, so that those of its series stay right.
                    let states =
                        old.as_ref().map(|old| std::mem::take(&mut *old.states())).unwrap_or_default();
                    change.removed.extend(old);
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let entry = Arc::new(TargetEntry::new(number, target, states));
                    change.added.push(Arc::clone(&entry));
                    now.insert(key, entry);
                }
            }
        }
        change.removed.extend(before.into_values());
        groups.targets.insert(group.to_owned(), now);
        drop(groups);
        change.short = left_out > 0;
        locked(&self.left_out).insert(group.to_owned(), left_out);
        locked(&self.failed).remove(group);
        change
    }

    /// Forgets a group: its file is gone.
    pub fn forget(&self, group: &str) -> TargetChanges {
        let before = self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(group);
        locked(&self.left_out).remove(group);
        locked(&self.failed).remove(group);
        TargetChanges { removed: before.into_values().collect(), ..TargetChanges::default() }
    }

    /// So many more targets of a group that was just set are over the limit.
    pub fn leave_out(&self, group: &str, count: usize) {
        *locked(&self.left_out).entry(group.to_owned()).or_default() += count;
    }

    /// A group could not be had as it is now; the targets it had stay. A file has a say in the text, so that its length is
    /// bounded.
    pub fn fail(&self, group: &str, why: impl AsRef<str>) {
        locked(&self.failed)
            .insert(group.to_owned(), GroupFailure::Wrong(bounded(why.as_ref(), LONGEST_ERROR)));
    }

    /// The same for a panic during `doing`.
    pub fn panicked(&self, group: &str, doing: &str) {
        locked(&self.failed).insert(group.to_owned(), GroupFailure::Panicked(doing.to_owned()));
    }

    /// Clears a failure.
    pub fn heal(&self, group: &str) {
        locked(&self.failed).remove(group);
    }

    /// Groups that could not be had.
    pub fn failures(&self) -> Vec<(String, SourceError)> {
        let failed = locked(&self.failed);
        let error = |failure: &GroupFailure| match failure {
            GroupFailure::Wrong(why) => {
                SourceError::parse("reading targets; the previous ones stay in effect", why.as_str())
            }
            GroupFailure::Panicked(doing) => SourceError::Panicked { message: defect(doing) },
        };
        failed.iter().map(|(group, failure)| (group.clone(), error(failure))).collect()
    }

    /// Every target there is.
    pub fn entries(&self) -> Vec<Arc<TargetEntry>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.targets.values().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// So many groups (the files, as one, and each name) are still to be read for the first time.
    pub fn expect(&self, groups: usize) {
        self.unseen.fetch_add(groups, Ordering::Relaxed);
    }

    /// One of them was looked at for the first time, whatever came of it.
    pub fn looked(&self) {
        self.unseen.fetch_sub(1, Ordering::Release);
    }

    /// Whether all of them were looked at once.
    pub fn complete(&self) -> bool {
        self.unseen.load(Ordering::Acquire) == 0
    }

    /// Targets over the limit, or whose series another target has.
    pub fn left_out(&self) -> usize {
        locked(&self.left_out).values().sum()
    }

    /// A probe started this much later than it was due.
    pub fn delayed(&self, late: Duration) {
        Arc::make_mut(&mut locked(&self.delay)).record(late.as_secs_f64());
    }

    /// How much later than due the probes started so far.
    pub fn delays(&self) -> Arc<Distribution> {
        Arc::clone(&locked(&self.delay))
    }
}

/// Records a panic of the thread or task that holds it, which nobody else waits for.
#[derive(Debug)]
pub struct PanicGuard<'a> {
    /// Registry in which the panic is recorded.
    pub registry: &'a Registry,
    /// The group that stays as it was.
    pub group: &'a str,
    /// The operation, for the log line.
    pub doing: &'a str,
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.registry.panicked(self.group, self.doing);
        }
    }
}

/// Message of a panic.
pub fn defect(doing: &str) -> String {
    format!("{doing}; this is a defect of connscope")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
