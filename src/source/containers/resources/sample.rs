//! What the files of one control group say at one time (pure).

use super::pressure::Stalled;

/// What one cycle has read of a container; `None` is what its control groups do not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// CPU time.
    pub cpu: CpuUse,
    /// Memory.
    pub memory: MemoryUse,
    /// CPUs that it may use at most.
    pub cpu_limit: Option<f64>,
    /// Memory that it may use at most, bytes.
    pub memory_limit: Option<u64>,
    /// By block device; `None` where the controller is off.
    pub disks: Option<Vec<((u32, u32), DiskUse)>>,
    /// Of `cpu`, `memory` and `io`.
    pub pressure: [Stalled; 3],
}

/// CPU time of a control group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUse {
    /// Nanoseconds that its tasks have run.
    pub nanoseconds: Option<u64>,
    /// Throttling by the CPU quota; `None` without a CPU controller.
    pub throttled: Option<Throttled>,
}

/// What the quota of a control group has kept from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Nanoseconds.
    pub nanoseconds: u64,
    /// Periods in which its quota was used up.
    pub periods: u64,
    /// Periods in which it had something to run.
    pub of: u64,
}

/// Memory of a control group, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// All that is charged to it, the page cache included.
    pub usage: Option<u64>,
    /// The same without the page cache that was not used for a while.
    pub working_set: Option<u64>,
    /// Anonymous memory.
    pub rss: Option<u64>,
    /// Page cache, shared memory included.
    pub cache: Option<u64>,
}

impl MemoryUse {
    /// Of what is charged, less what could be given back at once.
    pub(super) fn of(
        usage: Option<u64>,
        inactive: Option<u64>,
        rss: Option<u64>,
        cache: Option<u64>,
    ) -> Self {
        let working_set = usage.zip(inactive).map(|(usage, inactive)| usage.saturating_sub(inactive));
        Self { usage, working_set, rss, cache }
    }
}

/// Reads from and writes to one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub written_bytes: Option<u64>,
    /// Requests to read.
    pub reads: Option<u64>,
    /// Requests to write.
    pub writes: Option<u64>,
}

/// Quota and period as CPUs; a period of 0 is none that the kernel writes.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a period, at most a second")]
pub(super) fn cpus(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// The lesser of two limits, where `None` is no limit.
pub(super) fn least<T: PartialOrd>(left: Option<T>, right: Option<T>) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(if right < left { right } else { left }),
        (left, right) => left.or(right),
    }
}
