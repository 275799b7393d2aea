//! Files below `/var/log` that processes of containers and services have open for writing, by a walk over `/proc`.
//!
//! What a process has open is a link `/proc/PID/fd/N` with the path as the process sees it, and whether it may write is in
//! `flags` of `/proc/PID/fdinfo/N` (`proc_pid_fdinfo(5)`). Directories of logs that are found in another way are skipped.

#![expect(clippy::disallowed_methods, reason = "a walk has a budget")]

use crate::host::inventory::Container;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one walk may take; the next goes on where it ended.
const BUDGET: Duration = Duration::from_millis(100);

/// Below here files are logs.
const LOGS: &str = "/var/log";

/// What is below here is read from elsewhere.
const ELSEWHERE: [&str; 3] = ["/var/log/pods", "/var/log/containers", "/var/log/journal"];

/// `O_ACCMODE` of the flags: 0 is reading alone (`include/uapi/asm-generic/fcntl.h`).
const ACCESS: u32 = 0o3;

/// Most that is read of a small file of `/proc`.
const SHORT: u64 = 16 * 1024;

/// A file that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenFile {
    /// The number of the container.
    pub(super) container: u64,
    /// A process that has it open.
    pub(super) pid: u32,
    /// Its path as the process sees it.
    pub(super) path: PathBuf,
}

/// What the walks have found.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// By device and inode; each with the number of the walk around that has seen it last.
    known: HashMap<(u64, u64), (OpenFile, u64)>,
    /// The process before the one where the next walk begins.
    after: u32,
    /// How often the walks have come around.
    round: u64,
    /// Processes whose files this process may not look at, in the walk around.
    closed: usize,
    /// The same, in the last whole one.
    pub(super) denied: usize,
}

impl OpenFiles {
    /// Walks on; all that is known to be open.
    pub(super) fn walk(&mut self, containers: &[Container]) -> impl Iterator<Item = &OpenFile> {
        let running = containers.iter().filter(|container| !container.ended);
        let groups: HashMap<&str, u64> =
            running.map(|container| (&*container.cgroup, container.who.number)).collect();
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
            if let Some(container) = container(*pid, &groups) {
                self.process(*pid, container);
            }
        }
        if !late {
            self.around(&groups);
        }
        self.known.values().map(|(file, _)| file)
    }

    /// Every process was passed by: what was not seen this time and the time before is not open any more.
    fn around(&mut self, groups: &HashMap<&str, u64>) {
        self.after = 0;
        self.denied = std::mem::take(&mut self.closed);
        let round = self.round;
        self.known.retain(|_, (file, seen)| {
            *seen + 1 >= round && groups.values().any(|number| *number == file.container)
        });
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
            let descriptor = entry.path();
            let Ok(path) = std::fs::read_link(&descriptor) else { continue };
            if !is_log(&path) || !is_for_writing(pid, &entry.file_name()) {
                continue;
            }
            let Some(found) = std::fs::metadata(&descriptor).ok().filter(Metadata::is_file) else { continue };
            let file = OpenFile { container, pid, path };
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

/// Whether a path, as a process has it open, is a log that is found in no other way. A file that was removed is none.
fn is_log(path: &Path) -> bool {
    path.starts_with(LOGS)
        && !ELSEWHERE.iter().any(|elsewhere| path.starts_with(elsewhere))
        && !path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
}

fn is_for_writing(pid: u32, descriptor: &std::ffi::OsStr) -> bool {
    let info = format!("/proc/{pid}/fdinfo/{}", descriptor.to_string_lossy());
    let info = crate::sys::read_limited(info, SHORT).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS != 0)
}

/// The container of a process: the one whose control group it is in, or in one below.
fn container(pid: u32, groups: &HashMap<&str, u64>) -> Option<u64> {
    let text = crate::sys::read_limited(format!("/proc/{pid}/cgroup"), SHORT).ok()?;
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|path| {
        let above = Path::new(path).ancestors().filter_map(Path::to_str);
        above.filter(|path| *path != "/").find_map(|path| groups.get(path)).copied()
    })
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
