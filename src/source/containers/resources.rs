//! What each container uses of CPU, memory and disks, what it may use, and how long it is stalled: files of its control groups.
//!
//! A file that is not there takes its metric away and nothing else. What a container's former groups had used is added to its
//! counters. A cycle that has no time left for a container leaves its numbers as they are for one cycle; after that they are
//! absent until it is read again, and those that were not read come first in the next cycle.

use super::config::Containers as Settings;
use super::devices::Devices;
use super::labels::{LeftOut, SourcePart, Via};
use super::observe as report;
use crate::host::inventory::{Container, Inventory};
use crate::reading::{Readings, SourceError};
use group::{Group, ParentLimits};
use layout::Layout;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use usage::Usage;

mod files;
mod group;
mod layout;
mod observe;
pub mod pressure;
pub mod sample;
mod text;
pub mod usage;
pub mod v1;
pub mod v2;

/// Kinds of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResourceKinds {
    /// Use and limits of CPU, memory and disks.
    pub(super) use_and_limits: bool,
    /// Pressure stall information.
    pub(super) pressure: bool,
}

impl ResourceKinds {
    /// From the settings.
    pub(super) fn of(settings: &Settings) -> Self {
        Self { use_and_limits: settings.resources, pressure: settings.pressure }
    }

    /// Whether there is anything to read.
    pub(super) fn any(self) -> bool {
        self.use_and_limits || self.pressure
    }
}

/// Use and limits of all containers.
#[derive(Debug)]
pub(super) struct Resources {
    wanted: ResourceKinds,
    /// `None` before the first cycle.
    layout: Option<Layout>,
    reader: files::Reader,
    /// By the number of the container.
    known: HashMap<u64, Box<ContainerState>>,
    /// The container that the next cycle begins with: the first that the latest had no time for.
    next: u64,
    /// Block devices of all containers together that are reported at most.
    most_disks: usize,
    /// Containers that a cycle had no time for.
    late: u64,
    /// Block devices over the limit.
    disks_left_out: u64,
    machine: u64,
}

/// State of one container between cycles.
#[derive(Debug, Default)]
struct ContainerState {
    usage: Usage,
    /// `None` once it has ended.
    group: Option<Group>,
    /// Cycles since it was read.
    unread: u32,
}

impl Resources {
    /// Nothing is read before the first cycle; `None` where nothing is wanted.
    pub(super) fn new(wanted: ResourceKinds, most_disks: usize) -> Option<Self> {
        wanted.any().then(|| Self {
            wanted,
            layout: None,
            reader: files::Reader::new(),
            known: HashMap::new(),
            next: 0,
            most_disks,
            late: 0,
            disks_left_out: 0,
            machine: machine_memory(),
        })
    }

    /// Reads what there is of every container, until it is `late`.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        inventory: &Inventory,
        devices: &mut Devices,
        late: impl Fn() -> bool,
    ) -> Result<(), SourceError> {
        if self.layout.is_none() {
            self.layout = Some(Layout::find()?);
        }
        self.carry(containers, inventory);
        let Self { wanted, layout: Some(layout), reader, known, most_disks, machine, .. } = self else {
            return Ok(());
        };
        let begin =
            containers.iter().position(|container| container.workload.number >= self.next).unwrap_or(0);
        let (first, rest) = containers.split_at(begin);
        let mut above = ParentLimits::new(layout, *machine);
        let mut disks: usize = known.values().map(|known| known.usage.disks.len()).sum();
        let mut unread = rest.iter().chain(first);
        self.next = 0;
        for container in &mut unread {
            let number = container.workload.number;
            if late() {
                self.next = number;
                known.entry(number).or_default().unread += 1;
                self.late += 1;
                break;
            }
            let ContainerState { usage, group, unread } = &mut **known.entry(number).or_default();
            *unread = 0;
            if container.ended {
                *group = None;
                usage.end();
                continue;
            }
            if group.as_ref().is_some_and(|group| group.is_replaced(&container.groups)) {
                *group = None;
                usage.restart();
            }
            let group = group.get_or_insert_with(Group::default);
            group.look(&container.groups, layout);
            let sample = group.read(*wanted, layout, reader, &mut above);
            let before = usage.disks.len();
            let room = most_disks.saturating_sub(disks);
            let over = usage.take(
                &sample,
                || group.is_gone(layout),
                room,
                |number| Arc::clone(&devices.of(number).disk),
            );
            disks += usage.disks.len() - before;
            self.disks_left_out += over as u64;
        }
        for container in unread {
            known.entry(container.workload.number).or_default().unread += 1;
            self.late += 1;
        }
        Ok(())
    }

    /// Moves what was counted of containers whose name was found late to their present number; forgets those that are gone.
    fn carry(&mut self, containers: &[Container], inventory: &Inventory) {
        let there: HashSet<u64> = containers.iter().map(|container| container.workload.number).collect();
        let gone: Vec<u64> = self.known.keys().filter(|number| !there.contains(number)).copied().collect();
        for number in gone {
            let Some(known) = self.known.remove(&number) else { continue };
            match inventory.current(number).map(|workload| workload.number).filter(|now| there.contains(now))
            {
                // The same groups go on under another name.
                Some(now) if !self.known.contains_key(&now) => {
                    self.known.insert(now, known);
                }
                Some(now) => self.known.entry(now).or_default().usage.absorb(known.usage),
                None => {}
            }
        }
    }

    /// The use of a container; `None` of one that was not read for more than a cycle.
    pub(super) fn of(&self, number: u64) -> Option<&Usage> {
        self.known.get(&number).filter(|known| known.unread <= 1).map(|known| &known.usage)
    }

    /// Observes what was read of a container.
    pub(super) fn observe(&self, container: &Container, out: &mut Readings) {
        if let Some(usage) = self.of(container.workload.number) {
            observe::observe(&container.workload.labels, usage, self.wanted, out);
        }
    }

    /// Observes what was left out.
    pub(super) fn observe_own(&self, out: &mut Readings) {
        report::left_out(LeftOut::Resources, self.late, out);
        report::left_out(LeftOut::Disk, self.disks_left_out, out);
        report::via(SourcePart::Resources, Via::Cgroup, out);
    }
}

