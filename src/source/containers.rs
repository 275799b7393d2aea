//! The containers and systemd services of the machine: their names, start times, restarts, OOM kills, resources and TCP connections.
//!
//! Who is there says the [inventory](crate::host::inventory), which other sources share. A cycle asks it to look, and gives
//! each container its readings; what ended keeps its counters for the retention. The TCP connections that containers open, the
//! time that they wait and what is killed of them are counted by programs in the kernel (`kernel`, `programs`), and read
//! once a cycle; where there can be none, each part has another way (`tcp_part`, `delay`, `oom`).

#![expect(clippy::disallowed_methods, reason = "what is kept is told the time of the cycle")]

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::cloud::Cloud;
use crate::host::Host;
use crate::host::inventory::{Container, Inventory};
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Label, Labels, Part};
use crate::reading::{FirstPoint, Readings, SourceError};
use crate::source::containers::config::Containers as Settings;
use crate::source::containers::config::tcp::Latency;
use crate::stop::Stop;
use applications::Applications;
use classic::Classic;
use delay::Delays;
use devices::Devices;
use labels::{LeftOut, SourcePart, Via};
use oom::OomKills;
use programs::{BpfCounters, BpfState};
use resources::{ResourceKinds, Resources};
use spent::WorkloadTotals;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tcp_part::TcpPart;
use volumes::Volumes;

pub mod addresses;
pub mod application;
mod applications;
mod check;
mod classic;
pub mod config;
mod connections;
pub mod delay;
pub mod destinations;
pub mod devices;
mod events;
pub mod failure;
mod groups;
pub mod kernel;
pub mod labels;
pub mod latency;
pub mod listen;
mod listeners;
pub mod metrics;
mod namespaces;
mod observe;
mod oom;
mod packed;
mod procfs;
mod programs;
pub mod resources;
pub mod spent;
pub mod tcp;
mod tcp_part;
pub mod translate;
pub mod volumes;

/// Key in the configuration, label value, field in the log.
pub const NAME: &str = "containers";

impl SourceKind for Containers {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = check::REQUIREMENTS;

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(settings: &Settings, _: Mode) -> Duration {
        settings.timeout
    }

    fn bounds(settings: &Settings, host: &Host) -> Bounds {
        let most = host.container_limit();
        let (destinations, listeners) =
            if settings.tcp.enabled { (settings.tcp.total + most, labels::MOST_LISTENERS) } else { (0, 0) };
        let classic = |number: usize| if settings.classic.enabled { number } else { 0 };
        vec![
            (&labels::WORKLOAD, most),
            (&labels::INFO, most),
            (&labels::CLASSIC, most),
            (&labels::DISK, most * labels::AVERAGE_DISKS),
            (&labels::APPLICATION, application::MAX_TYPES * most),
            (&labels::CLASSIC_APPLICATION, application::MAX_TYPES * classic(most)),
            (&labels::VOLUME, most * labels::AVERAGE_VOLUMES),
            (&labels::CLASSIC_VOLUME, classic(most * labels::AVERAGE_VOLUMES)),
            (&labels::DESTINATION, destinations),
            (&labels::ICMP, if settings.tcp.latency == Latency::Icmp { destinations } else { 0 }),
            (&labels::LISTEN, listeners),
            (&labels::CLASSIC_DESTINATION, classic(destinations)),
            (&labels::CLASSIC_ADDRESS, classic(destinations)),
            (&labels::CLASSIC_ASKED, classic(destinations)),
            (&labels::CLASSIC_LISTEN, classic(listeners)),
        ]
    }

    fn build(settings: &Settings, host: &Host, _: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings, host.inventory(), host.cloud(), stop)))
    }

    fn check(settings: &Settings, host: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings, &host.inventory(), Instant::now())
    }

    fn suffices(settings: &Settings, checks: &[Check]) -> bool {
        check::suffices(settings, checks)
    }

    fn without_effect(settings: &Settings, naming: Profile) -> Vec<String> {
        let mut all = super::classic_without_effect(NAME, settings.classic.enabled, naming);
        all.extend(settings.tcp.without_effect());
        all
    }
}

/// The source `containers`.
pub struct Containers {
    inventory: Arc<Inventory>,
    settings: Settings,
    stop: Stop,
    /// By number, whether the counters of a container have begun with a point of 0: of what happened before the first point,
    /// `increase()` would see nothing.
    begun: HashMap<u64, FirstPoint>,
    classic: Option<Classic>,
    bpf: BpfState,
    /// `None` where they are not wanted, or the thread could not be started.
    applications: Option<Applications>,
    /// `None` where they are not wanted.
    kills: Option<OomKills>,
    /// `None` where they are not wanted.
    delays: Option<Delays>,
    spent: WorkloadTotals,
    tcp: Option<TcpPart>,
    /// `None` where they are not wanted.
    resources: Option<Resources>,
    /// `None` where they are not wanted.
    volumes: Option<Volumes>,
    devices: Devices,
}

