//! OOM kills: by a BPF program, or by the counters of control groups.
//!
//! The program counts where the kernel chooses the victim (`oom:mark_victim`), so also in a group that is gone by the next
//! cycle. Of the files, version 2 has them in `memory.events`, those of the groups below included (`Documentation/admin-guide/cgroup-v2.rst`);
//! version 1 in `memory.oom_control`, of each group by itself (`mem_cgroup_oom_control_read` in `mm/memcontrol-v1.c`, since
//! Linux 4.13). A group that is made, in which a process is killed, and that is gone, all between two cycles, is missed.

use super::config::Oom;
use super::kernel::{Kernel, OOM};
use super::labels::Via;
use super::spent::WorkloadTotals;
use crate::host::cgroup::descendants;
use crate::host::inventory::{Container, Directory, Inventory};
use crate::reading::{Readings, SourceError};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The programs for OOM kills; the second is loaded if the first is passed a PID.
const PROGRAMS: &[&str] = &[OOM, "exit_victim"];

/// Maximum number of bytes that are read of such a file: a dozen lines.
const MAX_FILE_BYTES: u64 = 4096;

/// How kills are counted, and the counts by container from the files.
#[derive(Debug)]
pub(super) struct OomKills {
    settings: Oom,
    method: OomMethod,
    /// Last value in the file of a group, by the number of its hierarchy and its id.
    groups: HashMap<(u32, u64), u64>,
    /// Counts by the number of the container; absent while no file is known that counts for it.
    counts: HashMap<u64, u64>,
}

#[derive(Debug)]
enum OomMethod {
    Files,
    Bpf,
    /// Not counted, and why.
    Absent(SourceError),
}

impl OomKills {
    /// From the files, until a method is chosen; `None` if kills are not to be counted.
    pub(super) fn new(settings: Oom) -> Option<Self> {
        let (groups, counts) = (HashMap::new(), HashMap::new());
        (settings != Oom::Off).then_some(Self { settings, method: OomMethod::Files, groups, counts })
    }

    /// Chooses the method. `kernel`: the programs, or why there are none.
    pub(super) fn choose(&mut self, kernel: Result<&Kernel, &SourceError>) {
        let refused = kernel.map_or_else(Some, |kernel| kernel.refused_any(PROGRAMS));
        self.method = match (self.settings, refused) {
            (Oom::Auto | Oom::Bpf, None) => OomMethod::Bpf,
            (Oom::Bpf, Some(error)) => {
                OomMethod::Absent(error.again("OOM kills of containers are not counted"))
            }
            _ => OomMethod::Files,
        };
    }

    /// Counts the kills since the last cycle from the files, unless a program counts.
    pub(super) fn count(&mut self, containers: &[Container], inventory: &Inventory, out: &mut Readings) {
        match &self.method {
            OomMethod::Files => self.read_files(containers, inventory),
            OomMethod::Bpf => self.carry(containers, inventory),
            OomMethod::Absent(error) => out.fail("oom", error.again("oom: bpf")),
        }
    }

    fn read_files(&mut self, containers: &[Container], inventory: &Inventory) {
        let mut there = HashSet::new();
        for container in containers {
            for group in &container.groups {
                let Some(kills) = kills(group) else { continue };
                let key = (group.hierarchy, group.id);
                there.insert(key);
                // What was there before the agent begins at 0; a group that is new has counted from its beginning.
                let unseen = if container.before { kills } else { 0 };
                let before = self.groups.insert(key, kills).unwrap_or(unseen);
                *self.counts.entry(container.workload.number).or_default() += kills.saturating_sub(before);
                break;
            }
        }
        self.groups.retain(|group, _| there.contains(group));
        self.carry(containers, inventory);
    }

    /// Moves counts of containers whose name was found late to their present number; removes containers that have ended.
    fn carry(&mut self, containers: &[Container], inventory: &Inventory) {
        let known: HashSet<u64> = containers.iter().map(|container| container.workload.number).collect();
        let gone: Vec<u64> = self.counts.keys().filter(|number| !known.contains(number)).copied().collect();
        for number in gone {
            let count = self.counts.remove(&number).unwrap_or_default();
            if let Some(workload) = inventory.current(number) {
                *self.counts.entry(workload.number).or_default() += count;
            }
        }
    }

    /// Number of killed processes of a container; `None` if nothing counts them.
    pub(super) fn of(&self, container: &Container, spent: &WorkloadTotals) -> Option<u64> {
        let by_files = self.counts.get(&container.workload.number).copied();
        if let OomMethod::Bpf = self.method {
            // Files may have counted before the programs could be loaded.
            return Some(spent.of(container.workload.number).oom_kills + by_files.unwrap_or_default());
        }
        by_files
    }

    /// How they are counted; `None` if nothing counts them.
    pub(super) fn via(&self) -> Option<Via> {
        match self.method {
            OomMethod::Bpf => Some(Via::Bpf),
            OomMethod::Files if !self.counts.is_empty() => Some(Via::Cgroup),
            OomMethod::Files | OomMethod::Absent(_) => None,
        }
    }
}

/// The check of OOM kills for `connscope check`. `kernel`: the programs, or why there are none.
pub(super) fn check(
    settings: Oom,
    inventory: &Inventory,
    kernel: Result<&Kernel, &SourceError>,
) -> Result<String, SourceError> {
    let Some(mut kills) = OomKills::new(settings) else { return Ok("off".to_owned()) };
    kills.choose(kernel);
    if let OomMethod::Bpf = kills.method {
        return Ok("bpf".to_owned());
    }
    if let OomMethod::Absent(error) = kills.method {
        return Err(error);
    }
    let containers = inventory.containers();
    kills.read_files(&containers, inventory);
    match (kills.counts.len(), containers.len()) {
        (0, all) if all > 0 => {
            let why = "no control group of a container has the memory controller";
            Err(SourceError::absent("looking for the counters of OOM kills", why))
        }
        (counted, all) => Ok(format!("cgroup: counted by the control groups of {counted} of {all}")),
    }
}

/// The count in the file of a group; `None` if it has no file, because its hierarchy has no memory controller.
fn kills(group: &Directory) -> Option<u64> {
    let read = |path: &Path| count(&crate::sys::read_limited(path, MAX_FILE_BYTES).ok()?);
    if group.hierarchy == 0 {
        return read(&group.path.join("memory.events"));
    }
    let own = read(&group.path.join("memory.oom_control"))?;
    let below = descendants(&group.path);
    Some(own + below.iter().filter_map(|path| read(&path.join("memory.oom_control"))).sum::<u64>())
}

/// The count in the text of either file.
fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn both_versions_have_the_count_in_a_line_of_its_own() {
        let version_1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        let version_2 = "low 0\nhigh 0\nmax 31\noom 5\noom_kill 4\noom_group_kill 1\n";
        assert_eq!((count(version_1), count(version_2)), (Some(3), Some(4)));
        for text in [version_1, version_2] {
            for (end, _) in text.char_indices() {
                let beginning = text.get(..end).unwrap();
                assert!(count(beginning).is_none_or(|part| Some(part) == count(text)), "{beginning:?}");
            }
        }
        assert_eq!(count("oom_kill_disable 1\nunder_oom 0\n"), None, "before Linux 4.13");
    }
}
