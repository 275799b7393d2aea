//! Discovery of logs: a log that is found is followed; one that is gone is closed.

use super::log::{FollowedLog, now};
use super::{FILES, GRAIN, LogKey, Reader, Shared};
use crate::source::logs::classic;
use crate::source::logs::config::{Files, Journald, Logs as Settings};
use crate::source::logs::counts::{LogOwner, Origin, Timestamp};
use crate::source::logs::find::{self, FoundLog};
use crate::source::logs::follow::beside::Listing;
use crate::source::logs::follow::{Follow, Inode, SizesAtStart};
use crate::source::logs::labels::{LeftOut, LogSource};
use crate::text;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Logs that are remembered to be left out, so that each is counted once.
const LEFT_OUT: usize = 100_000;

/// State of the discovery, between passes and during one.
#[derive(Debug)]
pub(super) struct Discovery {
    /// Hashes of the logs that are left out.
    left_out: HashSet<u64>,
    /// The files beside the logs that were found, by directory.
    listings: HashMap<PathBuf, Arc<Listing>>,
    /// Number of the current pass.
    number: u64,
    /// Whether files of the configuration are looked for too.
    of_files: bool,
    /// Files with a later time stamp did not exist at the last pass.
    before: SystemTime,
    /// Whether logs that are gone were closed to make room.
    left: bool,
}

impl Discovery {
    /// The state before the first pass; `since` is the start of the agent.
    pub(super) fn new(since: SystemTime) -> Self {
        Self {
            left_out: HashSet::new(),
            listings: HashMap::new(),
            number: 0,
            of_files: false,
            before: since,
            left: false,
        }
    }
}

fn place(found: &FoundLog) -> LogKey {
    let container = match found.subject {
        LogOwner::Container(number) if found.open.is_some() => Some(number),
        _ => None,
    };
    (container, found.path.clone())
}

/// The hash by which a log that is left out is remembered.
fn hash(place: &LogKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish()
}

/// A path as the value of a label.
fn name_of(path: &Path) -> String {
    text::bounded_unique_bytes(path.as_os_str().as_bytes(), text::LONGEST_NAME)
}

impl Reader {
    /// Follows new logs and closes those that are gone.
    pub(super) fn find(&mut self, files: bool, began: Timestamp) {
        let Settings { docker, cri, journald, files: of_files, .. } = &self.settings;
        let containers = *docker || *cri || *of_files == Files::Auto || *journald != Journald::Off;
        let refreshed = if containers { self.inventory.refresh() } else { Ok(()) };
        Shared::of(&self.shared).without = refreshed.err();
        self.find_journal(began);
        self.discovery.number += 1;
        self.discovery.of_files = files;
        self.discovery.left = false;
        let left_out = if files { std::mem::take(&mut self.discovery.left_out) } else { HashSet::new() };
        for found in self.finder.containers() {
            self.met(found, &left_out);
        }
        if files {
            self.find_files(&left_out, began.instant);
            let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(began.wall.max(0.0));
            self.discovery.before = stamp.checked_sub(GRAIN).unwrap_or(SystemTime::UNIX_EPOCH);
        }
        self.discovery.listings = HashMap::new();
        self.leave_over();
        if files {
            let engines = self.finder.places();
            let logs = self.logs.values().filter(|log| !log.follow.is_elsewhere());
            self.watch.keep(&logs.map(|log| log.follow.path()).collect(), &engines);
            for place in &engines {
                self.watch.add(place, None);
            }
        }
    }

    /// Looks for files that the configuration names, or that containers have open.
    fn find_files(&mut self, left_out: &HashSet<u64>, now: Instant) {
        if let Files::Paths(patterns) = self.settings.files.clone() {
            let root = self.inventory.settings().root.clone();
            for find::Matched { path, name, is_regular } in find::of_patterns(&patterns, &root) {
                if !is_regular {
                    self.leave_out(&(None, path), left_out);
                    continue;
                }
                let subject = LogOwner::File(name.into());
                self.met(
                    FoundLog { path, subject, source: LogSource::File, ended: false, open: None },
                    left_out,
                );
            }
        }
        if self.settings.files != Files::Auto {
            return;
        }
        let open = |(place, log): (&LogKey, &FollowedLog)| {
            log.follow.inodes().map(|inode| (inode, place.clone())).collect::<Vec<_>>()
        };
        let held: HashMap<Inode, LogKey> = self.logs.iter().flat_map(open).collect();
        for found in self.finder.open_files() {
            let inode = found.open.as_ref().map(|open| open.inode).unwrap_or_default();
            // Under the name that it had, or has for another container. Who has it open may write to it.
            let holder = held.get(&inode).and_then(|place| self.logs.get_mut(place));
            let is_other = held.get(&inode).is_some_and(|holder| *holder != place(&found));
            if let Some(holder) = holder {
                holder.follow.keep(inode, now + FILES);
                holder.met = self.discovery.number;
            }
            if !is_other {
                self.met(found, left_out);
            }
        }
    }

