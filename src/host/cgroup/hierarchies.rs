//! The cgroup hierarchies that identify containers and services.
//!
//! Cgroup v2 has one. In v1 every controller has its own: engines create groups in all of them, systemd in the
//! hierarchy with its name and in those of the controllers that a unit uses. If both versions are mounted, engines and
//! systemd use both.

use super::{Cgroups, MAX_FILE_BYTES, Mount};
use crate::reading::SourceError;

/// Controllers of v1 for which every engine creates a group, in order of preference.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// The hierarchy of systemd on machines with v1.
const SYSTEMD: &str = "name=systemd";

/// A hierarchy and its control groups.
#[derive(Debug)]
pub struct Hierarchy {
    /// Number of the hierarchy, `cgroup_root.hierarchy_id`; 0 is v2.
    pub number: u32,
    /// `v2`, or the controller or name of a v1 hierarchy: `memory`, `name=systemd`.
    pub word: &'static str,
    /// Mount of the hierarchy.
    pub mount: Mount,
    /// Paths of the control groups by their ids.
    pub groups: Cgroups,
}

/// The mounted hierarchies that identify containers and services: v2, the first v1 controller of `memory`, `cpu` and
/// `pids`, and systemd's. Without any, the error is that of v2.
pub fn hierarchies() -> Result<Vec<Hierarchy>, SourceError> {
    let numbers =
        numbers(&crate::sys::read_limited("/proc/thread-self/cgroup", MAX_FILE_BYTES).unwrap_or_default());
    let number_of = |word: &str| numbers.iter().find(|(name, _)| name == word).map(|(_, number)| *number);
    let mut found = Vec::new();
    let version_2 = Mount::widest();
    if let Ok(mount) = &version_2 {
        found.push(hierarchy(0, "v2", mount)?);
    }
    let controller = CONTROLLERS.into_iter().find(|word| number_of(word).is_some());
    for word in controller.into_iter().chain([SYSTEMD]) {
        if let (Some(number), Some(mount)) = (number_of(word), Mount::version_1(word)?) {
            found.push(hierarchy(number, word, &mount)?);
        }
    }
    if found.is_empty() { version_2.map(|_| found) } else { Ok(found) }
}

fn hierarchy(number: u32, word: &'static str, mount: &Mount) -> Result<Hierarchy, SourceError> {
    let mount = Mount { point: mount.point.clone(), above: mount.above.clone() };
    Ok(Hierarchy { number, word, groups: Cgroups::of(&mount)?, mount })
}

/// Numbers of the v1 hierarchies, by controller and by name, from the text of a `/proc/PID/cgroup`.
pub fn numbers(text: &str) -> Vec<(String, u32)> {
    let lines = text.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let number: u32 = number.parse().ok()?;
        let words = rest.split_once(':')?.0;
        (number != 0).then(|| words.split(',').map(move |word| (word.to_owned(), number)))
    });
    lines.flatten().collect()
}

/// Hierarchy number and cgroup id of a key that BPF programs use (`group_key` in `bpf/cgroup.h`).
pub fn of_key(key: u64) -> (u32, u64) {
    const ID: u32 = 48;
    (u32::try_from(key >> ID).unwrap_or_default(), key & ((1 << ID) - 1))
}
