//! The first process of each container: its start time, from which restarts are detected.
//!
//! The first process of a group is the one with the earliest start. A process that replaced it (a daemon that forks
//! into the background, a master process that was replaced without a gap) was started before the first had ended; a
//! process started after that is a restart.

use super::entries::Entries;
use super::entry::{InitProcess, TopGroup};
use crate::host::cgroup::{Hierarchy, descendants, pids};
use crate::host::process;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// Maximum number of bytes read of `stat` and `comm`.
const SHORT: u64 = 2048;

/// Clock ticks of `/proc/PID/stat` per second: `USER_HZ`, 100 on every supported architecture.
const TICKS: u64 = 100;

/// Time since boot, in clock ticks.
pub(super) fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let ticks = time.tv_sec.saturating_mul(100).saturating_add(time.tv_nsec / 10_000_000);
    u64::try_from(ticks).unwrap_or_default()
}

/// Converts clock ticks to seconds.
#[expect(clippy::cast_precision_loss, reason = "a hundred thousand years fit")]
pub(super) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

/// Looks up the first process of every running entry.
pub(super) fn find_first(entries: &mut Entries, hierarchies: &[Hierarchy]) {
    let now = since_boot();
    for (entry, tops) in entries.running() {
        let known = entry.first;
        if known.is_some_and(|first| started(first.pid) == Some(first.started)) {
            entry.seen = Some(now);
            continue;
        }
        entry.first = tops.iter().find_map(|top| first(top, hierarchies));
        if let Some(first) = entry.first {
            entry.restarts += u64::from(entry.seen.is_some_and(|seen| first.started > seen));
            entry.seen = Some(now);
        }
    }
}

/// The first process of a group, or of a descendant if the group has none: a v2 group with controllers for its
/// descendants has no process of its own.
fn first(top: &TopGroup, hierarchies: &[Hierarchy]) -> Option<InitProcess> {
    let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.number == top.hierarchy)?;
    let directory = hierarchy.mount.directory(&top.path);
    first_of(&directory).or_else(|| {
        let below = descendants(&directory);
        below.iter().filter_map(|directory| first_of(directory)).min_by_key(|first| first.started)
    })
}

fn first_of(directory: &Path) -> Option<InitProcess> {
    let process = |pid| started(pid).map(|started| InitProcess { pid, started });
    let mut all: Vec<InitProcess> = pids(directory).into_iter().filter_map(process).collect();
    all.sort_by_key(|process| process.started);
    all.into_iter().find(|process| !is_runtime(process.pid))
}

/// Whether a process is runc, which prepares the container: two processes of it end before the third executes the
/// command of the container (`libcontainer/nsenter/nsexec.c`). None is a process of the container before that.
fn is_runtime(pid: u32) -> bool {
    let Ok(command) = crate::sys::read_limited(format!("/proc/{pid}/cmdline"), SHORT) else { return false };
    let program = command.strip_suffix("\0init\0");
    program.is_some_and(|program| program.rsplit('/').next() == Some("runc"))
}

fn started(pid: u32) -> Option<u64> {
    let stat = crate::sys::read_regular(format!("/proc/{pid}/stat"), SHORT).ok()?;
    process::start_time(&stat)
}

/// Whether the process of a group is the pause process of a pod.
pub(super) fn is_pause(directory: &Path) -> bool {
    let first = pids(directory).into_iter().next();
    let name = first.and_then(|pid| crate::sys::read_limited(format!("/proc/{pid}/comm"), SHORT).ok());
    name.is_some_and(|name| name.trim_end() == "pause")
}
