//! Paths of control groups by their ids, as in `sock_diag` messages.
//!
//! `INET_DIAG_CGROUP_ID` (Linux 5.8) is the inode of the directory in the cgroup v2 hierarchy that the process was in
//! when it created the socket; the root is 1. A directory is never renamed, and its inode is not reused. So an id that
//! a complete walk over the tree did not find does not exist any more; an id that an incomplete walk did not find may
//! be found by the next.
//!
//! Controllers mounted as cgroup v1 are not in the ids. If all are, or if v2 is mounted beside them and unused, every
//! socket is in the root, and `/proc/PID/cgroup` of its process is more specific. Before Linux 5.15 the same holds for
//! sockets created after the v1 controllers `net_cls` or `net_prio` were used (`cgroup_sk_alloc_disable`).

#![expect(clippy::disallowed_methods, reason = "a walk has a budget, and a minimum interval")]

use crate::reading::SourceError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, open, openat, statat};
use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod container;
mod descendants;
mod hierarchies;
mod members;
mod mount;

pub use container::{container, pod, unit};
pub use descendants::descendants;
pub use hierarchies::{Hierarchy, hierarchies, numbers, of_key};
pub use members::pids;
pub use mount::{Mount, mounts, mounts_of_version_1, unescaped};

/// Maximum number of ids that are remembered as not found. A socket can outlive its cgroup, so there are always some.
const REMEMBERED: usize = 4096;

/// Minimum interval between two walks caused by unknown ids.
const PAUSE: Duration = Duration::from_secs(10);

/// Time budget of a walk.
const WALK: Duration = Duration::from_millis(100);

/// Maximum number of bytes read of `/proc/PID/cgroup`: the kernel prints at most 4096 characters of a path, for about
/// 16 hierarchies.
const MAX_FILE_BYTES: u64 = 128 * 1024;

/// Limits of a walk over the control groups.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of directories.
    pub directories: usize,
    /// Maximum size of their paths together, bytes. One path may have 4 KiB and more.
    pub text: usize,
    /// Maximum depth below the root.
    pub depth: usize,
    /// Time budget of a walk.
    pub budget: Duration,
    /// Minimum interval between two walks.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { directories: 10_000, text: 4 << 20, depth: 16, budget: WALK, pause: PAUSE }
    }
}

/// Result of the latest walk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walk {
    /// Number of directories whose ids are known.
    pub directories: usize,
    /// Number of directories that were skipped because of a limit or of missing permissions. Directories below them are
    /// not counted.
    pub left_out: usize,
    /// Whether the time budget was exceeded.
    pub cut_short: bool,
    /// Duration of the walk.
    pub duration: Duration,
}

/// Paths of control groups by id.
#[derive(Debug)]
pub struct Cgroups {
    root: OwnedFd,
    /// Path of the mounted directory in the hierarchy; usually empty, for the root.
    above: String,
    /// Limits of the next walk.
    pub limits: Limits,
    paths: HashMap<u64, Arc<str>>,
    unknown: HashSet<u64>,
    /// Ids that the latest walk did not find, and that was incomplete.
    missed: HashSet<u64>,
    /// Ids requested since the latest walk.
    waiting: HashSet<u64>,
    walked: Option<Instant>,
    walk: Walk,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Cgroups {
    /// Uses the cgroup v2 mount with the widest view. Absent if only cgroup v1 is mounted.
    pub fn new() -> Result<Self, SourceError> {
        Self::of(&Mount::widest()?)
    }

    /// Uses this mount, of either version.
    pub fn of(mount: &Mount) -> Result<Self, SourceError> {
        let mut cgroups = Self::at(&mount.point, Limits::default())?;
        cgroups.above.clone_from(&mount.above);
        Ok(cgroups)
    }

    /// Uses the control groups below a directory.
    pub fn at(directory: &Path, limits: Limits) -> Result<Self, SourceError> {
        let root = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|cause| {
                let doing = format!("opening {}", directory.display());
                SourceError::from_io(doing, "the permission to open it", cause.into())
            })?;
        Ok(Self {
            root,
            above: String::new(),
            limits,
            paths: HashMap::new(),
            unknown: HashSet::new(),
            missed: HashSet::new(),
            waiting: HashSet::new(),
            walked: None,
            walk: Walk::default(),
            buffer: Box::new_uninit_slice(16 * 1024),
        })
    }

