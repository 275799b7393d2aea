//! The control groups of one container: their files, some of which stay open from cycle to cycle.

use super::files::{OpenFile, Reader};
use super::layout::{Directories, Layout, Places};
use super::sample::{CpuUse, Sample, least};
use super::{ResourceKinds, pressure, v1, v2};
use crate::host::inventory::Directory;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Files that are open.
#[derive(Debug, Default)]
struct Files {
    cpu_stat: Option<OpenFile>,
    cpu_usage: Option<OpenFile>,
    cpu_limit: Option<OpenFile>,
    cpu_period: Option<OpenFile>,
    memory: Option<OpenFile>,
    memory_stat: Option<OpenFile>,
    memory_limit: Option<OpenFile>,
    io_bytes: Option<OpenFile>,
    io_operations: Option<OpenFile>,
    pressure: [Option<OpenFile>; 3],
}

/// Files with the pressure, in the order of [`Sample::pressure`].
const PRESSURE: [&str; 3] = ["cpu.pressure", "memory.pressure", "io.pressure"];

/// The control groups of one container.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Hierarchy and id of each group by which the inventory knows it.
    ids: Vec<(u32, u64)>,
    places: Places,
    files: Files,
}

impl Group {
    /// Whether a container has other groups than these: it was started again.
    pub(super) fn is_replaced(&self, groups: &[Directory]) -> bool {
        let other = |group: &Directory| {
            self.ids.iter().any(|(hierarchy, id)| *hierarchy == group.hierarchy && *id != group.id)
        };
        groups.iter().any(other)
    }

    /// Finds its directories, once, and again while one is missing: a service may be given a controller later.
    pub(super) fn look(&mut self, groups: &[Directory], layout: &Layout) {
        self.ids = groups.iter().map(|group| (group.hierarchy, group.id)).collect();
        if !self.places.are_complete(layout) {
            self.places = layout.places(groups);
        }
    }

    /// Whether none of its directories is there any more.
    pub(super) fn is_gone(&self, layout: &Layout) -> bool {
        layout.are_gone(&self.places)
    }

    /// Reads its files.
    pub(super) fn read(
        &mut self,
        wanted: ResourceKinds,
        layout: &Layout,
        reader: &mut Reader,
        above: &mut ParentLimits,
    ) -> Sample {
        let mut sample = Sample::default();
        let Self { places, files, .. } = self;
        let places = layout.directories(places);
        if wanted.use_and_limits {
            files.cpu(&places, layout, reader, above, &mut sample);
            files.memory(&places, layout, reader, above, &mut sample);
            files.io(&places, layout, reader, &mut sample);
        }
        if wanted.pressure
            && let Some(directory) = &places.version_2
        {
            for ((name, file), stalled) in PRESSURE.iter().zip(&mut files.pressure).zip(&mut sample.pressure)
            {
                *stalled = reader.read(directory, name, file).map(pressure::parse).unwrap_or_default();
            }
        }
        sample
    }
}

impl Files {
    fn cpu(
        &mut self,
        places: &Directories,
        layout: &Layout,
        reader: &mut Reader,
        above: &mut ParentLimits,
        sample: &mut Sample,
    ) {
        let unified = places.version_2.as_deref();
        if let Some(directory) = &places.cpuacct {
            sample.cpu.nanoseconds =
                reader.read(directory, "cpuacct.usage", &mut self.cpu_usage).and_then(v1::cpu_usage);
        }
        if let Some(directory) = &places.cpu {
            sample.cpu.throttled =
                reader.read(directory, "cpu.stat", &mut self.cpu_stat).and_then(v1::cpu_stat);
            let quota = reader.read(directory, "cpu.cfs_quota_us", &mut self.cpu_limit);
            // Two files of one buffer.
            let quota = quota.filter(|quota| v1::has_quota(quota)).map(str::to_owned);
            let own = quota.and_then(|quota| {
                v1::cpu_limit(&quota, reader.read(directory, "cpu.cfs_period_us", &mut self.cpu_period)?)
            });
            sample.cpu_limit = least(own, above.cpu(directory.parent(), reader));
        }
        let Some(directory) = unified else { return };
        if !layout.is_version_1("cpuacct") {
            let CpuUse { nanoseconds, throttled } =
                reader.read(directory, "cpu.stat", &mut self.cpu_usage).map(v2::cpu_stat).unwrap_or_default();
            sample.cpu.nanoseconds = nanoseconds;
            if !layout.is_version_1("cpu") {
                sample.cpu.throttled = throttled;
            }
        }
        if !layout.is_version_1("cpu") {
            let own = reader.read(directory, "cpu.max", &mut self.cpu_limit).and_then(v2::cpu_max);
            sample.cpu_limit = least(own, above.cpu(directory.parent(), reader));
        }
    }

