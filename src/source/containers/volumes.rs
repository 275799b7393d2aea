//! The volumes of containers: what is mounted in each that has a block device behind it, how large it is and how full.
//!
//! The mounts are those of `/proc/PID/mountinfo` of the container's first process, which anyone may read; the sizes are asked
//! through `/proc/PID/root` (`CAP_SYS_PTRACE`). Services of systemd are left out: most see the mounts of the host.

use super::devices::Devices;
use super::labels::{LeftOut, SourcePart, Via};
use super::observe as report;
use super::resources::usage::Usage;
use super::{classic::Classic, metrics};
use crate::host::inventory::{Container, Workload};
use crate::metric::{Label, Labels};
use crate::reading::{Readings, SourceError};
use crate::text::{LONGEST_NAME, bounded_unique, bounded_unique_bytes};
use mountinfo::BlockMount;
use origin::Origin;
use sizes::{Question, SizeAnswer, SizeAsker, Sizes};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub mod mountinfo;
pub mod origin;
mod sizes;

/// Mounts of one container that are reported at most.
pub const MOUNTS: usize = 32;

/// Most that is read of a `mountinfo`: some thousand mounts.
const MAX_MOUNTINFO_BYTES: u64 = 1024 * 1024;

/// How long the mounts of a container that goes on running are used.
const AGAIN: Duration = Duration::from_secs(30);

/// Containers whose mounts are read again in one cycle.
const AT_ONCE: usize = 32;

/// The host's mounts; those of this process where they may not be read.
const HOST: [&str; 2] = ["/proc/1/mountinfo", "/proc/self/mountinfo"];

/// The volumes of all containers.
#[derive(Debug)]
pub(super) struct Volumes {
    /// By the number of the container.
    known: HashMap<u64, Mounts>,
    asker: SizeAsker,
    /// Mounts of all containers together that are reported at most.
    most: usize,
    left_out: u64,
    hanging: u64,
    unasked: u64,
}

/// The mounts of one container.
#[derive(Debug)]
struct Mounts {
    process: u32,
    read: Instant,
    volumes: Vec<Volume>,
}

/// One mount of a container.
#[derive(Debug)]
pub(super) struct Volume {
    mount: BlockMount,
    /// Mount point, in at most 256 bytes.
    point: Arc<str>,
    origin: Origin,
    device: Arc<str>,
    disk: Arc<str>,
    /// `None` where they were not told in this cycle or, if there was no time to ask, in the one before.
    sizes: Option<Sizes>,
    /// Cycles since it was asked for.
    unasked: u32,
    /// Whether it is a single file, which is not reported.
    is_file: bool,
}

impl Volumes {
    /// None yet. At most `most` mounts of all containers are reported.
    pub(super) fn new(most: usize) -> Self {
        Self { known: HashMap::new(), asker: SizeAsker::default(), most, left_out: 0, hanging: 0, unasked: 0 }
    }