    /// The path of a cgroup below the mount: `/system.slice/sshd.service`; `/` is the root. It is whole and may contain
    /// control characters, because directories are found by it; whoever displays it truncates and cleans it. An unknown
    /// id causes a walk, if the minimum interval has passed.
    pub fn path(&mut self, id: u64) -> Option<Arc<str>> {
        if let Some(path) = self.paths.get(&id) {
            return Some(Arc::clone(path));
        }
        if id == 0 || self.unknown.contains(&id) {
            return None;
        }
        if self.waiting.len() < REMEMBERED {
            self.waiting.insert(id);
        }
        if self.walked.is_none_or(|at| at.elapsed() >= self.limits.pause) {
            self.walk();
        }
        self.paths.get(&id).map(Arc::clone)
    }

    /// Whether the next walk may still find the id: until then its path is unknown.
    pub fn is_pending(&self, id: u64) -> bool {
        id != 0 && !self.paths.contains_key(&id) && !self.unknown.contains(&id) && !self.missed.contains(&id)
    }

    /// The id and path of each control group of the latest walk.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.paths.iter().map(|(id, path)| (*id, path))
    }

    /// Result of the latest walk.
    pub fn latest(&self) -> Walk {
        self.walk
    }

    /// Walks over the tree now, and forgets control groups that are gone.
    pub fn walk(&mut self) {
        let started = Instant::now();
        let mut tree = Tree::new(self.limits, started + self.limits.budget);
        tree.walk(&self.root, &self.above, &mut self.buffer);
        if tree.cut_short {
            // A group that an incomplete walk did not reach may still exist.
            for (id, path) in self.paths.drain() {
                if !tree.paths.contains_key(&id) && tree.has_room(path.len()) {
                    tree.insert(id, path);
                }
            }
        }
        self.paths = tree.paths;
        if self.unknown.len() + self.waiting.len() > REMEMBERED {
            self.unknown.clear();
        }
        let (left_out, cut_short) = (tree.left_out, tree.cut_short);
        let paths = &self.paths;
        let lost = self.waiting.drain().filter(|id| !paths.contains_key(id));
        self.missed.clear();
        if left_out == 0 && !cut_short {
            self.unknown.extend(lost);
        } else {
            self.missed.extend(lost);
        }
        self.walk = Walk { directories: self.paths.len(), left_out, cut_short, duration: started.elapsed() };
        self.walked = Some(Instant::now());
    }
}

/// A breadth-first walk: services and containers are near the root, and their own groups are below.
#[derive(Debug)]
struct Tree {
    limits: Limits,
    ends: Instant,
    paths: HashMap<u64, Arc<str>>,
    /// Size of the paths, bytes.
    text: usize,
    left_out: usize,
    cut_short: bool,
}

/// A directory to be listed.
struct Directory {
    /// Path from the root, without a leading slash.
    path: String,
    depth: usize,
    /// Number of subdirectories.
    below: usize,
}

impl Tree {
    fn new(limits: Limits, ends: Instant) -> Self {
        Self { limits, ends, paths: HashMap::new(), text: 0, left_out: 0, cut_short: false }
    }

    /// Whether another path of this length fits within the limits.
    fn has_room(&self, length: usize) -> bool {
        self.paths.len() < self.limits.directories && self.text + length <= self.limits.text
    }

    fn insert(&mut self, id: u64, path: Arc<str>) {
        self.text += path.len();
        self.paths.insert(id, path);
    }