/// Memory of the machine, bytes.
fn machine_memory() -> u64 {
    let told = rustix::system::sysinfo();
    told.totalram.saturating_mul(told.mem_unit.into())
}

/// What `connscope check` says: the hierarchies, and of how many containers there are numbers.
pub(super) fn check(wanted: ResourceKinds, inventory: &Inventory) -> Result<String, SourceError> {
    let Some(mut resources) = Resources::new(wanted, usize::MAX) else { return Ok("off".to_owned()) };
    let containers = inventory.containers();
    resources.read(&containers, inventory, &mut Devices::default(), || false)?;
    let words = resources.layout.as_ref().map(Layout::words).unwrap_or_default();
    let used = || resources.known.values().map(|known| &known.usage).filter(|usage| usage.latest.is_some());
    let count = |has: fn(&Usage) -> bool| used().filter(|usage| has(usage)).count();
    let read = wanted.use_and_limits.then(|| {
        let cpu = count(|usage| usage.cpu.sum().is_some());
        let memory = count(Usage::has_memory);
        let disks = count(|usage| usage.counts_disks);
        format!("CPU of {cpu}, memory of {memory}, disks of {disks}")
    });
    let pressure = wanted.pressure.then(|| {
        format!(
            "pressure of {}",
            count(|usage| usage.pressure.iter().flatten().any(|one| one.sum().is_some()))
        )
    });
    let read: Vec<String> = read.into_iter().chain(pressure).collect();
    Ok(format!("{words}; of {}: {}", used().count(), read.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::{Container, Devices, Inventory, Layout, ResourceKinds, Resources};
    use crate::host::inventory::{Directory, Workload, config};
    use crate::metric::Labels;
    use crate::reading::Readings;
    use std::cell::Cell;
    use std::path::Path;
    use std::sync::Arc;

    const ALL: u64 = 10_000;
    /// For as many a cycle has time.
    const TIME: u64 = 3000;

    fn container(number: u64, root: &Path) -> Container {
        let group: Arc<str> = format!("/{number}").into();
        let path = root.join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("cpu.stat"), format!("usage_usec {number}\n")).unwrap();
        Container {
            workload: Arc::new(Workload {
                number,
                identity: Arc::clone(&group),
                labels: Labels::new(Vec::new()),
            }),
            id: Some(Arc::clone(&group)),
            image: Arc::clone(&group),
            runtime: "docker",
            cgroup: Arc::clone(&group),
            restarts: 0,
            uptime: None,
            process: None,
            ended: false,
            before: false,
            groups: vec![Directory { hierarchy: 0, id: number, path, group }],
        }
    }

    #[test]
    fn of_ten_thousand_groups_those_without_time_keep_their_numbers_for_one_cycle_and_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let containers: Vec<Container> = (0..ALL).map(|number| container(number, root.path())).collect();
        let wanted = ResourceKinds { use_and_limits: true, pressure: false };
        let mut resources = Resources::new(wanted, 1).unwrap();
        resources.layout = Some(Layout::at(root.path()));
        let inventory = Inventory::new(&config::Inventory::default());
        let mut cycle = |expected: fn(u64) -> bool, left_out: u64| {
            let time = Cell::new(TIME);
            let late = || time.replace(time.get().saturating_sub(1)) == 0;
            resources.read(&containers, &inventory, &mut Devices::default(), late).unwrap();
            for number in 0..ALL {
                let shown = resources.of(number).and_then(|usage| usage.cpu.sum());
                assert_eq!(shown, expected(number).then_some(number * 1000), "{number}");
            }
            let mut out = Readings::default();
            resources.observe_own(&mut out);
            let said = out.iter().find(|one| format!("{:?}", one.labels).contains("\"resources\"")).unwrap();
            assert_eq!(format!("{:?}", said.value), format!("U64({left_out})"));
        };
        cycle(|number| number < 3000, 7000);
        cycle(|number| number < 6000, 14_000);
        cycle(|number| (3000..9000).contains(&number), 21_000);
        cycle(|number| !(2000..6000).contains(&number), 28_000);
    }
}
