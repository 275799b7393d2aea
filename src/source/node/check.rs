//! What `connscope check` says of the node: what is read, and which disks and interfaces that is.

use super::NAME;
use super::ask::{self, BLOCK, DISKSTATS, Disks, Interfaces, MEMINFO, STAT, Selection, UPTIME};
use super::config::Node as Settings;
use super::wanted::Wanted;
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
    let mut disks = Disks::new(&settings.disks);
    let chosen = disks.read()?;
    let disks = named(chosen, "disk", |disk| disk.name, &disks.wanted);
    Ok(format!("{} CPUs, {} MiB of memory, {disks}", stat.cpus, memory.total / (1024 * 1024)))
}

fn interfaces(settings: &Settings) -> Result<String, SourceError> {
    let mut interfaces = Interfaces::new(&settings.interfaces);
    let chosen = interfaces.read()?;
    Ok(named(chosen, "interface", |interface| interface.name, &interfaces.wanted))
}

fn named<T>(chosen: Selection<T>, what: &str, name: impl Fn(T) -> String, wanted: &Wanted) -> String {
    let all = chosen.all.len();
    let names: Vec<String> = chosen.all.into_iter().take(SHOWN).map(name).collect();
    let (plural, colon) = (if all == 1 { "" } else { "s" }, if all == 0 { "" } else { ": " });
    let more = if all > SHOWN { ", …" } else { "" };
    let absent: Vec<&str> = wanted.absent().take(SHOWN).collect();
    let absent =
        if absent.is_empty() { String::new() } else { format!("; not there: {}", absent.join(", ")) };
    format!("{all} {what}{plural}{colon}{}{more}{absent}", names.join(", "))
}
