//! What a container has used, over restarts: what its former control groups had used is added (pure).

use super::sample::{DiskUse, MemoryUse, Sample};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Block devices of one container that are reported at most.
pub const DISKS: usize = 32;

/// A counter that goes on when the kernel begins another at 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarriedCounter {
    before: u64,
    last: u64,
    shown: bool,
}

impl CarriedCounter {
    /// Takes the kernel's number. `None`: there is no file, and nothing is reported until there is one again.
    pub fn take(&mut self, now: Option<u64>) {
        self.shown = now.is_some();
        if let Some(now) = now {
            if now < self.last {
                self.restart();
            }
            self.last = now;
        }
    }

    /// The kernel counts from 0 again.
    pub fn restart(&mut self) {
        self.before = self.before.saturating_add(self.last);
        self.last = 0;
    }

    /// The sum; `None` where there is no file.
    pub fn sum(&self) -> Option<u64> {
        self.shown.then(|| self.before.saturating_add(self.last))
    }

    /// The sum of nanoseconds, as seconds.
    pub fn seconds(&self) -> Option<f64> {
        self.sum().map(|nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    /// Adds what another had counted.
    fn absorb(&mut self, other: Self) {
        self.before = self.before.saturating_add(other.before).saturating_add(other.last);
    }
}

/// The counters of a container for one block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Bytes read.
    pub read_bytes: CarriedCounter,
    /// Bytes written.
    pub written_bytes: CarriedCounter,
    /// Requests to read.
    pub reads: CarriedCounter,
    /// Requests to write.
    pub writes: CarriedCounter,
}

impl DiskCounters {
    fn each(&mut self) -> [&mut CarriedCounter; 4] {
        [&mut self.read_bytes, &mut self.written_bytes, &mut self.reads, &mut self.writes]
    }
}

/// What a container has used, and uses.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Nanoseconds on a CPU.
    pub cpu: CarriedCounter,
    /// Nanoseconds for which its quota kept it from running.
    pub throttled: CarriedCounter,
    /// Periods in which its quota was used up.
    pub throttled_periods: CarriedCounter,
    /// Periods in which it had something to run.
    pub periods: CarriedCounter,
    /// Microseconds stalled: `cpu`, `memory` and `io`, each `some` and `full`.
    pub pressure: [[CarriedCounter; 2]; 3],
    /// By name of the device.
    pub disks: BTreeMap<Arc<str>, DiskCounters>,
    /// Whether its control group counts by device.
    pub counts_disks: bool,
    /// What is not a counter, of the latest cycle; `None` once it has ended.
    pub latest: Option<Latest>,
}

/// What is not a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latest {
    /// Memory.
    pub memory: MemoryUse,
    /// CPUs that it may use at most.
    pub cpu_limit: Option<f64>,
    /// Memory that it may use at most, bytes.
    pub memory_limit: Option<u64>,
}

impl Usage {
    /// Counters of the container itself, without those of disks.
    fn counters(&mut self) -> impl Iterator<Item = &mut CarriedCounter> {
        let Self { cpu, throttled, throttled_periods, periods, pressure, .. } = self;
        [cpu, throttled, throttled_periods, periods].into_iter().chain(pressure.iter_mut().flatten())
    }

    /// Takes what was read. `gone`, which is asked if something is missing: whether the control group went while it was read,
    /// so that what is missing keeps its last value. `room`: further devices that are taken at most; `name` says what a device is called. The result is the number of devices
    /// that were over a limit.
    pub fn take(
        &mut self,
        sample: &Sample,
        gone: impl FnOnce() -> bool,
        room: usize,
        mut name: impl FnMut((u32, u32)) -> Arc<str>,
    ) -> usize {
        let most = self.disks.len().saturating_add(room).min(DISKS);
        let mut missing = self.counts_disks && sample.disks.is_none();
        for (counter, number) in self.counters().zip(numbers_of(sample)) {
            match number {
                Some(_) => counter.take(number),
                None => missing |= counter.shown,
            }
        }
        if missing && !gone() {
            // The controller was switched off.
            for (counter, number) in self.counters().zip(numbers_of(sample)) {
                counter.shown &= number.is_some();
            }
            self.counts_disks = false;
        }
        self.counts_disks |= sample.disks.is_some();
        let mut over = 0;
        for (device, used) in sample.disks.iter().flatten() {
            let name = name(*device);
            if self.disks.len() >= most && !self.disks.contains_key(&name) {
                over += 1;
                continue;
            }
            let DiskUse { read_bytes, written_bytes, reads, writes } = *used;
            let disk = self.disks.entry(name).or_default();
            for (counter, number) in disk.each().into_iter().zip([read_bytes, written_bytes, reads, writes]) {
                counter.take(number);
            }
        }
        let Sample { memory, cpu_limit, memory_limit, .. } = *sample;
        self.latest = Some(Latest { memory, cpu_limit, memory_limit });
        over
    }

    /// Whether its memory is known.
    pub fn has_memory(&self) -> bool {
        self.latest.as_ref().is_some_and(|latest| latest.memory.usage.is_some())
    }

    /// It has other control groups, which count from 0.
    pub fn restart(&mut self) {
        self.counters().for_each(CarriedCounter::restart);
        self.disks.values_mut().flat_map(DiskCounters::each).for_each(CarriedCounter::restart);
    }

    /// It has ended: what it has used stays.
    pub fn end(&mut self) {
        self.latest = None;
    }

    /// Adds what was counted of it under another number.
    pub fn absorb(&mut self, mut other: Self) {
        for (counter, other) in self.counters().zip(other.counters()) {
            counter.absorb(*other);
        }
        for (name, mut other) in other.disks {
            if self.disks.len() < DISKS || self.disks.contains_key(&name) {
                let disk = self.disks.entry(name).or_default();
                for (counter, other) in disk.each().into_iter().zip(other.each()) {
                    counter.absorb(*other);
                }
            }
        }
    }
}

/// The numbers of a sample in the order of [`Usage::counters`].
fn numbers_of(sample: &Sample) -> impl Iterator<Item = Option<u64>> {
    let throttled = sample.cpu.throttled;
    let numbers = [
        sample.cpu.nanoseconds,
        throttled.map(|throttled| throttled.nanoseconds),
        throttled.map(|throttled| throttled.periods),
        throttled.map(|throttled| throttled.of),
    ];
    numbers.into_iter().chain(sample.pressure.iter().flat_map(|stalled| [stalled.some, stalled.full]))
}