impl Containers {
    /// The source with its settings; nothing is looked at before it is read.
    pub fn new(
        settings: &Settings,
        inventory: Arc<Inventory>,
        cloud: Option<&Arc<Cloud>>,
        stop: &Stop,
    ) -> Self {
        Self {
            begun: HashMap::new(),
            classic: settings.classic.enabled.then(|| Classic::new(&inventory.settings().root, cloud)),
            bpf: BpfState::Untried,
            applications: None,
            kills: OomKills::new(settings.oom),
            delays: Delays::new(settings.delay),
            spent: WorkloadTotals::default(),
            tcp: settings.tcp.enabled.then(|| TcpPart::new(&settings.tcp)),
            resources: Resources::new(
                ResourceKinds::of(settings),
                inventory.settings().limit * labels::AVERAGE_DISKS,
            ),
            volumes: settings
                .volumes
                .then(|| Volumes::new(inventory.settings().limit * labels::AVERAGE_VOLUMES)),
            devices: Devices::default(),
            settings: settings.clone(),
            stop: stop.clone(),
            inventory,
        }
    }

    /// Loads the programs in the first cycle, or later where there was no room for them, and finds out how each part is read.
    fn begin(&mut self) {
        let Self { inventory, settings, stop, bpf: state, kills, delays, tcp, .. } = self;
        if !state.load(settings, inventory, stop) {
            return;
        }
        if let Some((tcp, bpf)) = tcp.as_mut().zip(state.loaded()) {
            tcp.choose(bpf, Instant::now());
        }
        if let Some((delays, bpf)) = delays.as_mut().zip(state.loaded()) {
            delays.choose(bpf, inventory, stop);
        }
        if let Some((kills, bpf)) = kills.as_mut().zip(state.loaded()) {
            kills.choose(bpf.map(|bpf| &bpf.kernel));
        }
    }

    /// Reads what was counted since the last cycle.
    fn count(&mut self, containers: &[Container], out: &mut Readings) {
        let Self { inventory, bpf: state, kills, delays, spent, tcp, .. } = self;
        let now = Instant::now();
        spent.rename(|number| inventory.current(number).map(|workload| workload.number));
        if let BpfState::Loaded(bpf) = state {
            if let Some(tcp) = tcp {
                tcp.look_again(bpf, out);
            }
            if delays.as_ref().is_some_and(Delays::by_programs) {
                bpf.look_at_tasks(out);
            }
            let over = bpf.update_owners(inventory, now);
            forget_groups(bpf, spent, tcp.as_mut(), &over);
            bpf.spent(spent, out);
        }
        if let Some(kills) = kills {
            kills.count(containers, inventory, out);
        }
        if let Some(via) = delays.as_mut().and_then(|delays| delays.read(containers, spent, out)) {
            observe::via(SourcePart::Delay, via, out);
        }
        if let Some(tcp) = tcp {
            tcp.read(state, inventory, containers, now, out);
        }
        if let BpfState::Loaded(bpf) = state {
            let used = || tcp.as_ref().map(TcpPart::groups).unwrap_or_default();
            let ended = bpf.known.ended(used, now);
            forget_groups(bpf, spent, tcp.as_mut(), &ended);
        }
    }

    /// Reads what containers use, and asks for the sizes of their volumes. It may take half of the time of a cycle.
    fn read_resources(&mut self, containers: &[Container], begun: Instant, out: &mut Readings) {
        let Self { inventory, settings, resources, volumes, devices, .. } = self;
        let late = || begun.elapsed() >= settings.timeout / 2;
        devices.begin();
        if let Some(Err(error)) =
            resources.as_mut().map(|resources| resources.read(containers, inventory, devices, late))
        {
            out.fail("resources", error);
        }
        if let Some(Err(error)) =
            volumes.as_mut().map(|volumes| volumes.read(containers, devices, begun, late))
        {
            out.fail("volumes", error);
        }
    }

    fn observe(&mut self, containers: &[Container], out: &mut Readings) {
        let there: HashSet<u64> = containers.iter().map(|container| container.workload.number).collect();
        let mut begun = std::mem::take(&mut self.begun);
        begun.retain(|number, _| there.contains(number));
        for container in containers {
            let workload = &container.workload;
            let first = begun.entry(workload.number).or_default().is_due(out.readers());
            let begins = |count: u64| if first { 0 } else { count };
            let numbers = classic::Numbers {
                restarts: begins(container.restarts),
                kills: self.kills.as_ref().and_then(|kills| kills.of(container, &self.spent)).map(begins),
                waited: self.delays.as_ref().and_then(|delays| delays.of(workload.number, &self.spent)),
                usage: self.resources.as_ref().and_then(|resources| resources.of(workload.number)),
            };
            out.observe(metrics::CONTAINER_INFO, info(container), 1);
            out.observe(metrics::CONTAINER_RESTARTS, &workload.labels, numbers.restarts);
            if let Some(uptime) = container.uptime {
                out.observe(metrics::CONTAINER_UPTIME, &workload.labels, uptime);
            }
            if let Some(kills) = numbers.kills {
                out.observe(metrics::CONTAINER_OOM_KILLS, &workload.labels, kills);
            }
            if let Some(waited) = numbers.waited {
                out.observe(metrics::CONTAINER_CPU_DELAY_TIME, &workload.labels, waited.cpu);
                if let Some(disk) = waited.disk {
                    out.observe(metrics::CONTAINER_DISK_DELAY_TIME, &workload.labels, disk);
                }
            }
            if let Some(resources) = &self.resources {
                resources.observe(container, out);
            }
            if let Some(classic) = &self.classic {
                classic.observe(container, &numbers, out);
            }
            if let Some(volumes) = &self.volumes {
                volumes.observe(workload, numbers.usage, self.classic.as_ref(), out);
            }
        }
        self.begun = begun;
        if let Some(classic) = &self.classic {
            classic.finish(out);
        }
    }

