//! What `connscope check` says of the containers: which there are, and where their names can be read.

use super::NAME;
use super::config::{Containers as Settings, Oom};
use super::oom::Kills;
use crate::host::inventory::Inventory;
use crate::reading::SourceError;
use crate::source::{Check, Requirement};

/// The way that everything rests on.
const CGROUP: &str = "cgroup";

/// What each part takes.
pub(super) const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        files: &["/sys/fs/cgroup", "/proc/PID/stat"],
        ..Requirement::of("containers, services, restarts, and the names of the kubelet")
    },
    Requirement {
        capabilities: &["CAP_DAC_READ_SEARCH"],
        files: &["/var/lib/docker", "/run/containerd", "/run/containers/storage"],
        ..Requirement::of("names of Docker, containerd, CRI-O and podman")
    },
];

/// Looks at the control groups, and at the places that have names.
pub(super) fn check(settings: &Settings, inventory: &Inventory) -> Vec<Check> {
    let cgroups = inventory.refresh().map(|()| {
        let tally = inventory.tally();
        let beside = tally.hierarchies.join(" and ");
        let left_out = match tally.groups_left_out {
            0 => String::new(),
            left_out => format!("; {left_out} control groups were not looked at"),
        };
        format!("{beside}; {} containers, {} units{left_out}", tally.containers, tally.units)
    });
    let mut checks = vec![Check::new(NAME, CGROUP, cgroups), Check::new(NAME, "names", names(inventory))];
    if settings.oom != Oom::Off {
        checks.push(Check::new(NAME, "oom", oom(inventory)));
    }
    checks
}

fn names(inventory: &Inventory) -> Result<String, SourceError> {
    let places = inventory.check_names()?;
    let tally = inventory.tally();
    let named = tally.containers.saturating_sub(tally.unnamed);
    let places = if places.is_empty() { "no engine has files here".to_owned() } else { places.join("; ") };
    Ok(format!("{named} of {} containers have one; {places}", tally.containers))
}

fn oom(inventory: &Inventory) -> Result<String, SourceError> {
    let containers = inventory.containers();
    let mut kills = Kills::default();
    kills.look(&containers, inventory);
    match (kills.counted(), containers.len()) {
        (0, all) if all > 0 => {
            let why = "no control group of theirs has the memory controller";
            Err(SourceError::absent("looking for the counters of processes that were killed", why))
        }
        (counted, all) => Ok(format!("counted by the control groups of {counted} of {all}")),
    }
}

/// It works wherever control groups can be seen; everything else adds to it.
pub(super) fn suffices(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.via == CGROUP && check.works())
}
