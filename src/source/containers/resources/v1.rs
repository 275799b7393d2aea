//! Files of control groups of version 1 (`Documentation/admin-guide/cgroup-v1/`), pure.

use super::sample::{DiskUse, MemoryUse, Throttled};
use super::text::{device, lines, number, single};

/// `cpuacct.usage`: nanoseconds, of the groups below too.
pub fn cpu_usage(text: &str) -> Option<u64> {
    single(text)
}

/// `cpu.stat`; `throttled_time` is in nanoseconds.
pub fn cpu_stat(text: &str) -> Option<Throttled> {
    Some(Throttled {
        nanoseconds: number(text, "throttled_time")?,
        periods: number(text, "nr_throttled")?,
        of: number(text, "nr_periods")?,
    })
}

/// Whether `cpu.cfs_quota_us` is a quota, of which the period is to be known; without one it is -1.
pub fn has_quota(quota: &str) -> bool {
    single(quota).is_some()
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`, as CPUs; `None` without a quota, which is -1.
pub fn cpu_limit(quota: &str, period: &str) -> Option<f64> {
    super::sample::cpus(single(quota)?, single(period)?)
}

/// `memory.usage_in_bytes` and `memory.stat`, of the groups below too.
pub fn memory(usage: Option<&str>, stat: Option<&str>) -> MemoryUse {
    let word = |word| number(stat?, word);
    let usage = usage.and_then(single);
    MemoryUse::of(usage, word("total_inactive_file"), word("total_rss"), word("total_cache"))
}

/// The limit in `memory.stat`, the least of the group and those above it.
pub fn memory_limit(stat: &str) -> Option<u64> {
    number(stat, "hierarchical_memory_limit")
}

/// Whether a file of the I/O controller has a device; without one neither has.
pub fn has_devices(text: &str) -> bool {
    lines(text).any(|line| device(line).is_some())
}

/// `blkio.throttle.io_service_bytes` and `blkio.throttle.io_serviced`, or their recursive forms.
pub fn disks(bytes: &str, operations: &str) -> Vec<((u32, u32), DiskUse)> {
    let mut found: Vec<((u32, u32), DiskUse)> = Vec::new();
    for (text, is_bytes) in [(bytes, true), (operations, false)] {
        for line in lines(text) {
            let Some((number, rest)) = device(line) else { continue };
            let Some((what, count)) = rest.split_once(' ') else { continue };
            let Ok(count) = count.trim().parse() else { continue };
            let index = found.iter().position(|(known, _)| *known == number).unwrap_or_else(|| {
                found.push((number, DiskUse::default()));
                found.len() - 1
            });
            let Some((_, used)) = found.get_mut(index) else { continue };
            match (what, is_bytes) {
                ("Read", true) => used.read_bytes = Some(count),
                ("Write", true) => used.written_bytes = Some(count),
                ("Read", false) => used.reads = Some(count),
                ("Write", false) => used.writes = Some(count),
                // `Sync`, `Async`, `Discard` and `Total`.
                _ => {}
            }
        }
    }
    found.retain(|(_, used)| *used != DiskUse::default());
    found
}
