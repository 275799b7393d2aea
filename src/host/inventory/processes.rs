//! The first process of each container: since when it runs, and whether it is another one than before.
//!
//! The first is the one that was started first of those in the group. One that took over from it (a daemon that puts itself
//! into the background, a master process that was replaced without a gap) was there before the first had ended; one that was
//! started after that is a restart.

use super::entries::Entries;
use super::entry::{InitProcess, TopGroup};
use crate::host::cgroup::{Hierarchy, descendants, pids};
use crate::host::process;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// Most that is read of `stat` and `comm`.
const SHORT: u64 = 2048;

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, 100 on every architecture that is supported.
const TICKS: u64 = 100;

/// Time since the machine was started, in ticks.
pub(super) fn since_boot() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let ticks = time.tv_sec.saturating_mul(100).saturating_add(time.tv_nsec / 10_000_000);
    u64::try_from(ticks).unwrap_or_default()
}

/// Ticks as seconds.
#[expect(clippy::cast_precision_loss, reason = "a hundred thousand years fit")]
pub(super) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS as f64
}

/// Looks at the first process of everything that is there.
pub(super) fn look(entries: &mut Entries, hierarchies: &[Hierarchy]) {
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

/// The process of a group that was started first; one of the groups below where there are no others: a group of version 2
/// with controllers for those below has no process of its own.
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

/// Whether a process is runc's, which makes the container ready: two of them go before the third becomes what the container
/// runs (`libcontainer/nsenter/nsexec.c`), and none is a process of the container before that.
fn is_runtime(pid: u32) -> bool {
    let Ok(command) = crate::sys::read_limited(format!("/proc/{pid}/cmdline"), SHORT) else { return false };
    let program = command.strip_suffix("\0init\0");
    program.is_some_and(|program| program.rsplit('/').next() == Some("runc"))
}

fn started(pid: u32) -> Option<u64> {
    let stat = crate::sys::read_regular(format!("/proc/{pid}/stat"), SHORT).ok()?;
    process::start_time(&stat)
}

/// Whether what runs in a group is what holds the namespaces of a pod.
pub(super) fn is_pause(directory: &Path) -> bool {
    let first = pids(directory).into_iter().next();
    let name = first.and_then(|pid| crate::sys::read_limited(format!("/proc/{pid}/comm"), SHORT).ok());
    name.is_some_and(|name| name.trim_end() == "pause")
}
