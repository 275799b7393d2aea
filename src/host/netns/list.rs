//! Lists of network namespaces: directories, mounts and processes.

use crate::reading::SourceError;
use crate::sys::namespace;
use rustix::thread::CapabilitySet;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Maximum number of processes remembered for a namespace, for its container's name and its age.
pub(super) const PROCESSES: usize = 16;

/// The names in a directory; none if it cannot be listed.
pub(super) fn names(dir: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// The files that match a pattern, sorted; the error has the directory that is not accessible.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let text = pattern.display().to_string();
    // The crate `glob` treats an inaccessible directory as empty.
    let plain = pattern.ancestors().find(|path| !super::is_pattern(&path.display().to_string()));
    if let Some(directory) = plain
        && let Err(error) = std::fs::read_dir(directory)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err((directory.to_owned(), error));
    }
    let paths = glob::glob(&text).map_err(|error| (pattern.to_owned(), io::Error::other(error)))?;
    paths.map(|path| path.map_err(|error| (error.path().to_owned(), error.into()))).collect()
}

/// Mount points of network namespaces in this process' mount namespace (`proc_pid_mountinfo(5)`): the root of such a
/// mount is `net:[INODE]`.
pub(super) fn mounts() -> Vec<PathBuf> {
    let text = std::fs::read("/proc/thread-self/mountinfo").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        root.starts_with("net:[").then(|| OsString::from_vec(crate::host::cgroup::unescaped(point)).into())
    });
    let mut mounts: Vec<PathBuf> = mounts.collect();
    mounts.sort_unstable();
    mounts
}

/// Whether a program generated the name or path of a namespace: it contains a UUID or a long hexadecimal number, as in
/// CNI (`cni-UUID`), CRI-O and podman.
pub(super) fn is_made_up(name: &str) -> bool {
    let hexadecimal = |text: &&str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let file = name.rsplit('/').next().unwrap_or(name);
    file.split('-').filter(hexadecimal).count() > 0
}

/// The visible processes, and the number of those whose network namespace is not.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// PID and network namespace of each process, ordered by PID.
    pub(super) namespaces: Vec<(u32, (u64, u64))>,
    /// Number of processes that may not be inspected.
    denied: usize,
}

impl Processes {
    /// Lists the processes in `/proc`.
    pub(super) fn list() -> Self {
        let mut processes = Self::default();
        let mut pids: Vec<u32> = names("/proc").filter_map(|name| name.parse().ok()).collect();
        pids.sort_unstable();
        for pid in pids {
            let path = Path::new("/proc").join(pid.to_string()).join("ns/net");
            match namespace::file_identity(&path) {
                Ok(file) => processes.namespaces.push((pid, file)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => processes.denied += 1,
                // The process has ended.
                Err(_) => {}
            }
        }
        processes
    }

    /// The reason why these processes may not have all network namespaces: an error if a capability would help,
    /// otherwise a note.
    pub(super) fn incomplete(&self) -> (Option<SourceError>, Option<String>) {
        let doing = "looking for all network namespaces";
        if self.namespaces.is_empty() && self.denied == 0 {
            let cause = "/proc shows no processes; is it mounted?";
            return (Some(SourceError::absent(doing, cause)), None);
        }
        // Process 1 exists in every PID namespace.
        let cause = if self.denied > 0 {
            let all = self.denied + self.namespaces.len();
            format!("those of {} of {all} processes cannot be seen", self.denied)
        } else if std::fs::metadata("/proc/1").is_err() {
            "those of other users' processes cannot be seen: /proc hides them (hidepid)".to_owned()
        } else if own_pid_namespace() {
            let note =
                "those of processes outside the agent's PID namespace are not found (in Kubernetes: hostPID)";
            return (None, Some(note.to_owned()));
        } else {
            return (None, None);
        };
        let held = rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
        if held {
            // Processes in another user namespace, or restricted by a security module.
            (None, Some(format!("{cause}, though CAP_SYS_PTRACE is held")))
        } else {
            (Some(SourceError::denied(doing, "CAP_SYS_PTRACE", cause)), None)
        }
    }
}

/// `PROC_PID_INIT_INO` of `include/linux/proc_ns.h`: the inode of the initial PID namespace.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process is in another PID namespace than the initial one, and so does not see every process.
fn own_pid_namespace() -> bool {
    std::fs::read_link("/proc/thread-self/ns/pid").is_ok_and(|link| link != Path::new(FIRST_PID_NAMESPACE))
}

/// Earliest start time of these processes, in clock ticks since boot.
pub(super) fn oldest(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| started(*pid)).min().unwrap_or(u64::MAX)
}

/// Start time of a process: field 22 of `/proc/PID/stat` (`proc_pid_stat(5)`).
fn started(pid: u32) -> Option<u64> {
    crate::host::process::start_time(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}
