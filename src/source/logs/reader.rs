//! The thread that reads: which file is read when, and how much of it.
//!
//! Every file is polled four times a second, and 1 MiB of it is read at most; those with more are polled again after all others
//! were. So one that is written to as fast as can be takes its share and keeps nobody else waiting.

#![expect(clippy::disallowed_methods, reason = "files are polled by the clock, and messages have a time")]

use super::classic;
use super::config::{Journald, Logs as Settings};
use super::counts::{Counts, Timestamp};
use super::find::Finder;
use super::follow::SizesAtStart;
use super::journal::Journal;
use super::journal::owners::Owners;
use super::labels::LogSource;
use super::watch::Watch;
use crate::host::inventory::Inventory;
use crate::reading::SourceError;
use crate::stop::Stop;
use discovery::Discovery;
use entries::JournalReader;
use log::{FollowedLog, now};
use pending::Pending;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

mod discovery;
mod entries;
mod log;
mod pending;
mod silence;

/// Interval of the polls of all files.
const TICK: Duration = Duration::from_millis(250);

/// Interval at which logs of new containers are looked for.
const CONTAINERS: Duration = Duration::from_secs(1);

/// Interval at which files of the configuration are looked for, and at which patterns that no longer occur are removed.
const FILES: Duration = Duration::from_secs(10);

/// Interval at which logs are looked for after a container was created, and for how long: until the engine has started it.
const SOON: Duration = Duration::from_millis(50);
const BEGINS: Duration = Duration::from_secs(1);

/// How much older a file's stamp may be than the file: stamps are of the kernel's clock at its last tick (`current_time()`),
/// and whole seconds, or two, where a file system keeps no more.
const GRAIN: Duration = Duration::from_secs(2);

/// Maximum number of bytes that one poll of a file reads.
const POLL: usize = 1024 * 1024;

/// Maximum number of bytes of all incomplete messages and lines.
const HELD: usize = 8 * 1024 * 1024;

/// File descriptors reserved for the rest of the agent.
const DESCRIPTORS_OF_OTHERS: usize = 256;

/// Number of logs that can be followed, at most `wanted`: as many as the limit of open files (`RLIMIT_NOFILE`) allows.
pub(super) fn room(wanted: usize) -> usize {
    let may = crate::sys::process::descriptors((wanted + DESCRIPTORS_OF_OTHERS) as u64);
    let may = usize::try_from(may).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_OF_OTHERS).max(1);
    if may < wanted {
        tracing::warn!(
            "at most {may} logs are followed, not {wanted} (max_files): the limit of open files (RLIMIT_NOFILE, LimitNOFILE=) \
             allows no more"
        );
    }
    wanted.min(may)
}

/// State shared by the thread that reads logs and the source.
#[derive(Debug)]
pub(super) struct Shared {
    /// Messages, bytes and patterns that were counted, by container.
    pub counts: Counts,
    /// Number of files that are followed.
    pub files: BTreeMap<LogSource, u64>,
    /// Unread bytes of all followed files.
    pub lag: u64,
    /// A file that cannot be read, and how many there are.
    pub closed: Option<(PathBuf, io::Error, usize)>,
    /// Why no containers can be found.
    pub without: Option<SourceError>,
    /// Why the journal cannot be read.
    pub journal: Option<SourceError>,
}

impl Shared {
    /// Creates it without counts.
    pub(super) fn new(settings: &Settings) -> Arc<Mutex<Self>> {
        let counts = Counts::new(settings);
        Arc::new(Mutex::new(Self {
            counts,
            files: BTreeMap::new(),
            lag: 0,
            closed: None,
            without: None,
            journal: None,
        }))
    }

