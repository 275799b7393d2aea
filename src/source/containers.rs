//! The containers and systemd services of the machine: who they are, since when they run, and how often they were started
//! anew.
//!
//! Who is there says the [inventory](crate::host::inventory), which other sources share. A cycle asks it to look, and gives
//! each container its readings; what ended keeps its counters for the retention.

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::host::inventory::{Container, Inventory};
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Label, Labels, Part};
use crate::reading::{Readings, SourceError};
use crate::source::containers::config::{Containers as Settings, Oom};
use crate::stop::Stop;
use classic::Classic;
use labels::{LeftOut, SourcePart, Via};
use oom::Kills;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

mod check;
mod classic;
pub mod config;
pub mod labels;
pub mod metrics;
mod oom;

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

    fn bounds(_: &Settings, host: &Host) -> Bounds {
        let most = host.most_containers();
        vec![(&labels::WHO, most), (&labels::INFO, most), (&labels::CLASSIC, most)]
    }

    fn build(settings: &Settings, host: &Host, _: Mode, _: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings, host.inventory())))
    }

    fn check(settings: &Settings, host: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings, &host.inventory())
    }

    fn suffices(_: &Settings, checks: &[Check]) -> bool {
        check::suffices(checks)
    }

    fn without_effect(settings: &Settings, naming: Profile) -> Vec<String> {
        let unseen = settings.classic.enabled && naming != Profile::Classic;
        let sentence = "sources.containers.classic has no effect: set export.prometheus.naming to classic";
        unseen.then(|| sentence.to_owned()).into_iter().collect()
    }
}

/// The source.
pub struct Containers {
    inventory: Arc<Inventory>,
    /// The numbers of those whose counters began with a point of 0: of what happened before the first point, `increase()`
    /// would see nothing.
    begun: HashSet<u64>,
    /// `None` where they are not wanted.
    kills: Option<Kills>,
    classic: Option<Classic>,
}

impl Containers {
    /// The source with its settings; nothing is looked at before it is read.
    pub fn new(settings: &Settings, inventory: Arc<Inventory>) -> Self {
        let classic = settings.classic.enabled.then(|| Classic::new(&inventory.settings().root));
        let kills = (settings.oom != Oom::Off).then(Kills::default);
        Self { inventory, begun: HashSet::new(), kills, classic }
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
        let left_out = [(Label::Key, LeftOut::Container.word().into())];
        out.observe(metrics::CONNSCOPE_CONTAINERS_LEFT_OUT, &left_out, tally.left_out);
        let socket = self.inventory.settings().names.docker_socket.is_some();
        let counted = self.kills.as_ref().is_some_and(|kills| kills.counted() > 0);
        let ways = [
            Some((SourcePart::Names, Via::File)),
            socket.then_some((SourcePart::Names, Via::Socket)),
            counted.then_some((SourcePart::Oom, Via::Cgroup)),
        ];
        for (part, via) in ways.into_iter().flatten() {
            let labels = [(Label::SourcePart, part.word().into()), (Label::Via, via.word().into())];
            out.observe(metrics::CONNSCOPE_CONTAINERS_SOURCE, &labels, 1);
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
