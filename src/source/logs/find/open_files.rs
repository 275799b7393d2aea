//! Files below `/var/log` that processes of containers and services have open for writing.
//!
//! A program in the kernel finds them where this process may load one, a walk over `/proc` otherwise. Directories of logs that
//! are found in another way are skipped.

use crate::host::cgroup;
use crate::host::inventory::Container;
use crate::reading::SourceError;
use program::Program;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use walk::Walk;

mod program;
mod walk;

/// Below here files are logs.
const LOGS: &str = "/var/log";

/// Directories whose files are found in another way.
const ELSEWHERE: [&str; 3] = ["/var/log/pods", "/var/log/containers", "/var/log/journal"];

/// Most that is read of a small file of `/proc`.
const SHORT: u64 = 16 * 1024;

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    /// The number of the container.
    pub(super) container: u64,
    /// A process that has it open.
    pub(super) pid: u32,
    /// Its descriptor there.
    pub(super) descriptor: u32,
    /// Number of its inode.
    pub(super) inode: u64,
    /// Its path as the process sees it.
    pub(super) path: PathBuf,
}

/// The way in which they are found.
pub(super) struct OpenFiles {
    program: Result<Program, SourceError>,
    walk: Walk,
}

impl OpenFiles {
    /// Loads the program, where this process may.
    pub(super) fn new() -> Self {
        Self { program: Program::load(), walk: Walk::default() }
    }

    /// Files that are open now; without a BPF program, those that the walks have found so far.
    pub(super) fn find(&mut self, containers: &[Container]) -> Vec<OpenFile> {
        let mut owners = Owners::new(containers);
        if let Ok(program) = &mut self.program {
            match program.pass(&mut owners) {
                Ok(found) => return found,
                Err(error) => self.program = Err(error),
            }
        }
        self.walk.on(&mut owners)
    }

    /// In which way.
    pub(super) fn way(&self) -> &'static str {
        if self.program.is_ok() { "bpf" } else { "/proc" }
    }

    /// The reason why the BPF program could not be loaded.
    pub(super) fn refused(&self) -> Option<&SourceError> {
        self.program.as_ref().err()
    }

    /// Number of processes whose descriptors the agent may not read.
    pub(super) fn denied(&self) -> usize {
        self.walk.denied
    }
}

/// The containers and services of processes.
pub(super) struct Owners<'a> {
    /// By the path of the control group.
    paths: HashMap<&'a str, u64>,
    /// By hierarchy and id.
    groups: HashMap<(u32, u64), u64>,
    numbers: HashSet<u64>,
    /// Processes whose group is below that of a container, or nobody's.
    met: HashMap<u32, Option<u64>>,
}

impl<'a> Owners<'a> {
    fn new(containers: &'a [Container]) -> Self {
        let running = || containers.iter().filter(|container| !container.ended);
        let number = |container: &Container| container.workload.number;
        let groups = running().flat_map(|container| {
            container.groups.iter().map(move |group| ((group.hierarchy, group.id), number(container)))
        });
        Self {
            paths: running().map(|container| (&*container.cgroup, number(container))).collect(),
            groups: groups.collect(),
            numbers: running().map(number).collect(),
            met: HashMap::new(),
        }
    }

    /// Whether a container is there.
    fn has(&self, container: u64) -> bool {
        self.numbers.contains(&container)
    }

    /// The container of a control group as the kernel names it, with a process that is in it.
    fn of_group(&mut self, key: u64, pid: u32) -> Option<u64> {
        if let Some(container) = self.groups.get(&cgroup::of_key(key)) {
            return Some(*container);
        }
        if let Some(met) = self.met.get(&pid) {
            return *met;
        }
        let met = self.of_process(pid);
        self.met.insert(pid, met);
        met
    }

    /// The container of a process: the one whose control group it is in, or in one below.
    fn of_process(&self, pid: u32) -> Option<u64> {
        let text = crate::sys::read_limited(format!("/proc/{pid}/cgroup"), SHORT).ok()?;
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
            let above = Path::new(path).ancestors().filter_map(Path::to_str);
            above.filter(|path| *path != "/").find_map(|path| self.paths.get(path)).copied()
        })
    }
}

/// Whether a path, as a process has it open, is a log that is found in no other way. A file that was removed is none.
fn is_log(path: &Path) -> bool {
    path.starts_with(LOGS)
        && !ELSEWHERE.iter().any(|elsewhere| path.starts_with(elsewhere))
        && !path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
}