    fn memory(
        &mut self,
        places: &Directories,
        layout: &Layout,
        reader: &mut Reader,
        above: &mut ParentLimits,
        sample: &mut Sample,
    ) {
        if let Some(directory) = &places.memory {
            let usage = reader.read(directory, "memory.usage_in_bytes", &mut self.memory).map(str::to_owned);
            let stat = reader.read(directory, "memory.stat", &mut self.memory_stat);
            sample.memory = v1::memory(usage.as_deref(), stat);
            // Without a limit it is the largest number of pages that there can be.
            sample.memory_limit = stat.and_then(v1::memory_limit).filter(|limit| *limit < above.machine);
        }
        if let Some(directory) = places.version_2.as_deref().filter(|_| !layout.is_version_1("memory")) {
            let current = reader.read(directory, "memory.current", &mut self.memory).map(str::to_owned);
            let stat = reader.read(directory, "memory.stat", &mut self.memory_stat);
            sample.memory = v2::memory(current.as_deref(), stat);
            let own = reader.read(directory, "memory.max", &mut self.memory_limit).and_then(v2::memory_max);
            sample.memory_limit = least(own, above.memory(directory.parent(), reader));
        }
    }

    fn io(&mut self, places: &Directories, layout: &Layout, reader: &mut Reader, sample: &mut Sample) {
        if let Some(directory) = &places.blkio {
            let [bytes, operations] = layout.io;
            sample.disks = match reader.read(directory, bytes, &mut self.io_bytes) {
                Some(bytes) if v1::has_devices(bytes) => {
                    let bytes = bytes.to_owned();
                    let operations = reader.read(directory, operations, &mut self.io_operations);
                    operations.map(|operations| v1::disks(&bytes, operations))
                }
                // Nothing was read or written.
                Some(_) => Some(Vec::new()),
                None => None,
            };
        }
        if let Some(directory) = places.version_2.as_deref().filter(|_| !layout.is_version_1("blkio")) {
            sample.disks = reader.read(directory, "io.stat", &mut self.io_bytes).map(v2::io_stat);
        }
    }
}

/// The limits of the groups above, each read once a cycle.
#[derive(Debug)]
pub(super) struct ParentLimits {
    cpu: HashMap<PathBuf, Option<f64>>,
    memory: HashMap<PathBuf, Option<u64>>,
    /// Mount points: of the CPU controller, and of version 2 for memory.
    cpu_top: Option<PathBuf>,
    memory_top: Option<PathBuf>,
    /// Whether the CPU controller is one of version 1.
    version_1: bool,
    /// Memory of the machine, bytes.
    machine: u64,
}

impl ParentLimits {
    pub(super) fn new(layout: &Layout, machine: u64) -> Self {
        let version_1 = layout.is_version_1("cpu");
        let top = if version_1 { layout.cpu_top() } else { layout.top() };
        Self {
            cpu: HashMap::new(),
            memory: HashMap::new(),
            cpu_top: top.map(Path::to_owned),
            memory_top: layout.top().map(Path::to_owned),
            version_1,
            machine,
        }
    }

    /// The least CPU limit of a directory and those above it.
    fn cpu(&mut self, directory: Option<&Path>, reader: &mut Reader) -> Option<f64> {
        let (directory, top) = (directory?, self.cpu_top.as_deref()?);
        let version_1 = self.version_1;
        least_of(directory, top, &mut self.cpu, &mut |directory: &Path| {
            if version_1 {
                let quota = reader.once(directory, "cpu.cfs_quota_us")?;
                let quota = v1::has_quota(quota).then(|| quota.to_owned())?;
                v1::cpu_limit(&quota, reader.once(directory, "cpu.cfs_period_us")?)
            } else {
                v2::cpu_max(reader.once(directory, "cpu.max")?)
            }
        })
    }

    /// The least memory limit of a directory of version 2 and those above it.
    fn memory(&mut self, directory: Option<&Path>, reader: &mut Reader) -> Option<u64> {
        let (directory, top) = (directory?, self.memory_top.as_deref()?);
        let mut own = |directory: &Path| v2::memory_max(reader.once(directory, "memory.max")?);
        least_of(directory, top, &mut self.memory, &mut own)
    }
}

fn least_of<T: Copy + PartialOrd>(
    directory: &Path,
    top: &Path,
    known: &mut HashMap<PathBuf, Option<T>>,
    own: &mut impl FnMut(&Path) -> Option<T>,
) -> Option<T> {
    if !directory.starts_with(top) {
        return None;
    }
    if let Some(limit) = known.get(directory) {
        return *limit;
    }
    let above =
        directory.parent().filter(|_| directory != top).and_then(|parent| least_of(parent, top, known, own));
    let limit = least(own(directory), above);
    known.insert(directory.to_owned(), limit);
    limit
}
