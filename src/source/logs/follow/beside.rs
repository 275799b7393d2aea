//! Files beside a log that were in its place: its name, then `.` or `-`, then a digit.

use super::opening::id;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Ends of names of files that were compressed. They are left out: what is in them has been read, as a rule.
const PACKED: [&str; 5] = [".gz", ".xz", ".bz2", ".zst", ".tmp"];

/// The name of the log whose former file this may be: what is before each `.` or `-` with a digit after it.
fn logs_of(name: &OsStr) -> impl Iterator<Item = &OsStr> {
    let bytes = name.as_bytes();
    let plain = !PACKED.iter().any(|end| bytes.ends_with(end.as_bytes()));
    let starts = bytes.windows(2).enumerate().filter(move |(place, pair)| {
        plain && *place > 0 && matches!(pair, [b'.' | b'-', digit] if digit.is_ascii_digit())
    });
    starts.filter_map(|(place, _)| bytes.get(..place).map(OsStr::from_bytes))
}

/// A directory that can be named, as long as this lives.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    _open: Option<OwnedFd>,
}

impl Directory {
    /// The one at a path; below another root no link is followed.
    pub(super) fn of(path: &Path, root: Option<&Path>) -> io::Result<Self> {
        let Some(root) = root else { return Ok(Self { path: path.to_owned(), _open: None }) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        Ok(Self { path, _open: Some(open) })
    }

    /// Files that were in the place of a name, the oldest first.
    pub(super) fn siblings(&self, name: &OsStr) -> Vec<(PathBuf, Metadata)> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        self.of_names(names.filter(|other| logs_of(other).any(|log| log == name)))
    }

    fn of_names(&self, names: impl Iterator<Item = OsString>) -> Vec<(PathBuf, Metadata)> {
        let paths = names.map(|name| self.path.join(name));
        let mut siblings: Vec<(PathBuf, Metadata)> = paths
            .filter_map(|path| Some((std::fs::symlink_metadata(&path).ok()?, path)))
            .filter_map(|(found, path)| found.is_file().then_some((path, found)))
            .collect();
        // Two that were written to in the same tick of the kernel's clock: `.2` is older than `.1`, as names are given.
        let number = |path: &Path| path.extension()?.to_str()?.parse::<u32>().ok();
        siblings.sort_by_cached_key(|(path, found)| {
            let modified = found.modified().ok();
            (modified, Reverse(number(path)), path.clone())
        });
        siblings
    }

    /// Files that were in the place of a name before the one that is there now, the oldest first. They are taken from the
    /// listing where that has this one, and was made after the others were renamed therefore.
    pub(super) fn before(
        &self,
        name: &OsStr,
        there: &Metadata,
        listing: &Listing,
    ) -> Vec<(PathBuf, Metadata)> {
        if listing.has(name, id(there).1) {
            self.of_names(listing.of(name).map(OsStr::to_owned))
        } else {
            self.siblings(name)
        }
    }
}

/// The names in a directory with their inodes: one listing for all of the logs that are found in it at once.
#[derive(Debug)]
pub struct Listing(Vec<(Box<[u8]>, u64)>);

impl Listing {
    /// Lists a directory; nothing where it cannot be read.
    pub(crate) fn new(directory: &Path) -> Arc<Self> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        let name = |entry: std::fs::DirEntry| (entry.file_name().into_vec().into_boxed_slice(), entry.ino());
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort_unstable();
        Arc::new(Self(names))
    }

    fn from(&self, name: &[u8]) -> impl Iterator<Item = &(Box<[u8]>, u64)> {
        let from = self.0.partition_point(|(other, _)| &**other < name);
        self.0.get(from..).unwrap_or_default().iter()
    }

    fn has(&self, name: &OsStr, inode: u64) -> bool {
        self.from(name.as_bytes())
            .next()
            .is_some_and(|(other, found)| &**other == name.as_bytes() && *found == inode)
    }

    fn of(&self, name: &OsStr) -> impl Iterator<Item = &OsStr> {
        let others = self.from(name.as_bytes()).map(|(other, _)| OsStr::from_bytes(other));
        let begins = others.take_while(move |other| other.as_bytes().starts_with(name.as_bytes()));
        begins.filter(move |other| logs_of(other).any(|log| log == name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Listing, logs_of};
    use std::ffi::OsStr;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn former_files_have_the_name_of_the_log_and_a_number_or_a_date() {
        let of = |name: &'static str| {
            logs_of(OsStr::new(name)).map(|log| log.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("app.log.1"), ["app.log"]);
        assert_eq!(of("app.log-20261126"), ["app.log"]);
        assert_eq!(of("0.log.20261126-050000"), ["0.log", "0.log.20261126"]);
        assert_eq!(of("app-1.log.2"), ["app", "app-1.log"]);
        for none in ["app.log", "app.log.1.gz", ".1", "app.log.old", "app.log.1.tmp"] {
            assert!(of(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn a_listing_has_what_was_beside_each_log() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.log", "b.log.1", "b.log.10", "b.log-2", "b.log.gz", "a.log", "b.logs.1", "c"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let listing = Listing::new(directory.path());
        let beside: Vec<&OsStr> = listing.of(OsStr::new("b.log")).collect();
        assert_eq!(beside, ["b.log-2", "b.log.1", "b.log.10"]);
        let inode = std::fs::metadata(directory.path().join("b.log")).unwrap().ino();
        assert!(listing.has(OsStr::new("b.log"), inode));
        assert!(!listing.has(OsStr::new("b.log"), inode + 1) && !listing.has(OsStr::new("b.lo"), inode));
    }
}
