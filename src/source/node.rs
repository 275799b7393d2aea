//! What the machine itself uses: CPU time, memory, disks and network interfaces, as the kernel counts them since it was started.
//!
//! The names are those of the semantic conventions, so a node whose Collector runs the hostmetrics receiver has them already:
//! the source is off unless it is asked for. Everything is read from `/proc` and, for interfaces, asked of the kernel over
//! netlink; nothing takes a privilege. Each part fails alone.

use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::{Host, machine};
use crate::metric::{Bounds, Part};
use crate::reading::{Readings, SourceError};
use crate::source::node::config::Node as Settings;
use crate::stop::Stop;
use ask::{Disks, Interfaces, Selection};
use observe::Observer;
use stat::CpuTotals;
use std::time::Duration;

pub mod addresses;
mod ask;
mod check;
pub mod config;
pub mod diskstats;
pub mod meminfo;
pub mod metrics;
mod observe;
pub mod stat;
pub mod text;
mod wanted;

/// Key in the configuration, label value, field in the log.
pub const NAME: &str = "node";

impl SourceKind for Node {
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

    fn bounds(settings: &Settings, _: &Host) -> Bounds {
        let most = |number: usize| if settings.enabled { number } else { 0 };
        vec![
            (&metrics::DISK, most(metrics::MOST_DISKS)),
            (&metrics::INTERFACE, most(metrics::MOST_INTERFACES)),
            (&metrics::ADDRESS, most(metrics::MOST_ADDRESSES)),
            (&metrics::CLASSIC_DISK, most(metrics::MOST_DISKS)),
            (&metrics::CLASSIC_INTERFACE, most(metrics::MOST_INTERFACES)),
            (&metrics::CLASSIC_ADDRESS, most(metrics::MOST_ADDRESSES)),
        ]
    }

    fn build(settings: &Settings, host: &Host, _: Mode, _: &Stop) -> Result<Box<dyn Source>, SourceError> {
        let machine = machine::id(&host.inventory().settings().root);
        Ok(Box::new(Self::new(settings, Observer::new(machine))))
    }

    fn check(settings: &Settings, _: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings)
    }
}

/// The source `node`.
pub struct Node {
    observer: Observer,
    cpu: CpuTotals,
    disks: Disks,
    interfaces: Interfaces,
}

impl Node {
    fn new(settings: &Settings, observer: Observer) -> Self {
        Self {
            observer,
            cpu: CpuTotals::default(),
            disks: Disks::new(&settings.disks),
            interfaces: Interfaces::new(&settings.interfaces),
        }
    }
}

impl Source for Node {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        match ask::stat() {
            Ok(stat) => self.observer.cpu(&self.cpu.take(stat.ticks), stat.cpus, out),
            Err(error) => out.fail("cpu", error),
        }
        match ask::memory() {
            Ok(memory) => self.observer.memory(&memory, out),
            Err(error) => out.fail("memory", error),
        }
        match ask::uptime() {
            Ok(uptime) => out.observe(metrics::SYSTEM_UPTIME, &[], uptime),
            Err(error) => out.fail("uptime", error),
        }
        match self.disks.read() {
            Ok(disks) => {
                log(&disks);
                self.observer.disks(&disks, out);
            }
            Err(error) => out.fail("disks", error),
        }
        match self.interfaces.read() {
            Ok(interfaces) => {
                log(&interfaces);
                self.observer.interfaces(&interfaces, out);
            }
            Err(error) => out.fail("interfaces", error),
        }
        Ok(())
    }
}

/// Says that what is configured is not there.
fn log<T>(chosen: &Selection<T>) {
    if let Some(missing) = &chosen.missing {
        tracing::warn!("{missing}");
    }
}
