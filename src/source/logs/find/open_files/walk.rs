//! By a walk over `/proc`, where no program may be loaded.
//!
//! What a process has open is a link `/proc/PID/fd/N` with the path as the process sees it, and whether it may write is in
//! `flags` of `/proc/PID/fdinfo/N` (`proc_pid_fdinfo(5)`).

#![expect(clippy::disallowed_methods, reason = "a walk has a budget")]

use super::{OpenFile, Owners, SHORT, is_log};
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Maximum time of one walk; the next continues where it ended.
const BUDGET: Duration = Duration::from_millis(100);

/// `O_ACCMODE` of the flags: 0 is reading alone (`include/uapi/asm-generic/fcntl.h`).
const ACCESS: u32 = 0o3;

/// Result of the walks so far.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// By device and inode; each with the number of the walk around that has seen it last.
    known: HashMap<(u64, u64), (OpenFile, u64)>,
    /// The process before the one where the next walk begins.
    after: u32,
    /// Number of complete rounds over all processes.
    round: u64,
    /// Processes whose files this process may not look at, in the walk around.
    closed: usize,
    /// The same, of the last complete round.
    pub(super) denied: usize,
}

impl Walk {
    /// Walks on; all that is known to be open.
    pub(super) fn on(&mut self, owners: &mut Owners<'_>) -> Vec<OpenFile> {
        let ends = Instant::now() + BUDGET;
        let mut pids = pids();
        pids.sort_unstable();
        let from = pids.partition_point(|pid| *pid <= self.after);
        let mut late = false;
        for pid in pids.get(from..).unwrap_or_default() {
            late = Instant::now() >= ends;
            if late {
                break;
            }
            self.after = *pid;
            if let Some(container) = owners.of_process(*pid) {
                self.process(*pid, container);
            }
        }
        if !late {
            self.around(owners);
        }
        self.known.values().map(|(file, _)| file.clone()).collect()
    }

    /// Every process was passed by: what was not seen this time and the time before is not open any more.
    fn around(&mut self, owners: &Owners<'_>) {
        self.after = 0;
        self.denied = std::mem::take(&mut self.closed);
        let round = self.round;
        self.known.retain(|_, (file, seen)| *seen + 1 >= round && owners.has(file.container));
        self.round += 1;
    }

    fn process(&mut self, pid: u32, container: u64) {
        let entries = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) => {
                self.closed += usize::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                return;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let link = entry.path();
            let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = match std::fs::read_link(&link) {
                Ok(path) => path,
                // To list them takes less than to look at one.
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    self.closed += 1;
                    return;
                }
                Err(_) => continue,
            };
            if !is_log(&path) || !is_for_writing(pid, descriptor) {
                continue;
            }
            let Some(found) = std::fs::metadata(&link).ok().filter(Metadata::is_file) else { continue };
            let file = OpenFile { container, pid, descriptor, inode: found.ino(), path };
            let round = self.round;
            self.known
                .entry((found.dev(), found.ino()))
                .and_modify(|(known, seen)| {
                    // The first process may be gone; the container stays the same.
                    if known.container == file.container && *seen < round {
                        *known = file.clone();
                    }
                    *seen = round;
                })
                .or_insert((file, round));
        }
    }
}

fn is_for_writing(pid: u32, descriptor: u32) -> bool {
    let info =
        crate::sys::read_limited(format!("/proc/{pid}/fdinfo/{descriptor}"), SHORT).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS != 0)
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
