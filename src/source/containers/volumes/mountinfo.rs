//! Mounts with a block device behind them, of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`), pure.
//!
//! A file system without a block device (overlay, tmpfs, NFS, btrfs) has a device number with the major number 0
//! (`set_anon_super` in `fs/super.c`).

use crate::host::cgroup::unescaped;
use std::collections::BTreeMap;

/// Files, not directories, that engines and the kubelet mount into every container.
const FILES: [&str; 4] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/dev/termination-log"];

/// What the kernel writes behind the path of a mount whose directory was removed.
const REMOVED: &[u8] = b"//deleted";

/// A mount with a block device behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockMount {
    /// Number of the block device, major and minor.
    pub device: (u32, u32),
    /// Path in the file system of what is mounted; `/` for all of it.
    pub root: Vec<u8>,
    /// Mount point, as the container sees it.
    pub point: Vec<u8>,
}

/// The mounts with a block device, one for each mount point: of several, the latest, which covers the others. The order is
/// that of the mount points. A line that is not understood, and the last one if it was cut off, is skipped.
pub fn parse(text: &[u8]) -> Vec<BlockMount> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    let mut found = BTreeMap::new();
    for (point, mount) in lines.filter_map(line) {
        // What covers it may have no block device.
        found.insert(point, mount);
    }
    found.into_values().flatten().collect()
}

/// The mount point of a line, and the mount if it has a block device.
fn line(line: &[u8]) -> Option<(Vec<u8>, Option<BlockMount>)> {
    let line = std::str::from_utf8(line).ok()?;
    let mut fields = line.split(' ').skip(2);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    let (major, minor) = device.split_once(':')?;
    let device: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    // Where the optional fields end: a line without that was cut off.
    fields.find(|field| *field == "-")?;
    let (root, point) = (unescaped(root), unescaped(point));
    let is_wanted = device.0 != 0
        && point.starts_with(b"/")
        && !root.ends_with(REMOVED)
        && !FILES.iter().any(|file| file.as_bytes() == point);
    let mount = is_wanted.then(|| BlockMount { device, root, point: point.clone() });
    Some((point, mount))
}
