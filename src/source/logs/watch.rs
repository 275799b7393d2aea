//! Directories of logs, by `inotify(7)`: a file that is given the name of a log is opened at once, and how often a name was
//! given is counted.
//!
//! An engine that rotates every few milliseconds would have removed the file by the next look, and reading takes its time. So
//! a thread does nothing else: what is open is not lost by being removed. Where there is no inotify, or no room for another
//! watch (`fs.inotify.max_user_watches`), logs are looked at as often as otherwise.

use super::follow::{self, FileIdentity, known};
use crate::stop::Stop;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that are read of the events at once.
const BUFFER: usize = 16 * 1024;

/// Files of one log, and of all, that wait to be read.
const WAITING: usize = 128;
const ALL_WAITING: usize = 512;

/// What happened to a name since it was last asked.
#[derive(Debug, Default)]
pub(super) struct NameEvents {
    /// How often it was given to a file.
    pub(super) count: u64,
    /// The files that could be opened.
    pub(super) files: Vec<(File, Metadata)>,
    seen: HashSet<FileIdentity>,
}

/// Names in directories that something happened to.
pub(super) type EventsByDirectory = HashMap<PathBuf, HashMap<OsString, NameEvents>>;

/// The directories that are watched.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<OwnedFd>,
    /// Rings where something has happened.
    bell: Option<OwnedFd>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_number: HashMap<i32, PathBuf>,
    directories: HashMap<PathBuf, Watched>,
    given: EventsByDirectory,
    waiting: usize,
    /// A log whose name was taken from a file just now, with the number that its new name comes with.
    renamed: Option<(u32, PathBuf, OsString)>,
}

#[derive(Debug)]
struct Watched {
    number: i32,
    /// Names of logs in it.
    logs: HashSet<OsString>,
}

impl Watch {
    /// Nothing is watched yet.
    pub(super) fn new() -> Arc<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok();
        Arc::new(Self { inotify, bell, inner: Mutex::default() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a directory, and the name of a log in it.
    pub(super) fn add(&self, directory: &Path, log: Option<&OsStr>) {
        let Some(inotify) = &self.inotify else { return };
        let Inner { by_number, directories, .. } = &mut *self.inner();
        if !directories.contains_key(directory) {
            let flags =
                WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::ONLYDIR;
            let Ok(number) = add_watch(inotify, directory, flags) else { return };
            by_number.insert(number, directory.to_owned());
            directories.insert(directory.to_owned(), Watched { number, logs: HashSet::new() });
        }
        if let (Some(watched), Some(log)) = (directories.get_mut(directory), log) {
            watched.logs.insert(log.to_owned());
        }
    }

    /// Watches none but these directories, and these names of logs, any more.
    pub(super) fn keep(&self, logs: &HashSet<&Path>, places: &[PathBuf]) {
        let Inner { by_number, directories, .. } = &mut *self.inner();
        directories.retain(|directory, watched| {
            watched.logs.retain(|log| logs.contains(&*directory.join(log)));
            let kept = !watched.logs.is_empty() || places.contains(directory);
            if let Some(inotify) = self.inotify.as_ref().filter(|_| !kept) {
                by_number.remove(&watched.number);
                // It goes by itself with its directory.
                let _gone_already = remove_watch(inotify, watched.number);
            }
            kept
        });
    }

    /// Opens what is given a watched name, until the agent ends.
    pub(super) fn run(&self, stop: &Stop) {
        let Some(inotify) = &self.inotify else { return };
        while !wait(stop, Some(inotify), None) {
            self.gather();
        }
    }

    /// Waits for so long, until something has happened, or until the agent ends; whether that is so.
    pub(super) fn wait(&self, stop: &Stop, most: Duration) -> bool {
        let ends = wait(stop, self.bell.as_ref(), Some(most));
        if let Some(bell) = &self.bell {
            let _nothing_rang = rustix::io::read(bell, &mut [0; 8]);
        }
        ends
    }

    /// What has happened since it was asked last.
    pub(super) fn given(&self) -> EventsByDirectory {
        let mut inner = self.inner();
        inner.waiting = 0;
        std::mem::take(&mut inner.given)
    }

    /// Takes the events there are.
    fn gather(&self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut inner = self.inner();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::IGNORED) {
                if let Some(directory) = inner.by_number.remove(&event.wd()) {
                    inner.directories.remove(&directory);
                }
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            inner.happened(event.wd(), name, event.events(), event.cookie());
        }
        drop(inner);
        if let Some(bell) = &self.bell {
            let _rings_already = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }
}

impl Inner {
    /// A name was given to a file, or taken from one.
    fn happened(&mut self, number: i32, name: &OsStr, what: ReadFlags, cookie: u32) {
        let Some(directory) = self.by_number.get(&number).cloned() else { return };
        let Some(watched) = self.directories.get(&directory) else { return };
        let is_log = watched.logs.contains(name);
        let names = self.given.entry(directory.clone()).or_default();
        if is_log {
            let of = names.entry(name.to_owned()).or_default();
            of.count += u64::from(what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO));
        }
        let path = directory.join(name);
        if what.contains(ReadFlags::MOVED_FROM) {
            self.renamed = is_log.then(|| (cookie, directory, name.to_owned()));
        } else if is_log {
            self.open(&path, &directory, name);
        } else if let Some((_, of, log)) = self.renamed.take_if(|(of, ..)| *of == cookie && cookie != 0) {
            // It was renamed before it could be opened.
            self.open(&path, &of, &log);
        }
    }

    fn open(&mut self, path: &Path, directory: &Path, log: &OsStr) {
        let of = self.given.get_mut(directory).and_then(|names| names.get_mut(log));
        let Some(of) = of.filter(|of| of.files.len() < WAITING && self.waiting < ALL_WAITING) else { return };
        if let Ok((file, found)) = follow::open(path)
            && of.seen.insert(known(&found))
        {
            of.files.push((file, found));
            self.waiting += 1;
        }
    }
}

/// Waits until something happens; whether the agent ends.
fn wait(stop: &Stop, other: Option<&OwnedFd>, most: Option<Duration>) -> bool {
    let most = most.and_then(|most| Timespec::try_from(most).ok());
    let killed = stop.killed();
    let mut ends = vec![PollFd::new(&killed, PollFlags::IN)];
    ends.extend(other.map(|other| PollFd::from_borrowed_fd(other.as_fd(), PollFlags::IN)));
    let ready = poll(&mut ends, most.as_ref()).is_ok();
    ready && ends.first().is_some_and(|killed| killed.revents().contains(PollFlags::IN))
}

#[cfg(test)]
mod tests {
    use super::Watch;
    use crate::stop::Stop;
    use std::collections::HashSet;
    use std::ffi::OsStr;
    use std::io::Read;
    use std::time::Duration;

