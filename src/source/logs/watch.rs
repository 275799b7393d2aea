//! Directories of logs, by `inotify(7)`: a file that is given the name of a log is opened at once, and how often a name was
//! given is counted. Of a container of Docker that is from its directory on, which is made before the container is started.
//!
//! An engine that rotates every few milliseconds would have removed the file by the next look, and reading takes its time. So
//! a thread does nothing else: what is open is not lost by being removed. Where there is no inotify, or no room for another
//! watch (`fs.inotify.max_user_watches`), logs are looked at as often as otherwise.
//!
//! A file that nothing is written to is watched itself, until the first write: it is not asked for its size meanwhile.

use super::follow::{self, FileIdentity, known};
use crate::stop::Stop;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Size of the read buffer for events, bytes.
const BUFFER: usize = 16 * 1024;

/// Maximum number of files of one log, and of all, that wait to be read.
const WAITING: usize = 128;
const ALL_WAITING: usize = 512;

/// Maximum number of watched directories of containers.
pub(super) const CONTAINERS: usize = 10_000;

/// Events of a file name since the last call.
#[derive(Debug, Default)]
pub(super) struct NameEvents {
    /// Number of files that were given the name.
    pub(super) count: u64,
    /// The files that could be opened.
    pub(super) files: Vec<(File, Metadata)>,
    seen: HashSet<FileIdentity>,
}

impl NameEvents {
    /// Files that are open.
    pub(super) fn open(&self) -> usize {
        self.files.len()
    }

    /// Takes what happened since then; so many of the files at most are open in the end, and the others only counted.
    pub(super) fn add(&mut self, later: Self, most: usize) {
        self.count += later.count;
        let new = later.files.into_iter().filter(|(_, found)| self.seen.insert(known(found)));
        let room = most.saturating_sub(self.files.len());
        self.files.extend(new.take(room));
    }
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
    /// Directories with a directory for each container, in which `ID-json.log` is the log of the container `ID`.
    engines: HashSet<PathBuf>,
    /// Files that nothing was written to, and what is set at the next write.
    quiet: HashMap<i32, Vec<Weak<AtomicBool>>>,
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
        self.inner().add(inotify, directory, log);
    }

    /// Watches the directory of an engine that has a directory for each container, and those directories: in each of them
    /// `ID-json.log` is a log, also before anybody follows it. Returns the paths of these logs.
    pub(super) fn add_engine(&self, directory: &Path) -> Vec<PathBuf> {
        self.add(directory, None);
        let Some(inotify) = &self.inotify else { return Vec::new() };
        let mut inner = self.inner();
        inner.engines.insert(directory.to_owned());
        let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        let containers = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let logs = containers.take(CONTAINERS).map(|entry| {
            let log = log_of(&entry.file_name());
            inner.add(inotify, &entry.path(), Some(&log));
            entry.path().join(log)
        });
        logs.collect()
    }

    /// Whether a directory is one of a container, which is watched also where nobody follows its log.
    pub(super) fn is_of_engine(&self, directory: &Path) -> bool {
        directory.parent().is_some_and(|parent| self.inner().engines.contains(parent))
    }

    /// Watches a file until it is written to, renamed or removed: returns what is set to `true` then. `None` where that cannot
    /// be watched.
    pub(super) fn wake(&self, file: &File) -> Option<Arc<AtomicBool>> {
        let inotify = self.inotify.as_ref()?;
        let way = format!("/proc/self/fd/{}", file.as_raw_fd());
        let what = WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB | WatchFlags::ONESHOT;
        let mut inner = self.inner();
        let number = add_watch(inotify, way, what).ok()?;
        let awake = Arc::new(AtomicBool::new(false));
        let all = inner.quiet.entry(number).or_default();
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&awake));
        Some(awake)
    }

    /// Watches none but these directories, those of containers, and these names of logs, any more.
    pub(super) fn keep(&self, logs: &HashSet<&Path>, places: &[PathBuf]) {
        let Inner { by_number, directories, engines, .. } = &mut *self.inner();
        directories.retain(|directory, watched| {
            if directory.parent().is_some_and(|parent| engines.contains(parent)) {
                return true;
            }
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

    /// Takes the events since the last call.
    pub(super) fn given(&self) -> EventsByDirectory {
        let mut inner = self.inner();
        inner.waiting = 0;
        std::mem::take(&mut inner.given)
    }

    /// Takes the events there are.
    pub(super) fn gather(&self) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut inner = self.inner();
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                inner.wake_all();
            }
            for awake in inner.quiet.remove(&event.wd()).into_iter().flatten() {
                if let Some(awake) = awake.upgrade() {
                    awake.store(true, Ordering::Relaxed);
                }
            }
            if event.events().contains(ReadFlags::IGNORED) {
                if let Some(directory) = inner.by_number.remove(&event.wd()) {
                    inner.directories.remove(&directory);
                }
                continue;
            }
            let Some(name) = event.file_name() else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            inner.happened(inotify, event.wd(), name, event.events(), event.cookie());
        }
        let rings = !inner.given.is_empty();
        drop(inner);
        if let Some(bell) = self.bell.as_ref().filter(|_| rings) {
            let _rings_already = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }
}

/// The name of the log of a container of Docker: `json-file` in `daemon/logs.go` of Moby.
fn log_of(container: &OsStr) -> OsString {
    let mut log = container.to_owned();
    log.push("-json.log");
    log
}

impl Inner {
    fn add(&mut self, inotify: &OwnedFd, directory: &Path, log: Option<&OsStr>) {
        let Self { by_number, directories, .. } = self;
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

    /// Events were left out: any of these files may have been written to.
    fn wake_all(&mut self) {
        for awake in self.quiet.drain().flat_map(|(_, all)| all).filter_map(|awake| awake.upgrade()) {
            awake.store(true, Ordering::Relaxed);
        }
    }

    /// The directory of a container was made: its log is watched from its beginning.
    fn container(&mut self, inotify: &OwnedFd, directory: &Path, container: &OsStr) {
        let path = directory.join(container);
        let log = log_of(container);
        if self.directories.len() < 2 * CONTAINERS {
            self.add(inotify, &path, Some(&log));
        }
    }

    /// A name was given to a file, or taken from one.
    fn happened(&mut self, inotify: &OwnedFd, number: i32, name: &OsStr, what: ReadFlags, cookie: u32) {
        let Some(directory) = self.by_number.get(&number).cloned() else { return };
        let Some(watched) = self.directories.get(&directory) else { return };
        let is_log = watched.logs.contains(name);
        let is_made = what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if is_made && what.contains(ReadFlags::ISDIR) && self.engines.contains(&directory) {
            self.container(inotify, &directory, name);
        }
        let names = self.given.entry(directory.clone()).or_default();
        if is_log {
            let of = names.entry(name.to_owned()).or_default();
            of.count += u64::from(is_made);
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
mod tests;
