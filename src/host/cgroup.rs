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
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod container;

pub use container::{container, pod, unit};

/// Ids that are remembered not to be found. A socket can outlive its cgroup, so there are always some.
const REMEMBERED: usize = 4096;

/// How long after a walk over the cgroups an unknown id may cause the next one.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a walk over the cgroups may take.
const WALK: Duration = Duration::from_millis(100);

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// The kernel names at most 4096 characters of a path in `/proc/PID/cgroup`, and knows about 16 hierarchies.
const MOST: u64 = 128 * 1024;

/// What a walk over the cgroups is bounded by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Directories that are kept.
    pub directories: usize,
    /// Levels below the root that are looked at.
    pub depth: usize,
    /// How long a walk may take.
    pub budget: Duration,
    /// From one walk to the next.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { directories: 10_000, depth: 16, budget: WALK, pause: PAUSE }
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
    /// How long it took.
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
        let mount = Mount::widest()?;
        let mut cgroups = Self::at(&mount.point, Limits::default())?;
        cgroups.above = mount.above;
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

    /// The path of a cgroup below the mount: `/system.slice/sshd.service`; `/` is the root. An id that is not known
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
                if tree.paths.len() < self.limits.directories {
                    tree.paths.entry(id).or_insert(path);
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
    left_out: usize,
    cut_short: bool,
}

/// A directory to be listed.
struct Directory {
    /// From the root, without a slash at the beginning.
    path: String,
    depth: usize,
    /// How many are below it.
    below: usize,
}

impl Tree {
    fn new(limits: Limits, ends: Instant) -> Self {
        Self { limits, ends, paths: HashMap::new(), left_out: 0, cut_short: false }
    }

    fn walk(&mut self, root: &OwnedFd, above: &str, buffer: &mut [MaybeUninit<u8>]) {
        let Ok(stat) = statat(root, c"", AtFlags::EMPTY_PATH) else { return };
        let name = if above.is_empty() { "/" } else { above };
        self.paths.insert(stat.st_ino, name.into());
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
            if self.paths.len() >= self.limits.directories {
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
            self.paths.insert(stat.st_ino, format!("{above}/{path}").into());
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

/// A mount of the cgroup v2 hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub point: PathBuf,
    /// The path in the hierarchy of what is mounted; empty for its root and for what is above this process' own root.
    pub above: String,
}

impl Mount {
    /// The one with the widest view; absent where only cgroup v1 is mounted.
    pub fn widest() -> Result<Self, SourceError> {
        let doing = "looking for a cgroup v2 mount in /proc/thread-self/mountinfo";
        let text = std::fs::read("/proc/thread-self/mountinfo")
            .map_err(|cause| SourceError::from_io(doing, "the permission to read it", cause))?;
        let mounts = mounts(&String::from_utf8_lossy(&text));
        // Another file system may be mounted over it.
        let visible = mounts.into_iter().find(|mount| {
            rustix::fs::statfs(&mount.point).is_ok_and(|answer| answer.f_type == CGROUP2_SUPER_MAGIC)
        });
        visible.ok_or_else(|| {
            let cause = "there is none; with cgroup v1 alone the kernel's cgroup id of every socket is that of the root";
            SourceError::absent(doing, cause)
        })
    }

    /// The id of a control group, by its path in the hierarchy or in full; `None` where there is no such group.
    pub fn id(&self, path: &str) -> Option<u64> {
        let full = if Path::new(path).starts_with(&self.point) {
            PathBuf::from(path)
        } else {
            let below = Path::new(path).strip_prefix(&self.above).unwrap_or(Path::new(path));
            self.point.join(below.strip_prefix("/").unwrap_or(below))
        };
        rustix::fs::stat(&full).ok().map(|stat| stat.st_ino)
    }
}

/// The mounts of cgroup v2 in `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`), the one with the widest view first.
///
/// In a cgroup namespace of its own a container sees its own cgroup as `/`; the host's tree, mounted into it, has a
/// root like `/../..` then.
pub fn mounts(text: &str) -> Vec<Mount> {
    let mut found: Vec<(usize, Mount)> = text.lines().filter_map(mount).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, mount)| mount).collect()
}

fn mount(line: &str) -> Option<(usize, Mount)> {
    let (fields, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = fields.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let outside = root.split('/').filter(|name| *name == "..").count();
    let (rank, above) = match (outside, root) {
        (0, "/") => (1000, String::new()),
        (0, root) => (2000, String::from_utf8_lossy(&unescaped(root)).into_owned()),
        (levels, _) => (1000_usize.saturating_sub(levels), String::new()),
    };
    Some((rank, Mount { point: PathBuf::from(OsString::from_vec(unescaped(point))), above }))
}

/// Undoes what the kernel does to blanks and backslashes in a path: `\040`.
pub(super) fn unescaped(field: &str) -> Vec<u8> {
    let mut parts = field.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                bytes.extend(part.bytes().skip(3));
            }
            None => bytes.extend(std::iter::once(b'\\').chain(part.bytes())),
        }
    }
    bytes
}

/// The cgroup of a process, by the hierarchy that says most; `None` if the process is gone or in the root of all.
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