    fn walk(&mut self, root: &OwnedFd, above: &str, buffer: &mut [MaybeUninit<u8>]) {
        let Ok(stat) = statat(root, c"", AtFlags::EMPTY_PATH) else { return };
        let name = if above.is_empty() { "/" } else { above };
        self.insert(stat.st_ino, name.into());
        let mut queue = VecDeque::from([Directory { path: String::new(), depth: 0, below: below(&stat) }]);
        while let Some(directory) = queue.pop_front() {
            self.cut_short = self.cut_short || Instant::now() >= self.ends && directory.depth > 0;
            if self.cut_short || directory.depth >= self.limits.depth {
                self.left_out += directory.below;
                continue;
            }
            if self.list(root, above, &directory, &mut queue, buffer).is_err() {
                // The directory was removed, or its permissions do not allow it.
                let gone = statat(root, path_or_dot(&directory.path), AtFlags::empty()).is_err();
                self.left_out += if gone { 0 } else { directory.below };
            }
        }
    }

    fn list(
        &mut self,
        root: &OwnedFd,
        above: &str,
        directory: &Directory,
        queue: &mut VecDeque<Directory>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(root, path_or_dot(&directory.path), flags, Mode::empty())?;
        let mut entries = RawDir::new(&file, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            // Most entries are files of controllers.
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // Length with slashes.
            let length = above.len() + directory.path.len() + name.to_bytes().len() + 2;
            if !self.has_room(length) {
                self.left_out += 1;
                continue;
            }
            let Ok(stat) = statat(&file, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let Ok(name) = name.to_str() else {
                self.left_out += 1;
                continue;
            };
            let slash = if directory.path.is_empty() { "" } else { "/" };
            let path = format!("{}{slash}{name}", directory.path);
            self.insert(stat.st_ino, format!("{above}/{path}").into());
            let below = below(&stat);
            if below > 0 {
                queue.push_back(Directory { path, depth: directory.depth + 1, below });
            }
        }
        Ok(())
    }
}

/// Number of subdirectories: kernfs counts them as links of a directory (`kernfs_refresh_inode` in
/// `fs/kernfs/inode.c`), so a directory without any, as most are, is not listed.
fn below(stat: &rustix::fs::Stat) -> usize {
    usize::try_from(stat.st_nlink).unwrap_or(usize::MAX).saturating_sub(2)
}

fn path_or_dot(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// The cgroup of a process, as in [`Cgroups::path`], of the most specific hierarchy; `None` if the process is gone or
/// in the root of all.
pub fn of_process(pid: u32) -> Option<Arc<str>> {
    let text = crate::sys::read_limited(format!("/proc/{pid}/cgroup"), MAX_FILE_BYTES).ok()?;
    membership(&text).map(Into::into)
}

/// Whether this process is in a cgroup v1 hierarchy, including its root.
pub fn has_version_1() -> bool {
    let text = crate::sys::read_limited("/proc/thread-self/cgroup", MAX_FILE_BYTES).unwrap_or_default();
    text.lines().any(|line| !line.starts_with("0::"))
}

/// The most specific path in the text of a `/proc/PID/cgroup` (`cgroups(7)`: lines `number:controllers:path`).
///
/// In cgroup v1 each hierarchy has its own path: engines put a container into all of them, systemd a service into some
/// and its slice into the others. So a path with a container has precedence over one with a unit, which has precedence
/// over any other, and the root comes last. Among equals the order is `memory`, `cpu`, `pids`, `name=systemd`, others;
/// v2 is last, because older runc did not put containers into it if it is mounted beside v1.
pub fn membership(text: &str) -> Option<&str> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        // The kernel appends this to a cgroup that was removed while an ended process is still in it.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let says = match path {
            "/" | "" => return None,
            path if container(path).is_some() => 0,
            path if unit(path).is_some() => 1,
            _ => 2,
        };
        Some(((says, preference(controllers)), path))
    });
    lines.min_by_key(|(rank, _)| *rank).map(|(_, path)| path)
}

fn preference(controllers: &str) -> usize {
    const FIRST: [&str; 4] = ["memory", "cpu", "pids", "name=systemd"];
    let named = controllers.split(',').filter_map(|name| FIRST.iter().position(|first| *first == name)).min();
    named.unwrap_or(if controllers.is_empty() { FIRST.len() + 1 } else { FIRST.len() })
}
