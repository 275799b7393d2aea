//! What containers spent besides connections: time waited, and processes that were killed; added up. Pure.

use super::kernel::records::Spent;
use std::collections::HashMap;

/// The sums of each container, and what they are made of.
#[derive(Debug, Default)]
pub struct SpentTotals {
    /// What the kernel said of a control group last.
    groups: HashMap<u64, Spent>,
    /// By the number of the container.
    sums: HashMap<u64, Spent>,
}

impl SpentTotals {
    /// The numbers that the kernel has of a control group now.
    pub fn take(&mut self, who: u64, group: u64, spent: Spent) {
        let last = self.groups.insert(group, spent).unwrap_or_default();
        self.add(who, &spent.since(&last));
    }

    /// More of a container.
    pub fn add(&mut self, who: u64, more: &Spent) {
        let sum = self.sums.entry(who).or_default();
        *sum = sum.plus(more);
    }

    /// A control group is gone, and its numbers with it.
    pub fn forget_group(&mut self, group: u64) {
        self.groups.remove(&group);
    }

    /// `current` says who has a number now: nobody, whose sums then go, or another one, to whose they are added.
    pub fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<u64> = self.sums.keys().filter(|who| current(**who) != Some(**who)).copied().collect();
        for who in moved {
            let sum = self.sums.remove(&who).unwrap_or_default();
            if let Some(now) = current(who) {
                self.add(now, &sum);
            }
        }
    }

    /// The sums of a container.
    pub fn of(&self, who: u64) -> Spent {
        self.sums.get(&who).copied().unwrap_or_default()
    }
}
