//! The processes in a control group.

use std::path::Path;

/// Most that is read of a `cgroup.procs`: some 10,000 processes.
const LIST: u64 = 64 * 1024;

/// Processes of one group at most; they are listed as they came, as a rule.
const PROCESSES: usize = 1024;

/// The processes of the group with this directory, at most 1024, without those of the groups below. Those of another pid
/// namespace are not among them (they read 0). None where the file cannot be read.
pub fn pids(directory: &Path) -> Vec<u32> {
    let list = crate::sys::read_limited(directory.join("cgroup.procs"), LIST).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).take(PROCESSES).collect()
}