    /// Looks at the mounts of every container, and asks for their sizes until it is `late`. The error says what it takes to
    /// ask.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        devices: &mut Devices,
        now: Instant,
        late: impl Fn() -> bool,
    ) -> Result<(), SourceError> {
        let running: Vec<(u64, u32)> = containers
            .iter()
            .filter(|container| !container.ended && !container.is_unit())
            .filter_map(|container| Some((container.workload.number, container.process?)))
            .collect();
        self.look(&running, now);
        self.known.values_mut().flat_map(|mounts| &mut mounts.volumes).for_each(|volume| {
            let device = devices.of(volume.mount.device);
            (volume.device, volume.disk) = (Arc::clone(&device.name), Arc::clone(&device.disk));
        });
        let mut asked: Vec<(u32, &mut Volume)> = self
            .known
            .values_mut()
            .flat_map(|mounts| mounts.volumes.iter_mut().map(|volume| (mounts.process, volume)))
            .collect();
        let questions: Vec<Question> =
            asked.iter().map(|(process, volume)| Question::of(*process, &volume.mount)).collect();
        let answers = match self.asker.ask(&questions, late) {
            Ok(answers) => answers,
            Err(cause) => {
                for (_, volume) in &mut asked {
                    volume.take(&SizeAnswer::Unasked);
                }
                let doing = "starting the thread that asks for the sizes of volumes";
                return Err(SourceError::io(doing, cause));
            }
        };
        let mut denied = None;
        for ((_, volume), answer) in asked.iter_mut().zip(answers) {
            volume.take(&answer);
            match answer {
                SizeAnswer::Denied(cause) => denied = Some(cause),
                SizeAnswer::Hangs => self.hanging += 1,
                SizeAnswer::Unasked => self.unasked += 1,
                SizeAnswer::Sizes(_) | SizeAnswer::File | SizeAnswer::None => {}
            }
        }
        denied.map_or(Ok(()), |cause| {
            let doing = "asking for the sizes of volumes through /proc/PID/root";
            Err(SourceError::denied(doing, "CAP_SYS_PTRACE", cause))
        })
    }

    /// Reads the mounts of containers that are new, and again from time to time.
    fn look(&mut self, running: &[(u64, u32)], now: Instant) {
        let Self { known, most, left_out, .. } = self;
        let there: HashSet<(u64, u32)> = running.iter().copied().collect();
        known.retain(|number, mounts| there.contains(&(*number, mounts.process)));
        // The ones read longest ago first, so that each is read however many there are.
        let old = |mounts: &Mounts| now.saturating_duration_since(mounts.read) >= AGAIN;
        let mut again: Vec<(Instant, u64)> = known
            .iter()
            .filter(|(_, mounts)| old(mounts))
            .map(|(number, mounts)| (mounts.read, *number))
            .collect();
        again.sort_unstable();
        let again: HashSet<u64> = again.into_iter().take(AT_ONCE).map(|(_, number)| number).collect();
        let (mut host, mut room) = (None, *most);
        for (number, process) in running {
            if again.contains(number) || !known.contains_key(number) {
                let path = format!("/proc/{process}/mountinfo");
                let Ok(text) = mountinfo_of(&path) else { continue };
                let host: &Vec<BlockMount> = host.get_or_insert_with(host_mounts);
                let volumes = mountinfo::parse(&text).into_iter().map(|mount| Volume::new(mount, host));
                known.insert(*number, Mounts { process: *process, read: now, volumes: volumes.collect() });
            }
            if let Some(mounts) = known.get_mut(number) {
                let least = room.min(MOUNTS);
                *left_out += mounts.volumes.len().saturating_sub(least) as u64;
                mounts.volumes.truncate(least);
                room -= mounts.volumes.len();
            }
        }
    }

    /// Observes the volumes of a container; `usage` has what it read from their disks and wrote to them.
    pub(super) fn observe(
        &self,
        workload: &Workload,
        usage: Option<&Usage>,
        classic: Option<&Classic>,
        out: &mut Readings,
    ) {
        for volume in self.known.get(&workload.number).into_iter().flat_map(|mounts| &mounts.volumes) {
            if let Some(sizes) = volume.sizes {
                let labels = workload.labels.with_all([
                    Some((Label::SystemDevice, Arc::clone(&volume.device))),
                    Some((Label::SystemFilesystemMountpoint, Arc::clone(&volume.point))),
                ]);
                out.observe(metrics::CONTAINER_FILESYSTEM_CAPACITY, &labels, sizes.capacity);
                out.observe(metrics::CONTAINER_FILESYSTEM_USAGE, &labels, sizes.usage);
                out.observe(metrics::CONTAINER_FILESYSTEM_AVAILABLE, labels, sizes.available);
            }
            if let Some(classic) = classic.filter(|_| !volume.is_file) {
                observe_classic(&classic.labels(workload), volume, usage, out);
            }
        }
    }

    /// Observes what was left out.
    pub(super) fn observe_own(&self, out: &mut Readings) {
        report::left_out(LeftOut::Volume, self.left_out, out);
        report::left_out(LeftOut::VolumeSize, self.hanging, out);
        report::left_out(LeftOut::VolumeUnasked, self.unasked, out);
        report::via(SourcePart::Volumes, Via::Procfs, out);
    }
}

impl Volume {
    fn new(mount: BlockMount, host: &[BlockMount]) -> Self {
        let point = bounded_unique_bytes(&mount.point, LONGEST_NAME).into();
        let origin = origin::of(&mount, host);
        Self {
            mount,
            point,
            origin,
            device: "".into(),
            disk: "".into(),
            sizes: None,
            unasked: 0,
            is_file: false,
        }
    }

    /// Takes the answer of a cycle. Sizes stay for one cycle that had no time to ask.
    fn take(&mut self, answer: &SizeAnswer) {
        self.unasked = if matches!(answer, SizeAnswer::Unasked) { self.unasked + 1 } else { 0 };
        match answer {
            SizeAnswer::Sizes(sizes) => (self.sizes, self.is_file) = (Some(*sizes), false),
            SizeAnswer::Unasked if self.unasked <= 1 => {}
            SizeAnswer::File => (self.sizes, self.is_file) = (None, true),
            SizeAnswer::None | SizeAnswer::Denied(_) | SizeAnswer::Hangs | SizeAnswer::Unasked => {
                self.sizes = None;
            }
        }
    }
}

