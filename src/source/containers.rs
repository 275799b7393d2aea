//! The containers and systemd services of the machine: their names, start times, restarts, OOM kills and TCP connections.
//!
//! Who is there says the [inventory](crate::host::inventory), which other sources share. A cycle asks it to look, and gives
//! each container its readings; what ended keeps its counters for the retention. The TCP connections that containers open are
//! counted by programs in the kernel (`kernel`), and read once a cycle (`connections`); where there can be none, the
//! open ones are read from procfs.

#![expect(clippy::disallowed_methods, reason = "what is kept is told the time of the cycle")]

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::host::inventory::{Container, Inventory};
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Label, Labels, Part};
use crate::reading::{Readings, SourceError};
use crate::source::containers::config::{Containers as Settings, Oom};
use crate::stop::Stop;
use classic::Classic;
use connections::Connections;
use labels::{LeftOut, SourcePart, Via};
use listeners::Listeners;
use oom::Kills;
use procfs::Procfs;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub mod addresses;
mod check;
mod classic;
pub mod config;
mod connections;
pub mod destinations;
pub mod failure;
mod groups;
pub mod kernel;
pub mod labels;
pub mod listen;
mod listeners;
pub mod metrics;
mod namespaces;
mod news;
mod observe;
mod oom;
mod procfs;
pub mod tcp;
pub mod translate;

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
        let most = host.most_containers();
        let (destinations, listeners) =
            if settings.tcp.enabled { (settings.tcp.total + most, labels::MOST_LISTENERS) } else { (0, 0) };
        let classic = |number: usize| if settings.classic.enabled { number } else { 0 };
        vec![
            (&labels::WHO, most),
            (&labels::INFO, most),
            (&labels::CLASSIC, most),
            (&labels::DESTINATION, destinations),
            (&labels::LISTEN, listeners),
            (&labels::CLASSIC_DESTINATION, classic(destinations)),
            (&labels::CLASSIC_ADDRESS, classic(destinations)),
            (&labels::CLASSIC_LISTEN, classic(listeners)),
        ]
    }

    fn build(settings: &Settings, host: &Host, _: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings, host.inventory(), stop)))
    }

    fn check(settings: &Settings, host: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings, &host.inventory())
    }

    fn suffices(_: &Settings, checks: &[Check]) -> bool {
        check::suffices(checks)
    }

    fn without_effect(settings: &Settings, naming: Profile) -> Vec<String> {
        super::classic_without_effect(NAME, settings.classic.enabled, naming)
    }
}

/// The source `containers`.
pub struct Containers {
    inventory: Arc<Inventory>,
    /// The numbers of those whose counters began with a point of 0: of what happened before the first point, `increase()`
    /// would see nothing.
    begun: HashSet<u64>,
    /// `None` where they are not wanted.
    kills: Option<Kills>,
    classic: Option<Classic>,
    tcp: Option<Tcp>,
}

/// TCP, and how it is read.
struct Tcp {
    settings: config::tcp::Tcp,
    stop: Stop,
    totals: tcp::Tcp,
    listeners: Listeners,
    /// Inode of the agent's own network namespace.
    netns: u32,
    way: TcpMethod,
}

/// Method by which TCP connections are read.
enum TcpMethod {
    /// That is tried by the first cycle.
    Untried,
    /// By programs in the kernel.
    Bpf(Box<Connections>),
    /// From procfs, and why.
    Procfs(Procfs, SourceError),
}

impl Tcp {
    fn new(settings: &config::tcp::Tcp, stop: &Stop) -> Self {
        Self {
            settings: settings.clone(),
            stop: stop.clone(),
            totals: connections::totals(settings),
            listeners: Listeners::default(),
            netns: connections::own_netns().unwrap_or_default(),
            way: TcpMethod::Untried,
        }
    }