    /// Takes what is known of the types of applications. The thread is started in the first cycle, and again after it ended.
    fn observe_applications(&mut self, containers: &[Container], out: &mut Readings) {
        if !self.settings.application {
            return;
        }
        let running = match self.applications.take() {
            Some(applications) => Ok(applications),
            None => Applications::start(),
        };
        let looked = running.and_then(|mut applications| {
            applications.refresh(containers, Instant::now())?;
            Ok(applications)
        });
        match looked {
            Ok(applications) => {
                observe::applications(&applications, containers, self.classic.as_ref(), out);
                self.applications = Some(applications);
            }
            Err(error) => out.fail("applications", error),
        }
    }

    fn observe_own(&self, out: &mut Readings) {
        let tally = self.inventory.tally();
        out.observe(metrics::CONNSCOPE_CONTAINERS_TRACKED, &[], tally.containers + tally.units);
        out.observe(metrics::CONNSCOPE_CONTAINERS_UNNAMED, &[], tally.unnamed);
        observe::left_out(LeftOut::Container, tally.left_out, out);
        observe::via(SourcePart::Names, Via::File, out);
        if self.inventory.settings().names.docker_socket.is_some() {
            observe::via(SourcePart::Names, Via::Socket, out);
        }
        if let Some(via) = self.kills.as_ref().and_then(OomKills::via) {
            observe::via(SourcePart::Oom, via, out);
        }
        if let Some(resources) = &self.resources {
            resources.observe_own(out);
        }
        if let Some(volumes) = &self.volumes {
            volumes.observe_own(out);
        }
        let mut lost = self.delays.as_ref().map_or(0, Delays::lost);
        if let BpfState::Loaded(bpf) = &self.bpf {
            let numbers = bpf.kernel.numbers();
            lost += numbers.lost;
            observe::left_out(LeftOut::Cgroup, numbers.no_group, out);
            out.observe(metrics::CONNSCOPE_CONTAINERS_KERNEL_MEMORY_USAGE, &[], bpf.kernel.memory());
        }
        out.observe(metrics::CONNSCOPE_CONTAINERS_EVENTS_LOST, &[], lost);
    }
}

/// Forgets control groups that are gone, everywhere.
fn forget_groups(
    bpf: &mut BpfCounters,
    spent: &mut WorkloadTotals,
    tcp: Option<&mut TcpPart>,
    groups: &[u64],
) {
    for group in groups {
        bpf.kernel.forget_group(*group);
        spent.forget_group(*group);
    }
    if let Some(tcp) = tcp {
        tcp.forget_groups(groups);
    }
}

impl Source for Containers {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let begun = Instant::now();
        self.inventory.refresh()?;
        self.begin();
        self.count(&self.inventory.containers(), out);
        // With those that the kernel has met meanwhile.
        let containers = self.inventory.containers();
        self.read_resources(&containers, begun, out);
        self.observe(&containers, out);
        self.observe_applications(&containers, out);
        self.observe_own(out);
        if let Some(tcp) = &self.tcp {
            tcp.observe(&self.inventory, self.classic.as_ref(), out);
        }
        if let Some(error) = self.inventory.denied() {
            out.fail("names", error);
        }
        if let Some(error) = self.inventory.missing_paths() {
            out.fail("inventory", error);
        }
        Ok(())
    }
}

/// The attributes of `container.info`.
fn info(container: &Container) -> Labels {
    let mut labels = container.workload.labels.to_vec();
    let named = labels.iter().any(|(label, _)| *label == Label::ContainerId);
    if let Some(id) = container.id.as_ref().filter(|_| !named) {
        labels.push((Label::ContainerId, Arc::clone(id)));
    }
    if !container.image.is_empty() {
        labels.push((Label::ContainerImageName, Arc::clone(&container.image)));
    }
    if !container.runtime.is_empty() {
        labels.push((Label::ContainerRuntimeName, container.runtime.into()));
    }
    labels.push((Label::Cgroup, Arc::clone(&container.cgroup)));
    Labels::new(labels)
}