    /// Locks it; the thread holds the lock for one poll at most.
    pub(super) fn of(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a followed log: the container whose path it is, if it is not the host's, and the path.
type LogKey = (Option<u64>, PathBuf);

/// The thread that finds, reads and counts logs.
pub(super) struct Reader {
    settings: Settings,
    inventory: Arc<Inventory>,
    finder: Finder,
    logs: HashMap<LogKey, FollowedLog>,
    entries: Option<JournalReader>,
    discovery: Discovery,
    buffer: Vec<u8>,
    watch: Arc<Watch>,
    /// What happened to the names of logs that are not followed yet.
    pending: Pending,
    /// Sizes of the logs of Docker's containers when the agent started.
    sizes: SizesAtStart,
    /// Number of the current poll of all files.
    number: u64,
    /// Until when containers are looked for more often, since one was made.
    soon: Option<Instant>,
    shared: Arc<Mutex<Shared>>,
    /// A log that was made before is read from its end.
    since: SystemTime,
    looked_for_containers: Option<Instant>,
    looked_for_files: Option<Instant>,
}

impl Reader {
    /// Finds the logs there are and goes to their ends.
    pub(super) fn new(settings: &Settings, inventory: &Arc<Inventory>, shared: &Arc<Mutex<Shared>>) -> Self {
        let since = SystemTime::now();
        let root = &inventory.settings().root;
        let entries = (settings.journald != Journald::Off).then(|| JournalReader {
            journal: Journal::new(root, &settings.journald, since),
            owners: Owners::default(),
            name: classic::source(LogSource::Journald, ""),
            more: false,
        });
        let finder = Finder::new(settings, inventory);
        let watch = Watch::new();
        let logs = finder.docker_places().into_iter().flat_map(|place| watch.add_engine(&place));
        let sizes = pending::sizes(logs);
        let mut reader = Self {
            settings: settings.clone(),
            inventory: Arc::clone(inventory),
            finder,
            logs: HashMap::new(),
            entries,
            discovery: Discovery::new(since),
            buffer: vec![0; POLL],
            watch,
            pending: Pending::default(),
            sizes: Arc::new(sizes),
            number: 0,
            soon: None,
            shared: Arc::clone(shared),
            since,
            looked_for_containers: None,
            looked_for_files: None,
        };
        reader.tick();
        // What is found from now on was made later as a rule, and may be stamped as if it had not been.
        reader.since = reader.since.checked_sub(GRAIN).unwrap_or(SystemTime::UNIX_EPOCH);
        reader
    }

    /// The watch of the directories, which runs on a thread of its own.
    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Reads until the agent ends.
    pub(super) fn run(mut self, stop: &Stop) {
        let mut next = Instant::now();
        loop {
            let pause = next.saturating_duration_since(Instant::now());
            let pause = if self.soon.is_some() { pause.min(SOON) } else { pause };
            if self.watch.wait(stop, pause) {
                return;
            }
            self.happened();
            let now = Instant::now();
            if now >= next {
                next = now + TICK;
                self.tick();
            }
        }
    }

    /// Looks at the logs whose names were given to other files just now, and for containers that were made.
    fn happened(&mut self) {
        let mut given = self.watch.given();
        let at = now();
        for log in self.logs.values_mut().filter(|log| !log.follow.is_elsewhere()) {
            let path = log.follow.path();
            let Some(names) = path.parent().and_then(|parent| given.get_mut(parent)) else { continue };
            if let Some(of) = names.remove(path.file_name().unwrap_or_default()) {
                log.given += of.count;
                log.follow.give(of.files, of.count);
                let mut shared = Shared::of(&self.shared);
                log.poll(&mut self.buffer, &mut shared.counts, self.settings.multiline, at);
            }
        }
        let is_made = self.finder.places().iter().any(|place| given.contains_key(place));
        if self.pending.add(given, &self.watch, at.instant) || is_made {
            self.soon = Some(at.instant + BEGINS);
        }
        if self.soon.is_some() {
            self.soon = self.soon.filter(|until| *until > at.instant);
            self.looked_for_containers = Some(at.instant);
            self.find(false, at);
        }
    }

    /// Looks for logs where that is due, and at every file once; at those with more, as long as there is time.
    fn tick(&mut self) {
        let began = Instant::now();
        let due =
            |at: Option<Instant>, pause| at.is_none_or(|at| began.saturating_duration_since(at) >= pause);
        if due(self.looked_for_containers, CONTAINERS) {
            self.looked_for_containers = Some(began);
            let files = due(self.looked_for_files, FILES);
            if files {
                self.looked_for_files = Some(began);
                Shared::of(&self.shared).counts.expire(began);
            }
            self.find(files, Timestamp { instant: began, ..now() });
        }
        let more_entries = |reader: &Self| reader.entries.as_ref().is_some_and(|entries| entries.more);
        self.read_journal(now());
        self.number += 1;
        self.round(|_| true);
        while began.elapsed() < TICK {
            if more_entries(self) {
                self.read_journal(now());
            } else if !self.logs.values().any(|log| log.more) {
                break;
            }
            self.happened();
            self.round(|log| log.more);
        }
        self.hold_less();
        self.tell();
    }

    /// Polls each of these that something may have happened to.
    fn round(&mut self, whose: impl Fn(&FollowedLog) -> bool) {
        for (place, log) in self.logs.values_mut().enumerate().filter(|(_, log)| whose(log)) {
            if log.is_silent(self.number, place as u64) {
                continue;
            }
            let mut shared = Shared::of(&self.shared);
            log.poll(&mut self.buffer, &mut shared.counts, self.settings.multiline, now());
            log.watch(&self.watch);
        }
    }

    /// Where too much is open, the largest end.
    fn hold_less(&mut self) {
        let held = |log: &FollowedLog| log.follow.held() + log.streams.held();
        let mut all: usize = self.logs.values().map(held).sum();
        while all > HELD {
            let Some(log) = self.logs.values_mut().max_by_key(|log| held(log)) else { return };
            all -= held(log);
            let mut shared = Shared::of(&self.shared);
            log.cut(&mut shared.counts, self.settings.multiline, now());
        }
    }

    /// Tells the source how it stands.
    fn tell(&mut self) {
        let mut shared = Shared::of(&self.shared);
        shared.files.clear();
        shared.lag = 0;
        let mut closed = None;
        let mut count = 0;
        for log in self.logs.values_mut() {
            *shared.files.entry(log.origin.source).or_default() += 1;
            shared.lag += log.follow.lag();
            if let Some(error) = log.error.take() {
                count += 1;
                closed = Some((log.follow.path().to_owned(), error));
            }
        }
        if let Some(entries) = &self.entries {
            shared.files.insert(LogSource::Journald, entries.journal.files() as u64);
            shared.lag += entries.journal.lag();
        }
        shared.closed = closed.map(|(path, error)| (path, error, count));
    }
}

#[cfg(test)]
mod tests;
