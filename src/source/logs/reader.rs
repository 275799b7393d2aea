//! The thread that reads: which file's turn it is, and how much of it.
//!
//! Every file is looked at four times a second and gives 1 MiB at most; those with more have another turn after all others
//! had theirs. So one that is written to as fast as can be takes its share and keeps nobody else waiting.

#![expect(clippy::disallowed_methods, reason = "turns are taken by the clock, and messages have a time")]

use super::classic;
use super::config::{Files, Journald, Logs as Settings};
use super::counts::{Counts, Origin, Subject, Timestamp};
use super::find::{Finder, Found};
use super::follow::Follow;
use super::frame::Frame;
use super::journal::Journal;
use super::journal::owners::Owners;
use super::labels::{LeftOut, LogSource, Lost};
use super::stream::{Message, Streams};
use crate::host::inventory::Inventory;
use crate::reading::SourceError;
use crate::stop::Stop;
use entries::JournalReader;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

mod entries;

/// How often files are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often containers are looked for.
const CONTAINERS: Duration = Duration::from_secs(1);

/// How often the files of the configuration are looked for, and what has not occurred for long goes.
const FILES: Duration = Duration::from_secs(10);

/// How much older a file's stamp may be than the file: stamps are of the kernel's clock at its last tick (`current_time()`),
/// and whole seconds, or two, where a file system keeps no more.
const GRAIN: Duration = Duration::from_secs(2);

/// Bytes of one turn.
const TURN: usize = 1024 * 1024;

/// Bytes of all messages and lines that are open.
const HELD: usize = 8 * 1024 * 1024;

/// What the thread and the source share.
#[derive(Debug)]
pub(super) struct Shared {
    /// What was counted.
    pub counts: Counts,
    /// How many files are followed.
    pub files: BTreeMap<LogSource, u64>,
    /// Bytes that were not read yet.
    pub lag: u64,
    /// A file that cannot be read, and how many there are.
    pub closed: Option<(PathBuf, io::Error, usize)>,
    /// Why no containers can be found.
    pub without: Option<SourceError>,
    /// Why the journal cannot be read.
    pub journal: Option<SourceError>,
}

impl Shared {
    /// Nothing yet.
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

