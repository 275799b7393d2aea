//! Files of control groups of version 2 (`Documentation/admin-guide/cgroup-v2.rst`), pure.

use super::sample::{CpuUse, DiskUse, MemoryUse, Throttled};
use super::text::{device, lines, number, single};

/// `cpu.stat`. Without the cpu controller it has the times alone.
pub fn cpu_stat(text: &str) -> CpuUse {
    let throttled = || {
        Some(Throttled {
            nanoseconds: number(text, "throttled_usec")?.checked_mul(1000)?,
            periods: number(text, "nr_throttled")?,
            of: number(text, "nr_periods")?,
        })
    };
    CpuUse {
        nanoseconds: number(text, "usage_usec").and_then(|used| used.checked_mul(1000)),
        throttled: throttled(),
    }
}

/// `cpu.max`: quota and period in microseconds, as CPUs; `None` for `max`.
pub fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = lines(text).next()?.split_once(' ')?;
    super::sample::cpus(quota.parse().ok()?, period.trim().parse().ok()?)
}

/// `memory.max` in bytes; `None` for `max`.
pub fn memory_max(text: &str) -> Option<u64> {
    single(text)
}

/// `memory.current` and `memory.stat`.
pub fn memory(current: Option<&str>, stat: Option<&str>) -> MemoryUse {
    let usage = current.and_then(single);
    let word = |word| number(stat?, word);
    MemoryUse::of(usage, word("inactive_file"), word("anon"), word("file"))
}

/// `io.stat`. A device that nothing was read from or written to has no line, or one without numbers.
pub fn io_stat(text: &str) -> Vec<((u32, u32), DiskUse)> {
    let found = lines(text).filter_map(|line| {
        let (number, rest) = device(line)?;
        let word = |word: &str| {
            let mut fields = rest.split(' ').filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == word)?.1.parse().ok()
        };
        let used = DiskUse {
            read_bytes: word("rbytes"),
            written_bytes: word("wbytes"),
            reads: word("rios"),
            writes: word("wios"),
        };
        (used != DiskUse::default()).then_some((number, used))
    });
    found.collect()
}
