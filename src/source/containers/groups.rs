//! From the control groups that the kernel's half counts by to the containers of the inventory.

use super::kernel::{GROUPS, Groups};
use crate::host::inventory::identity::Place;
use crate::host::inventory::{Group, Inventory, Who};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bits of the key that are the id; those above are the number of the hierarchy (`group_key` in `bpf/group.h`).
const ID: u32 = 48;
/// From one look at a group's directory to the next.
const AGAIN: Duration = Duration::from_secs(10);

/// Who a control group belongs to.
pub(super) fn who(key: u64, groups: &Groups, inventory: &Inventory) -> Option<Arc<Who>> {
    let path = groups.get(key)?.path;
    inventory.who(group(key, &path))
}

fn group(key: u64, path: &str) -> Group<'_> {
    let hierarchy = u32::try_from(key >> ID).unwrap_or_default();
    Group { hierarchy, id: key & ((1 << ID) - 1), path }
}

/// Who the groups are that are counted by.
#[derive(Debug, Default)]
pub(super) struct Known {
    met: HashMap<u64, Met>,
}

/// A group that the kernel has met.
#[derive(Debug)]
struct Met {
    path: String,
    whose: Whose,
    /// When it was looked at.
    looked: Instant,
    /// Since when its directory is known to be gone.
    gone: Option<Instant>,
}

#[derive(Debug)]
enum Whose {
    Somebody(Arc<Who>),
    /// A container or service that is not wanted, or found no room so far.
    Unwanted,
    /// Neither a container nor a service.
    Ignored,
}

impl Known {
    /// Looks at all groups that the kernel has met. What belongs to neither a container nor a service is not counted any
    /// more. Returned are those that may be forgotten: whoever they belonged to is gone.
    pub(super) fn look(&mut self, groups: &Groups, inventory: &Inventory, now: Instant) -> Vec<u64> {
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
        let over = |(key, met): (&u64, &mut Met)| met.is_over(*key, crowded, inventory, now).then_some(*key);
        let over: Vec<u64> = self.met.iter_mut().filter_map(over).collect();
        self.forget(&over);
        over
    }

    /// Those whose directory has been gone since an earlier cycle and which are not `used`; they are no longer known here.
    /// A container that is started anew gets another group.
    pub(super) fn ended(&mut self, used: impl FnOnce() -> HashSet<u64>, now: Instant) -> Vec<u64> {
        let ended = |met: &Met| met.gone.is_some_and(|gone| gone < now);
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
    pub(super) fn who(&self, key: u64) -> Option<&Arc<Who>> {
        match &self.met.get(&key)?.whose {
            Whose::Somebody(who) => Some(who),
            Whose::Unwanted | Whose::Ignored => None,
        }
    }

    /// Whether a group belongs to nobody who is counted.
    pub(super) fn ignored(&self, key: u64) -> bool {
        self.met.get(&key).is_some_and(|met| !matches!(met.whose, Whose::Somebody(_)))
    }
}

fn meet(key: u64, groups: &Groups, inventory: &Inventory, now: Instant) -> Option<Met> {
    let path = groups.get(key)?.path;
    let whose = if Place::of(&path).is_none() {
        groups.ignore(key);
        Whose::Ignored
    } else {
        inventory.who(group(key, &path)).map_or(Whose::Unwanted, Whose::Somebody)
    };
    Some(Met { path, whose, looked: now, gone: None })
}

impl Met {
    /// Looks whose it is now; whether it is nobody's any more.
    fn is_over(&mut self, key: u64, crowded: bool, inventory: &Inventory, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.looked) >= AGAIN;
        if due {
            self.looked = now;
        }
        let group = group(key, &self.path);
        match &mut self.whose {
            Whose::Ignored => crowded,
            Whose::Somebody(who) => {
                if due && self.gone.is_none() && !inventory.is_there(group) {
                    self.gone = Some(now);
                }
                match inventory.current(who.number) {
                    Some(current) => *who = current,
                    None => return true,
                }
                false
            }
            // It may have got a name, or room.
            Whose::Unwanted if due => {
                if !inventory.is_there(group) {
                    return true;
                }
                if let Some(who) = inventory.who(group) {
                    self.whose = Whose::Somebody(who);
                }
                false
            }
            Whose::Unwanted => false,
        }
    }
}