    #[test]
    fn files_that_are_given_the_name_of_a_log_are_opened_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (path, watch, stop) = (directory.path(), Watch::new(), Stop::new().unwrap());
        let log = OsStr::new("app.log");
        watch.add(path, Some(log));
        watch.add(&path.join("absent"), None);
        watch.gather();
        assert!(watch.given().is_empty());
        let write = |round: u32| {
            std::fs::write(path.join(log), format!("{round}\n")).unwrap();
            std::fs::write(path.join("other.log"), "line\n").unwrap();
        };
        for round in 0..3 {
            write(round);
            watch.gather();
            std::fs::remove_file(path.join(log)).unwrap();
        }
        // Two are renamed before anybody looks.
        write(3);
        std::fs::rename(path.join(log), path.join("app.log.1")).unwrap();
        write(4);
        // A copy is no file that had the name.
        std::fs::copy(path.join(log), path.join("app.log.2")).unwrap();
        std::fs::rename(path.join("app.log.2"), path.join("app.log.3")).unwrap();
        watch.gather();
        assert!(!watch.wait(&stop, Duration::from_mins(1)));
        let mut given = watch.given().remove(path).unwrap();
        assert_eq!(given.keys().collect::<Vec<_>>(), [log]);
        let given = given.remove(log).unwrap();
        let mut texts: Vec<String> = Vec::new();
        for (mut file, _) in given.files {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            texts.push(text);
        }
        texts.sort();
        assert_eq!((given.count, texts), (5, (0..5).map(|round| format!("{round}\n")).collect()));
        watch.keep(&HashSet::new(), &[]);
        write(5);
        watch.gather();
        assert!(watch.given().is_empty());
        stop.kill();
        assert!(watch.wait(&stop, Duration::from_mins(1)));
        watch.run(&stop);
    }
}
