//! From the control groups that the kernel's half counts by to the containers of the inventory.

use super::kernel::{GROUPS, Groups};
use crate::host::inventory::identity::Place;
use crate::host::inventory::{Group, Inventory, Who};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Bits of the key that are the id; those above are the number of the hierarchy (`group_key` in `bpf/group.h`).
const ID: u32 = 48;

/// Who a control group belongs to.
pub(super) fn who(key: u64, groups: &Groups, inventory: &Inventory) -> Option<Arc<Who>> {
    let path = groups.get(key)?.path;
    of(key, &path, inventory)
}

fn of(key: u64, path: &str, inventory: &Inventory) -> Option<Arc<Who>> {
    let hierarchy = u32::try_from(key >> ID).unwrap_or_default();
    inventory.who(Group { hierarchy, id: key & ((1 << ID) - 1), path })
}

/// Who the groups are that are counted by.
#[derive(Debug, Default)]
pub(super) struct Known {
    who: HashMap<u64, Option<Arc<Who>>>,
}

impl Known {
    /// Looks at all groups that the kernel has met. What belongs to neither a container nor a service is not counted any
    /// more. Returned are those that may be forgotten: whoever they belonged to is gone.
    pub(super) fn look(&mut self, groups: &Groups, inventory: &Inventory) -> Vec<u64> {
        let keys: HashSet<u64> = groups.keys().into_iter().collect();
        self.who.retain(|key, _| keys.contains(key));
        // What is not counted takes room too; it is met again if it is still there.
        let crowded = keys.len() > GROUPS / 4 * 3;
        let mut gone = Vec::new();
        for key in keys {
            match self.who.get(&key) {
                Some(Some(who)) => match inventory.current(who.number) {
                    Some(now) => drop(self.who.insert(key, Some(now))),
                    None => gone.push(key),
                },
                Some(None) if crowded => gone.push(key),
                Some(None) => {}
                None => self.meet(key, groups, inventory),
            }
        }
        for key in &gone {
            self.who.remove(key);
        }
        gone
    }

    fn meet(&mut self, key: u64, groups: &Groups, inventory: &Inventory) {
        let Some(group) = groups.get(key) else { return };
        if Place::of(&group.path).is_none() {
            groups.ignore(key);
            self.who.insert(key, None);
        } else if let Some(who) = of(key, &group.path, inventory) {
            self.who.insert(key, Some(who));
        }
    }

    /// Who a group belongs to.
    pub(super) fn who(&self, key: u64) -> Option<&Arc<Who>> {
        self.who.get(&key)?.as_ref()
    }

    /// Whether a group belongs to neither a container nor a service.
    pub(super) fn ignored(&self, key: u64) -> bool {
        matches!(self.who.get(&key), Some(None))
    }
}
