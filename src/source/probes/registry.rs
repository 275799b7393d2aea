//! The registry of targets, shared by the probes and the readers.

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

/// Targets added and removed by an update.
#[derive(Debug, Default)]
pub struct TargetChanges {
    /// New targets, and targets with new settings.
    pub added: Vec<Arc<TargetEntry>>,
    /// Targets that are gone, and targets whose settings changed.
    pub removed: Vec<Arc<TargetEntry>>,
    /// Whether some targets of the group were left out: another group has them, or they are over the limit.
    pub short: bool,
}

impl TargetChanges {
    /// Combines changes in their order.
    pub fn of(changes: Vec<Self>) -> Self {
        let mut all = Self::default();
        for change in changes {
            all.added.extend(change.added);
            all.removed.extend(change.removed);
            all.short |= change.short;
        }
        // A target that was added and removed again is not added.
        let gone: HashSet<u64> = all.removed.iter().map(|entry| entry.number).collect();
        all.added.retain(|entry| !gone.contains(&entry.number));
        all
    }
}

/// Targets by group (the configuration, a file, a name), then by identity.
#[derive(Debug, Default)]
struct Groups {
    targets: BTreeMap<String, BTreeMap<String, Arc<TargetEntry>>>,
    /// The series of all groups, and the number of addresses, so that a change of one group does not visit the others.
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

/// Reason why a group could not be updated.
#[derive(Debug)]
enum GroupFailure {
    Wrong(String),
    /// A panic, with the operation.
    Panicked(String),
}

/// All targets.
#[derive(Debug)]
pub struct Registry {
    /// Maximum number of targets; a target counts once for each address that may be probed.
    pub limit: usize,
    groups: RwLock<Groups>,
    left_out: Mutex<BTreeMap<String, usize>>,
    /// Groups that could not be updated, and the reason.
    failed: Mutex<BTreeMap<String, GroupFailure>>,
    next: AtomicU64,
    /// Number of groups not read so far: all files as one, and each DNS name.
    unseen: AtomicUsize,
    /// Probes in flight.
    pub running: AtomicUsize,
    delay: Mutex<Arc<Distribution>>,
}

impl Registry {
    /// Creates it without targets, for at most `limit`.
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

    /// Replaces the targets of a group. An unchanged target keeps its entry; a target with new settings keeps its
    /// state.
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
                continue; // in another file too, or twice in this file: a series cannot have two values
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
                    // The labels are part of the identity, so those of the series stay valid.
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

    /// Removes a group whose file is gone.
    pub fn forget(&self, group: &str) -> TargetChanges {
        let before = self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(group);
        locked(&self.left_out).remove(group);
        locked(&self.failed).remove(group);
        TargetChanges { removed: before.into_values().collect(), ..TargetChanges::default() }
    }

    /// Counts targets of a group that was just set as over the limit.
    pub fn leave_out(&self, group: &str, count: usize) {
        *locked(&self.left_out).entry(group.to_owned()).or_default() += count;
    }

    /// Records why a group could not be updated; its targets stay. A file can influence the text, so it is truncated.
    pub fn fail(&self, group: &str, why: impl AsRef<str>) {
        locked(&self.failed)
            .insert(group.to_owned(), GroupFailure::Wrong(bounded(why.as_ref(), LONGEST_ERROR)));
    }

    /// Records that the update of a group panicked during `doing`.
    pub fn panicked(&self, group: &str, doing: &str) {
        locked(&self.failed).insert(group.to_owned(), GroupFailure::Panicked(doing.to_owned()));
    }

    /// Removes the failure of a group.
    pub fn clear_failure(&self, group: &str) {
        locked(&self.failed).remove(group);
    }

    /// The groups that could not be updated.
    pub fn failures(&self) -> Vec<(String, SourceError)> {
        let failed = locked(&self.failed);
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let error = |group: &String, failure: &GroupFailure| match failure {
            GroupFailure::Wrong(why) => {
                let before = groups.targets.get(group).is_some_and(|targets| !targets.is_empty());
                let doing = if before {
                    "reading targets; the previous ones stay in effect"
                } else {
                    "reading targets"
                };
                SourceError::parse(doing, why.as_str())
            }
            GroupFailure::Panicked(doing) => SourceError::Panicked { message: defect(doing) },
        };
        failed.iter().map(|(group, failure)| (group.clone(), error(group, failure))).collect()
    }

    /// Every target.
    pub fn entries(&self) -> Vec<Arc<TargetEntry>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.targets.values().flat_map(BTreeMap::values).map(Arc::clone).collect()
    }

    /// Registers a number of groups to be read for the first time: all files as one, and each DNS name.
    pub fn expect_groups(&self, groups: usize) {
        self.unseen.fetch_add(groups, Ordering::Relaxed);
    }

    /// Records that a group was read for the first time, successfully or not.
    pub fn first_read_done(&self) {
        self.unseen.fetch_sub(1, Ordering::Release);
    }

    /// Whether every registered group was read once.
    pub fn all_groups_read(&self) -> bool {
        self.unseen.load(Ordering::Acquire) == 0
    }

    /// Number of targets over the limit, or whose series another target has.
    pub fn left_out(&self) -> usize {
        locked(&self.left_out).values().sum()
    }

    /// Records the delay of a probe after its scheduled time.
    pub fn delayed(&self, late: Duration) {
        Arc::make_mut(&mut locked(&self.delay)).record(late.as_secs_f64());
    }

    /// The delays of all probes so far.
    pub fn delays(&self) -> Arc<Distribution> {
        Arc::clone(&locked(&self.delay))
    }
}

/// Records a panic of the thread or task that holds it, for which nothing else waits.
#[derive(Debug)]
pub struct PanicGuard<'a> {
    /// Registry in which the panic is recorded.
    pub registry: &'a Registry,
    /// The group that keeps its targets.
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
    // The values are consistent after every statement, so poisoning is ignored.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
