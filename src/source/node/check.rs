//! What `connscope check` says of the node: what is read, and which disks and interfaces that is.

use super::NAME;
use super::ask::{self, BLOCK, DISKSTATS, Disks, Interfaces, MEMINFO, STAT, Selection, UPTIME};
use super::config::Node as Settings;
use crate::reading::SourceError;
use crate::source::{Check, Requirement};

/// Names that are printed at most.
const SHOWN: usize = 8;

/// Requirements of each part of the source.
pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        files: &[STAT, MEMINFO, UPTIME, DISKSTATS, BLOCK],
        ..Requirement::of("CPU time, memory, uptime and disks")
    },
    Requirement {
        address_families: &["AF_NETLINK"],
        ..Requirement::of(
            "network interfaces and their addresses, of the network namespace that the agent is in",
        )
    },
];

/// Reads each part once.
pub(super) fn check(settings: &Settings) -> Vec<Check> {
    vec![Check::new(NAME, "procfs", files(settings)), Check::new(NAME, "netlink", interfaces(settings))]
}

fn files(settings: &Settings) -> Result<String, SourceError> {
    let (stat, memory) = (ask::stat()?, ask::memory()?);
    ask::uptime()?;
    let disks = Disks::new(&settings.disks).read()?;
    let disks = named(disks, "disk", |disk| disk.name);
    Ok(format!("{} CPUs, {} MiB of memory, {disks}", stat.cpus, memory.total / (1024 * 1024)))
}

fn interfaces(settings: &Settings) -> Result<String, SourceError> {
    let interfaces = Interfaces::new(&settings.interfaces).read()?;
    Ok(named(interfaces, "interface", |interface| interface.name))
}

fn named<T>(chosen: Selection<T>, what: &str, name: impl Fn(T) -> String) -> String {
    let all = chosen.all.len();
    let names: Vec<String> = chosen.all.into_iter().take(SHOWN).map(name).collect();
    let (plural, colon) = (if all == 1 { "" } else { "s" }, if all == 0 { "" } else { ": " });
    let more = if all > SHOWN { ", …" } else { "" };
    format!("{all} {what}{plural}{colon}{}{more}", names.join(", "))
}
