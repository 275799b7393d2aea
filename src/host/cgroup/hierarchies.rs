//! Which hierarchies of control groups say where containers and services are.
//!
//! With version 2 alone it is that one. With version 1 every controller has a hierarchy of its own: engines make groups in
//! all of them, systemd in the one that is named after it and in those whose controllers a unit asks for. Where both are
//! mounted, engines and systemd use both.

use super::{Cgroups, MOST, Mount};
use crate::reading::SourceError;

/// The controllers of version 1 that an engine makes a group for, the best known first.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Where systemd keeps its units on machines with version 1.
const SYSTEMD: &str = "name=systemd";

/// One hierarchy, with the control groups in it.
#[derive(Debug)]
pub struct Hierarchy {
    /// Its number, `cgroup_root.hierarchy_id`: 0 is version 2.
    pub number: u32,
    /// `v2`, or what the hierarchy of version 1 is there for: `memory`, `name=systemd`.
    pub word: &'static str,
    /// Mount of the hierarchy.
    pub mount: Mount,
    /// Paths of the control groups by their ids.
    pub groups: Cgroups,
}

/// Those that are mounted here and say who is who: version 2, the first of the controllers `memory`, `cpu` and `pids` that
/// version 1 has, and systemd's. The error is that of version 2 where there is none at all.
pub fn hierarchies() -> Result<Vec<Hierarchy>, SourceError> {
    let numbers = numbers(&crate::sys::read_limited("/proc/thread-self/cgroup", MOST).unwrap_or_default());
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

/// The number of the hierarchy of each controller and of each name, of version 1, in the text of a `/proc/PID/cgroup`.
pub fn numbers(text: &str) -> Vec<(String, u32)> {
    let lines = text.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let number: u32 = number.parse().ok()?;
        let words = rest.split_once(':')?.0;
        (number != 0).then(|| words.split(',').map(move |word| (word.to_owned(), number)))
    });
    lines.flatten().collect()
}

/// Number of the hierarchy and id of a control group, of the key that programs in the kernel have for it (`group_key` in
/// `bpf/cgroup.h`).
pub fn of_key(key: u64) -> (u32, u64) {
    const ID: u32 = 48;
    (u32::try_from(key >> ID).unwrap_or_default(), key & ((1 << ID) - 1))
}