    fn read(&mut self, inventory: &Arc<Inventory>, containers: &[Container], out: &mut Readings) {
        let Self { settings, stop, totals, listeners, netns, way } = self;
        let now = Instant::now();
        if let TcpMethod::Untried = way {
            *way = match Connections::new(settings, inventory, stop) {
                Ok(connections) => TcpMethod::Bpf(Box::new(connections)),
                Err(error) => TcpMethod::Procfs(Procfs::default(), error),
            };
        }
        totals.begin();
        listeners.begin(inventory.settings().retention, now);
        listeners.rename(|number| inventory.current(number).map(|who| who.number));
        for (number, published) in inventory.published() {
            published.iter().for_each(|at| listeners.publish(number, *at, u64::from(*netns)));
        }
        match way {
            TcpMethod::Bpf(connections) => {
                if let Err(error) = connections.read(totals, listeners, inventory, now, out) {
                    out.fail("tcp", error);
                }
                let numbers = connections.numbers();
                observe::via(SourcePart::Tcp, Via::Bpf, out);
                observe::left_out(LeftOut::Destination, numbers.no_destination + totals.left_out, out);
                observe::left_out(LeftOut::Connection, numbers.no_connection + connections.uncounted, out);
                observe::left_out(LeftOut::Cgroup, numbers.no_group, out);
                observe::left_out(LeftOut::Listener, numbers.no_listener + listeners.left_out, out);
                observe::left_out(LeftOut::Translation, connections.unasked, out);
                out.observe(metrics::CONNSCOPE_CONTAINERS_EVENTS_LOST, &[], numbers.lost);
                out.observe(metrics::CONNSCOPE_CONTAINERS_KERNEL_MEMORY_USAGE, &[], connections.memory());
            }
            TcpMethod::Procfs(procfs, error) => {
                procfs.read(containers, totals, listeners, settings.loopback, now);
                connections::idle(totals, inventory, now);
                out.fail(
                    "tcp",
                    error.again("TCP connections of containers are read from procfs, the open ones only"),
                );
                observe::via(SourcePart::Tcp, Via::Procfs, out);
                observe::left_out(LeftOut::Destination, totals.left_out, out);
                observe::left_out(LeftOut::Listener, listeners.left_out, out);
            }
            TcpMethod::Untried => {}
        }
        out.observe(metrics::CONNSCOPE_CONTAINERS_DESTINATIONS, &[], totals.destinations() as u64);
    }
}

impl Containers {
    /// The source with its settings; nothing is looked at before it is read.
    pub fn new(settings: &Settings, inventory: Arc<Inventory>, stop: &Stop) -> Self {
        let classic = settings.classic.enabled.then(|| Classic::new(&inventory.settings().root));
        let kills = (settings.oom != Oom::Off).then(Kills::default);
        let tcp = settings.tcp.enabled.then(|| Tcp::new(&settings.tcp, stop));
        Self { inventory, begun: HashSet::new(), kills, classic, tcp }
    }

    fn observe(&mut self, containers: &[Container], out: &mut Readings) {
        for container in containers {
            let who = &container.who;
            let begun = self.begun.contains(&who.number);
            let begins = |count: u64| if begun { count } else { 0 };
            let restarts = begins(container.restarts);
            let kills = self.kills.as_ref().and_then(|kills| kills.of(container)).map(begins);
            out.observe(metrics::CONTAINER_INFO, info(container), 1);
            out.observe(metrics::CONTAINER_RESTARTS, &who.labels, restarts);
            if let Some(uptime) = container.uptime {
                out.observe(metrics::CONTAINER_UPTIME, &who.labels, uptime);
            }
            if let Some(kills) = kills {
                out.observe(metrics::CONTAINER_OOM_KILLS, &who.labels, kills);
            }
            if let Some(classic) = &self.classic {
                classic.observe(container, restarts, kills, out);
            }
        }
        self.begun = containers.iter().map(|container| container.who.number).collect();
        if let Some(classic) = &self.classic {
            classic.finish(out);
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
        if self.kills.as_ref().is_some_and(|kills| kills.counted() > 0) {
            observe::via(SourcePart::Oom, Via::Cgroup, out);
        }
    }
}

impl Source for Containers {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        self.inventory.refresh()?;
        let containers = self.inventory.containers();
        if let Some(kills) = &mut self.kills {
            kills.look(&containers, &self.inventory);
        }
        self.observe(&containers, out);
        self.observe_own(out);
        if let Some(tcp) = &mut self.tcp {
            tcp.read(&self.inventory, &containers, out);
            observe::observe(&tcp.totals, &tcp.listeners, &self.inventory, self.classic.as_ref(), out);
        }
        if let Some(error) = self.inventory.denied() {
            out.fail("names", error);
        }
        Ok(())
    }
}

/// The attributes of `container.info`.
fn info(container: &Container) -> Labels {
    let mut labels = container.who.labels.to_vec();
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
