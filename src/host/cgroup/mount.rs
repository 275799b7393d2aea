//! Mounts of the cgroup hierarchies.

use crate::reading::SourceError;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// `CGROUP2_SUPER_MAGIC` of `include/uapi/linux/magic.h`.
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// `CGROUP_SUPER_MAGIC` of cgroup v1.
const CGROUP_SUPER_MAGIC: rustix::fs::FsWord = 0x0027_e0eb;

/// A mount of a hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount point.
    pub point: PathBuf,
    /// Path in the hierarchy of the mounted directory; empty for the root and for paths outside of this process' cgroup
    /// namespace.
    pub above: String,
}

impl Mount {
    /// The cgroup v2 mount with the widest view. Absent if only cgroup v1 is mounted.
    pub fn widest() -> Result<Self, SourceError> {
        let doing = "looking for a cgroup v2 mount in /proc/thread-self/mountinfo";
        let text = own_mounts(doing)?;
        visible(mounts(&text), CGROUP2_SUPER_MAGIC).ok_or_else(|| {
            SourceError::absent(
                doing,
                "there is none; cgroup v1 has no ids by which sockets name their groups",
            )
        })
    }

    /// The cgroup v1 mount with the widest view that has a controller (`memory`) or a name (`name=systemd`).
    pub fn version_1(controller: &str) -> Result<Option<Self>, SourceError> {
        let text = own_mounts("looking for mounts of cgroup v1 in /proc/thread-self/mountinfo")?;
        Ok(visible(mounts_of_version_1(&text, controller), CGROUP_SUPER_MAGIC))
    }

    /// The id of a control group, by its path in the hierarchy or in the file system; `None` if it does not exist.
    pub fn id(&self, path: &str) -> Option<u64> {
        let full =
            if Path::new(path).starts_with(&self.point) { PathBuf::from(path) } else { self.directory(path) };
        rustix::fs::stat(&full).ok().map(|stat| stat.st_ino)
    }

    /// The directory of a control group, by its path in the hierarchy.
    pub fn directory(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(&self.above).unwrap_or(Path::new(path));
        self.point.join(below.strip_prefix("/").unwrap_or(below))
    }
}

/// The text of this process' mountinfo.
fn own_mounts(doing: &str) -> Result<String, SourceError> {
    let text = std::fs::read("/proc/thread-self/mountinfo")
        .map_err(|cause| SourceError::from_io(doing, "the permission to read it", cause))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The first mount over which no other file system is mounted.
fn visible(mounts: Vec<Mount>, magic: rustix::fs::FsWord) -> Option<Mount> {
    mounts
        .into_iter()
        .find(|mount| rustix::fs::statfs(&mount.point).is_ok_and(|answer| answer.f_type == magic))
}

/// The mounts of cgroup v2 in `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`), the one with the widest view first.
///
/// In a cgroup namespace of its own, a container sees its own cgroup as `/`; the root of the host's tree, mounted into
/// the container, is then like `/../..`.
pub fn mounts(text: &str) -> Vec<Mount> {
    by_view(text, |kind, _| kind == "cgroup2")
}

/// The mounts of the cgroup v1 hierarchy with this controller or name, the one with the widest view first.
pub fn mounts_of_version_1(text: &str, controller: &str) -> Vec<Mount> {
    by_view(text, |kind, options| kind == "cgroup" && options.split(',').any(|option| option == controller))
}

fn by_view(text: &str, wanted: impl Fn(&str, &str) -> bool) -> Vec<Mount> {
    let mut found: Vec<(usize, Mount)> = text.lines().filter_map(|line| mount(line, &wanted)).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, mount)| mount).collect()
}

fn mount(line: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<(usize, Mount)> {
    let (fields, kind) = line.split_once(" - ")?;
    // Type, source and options of the file system.
    let mut kind = kind.split(' ');
    if !wanted(kind.next()?, kind.nth(1).unwrap_or_default()) {
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

/// Decodes blanks and backslashes as the kernel escapes them in a path: `\040`.
pub fn unescaped(field: &str) -> Vec<u8> {
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
