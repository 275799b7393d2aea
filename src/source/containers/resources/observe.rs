//! The readings of what containers use.

use super::ResourceKinds;
use super::usage::Usage;
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use crate::source::containers::metrics;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Label values that many readings share.
struct SharedLabels {
    resources: [Arc<str>; 3],
    kinds: [Arc<str>; 2],
    read: Arc<str>,
    write: Arc<str>,
}

static WORDS: LazyLock<SharedLabels> = LazyLock::new(|| SharedLabels {
    resources: ["cpu", "memory", "io"].map(Arc::from),
    kinds: ["some", "full"].map(Arc::from),
    read: "read".into(),
    write: "write".into(),
});

/// Observes what was read of a container.
pub(super) fn observe(who: &Labels, usage: &Usage, wanted: ResourceKinds, out: &mut Readings) {
    if let Some(used) = usage.cpu.seconds() {
        out.observe(metrics::CONTAINER_CPU_TIME, who, used);
    }
    if let Some(throttled) = usage.throttled.seconds() {
        out.observe(metrics::CONTAINER_CPU_THROTTLED_TIME, who, throttled);
    }
    if let Some((throttled, all)) = usage.throttled_periods.sum().zip(usage.periods.sum()) {
        out.observe(metrics::CONTAINER_CPU_THROTTLED_PERIODS, who, throttled);
        out.observe(metrics::CONTAINER_CPU_PERIODS, who, all);
    }
    let latest = usage.latest.as_ref();
    if let Some(limit) = latest.and_then(|latest| latest.cpu_limit) {
        out.observe(metrics::CONTAINER_CPU_LIMIT, who, limit);
    }
    let memory = latest.map(|latest| latest.memory).unwrap_or_default();
    let gauges = [
        (metrics::CONTAINER_MEMORY_USAGE, memory.usage),
        (metrics::CONTAINER_MEMORY_WORKING_SET, memory.working_set),
        (metrics::CONTAINER_MEMORY_RSS, memory.rss),
        (metrics::CONTAINER_MEMORY_CACHE, memory.cache),
        (metrics::CONTAINER_MEMORY_LIMIT, latest.and_then(|latest| latest.memory_limit)),
    ];
    for (metric, bytes) in gauges {
        if let Some(bytes) = bytes {
            out.observe(metric, who, bytes);
        }
    }
    if wanted.pressure {
        pressure(who, usage, out);
    }
    if usage.counts_disks {
        disks(who, usage, out);
    }
}

fn pressure(who: &Labels, usage: &Usage, out: &mut Readings) {
    for (resource, kinds) in WORDS.resources.iter().zip(&usage.pressure) {
        for (kind, counter) in WORDS.kinds.iter().zip(kinds) {
            let Some(microseconds) = counter.sum() else { continue };
            let labels = who.with_all([
                Some((Label::Resource, Arc::clone(resource))),
                Some((Label::Kind, Arc::clone(kind))),
            ]);
            out.observe(
                metrics::CONTAINER_PRESSURE_TIME,
                labels,
                Duration::from_micros(microseconds).as_secs_f64(),
            );
        }
    }
}

fn disks(who: &Labels, usage: &Usage, out: &mut Readings) {
    for (name, disk) in &usage.disks {
        let directions =
            [(&WORDS.read, disk.read_bytes, disk.reads), (&WORDS.write, disk.written_bytes, disk.writes)];
        for (direction, bytes, operations) in directions {
            let labels = who.with_all([
                Some((Label::SystemDevice, Arc::clone(name))),
                Some((Label::DiskIoDirection, Arc::clone(direction))),
            ]);
            if let Some(bytes) = bytes.sum() {
                out.observe(metrics::CONTAINER_DISK_IO, &labels, bytes);
            }
            if let Some(operations) = operations.sum() {
                out.observe(metrics::CONTAINER_DISK_OPERATIONS, labels, operations);
            }
        }
    }
}