    /// A log is there: it is followed from now on, or left out, which is counted unless it was `left_out` before.
    fn met(&mut self, found: FoundLog, left_out: &HashSet<u64>) {
        let place = place(&found);
        if let Some(log) = self.logs.get_mut(&place) {
            log.origin.subject = found.subject;
            log.ended = found.ended;
            log.met = self.discovery.number;
            if let Some(open) = found.open {
                log.open(open);
            }
            return;
        }
        if self.logs.len() >= self.settings.max_files && !std::mem::replace(&mut self.discovery.left, true) {
            self.leave_over();
        }
        if self.logs.len() < self.settings.max_files {
            self.follow(place, found);
        } else {
            self.leave_out(&place, left_out);
        }
    }

    /// Counts a log that is not followed, unless it was `left_out` before.
    fn leave_out(&mut self, place: &LogKey, left_out: &HashSet<u64>) {
        let hash = hash(place);
        let room = self.discovery.left_out.len() < LEFT_OUT;
        if room && self.discovery.left_out.insert(hash) && !left_out.contains(&hash) {
            Shared::of(&self.shared).counts.leave_out(LeftOut::File);
        }
    }

    fn follow(&mut self, place: LogKey, found: FoundLog) {
        let FoundLog { path, open, subject, source, ended } = found;
        let name = match &subject {
            LogOwner::File(path) => classic::source(source, path),
            LogOwner::Container(_) => classic::source(source, &name_of(&path)),
        };
        let origin = Origin { subject, source, name };
        Shared::of(&self.shared).counts.begin(&origin);
        let mut follow = Follow::new(path, self.since);
        // Files that are no engine's come and go; what was beside one at the last look may have been read already.
        let siblings = if source == LogSource::File { self.discovery.before } else { self.since };
        follow.begins(siblings, SizesAtStart::clone(&self.sizes));
        let mut log = FollowedLog::new(follow, origin, ended);
        log.met = self.discovery.number;
        if let Some(open) = open {
            log.open(open);
        }
        let path = log.follow.path();
        if let Some(directory) = path.parent().filter(|_| !log.follow.is_elsewhere()) {
            self.watch.add(directory, path.file_name());
            let listing = self
                .discovery
                .listings
                .entry(directory.to_owned())
                .or_insert_with_key(|path| Listing::new(path));
            let listing = Arc::clone(listing);
            log.follow.beside(listing);
            let pending = self.pending.take(log.follow.path());
            let known = pending.is_some();
            if let Some(of) = pending {
                log.given += of.count;
                log.follow.give(of.files, of.count);
            }
            let mut shared = Shared::of(&self.shared);
            log.poll(&mut self.buffer, &mut shared.counts, self.settings.multiline, now());
            if !known {
                log.reckon();
            }
        }
        self.logs.insert(place, log);
    }

    /// Closes the logs that are gone and were not found in this pass.
    fn leave_over(&mut self) {
        let is_over = |log: &FollowedLog| {
            let looked_for = self.discovery.of_files || log.origin.source != LogSource::File;
            looked_for && log.met != self.discovery.number && log.follow.is_over()
        };
        let over = self.logs.iter().filter(|(_, log)| is_over(log)).map(|(place, _)| place.clone());
        for place in over.collect::<Vec<_>>() {
            if let Some(log) = self.logs.remove(&place) {
                self.leave(log);
            }
        }
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
        if let LogOwner::File(_) = log.origin.subject {
            shared.counts.forget(&log.origin.subject);
        }
    }
}
