//! A container or service as sources see it, and its control groups.

use super::entry::Entry;
use super::identity::Workload;
use super::processes;
use std::path::PathBuf;
use std::sync::Arc;

/// A container or service.
#[derive(Debug, Clone)]
pub struct Container {
    /// Name and attributes.
    pub workload: Arc<Workload>,
    /// Id of the container; `None` without an id.
    pub id: Option<Arc<str>>,
    /// Image as the engine has it, at most 256 bytes; empty if unknown.
    pub image: Arc<str>,
    /// Engine (`docker`, `containerd`, `cri-o`, `podman`, `lxc`); empty if unknown.
    pub runtime: &'static str,
    /// Path of the control group.
    pub cgroup: Arc<str>,
    /// Number of restarts since the agent knows it.
    pub restarts: u64,
    /// Time since its first process was started, seconds; `None` without a visible process.
    pub uptime: Option<f64>,
    /// PID of its first process in the agent's PID namespace; `None` without a visible process.
    pub process: Option<u32>,
    /// Whether it has ended, less than the retention ago.
    pub ended: bool,
    /// Whether it was running before the agent, and was not restarted since.
    pub before: bool,
    /// Directories of its control groups, one for each hierarchy; empty once it has ended.
    pub groups: Vec<Directory>,
}

impl Container {
    /// Whether it is a service of systemd and no container.
    pub fn is_unit(&self) -> bool {
        self.id.is_none() && self.runtime.is_empty()
    }

    /// From its entry. `now` in clock ticks since boot.
    pub(super) fn of(entry: &Entry, now: u64, groups: Vec<Directory>) -> Self {
        let ticks = entry.first.map(|first| now.saturating_sub(first.started));
        Self {
            workload: Arc::clone(&entry.workload),
            id: entry.container.clone(),
            image: Arc::clone(&entry.image),
            runtime: entry.runtime,
            cgroup: Arc::clone(&entry.cgroup),
            restarts: entry.restarts,
            uptime: ticks.map(processes::seconds),
            process: entry.first.map(|first| first.pid),
            ended: entry.ended.is_some(),
            before: entry.before,
            groups,
        }
    }
}

/// The directory of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Number of the hierarchy; 0 is v2.
    pub hierarchy: u32,
    /// Id of the control group: the inode of its directory.
    pub id: u64,
    /// Path of the directory.
    pub path: PathBuf,
    /// Path of the control group from the root of its hierarchy.
    pub group: Arc<str>,
}
