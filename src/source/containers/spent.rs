//! Sums by container of delays and OOM kills. Pure.

use super::kernel::records::GroupTotals;
use std::collections::HashMap;

/// The sums of each container, and the last values of each control group.
#[derive(Debug, Default)]
pub struct WorkloadTotals {
    /// Last values of each control group.
    groups: HashMap<u64, GroupTotals>,
    /// Sums by the number of the container.
    sums: HashMap<u64, GroupTotals>,
}

impl WorkloadTotals {
    /// Takes the kernel's current values of a control group.
    pub fn take(&mut self, workload: u64, group: u64, spent: GroupTotals) {
        let last = self.groups.insert(group, spent).unwrap_or_default();
        self.add(workload, &spent.since(&last));
    }

    /// Adds to the sums of a container.
    pub fn add(&mut self, workload: u64, more: &GroupTotals) {
        let sum = self.sums.entry(workload).or_default();
        *sum = sum.plus(more);
    }

    /// Forgets a control group that was removed.
    pub fn forget_group(&mut self, group: u64) {
        self.groups.remove(&group);
    }

    /// Follows renamed containers. `current` returns the present number of a number; `None`: its sums are dropped.
    pub fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<u64> =
            self.sums.keys().filter(|workload| current(**workload) != Some(**workload)).copied().collect();
        for workload in moved {
            let sum = self.sums.remove(&workload).unwrap_or_default();
            if let Some(now) = current(workload) {
                self.add(now, &sum);
            }
        }
    }

    /// The sums of a container.
    pub fn of(&self, workload: u64) -> GroupTotals {
        self.sums.get(&workload).copied().unwrap_or_default()
    }
}