/// The readings of a volume as coroot-node-agent has them: what the container did with the disk, at each of its mounts.
fn observe_classic(labels: &Labels, volume: &Volume, usage: Option<&Usage>, out: &mut Readings) {
    let Origin { provisioner, volume: name } = &volume.origin;
    let labels = labels.with_all([
        Some((Label::ClassicMountPoint, Arc::clone(&volume.point))),
        Some((Label::ClassicDevice, Arc::clone(&volume.disk))),
        Some((Label::ClassicProvisioner, bounded_unique(provisioner, LONGEST_NAME).into())),
        Some((Label::ClassicVolume, bounded_unique(name, LONGEST_NAME).into())),
    ]);
    if let Some(sizes) = volume.sizes {
        out.observe(metrics::CONTAINER_CLASSIC_DISK_SIZE, &labels, sizes.capacity);
        out.observe(metrics::CONTAINER_CLASSIC_DISK_USED, &labels, sizes.usage);
        out.observe(metrics::CONTAINER_CLASSIC_DISK_RESERVED, &labels, sizes.reserved);
    }
    let Some(disk) = usage.filter(|usage| usage.counts_disks).and_then(|usage| usage.disks.get(&volume.disk))
    else {
        return;
    };
    let counters = [
        (metrics::CONTAINER_CLASSIC_DISK_READS, disk.reads),
        (metrics::CONTAINER_CLASSIC_DISK_READ_BYTES, disk.read_bytes),
        (metrics::CONTAINER_CLASSIC_DISK_WRITES, disk.writes),
        (metrics::CONTAINER_CLASSIC_DISK_WRITTEN_BYTES, disk.written_bytes),
    ];
    for (metric, counter) in counters {
        if let Some(sum) = counter.sum() {
            out.observe(metric, &labels, sum);
        }
    }
}

fn host_mounts() -> Vec<BlockMount> {
    let text = HOST.iter().find_map(|path| mountinfo_of(path).ok());
    text.map(|text| mountinfo::parse(&text)).unwrap_or_default()
}

/// Paths may be of any bytes.
fn mountinfo_of(path: &str) -> std::io::Result<Vec<u8>> {
    crate::sys::read_limited_bytes(path, MAX_MOUNTINFO_BYTES)
}

/// What `connscope check` says: how many mounts have a size.
pub(super) fn check(containers: &[Container], now: Instant) -> Result<String, SourceError> {
    let mut volumes = Volumes::new(usize::MAX);
    volumes.read(containers, &mut Devices::default(), now, || false)?;
    let all = || volumes.known.values().flat_map(|mounts| &mounts.volumes);
    let sized = all().filter(|volume| volume.sizes.is_some()).count();
    Ok(format!(
        "{} mounts with a block device in {} containers; sizes of {sized}",
        all().count(),
        volumes.known.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::sizes::{SizeAnswer, Sizes};
    use super::{BlockMount, Volume};

    #[test]
    fn sizes_stay_for_one_cycle_that_had_no_time_and_a_file_is_known_as_one() {
        let mount = BlockMount { device: (8, 1), root: b"/".to_vec(), point: b"/data".to_vec() };
        let mut volume = Volume::new(mount, &[]);
        let sizes = Sizes { capacity: 10, usage: 2, available: 7, reserved: 1 };
        let mut after = |answer: SizeAnswer| {
            volume.take(&answer);
            (volume.sizes.is_some(), volume.is_file)
        };
        assert_eq!(after(SizeAnswer::Unasked), (false, false));
        assert_eq!(after(SizeAnswer::Sizes(sizes)), (true, false));
        assert_eq!(after(SizeAnswer::Unasked), (true, false));
        assert_eq!(after(SizeAnswer::Unasked), (false, false), "once only");
        assert_eq!(after(SizeAnswer::Sizes(sizes)), (true, false));
        assert_eq!(after(SizeAnswer::Hangs), (false, false));
        assert_eq!(after(SizeAnswer::Sizes(sizes)), (true, false));
        assert_eq!(after(SizeAnswer::File), (false, true));
        assert_eq!(after(SizeAnswer::Unasked), (false, true), "it was not looked at");
        assert_eq!(after(SizeAnswer::Sizes(sizes)), (true, false), "a directory took its place");
    }
}
