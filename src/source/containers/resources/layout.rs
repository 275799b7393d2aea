//! Where the files of a container's control groups are: in the hierarchies of version 1 that have the controllers, and in
//! version 2 for those that version 1 does not have.

use crate::host::cgroup::{self, Mount};
use crate::host::inventory::Directory;
use crate::reading::SourceError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most that is read of `/proc/thread-self/cgroup`.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Files of the I/O controller of version 1 that count what the groups below have used too.
pub(super) const RECURSIVE: [&str; 2] =
    ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"];
/// The same of the group by itself.
const OWN: [&str; 2] = ["blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"];

/// The controllers that resources are read of, in the order of [`Layout::version_1`].
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "blkio"];

/// The hierarchies that resources are read from.
#[derive(Debug)]
pub(super) struct Layout {
    /// Of `cpu`, `cpuacct`, `memory` and `blkio`; `None` of what is not mounted as version 1.
    version_1: [Option<Mount>; 4],
    /// Version 2, if it is mounted.
    version_2: Option<Mount>,
    /// Files of the I/O controller of version 1.
    pub(super) io: [&'static str; 2],
}

/// The groups of one container, by their paths in the hierarchies of [`CONTROLLERS`] and in version 2; `None` where it has none.
#[derive(Debug, Default)]
pub(super) struct Places([Option<Arc<str>>; 5]);

/// The directories of one container; `None` where it has no group.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pub(super) cpu: Option<PathBuf>,
    pub(super) cpuacct: Option<PathBuf>,
    pub(super) memory: Option<PathBuf>,
    pub(super) blkio: Option<PathBuf>,
    pub(super) version_2: Option<PathBuf>,
}

impl Places {
    /// Whether there is one in every hierarchy that resources are read from.
    pub(super) fn are_complete(&self, layout: &Layout) -> bool {
        self.0.iter().zip(layout.mounts()).all(|(place, mount)| place.is_some() || mount.is_none())
    }
}

impl Layout {
    /// Looks at what is mounted.
    pub(super) fn find() -> Result<Self, SourceError> {
        let text = crate::sys::read_limited("/proc/thread-self/cgroup", MAX_FILE_BYTES).unwrap_or_default();
        let numbers = cgroup::numbers(&text);
        let mut version_1 = [None, None, None, None];
        for (mount, controller) in version_1.iter_mut().zip(CONTROLLERS) {
            if numbers.iter().any(|(word, _)| word == controller) {
                *mount = Mount::version_1(controller)?;
            }
        }
        let version_2 = match Mount::widest() {
            Ok(mount) => Some(mount),
            Err(_) if version_1.iter().any(Option::is_some) => None,
            Err(error) => return Err(error),
        };
        let [.., blkio] = &version_1;
        let recursive = blkio.as_ref().is_some_and(|mount| mount.point.join(RECURSIVE[0]).exists());
        Ok(Self { version_1, version_2, io: if recursive { RECURSIVE } else { OWN } })
    }

    /// Version 2 alone, in a directory.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        let version_2 = Some(Mount { point: root.to_owned(), above: String::new() });
        Self { version_1: [None, None, None, None], version_2, io: OWN }
    }

    /// The hierarchies of [`CONTROLLERS`], and version 2.
    fn mounts(&self) -> [Option<&Mount>; 5] {
        let [cpu, cpuacct, memory, blkio] = self.version_1.each_ref().map(Option::as_ref);
        [cpu, cpuacct, memory, blkio, self.version_2.as_ref()]
    }

    /// The groups of a container, of those that there are.
    pub(super) fn places(&self, groups: &[Directory]) -> Places {
        Places(self.mounts().map(|mount| place(mount, groups)))
    }

    /// Their directories.
    pub(super) fn directories(&self, places: &Places) -> Directories {
        let mut paths = places.0.iter().zip(self.mounts());
        let [cpu, cpuacct, memory, blkio, version_2] = std::array::from_fn(|_| {
            let (path, mount) = paths.next()?;
            Some(mount?.directory(path.as_deref()?))
        });
        Directories { cpu, cpuacct, memory, blkio, version_2 }
    }

    /// Whether none of these groups is there any more.
    pub(super) fn are_gone(&self, places: &Places) -> bool {
        let is_there = |(path, mount): (&Option<Arc<str>>, Option<&Mount>)| {
            path.as_deref().zip(mount).is_some_and(|(path, mount)| mount.directory(path).is_dir())
        };
        !places.0.iter().zip(self.mounts()).any(is_there)
    }

    /// Mount point of the hierarchy with the CPU controller, up to which limits are looked for.
    pub(super) fn cpu_top(&self) -> Option<&Path> {
        let [cpu, ..] = &self.version_1;
        cpu.as_ref().map(|mount| mount.point.as_path())
    }

    /// Mount point of version 2.
    pub(super) fn top(&self) -> Option<&Path> {
        self.version_2.as_ref().map(|mount| mount.point.as_path())
    }

    /// Whether a controller is one of version 1.
    pub(super) fn is_version_1(&self, controller: &str) -> bool {
        let mut all = CONTROLLERS.iter().zip(&self.version_1);
        all.any(|(name, mount)| *name == controller && mount.is_some())
    }

    /// What there is in words: `v1: cpu, cpuacct, memory, blkio; v2: none`.
    pub(super) fn words(&self) -> String {
        let listed = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let old = CONTROLLERS.iter().zip(&self.version_1).filter(|(_, mount)| mount.is_some());
        let old = listed(old.map(|(name, _)| *name).collect());
        let Some(top) = self.top() else { return format!("v1: {old}; v2: not mounted") };
        let text =
            crate::sys::read_limited(top.join("cgroup.controllers"), MAX_FILE_BYTES).unwrap_or_default();
        let new = text.split_whitespace().filter(|name| ["cpu", "memory", "io"].contains(name)).collect();
        format!("v1: {old}; v2: {}", listed(new))
    }
}

/// The group of a container in a hierarchy. It has the path that it has in one of those where it was found: engines make
/// groups of one path in all.
fn place(mount: Option<&Mount>, groups: &[Directory]) -> Option<Arc<str>> {
    let mount = mount?;
    let group = groups.iter().find(|group| mount.directory(&group.group).is_dir());
    group.map(|group| Arc::clone(&group.group))
}
