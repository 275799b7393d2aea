//! From the control groups in the BPF maps to the containers of the inventory.

use super::kernel::{GROUPS, Groups};
use crate::host::cgroup;
use crate::host::inventory::identity::CgroupOwner;
use crate::host::inventory::{CgroupRef, Inventory, Workload};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// From one look at a group's directory to the next.
const AGAIN: Duration = Duration::from_secs(10);

/// Who a control group belongs to.
pub(super) fn workload(key: u64, groups: &Groups, inventory: &Inventory) -> Option<Arc<Workload>> {
    let path = groups.get(key)?.path;
    inventory.workload(group(key, &path))
}

fn group(key: u64, path: &str) -> CgroupRef<'_> {
    let (hierarchy, id) = cgroup::of_key(key);
    CgroupRef { hierarchy, id, path }
}

/// Who the groups are that are counted by.
#[derive(Debug, Default)]
pub(super) struct GroupOwners {
    met: HashMap<u64, KnownGroup>,
}

/// A group that the kernel has met.
#[derive(Debug)]
struct KnownGroup {
    path: String,
    whose: Owner,
    /// Time at which the group's path was last looked up.
    looked: Instant,
    /// Since when its directory is known to be gone.
    gone: Option<Instant>,
}

#[derive(Debug)]
enum Owner {
    Somebody(Arc<Workload>),
    /// A container or service that is excluded, or over a limit so far.
    Unwanted,
    /// Neither a container nor a service.
    Ignored,
}

impl GroupOwners {
    /// Looks at all groups that the kernel has met. What belongs to neither a container nor a service is not counted any
    /// more. Returned are those that may be forgotten: whoever they belonged to is gone.
    pub(super) fn update_owners(&mut self, groups: &Groups, inventory: &Inventory, now: Instant) -> Vec<u64> {
        let keys: HashSet<u64> = groups.keys().into_iter().collect();
        self.met.retain(|key, _| keys.contains(key));
        // What is not counted takes room too; it is met again if it is still there.
        let crowded = keys.len() > GROUPS / 4 * 3;
        for key in &keys {
            if !self.met.contains_key(key)
                && let Some(met) = meet(*key, groups, inventory, now)
            {
                self.met.insert(*key, met);
            }
        }
        let over =
            |(key, met): (&u64, &mut KnownGroup)| met.is_over(*key, crowded, inventory, now).then_some(*key);
        let over: Vec<u64> = self.met.iter_mut().filter_map(over).collect();
        self.forget(&over);
        over
    }

    /// Those whose directory has been gone since an earlier cycle and which are not `used`; they are no longer known here.
    /// A container that is restarted gets another group.
    pub(super) fn ended(&mut self, used: impl FnOnce() -> HashSet<u64>, now: Instant) -> Vec<u64> {
        let ended = |met: &KnownGroup| met.gone.is_some_and(|gone| gone < now);
        let mut over: Vec<u64> = self.met.iter().filter(|(_, met)| ended(met)).map(|(key, _)| *key).collect();
        if !over.is_empty() {
            let used = used();
            over.retain(|key| !used.contains(key));
            self.forget(&over);
        }
        over
    }

    fn forget(&mut self, over: &[u64]) {
        for key in over {
            self.met.remove(key);
        }
    }

    /// Who a group belongs to.
    pub(super) fn workload(&self, key: u64) -> Option<&Arc<Workload>> {
        match &self.met.get(&key)?.whose {
            Owner::Somebody(workload) => Some(workload),
            Owner::Unwanted | Owner::Ignored => None,
        }
    }

    /// Whether a look at the groups has been since the kernel met this one.
    pub(super) fn knows(&self, key: u64) -> bool {
        self.met.contains_key(&key)
    }

    /// Whether a group belongs to a container over the limit of the inventory.
    pub(super) fn is_left_out(&self, key: u64, inventory: &Inventory) -> bool {
        self.met.get(&key).is_some_and(|met| {
            matches!(met.whose, Owner::Unwanted) && inventory.is_left_out(group(key, &met.path))
        })
    }

    /// Whether a group belongs to nobody who is counted.
    pub(super) fn ignored(&self, key: u64) -> bool {
        self.met.get(&key).is_some_and(|met| !matches!(met.whose, Owner::Somebody(_)))
    }
}

fn meet(key: u64, groups: &Groups, inventory: &Inventory, now: Instant) -> Option<KnownGroup> {
    let path = groups.get(key)?.path;
    let whose = if CgroupOwner::of(&path).is_none() {
        groups.ignore(key);
        Owner::Ignored
    } else {
        inventory.workload(group(key, &path)).map_or(Owner::Unwanted, Owner::Somebody)
    };
    Some(KnownGroup { path, whose, looked: now, gone: None })
}

impl KnownGroup {
    /// Looks whose it is now; whether it is nobody's any more.
    fn is_over(&mut self, key: u64, crowded: bool, inventory: &Inventory, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.looked) >= AGAIN;
        if due {
            self.looked = now;
        }
        let group = group(key, &self.path);
        match &mut self.whose {
            Owner::Ignored => crowded,
            Owner::Somebody(workload) => {
                if due && self.gone.is_none() {
                    if !inventory.is_there(group) {
                        self.gone = Some(now);
                    } else if let Some(now) = inventory.workload(group) {
                        // It was renamed, as a rule it was not.
                        *workload = now;
                    }
                }
                match inventory.current(workload.number) {
                    Some(current) => *workload = current,
                    None => return true,
                }
                false
            }
            // It may have got a name, or room.
            Owner::Unwanted if due => {
                if !inventory.is_there(group) {
                    return true;
                }
                if let Some(workload) = inventory.workload(group) {
                    self.whose = Owner::Somebody(workload);
                }
                false
            }
            Owner::Unwanted => false,
        }
    }
}
