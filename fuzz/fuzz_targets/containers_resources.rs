//! Files of control groups and mounts of containers: what is read from them, and what is added up over restarts.
#![no_main]

use connscope::source::containers::devices;
use connscope::source::containers::resources::sample::{CpuUse, Sample};
use connscope::source::containers::resources::usage::{DISKS, Usage};
use connscope::source::containers::resources::{pressure, v1, v2};
use connscope::source::containers::volumes::{mountinfo, origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let stalled = pressure::parse(&text);
    let old = Sample {
        cpu: CpuUse { nanoseconds: v1::cpu_usage(&text), throttled: v1::cpu_stat(&text) },
        memory: v1::memory(Some(first), Some(second)),
        cpu_limit: v1::cpu_limit(first, second),
        memory_limit: v1::memory_limit(&text),
        disks: Some(v1::disks(first, second)),
        pressure: [stalled; 3],
    };
    let new = Sample {
        cpu: v2::cpu_stat(&text),
        memory: v2::memory(Some(first), Some(second)),
        cpu_limit: v2::cpu_max(&text),
        memory_limit: v2::memory_max(&text),
        disks: Some(v2::io_stat(&text)),
        pressure: [stalled; 3],
    };
    for limit in [old.cpu_limit, new.cpu_limit].into_iter().flatten() {
        assert!(limit.is_finite() && limit >= 0.0, "{limit}");
    }
    let mut usage = Usage::default();
    let mut last = 0;
    for sample in [&old, &new, &old, &new] {
        usage.take(sample, || true, usize::MAX, |(major, minor)| format!("{major}:{minor}").into());
        assert!(usage.disks.len() <= DISKS, "{} devices", usage.disks.len());
        let sum = usage.cpu.sum().unwrap_or(last);
        assert!(sum >= last, "a counter went from {last} to {sum}");
        last = sum;
        usage.restart();
    }
    let mounts = mountinfo::parse(bytes);
    for mount in &mounts {
        assert!(mount.device.0 != 0 && mount.point.starts_with(b"/"), "{mount:?}");
        let _volume_or_none = origin::of(mount, &mounts);
    }
    let _device_or_none = devices::parse(&text);
});
