//! What a control group spent besides connections, as `bpf/spent.h` has it. Pure.

use super::Fields;

/// Length of a value of the map `spent_by_group`.
pub const SPENT: usize = 24;

/// What a control group spent besides connections, since its entry was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupTotals {
    /// Time that tasks were runnable and did not run, nanoseconds.
    pub cpu: u64,
    /// Time that tasks waited for block devices, nanoseconds.
    pub disk: u64,
    /// Processes that were killed because memory ran out.
    pub oom_kills: u64,
}

impl GroupTotals {
    /// Reads a value.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { cpu: fields.u64()?, disk: fields.u64()?, oom_kills: fields.u64()? })
    }

    /// The difference to `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.wrapping_sub(before.cpu),
            disk: self.disk.wrapping_sub(before.disk),
            oom_kills: self.oom_kills.wrapping_sub(before.oom_kills),
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        Self {
            cpu: self.cpu.wrapping_add(more.cpu),
            disk: self.disk.wrapping_add(more.disk),
            oom_kills: self.oom_kills.wrapping_add(more.oom_kills),
        }
    }
}
