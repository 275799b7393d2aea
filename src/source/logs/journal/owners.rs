//! Whose an entry of the journal is.

use super::tail::Entry;
use crate::host::inventory::Container;
use crate::host::inventory::identity::CgroupOwner;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// How far an entry may be ahead of the clock and is waited for all the same, in microseconds.
const AHEAD: u64 = 1_000_000;

/// The containers and services of the inventory, as the journal names them.
#[derive(Debug, Default)]
pub struct Owners {
    /// By their control group.
    groups: HashMap<Arc<str>, u64>,
    /// Services by the name of their unit.
    units: HashMap<Box<str>, u64>,
    /// When the inventory was filled, in microseconds since 1970.
    filled: u64,
}

/// Owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The container or service with this number.
    Of(u64),
    /// Nobody's in the inventory.
    Nobody,
    /// Somebody's who may not have been there when the inventory was filled.
    Unknown,
}

impl Owners {
    /// These are there now, and were a moment ago.
    pub fn fill(&mut self, containers: &[Container], now: u64) {
        self.filled = now;
        self.groups.clear();
        self.units.clear();
        // One that runs comes before one that has ended in the same place.
        for ended in [true, false] {
            for container in containers.iter().filter(|container| container.ended == ended) {
                self.groups.insert(Arc::clone(&container.cgroup), container.workload.number);
                if container.id.is_none()
                    && let Some(unit) = Path::new(&*container.cgroup).file_name()
                {
                    self.units.insert(unit.to_string_lossy().into(), container.workload.number);
                }
            }
        }
    }

    /// Whose an entry is: by its control group, else by its unit; `now` is in microseconds since 1970. What an engine wrote for a container is nobody's.
    pub fn of(&self, entry: &Entry, now: u64) -> Owner {
        let known = match (&entry.group, &entry.unit) {
            _ if entry.of_container => return Owner::Nobody,
            (Some(group), _) => {
                let Some(place) = CgroupOwner::of(group) else { return Owner::Nobody };
                self.groups.get(place.top)
            }
            (None, Some(unit)) if unit.ends_with(".service") => self.units.get(&**unit),
            (None, _) => return Owner::Nobody,
        };
        match known {
            Some(number) => Owner::Of(*number),
            // The clock may have been set back since.
            None if entry.time < self.filled || entry.time > now + AHEAD => Owner::Nobody,
            None => Owner::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD, Owner, Owners};
    use crate::source::logs::journal::tail::Entry;

    #[test]
    fn an_entry_belongs_to_its_control_group_else_to_its_unit() {
        let mut owners = Owners { filled: 1000, ..Owners::default() };
        owners.groups.insert("/system.slice/web.service".into(), 7);
        owners.units.insert("web.service".into(), 7);
        let of = |group: Option<&str>, unit: Option<&str>, time, of_container| {
            let [group, unit] = [group, unit].map(|text| text.map(Into::into));
            owners.of(&Entry { time, group, unit, of_container, ..Entry::default() }, 2000)
        };
        assert_eq!(of(Some("/system.slice/web.service"), None, 1, false), Owner::Of(7));
        assert_eq!(
            of(Some("/system.slice/web.service/worker"), Some("other.service"), 1, false),
            Owner::Of(7)
        );
        assert_eq!(of(None, Some("web.service"), 1, false), Owner::Of(7));
        assert_eq!(of(Some("/init.scope"), Some("web.service"), 1, false), Owner::Nobody);
        assert_eq!(of(Some("/system.slice/web.service"), None, 1, true), Owner::Nobody);
        assert_eq!(of(None, None, 1, false), Owner::Nobody);
        // One that is not known may have come after the inventory was filled.
        assert_eq!(of(Some("/system.slice/new.service"), None, 999, false), Owner::Nobody);
        assert_eq!(of(Some("/system.slice/new.service"), None, 1000, false), Owner::Unknown);
        assert_eq!(of(None, Some("new.service"), 2000 + AHEAD, false), Owner::Unknown);
        assert_eq!(of(None, Some("new.service"), 2001 + AHEAD, false), Owner::Nobody);
        assert_eq!(of(Some("/user.slice/user-0.slice/session-1.scope"), None, 1500, false), Owner::Nobody);
    }
}
