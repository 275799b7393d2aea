//! The processes in a control group.

use std::path::Path;

/// Maximum number of bytes read of `cgroup.procs`: about 10,000 processes.
const LIST: u64 = 64 * 1024;

/// Maximum number of processes of a group that are read; the kernel usually lists the oldest first.
const PROCESSES: usize = 1024;

/// The processes of the group with this directory, at most 1024, without those of its descendants. Processes of an outer
/// PID namespace, which read 0, are left out. Empty if the file cannot be read.
pub fn pids(directory: &Path) -> Vec<u32> {
    let list = crate::sys::read_limited(directory.join("cgroup.procs"), LIST).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).take(PROCESSES).collect()
}
