//! From the cgroup id in a `sock_diag` message to the cgroup's path.
//!
//! `INET_DIAG_CGROUP_ID` (Linux 5.8) is the inode of the directory in the cgroup v2 hierarchy that the process was in
//! when it made the socket; the root is 1. A directory is never renamed and its inode is not used again, so an id that a
//! walk over the whole tree did not find will not be found later either. What a walk did not find that left something
//! out, the next one may.
//!
//! Controllers that are mounted as cgroup v1 are not in the ids. Where all are, or where v2 is mounted beside them and
//! nobody makes cgroups in it, every socket is in the root, and `/proc/PID/cgroup` of its process says more. Before
//! Linux 5.15 that is so, too, for sockets made after somebody has used the v1 controllers `net_cls` or `net_prio`
//! (`cgroup_sk_alloc_disable`).

#![expect(clippy::disallowed_methods, reason = "a walk has a budget, and is not repeated for a while")]

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

/// Ids that are remembered not to be found. A socket can outlive its cgroup, so there are always some.
const REMEMBERED: usize = 4096;

/// How long after a walk over the cgroups an unknown id may cause the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a walk over the cgroups may take.
const WALK: Duration = Duration::from_millis(100);

/// The kernel names at most 4096 characters of a path in `/proc/PID/cgroup`, and knows about 16 hierarchies.
const MOST: u64 = 128 * 1024;

/// What a walk over the cgroups is bounded by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Directories that are kept.
    pub directories: usize,
    /// Bytes of their paths together. One path can have 4 KiB and more.
    pub text: usize,
    /// Levels below the root that are looked at.
    pub depth: usize,
    /// How long a walk may take.
    pub budget: Duration,
    /// From one walk to the next.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { directories: 10_000, text: 4 << 20, depth: 16, budget: WALK, pause: PAUSE }
    }
}

/// How the latest walk went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walk {
    /// Directories whose ids are known.
    pub known: usize,
    /// Directories that are known to be there, and were not looked at because of a limit or were closed to this process.
    /// What is below them is not in the number.
    pub left_out: usize,
    /// Whether it was the time that was not enough.
    pub cut_short: bool,
    /// Duration of the walk.
    pub took: Duration,
}

/// The paths of the cgroups by their ids.
#[derive(Debug)]
pub struct Cgroups {
    root: OwnedFd,
    /// What the mount shows is this far below the root of the hierarchy; empty as a rule.
    above: String,
    /// What the next walk is bounded by.
    pub limits: Limits,
    paths: HashMap<u64, Arc<str>>,
    unknown: HashSet<u64>,
    /// Not found by the latest walk, which did not go over all.
    missed: HashSet<u64>,
    /// Asked for between two walks.
    waiting: HashSet<u64>,
    walked: Option<Instant>,
    walk: Walk,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Cgroups {
    /// Those of the cgroup v2 mount with the widest view; absent where only cgroup v1 is mounted.
    pub fn new() -> Result<Self, SourceError> {
        Self::of(&Mount::widest()?)
    }

    /// Those of one mount, of either version.
    pub fn of(mount: &Mount) -> Result<Self, SourceError> {
        let mut cgroups = Self::at(&mount.point, Limits::default())?;
        cgroups.above.clone_from(&mount.above);
        Ok(cgroups)
    }

    /// Those below one directory.
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

    /// The path of a cgroup below the mount: `/system.slice/sshd.service`; `/` is the root. It is whole and may hold control
    /// characters, as directories are found by it: what shows it cuts and cleans it. An id that is not known
    /// causes a walk, if the last one is long enough ago.
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
            self.look();
        }
        self.paths.get(&id).map(Arc::clone)
    }

    /// Whether the walk that looks for an id is still to come: nobody can say yet whose path it is.
    pub fn waits(&self, id: u64) -> bool {
        id != 0 && !self.paths.contains_key(&id) && !self.unknown.contains(&id) && !self.missed.contains(&id)
    }

    /// The id and the path of each that the latest walk knows.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Arc<str>)> {
        self.paths.iter().map(|(id, path)| (*id, path))
    }

    /// How the latest walk went.
    pub fn latest(&self) -> Walk {
        self.walk
    }

    /// Walks over the tree now. What is gone is forgotten.
    pub fn look(&mut self) {
        let started = Instant::now();
        let mut tree = Tree::new(self.limits, started + self.limits.budget);
        tree.walk(&self.root, &self.above, &mut self.buffer);
        if tree.cut_short {
            // What there was no time for is not known to be gone.
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
        self.walk = Walk { known: self.paths.len(), left_out, cut_short, took: started.elapsed() };
        self.walked = Some(Instant::now());
    }
}

/// One walk, level by level: services and containers are near the root, and what they make themselves is below.
#[derive(Debug)]
struct Tree {
    limits: Limits,
    ends: Instant,
    paths: HashMap<u64, Arc<str>>,
    /// Bytes of the paths.
    text: usize,
    left_out: usize,
    cut_short: bool,
}

/// A directory to be listed.
struct Directory {
    /// From the root, without a slash at the beginning.
    path: String,
    depth: usize,
    /// Number of directories below.
    below: usize,
}

impl Tree {
    fn new(limits: Limits, ends: Instant) -> Self {
        Self { limits, ends, paths: HashMap::new(), text: 0, left_out: 0, cut_short: false }
    }

    /// Whether one more path, of so many bytes, is kept.
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
                // Removed in the meantime, or closed to this process.
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
            // Most entries are the controllers' files.
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // With the slashes.
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

/// Directories in a directory: kernfs counts them in its links (`kernfs_refresh_inode` in `fs/kernfs/inode.c`), so that
/// what has none, and most have none, is not listed.
fn below(stat: &rustix::fs::Stat) -> usize {
    usize::try_from(stat.st_nlink).unwrap_or(usize::MAX).saturating_sub(2)
}

fn path_or_dot(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// The cgroup of a process, as [`Cgroups::path`] has it, by the hierarchy that says most; `None` if the process is gone or in the root of all.
pub fn of_process(pid: u32) -> Option<Arc<str>> {
    let text = crate::sys::read_limited(format!("/proc/{pid}/cgroup"), MOST).ok()?;
    membership(&text).map(Into::into)
}

/// Whether this process is in a cgroup of version 1, be it the root.
pub fn has_version_1() -> bool {
    let text = crate::sys::read_limited("/proc/thread-self/cgroup", MOST).unwrap_or_default();
    text.lines().any(|line| !line.starts_with("0::"))
}

/// The path that says most in the text of a `/proc/PID/cgroup` (`cgroups(7)`: lines `number:controllers:path`).
///
/// In cgroup v1 each hierarchy has its own: engines put a container into all of them, systemd a service into some and
/// its slice into the others. So a path with a container is better than one with a unit, that than any other, and the
/// root says nothing. Of equals it is the first of `memory`, `cpu`, `pids`, `name=systemd` and the rest; v2 is last,
/// because older runc did not put containers into it where it is mounted beside v1.
pub fn membership(text: &str) -> Option<&str> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        // The kernel says so of a cgroup that was removed while a process that has ended is still in it.
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