    /// Waits no longer than one turn.
    pub(super) fn of(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a log is known by: its path, and the container whose path it is.
type LogKey = (Option<u64>, PathBuf);

fn place(found: &Found) -> LogKey {
    let container = match found.subject {
        Subject::Container(number) if found.root.is_some() => Some(number),
        _ => None,
    };
    (container, found.path.clone())
}

/// A path as a label has it.
fn name_of(path: &Path) -> String {
    crate::text::bounded_unique(&path.to_string_lossy(), crate::text::LONGEST_NAME)
}

/// A log that is followed.
struct FollowedLog {
    follow: Follow,
    origin: Origin,
    streams: Streams,
    /// Whether who wrote it has ended: a part that is open has no end.
    ended: bool,
    /// Whether there was more than one turn could give.
    more: bool,
    error: Option<io::Error>,
}

/// What reads.
pub(super) struct Reader {
    settings: Settings,
    inventory: Arc<Inventory>,
    finder: Finder,
    logs: HashMap<LogKey, FollowedLog>,
    entries: Option<JournalReader>,
    left_out: HashSet<LogKey>,
    buffer: Vec<u8>,
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
        let mut reader = Self {
            settings: settings.clone(),
            inventory: Arc::clone(inventory),
            finder: Finder::new(settings, inventory),
            logs: HashMap::new(),
            entries,
            left_out: HashSet::new(),
            buffer: vec![0; TURN],
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

    /// Reads until the agent ends.
    pub(super) fn run(mut self, stop: &Stop) {
        let mut began = Instant::now();
        while !stop.killed_within(TICK.saturating_sub(began.elapsed())) {
            began = Instant::now();
            self.tick();
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
        self.round(|_| true);
        while began.elapsed() < TICK {
            if more_entries(self) {
                self.read_journal(now());
            } else if !self.logs.values().any(|log| log.more) {
                break;
            }
            self.round(|log| log.more);
        }
        self.hold_less();
        self.tell();
    }

    /// Follows what is there and leaves what is gone.
    fn find(&mut self, files: bool, began: Timestamp) {
        let Settings { docker, cri, journald, files: of_files, .. } = &self.settings;
        let containers = *docker || *cri || *of_files == Files::Auto || *journald != Journald::Off;
        let refreshed = if containers { self.inventory.refresh() } else { Ok(()) };
        Shared::of(&self.shared).without = refreshed.err();
        self.find_journal(began);
        let mut found = self.finder.containers();
        if files {
            found.extend(self.finder.files());
        }
        let places: HashSet<LogKey> = found.iter().map(place).collect();
        let gone: Vec<LogKey> = self
            .logs
            .iter()
            .filter(|(place, log)| log.follow.is_over() && !places.contains(place))
            .filter(|(_, log)| files || log.origin.source != LogSource::File)
            .map(|(place, _)| place.clone())
            .collect();
        for place in gone {
            if let Some(log) = self.logs.remove(&place) {
                self.leave(log);
            }
        }
        if files {
            self.left_out.retain(|place| places.contains(place));
        }
        for found in found {
            self.follow(found);
        }
    }

    fn follow(&mut self, found: Found) {
        let place = place(&found);
        let Found { path, root, subject, source, ended } = found;
        if let Some(log) = self.logs.get_mut(&place) {
            log.origin.subject = subject;
            log.ended = ended;
            if let Some(root) = root {
                log.follow.below(root);
            }
            return;
        }
        if self.logs.len() >= self.settings.max_files {
            if self.left_out.len() < self.settings.max_files && self.left_out.insert(place) {
                Shared::of(&self.shared).counts.leave_out(LeftOut::File);
            }
            return;
        }
        let name = match &subject {
            Subject::File(path) => classic::source(source, path),
            Subject::Container(_) => classic::source(source, &name_of(&path)),
        };
        let origin = Origin { subject, source, name };
        Shared::of(&self.shared).counts.begin(&origin);
        let mut follow = Follow::new(path, self.since);
        if let Some(root) = root {
            follow.below(root);
        }
        let log =
            FollowedLog { follow, origin, streams: Streams::default(), ended, more: false, error: None };
        self.logs.insert(place, log);
    }

    /// Nothing more comes of a log: what is open of it is counted.
    fn leave(&mut self, mut log: FollowedLog) {
        let mut shared = Shared::of(&self.shared);
        log.end(&mut shared.counts, self.settings.multiline, now());
        // Names of files come and go; a container has one for its streams, in whichever file they are.
        let same = |other: &FollowedLog| other.origin == log.origin;
        if log.origin.source == LogSource::File && !self.logs.values().any(same) {
            shared.counts.leave(&log.origin);
        }
        if let Subject::File(_) = log.origin.subject {
            shared.counts.forget(&log.origin.subject);
        }
    }

    /// Gives a turn to each of these.
    fn round(&mut self, whose: impl Fn(&FollowedLog) -> bool) {
        for log in self.logs.values_mut().filter(|log| whose(log)) {
            let mut shared = Shared::of(&self.shared);
            log.turn(&mut self.buffer, &mut shared.counts, self.settings.multiline, now());
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

impl FollowedLog {
    fn frame(&self) -> Frame {
        match self.origin.source {
            LogSource::Docker => Frame::Docker,
            LogSource::Cri => Frame::Cri,
            LogSource::File | LogSource::Journald => Frame::Plain,
        }
    }

    fn turn(&mut self, buffer: &mut [u8], counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        let (turn, looked) = follow.turn(now.instant, buffer, frame.longest(), &mut |line| {
            of_line(line, frame, streams, counts, origin, multiline, now);
        });
        streams.quiet(now.instant, &mut |message: Message<'_>| counts.message(origin, message, now));
        if turn.bytes > 0 {
            counts.read(origin, turn.bytes);
        }
        counts.lose(Lost::LineTooLong, turn.passed);
        counts.lose(Lost::Rotated, turn.rotated);
        counts.lose(Lost::Truncated, turn.truncated);
        self.error = looked.err();
        if self.ended && turn.bytes == 0 {
            self.give_up(counts, multiline, now);
        }
        self.more = turn.bytes == buffer.len() as u64 && self.follow.lag() > 0;
    }

    /// All that is open ends, and nothing more is read.
    fn end(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        follow.end(&mut |line| of_line(line, frame, streams, counts, origin, multiline, now));
        self.give_up(counts, multiline, now);
    }

    /// All that is open ends here, for want of room.
    fn cut(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        follow.cut(&mut |line| of_line(line, frame, streams, counts, origin, multiline, now));
        self.give_up(counts, multiline, now);
    }

    /// The messages that are open end.
    fn give_up(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let Self { origin, streams, .. } = self;
        streams.end(multiline, &mut |message| counts.message(origin, message, now));
    }
}

/// From a line to messages.
fn of_line(
    line: &[u8],
    frame: Frame,
    streams: &mut Streams,
    counts: &mut Counts,
    origin: &Origin,
    multiline: bool,
    now: Timestamp,
) {
    let Some(record) = frame.record(line) else {
        *counts.malformed.entry(origin.source).or_default() += 1;
        return;
    };
    let passed = streams.record(&record, multiline, now.instant, &mut |message| {
        counts.message(origin, message, now);
    });
    counts.lose(Lost::LineTooLong, passed);
}

fn now() -> Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp { instant: Instant::now(), wall: wall.as_secs_f64() }
}

#[cfg(test)]
mod tests;
