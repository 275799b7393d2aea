//! Directories of logs, by `inotify(7)`: what is made or renamed in them is known at once, and how often a name was given.
//!
//! An engine that rotates every few milliseconds would be gone by the next look. Where there is no inotify, or no room for
//! another watch (`fs.inotify.max_user_watches`), logs are looked at as often as otherwise.

use crate::stop::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that are read of the events at once.
const BUFFER: usize = 16 * 1024;

/// Names that were given in directories, and how often each.
pub(super) type Given = HashMap<PathBuf, HashMap<OsString, u64>>;

/// The directories that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<OwnedFd>,
    by_number: HashMap<i32, PathBuf>,
    numbers: HashMap<PathBuf, i32>,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn new() -> Self {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        Self { inotify: inotify.ok(), by_number: HashMap::new(), numbers: HashMap::new() }
    }

    /// Watches a directory; whether it was not watched before.
    pub(super) fn add(&mut self, directory: &Path) -> bool {
        let Some(inotify) = self.inotify.as_ref().filter(|_| !self.numbers.contains_key(directory)) else {
            return false;
        };
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
        let Ok(number) = add_watch(inotify, directory, flags) else { return false };
        self.by_number.insert(number, directory.to_owned());
        self.numbers.insert(directory.to_owned(), number);
        true
    }

    /// Watches none but these any more.
    pub(super) fn keep(&mut self, directories: &HashSet<&Path>) {
        let gone: Vec<PathBuf> =
            self.numbers.keys().filter(|path| !directories.contains(path.as_path())).cloned().collect();
        for path in gone {
            if let (Some(inotify), Some(number)) = (&self.inotify, self.numbers.remove(&path)) {
                self.by_number.remove(&number);
                // It goes by itself with its directory.
                let _gone_already = remove_watch(inotify, number);
            }
        }
    }

    /// Waits for so long, until something happens, or until the agent ends; whether that is so.
    pub(super) fn wait(&self, stop: &Stop, most: Duration) -> bool {
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let killed = stop.killed();
        let mut ends = vec![PollFd::new(&killed, PollFlags::IN)];
        ends.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        let ready = poll(&mut ends, Some(&most)).is_ok();
        ready && ends.first().is_some_and(|killed| killed.revents().contains(PollFlags::IN))
    }

    /// What has happened since it was asked last.
    pub(super) fn given(&mut self) -> Given {
        let mut given = Given::new();
        let Self { inotify: Some(inotify), by_number, numbers } = self else { return given };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let Some(directory) = by_number.get(&event.wd()) else { continue };
            if event.events().contains(ReadFlags::IGNORED) {
                numbers.remove(directory);
                by_number.remove(&event.wd());
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            let names = given.entry(directory.clone()).or_default();
            let count = names.entry(name.to_owned()).or_default();
            *count += u64::from(event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO));
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use crate::stop::Stop;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn names_that_are_given_in_a_directory_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut watch, stop) = (directory.path(), Watch::new(), Stop::new().unwrap());
        assert!(watch.add(path) && !watch.add(path) && !watch.add(&path.join("absent")));
        assert!(!watch.wait(&stop, Duration::ZERO) && watch.given().is_empty());
        for _ in 0..3 {
            std::fs::write(path.join("app.log"), "line\n").unwrap();
            std::fs::rename(path.join("app.log"), path.join("app.log.1")).unwrap();
        }
        assert!(!watch.wait(&stop, Duration::from_mins(1)));
        let given = watch.given();
        let count = |name: &str| given[path][std::ffi::OsStr::new(name)];
        assert_eq!((count("app.log"), count("app.log.1")), (3, 3));
        assert!(watch.given().is_empty());
        watch.keep(&HashSet::new());
        std::fs::write(path.join("app.log"), "line\n").unwrap();
        assert!(watch.given().is_empty());
        stop.kill();
        assert!(watch.wait(&stop, Duration::from_mins(1)));
    }
}
