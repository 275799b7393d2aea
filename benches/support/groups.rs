//! Control groups of a benchmark, which the agent takes for containers by their names.

use std::path::{Path, PathBuf};

/// The hierarchy that containers are known by, as in `bpf/group.h`.
pub(crate) fn hierarchy() -> PathBuf {
    let memory = Path::new("/sys/fs/cgroup/memory");
    let name = format!("connscope-bench-{}", std::process::id());
    if memory.is_dir() { memory } else { Path::new("/sys/fs/cgroup") }.join(name)
}

/// The directory of the control group of a container.
pub(crate) fn directory(number: usize) -> PathBuf {
    hierarchy().join(format!("{number:064x}"))
}

/// Removes the control groups.
pub(crate) fn remove_groups() {
    let Ok(groups) = std::fs::read_dir(hierarchy()) else { return };
    for group in groups.flatten().filter(|entry| entry.path().is_dir()) {
        let _busy_or_not = std::fs::remove_dir(group.path());
    }
    let _busy_or_not = std::fs::remove_dir(hierarchy());
}
