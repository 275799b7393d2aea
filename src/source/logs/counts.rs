//! What was counted of each log, and the bounds of it.

use super::classic::{self, Classic, Kind};
use super::config::{Level, LogSample, Logs as Settings};
use super::count::SeriesCounter;
use super::labels::{LeftOut, LogSource, Lost};
use super::pattern::{Hash, Patterns, alike};
use super::severity::{Severity, text};
use super::stream::Message;
use crate::text::bounded;
use crate::token_bucket::TokenBucket;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// The container or file of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogOwner {
    /// A container or service, by its number in the inventory.
    Container(u64),
    /// A file that the configuration names.
    File(Arc<str>),
}

/// Origin of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The container or file of a log.
    pub subject: LogOwner,
    /// Source of the log.
    pub source: LogSource,
    /// Its name among the logs of the subject, as coroot-node-agent has it ([`classic::source`]).
    pub name: Arc<str>,
}

/// Counts of one log.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Messages by severity, in the order of [`Severity::ALL`].
    pub messages: [SeriesCounter; Severity::ALL.len()],
    /// Bytes.
    pub bytes: SeriesCounter,
}

/// A recurring pattern of the messages of somebody.
#[derive(Debug)]
pub struct Pattern {
    /// The hash of its words.
    pub hash: Hash,
    /// The value of the label `sample`.
    pub sample: Arc<str>,
    /// Messages that have this pattern.
    pub count: SeriesCounter,
    latest: Instant,
}

/// The patterns of one severity.
#[derive(Debug, Default)]
pub struct SeverityPatterns {
    /// By their words.
    pub patterns: BTreeMap<Box<[u32]>, Pattern>,
    /// Messages whose pattern is over a limit; `None` before the first.
    pub other: Option<SeriesCounter>,
    /// Messages whose pattern was not looked for; `None` before the first.
    pub skipped: Option<SeriesCounter>,
}

/// Counts of the logs of one container, service or file.
#[derive(Debug, Default)]
pub struct SubjectCounts {
    /// Counts by kind of log.
    pub logs: BTreeMap<LogSource, LogCounts>,
    /// Patterns by severity.
    pub patterns: BTreeMap<Severity, SeverityPatterns>,
    /// When the last message of severity error or critical was read, in seconds since 1970.
    pub last_error: Option<f64>,
    /// Messages with the labels of coroot-node-agent; empty if these are off.
    pub classic: Classic,
}

/// Counts of all logs.
#[derive(Debug)]
pub struct Counts {
    levels: Vec<Severity>,
    search: Search,
    classic: Option<classic::Limits>,
    /// Counts by container, service or file.
    pub of: HashMap<LogOwner, SubjectCounts>,
    /// Bytes that were lost, in the order of [`Lost::ALL`].
    pub lost: [u64; Lost::ALL.len()],
    /// Items over a limit, in the order of [`LeftOut::ALL`].
    pub left_out: [u64; LeftOut::ALL.len()],
    /// Lines that could not be parsed.
    pub malformed: BTreeMap<LogSource, u64>,
}

/// State of the search for patterns.
#[derive(Debug)]
struct Search {
    settings: Settings,
    scratch: Patterns,
    /// Number of patterns of all logs.
    kept: usize,
    /// Limit of the messages per second whose pattern is looked for.
    allowed: TokenBucket,
}

/// A point in time, by the monotonic clock and by the wall clock (seconds since 1970).
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    /// Goes on.
    pub instant: Instant,
    /// On the wall.
    pub wall: f64,
}

impl Counts {
    /// Nothing was counted yet.
    pub fn new(settings: &Settings) -> Self {
        let levels = settings.levels.iter().map(|level| match level {
            Level::Debug => Severity::Debug,
            Level::Info => Severity::Info,
            Level::Warning => Severity::Warning,
            Level::Error => Severity::Error,
            Level::Critical => Severity::Critical,
            Level::Unknown => Severity::Unknown,
        });
        Self {
            levels: levels.collect(),
            search: Search {
                settings: settings.clone(),
                scratch: Patterns::default(),
                kept: 0,
                allowed: TokenBucket::full(settings.pattern_rate.into(), settings.pattern_rate.into()),
            },
            classic: classic::Limits::new(settings),
            of: HashMap::new(),
            lost: Default::default(),
            left_out: Default::default(),
            malformed: BTreeMap::new(),
        }
    }

    /// A log is followed: its series begin.
    pub fn begin(&mut self, origin: &Origin) {
        of_subject(&mut self.of, &origin.subject).logs.entry(origin.source).or_default();
    }

    /// Bytes were read.
    pub fn read(&mut self, origin: &Origin, bytes: u64) {
        of_subject(&mut self.of, &origin.subject).logs.entry(origin.source).or_default().bytes.total += bytes;
    }

    /// A log is not followed any more.
    pub fn leave(&mut self, origin: &Origin) {
        if let (Some(of), Some(limits)) = (self.of.get_mut(&origin.subject), &mut self.classic) {
            of.classic.forget(&origin.name, limits);
        }
    }

    /// Bytes were lost.
    pub fn lose(&mut self, reason: Lost, bytes: u64) {
        if let Some(lost) = self.lost.get_mut(reason as usize) {
            *lost += bytes;
        }
    }

    /// Counts something over a limit.
    pub fn leave_out(&mut self, key: LeftOut) {
        if let Some(left_out) = self.left_out.get_mut(key as usize) {
            *left_out += 1;
        }
    }

    /// Counts a message.
    pub fn message(&mut self, origin: &Origin, message: Message<'_>, now: Timestamp) {
        let (severity, says) = match message.structured {
            Some(known) if known.text.is_empty() => (known.severity, message.text),
            Some(known) => (known.severity, &*known.text),
            None => (text::severity(message.text), message.text),
        };
        let severity = if severity == Severity::Unknown { message.otherwise } else { severity };
        let of = of_subject(&mut self.of, &origin.subject);
        let log = of.logs.entry(origin.source).or_default();
        if let Some(count) = log.messages.get_mut(severity as usize) {
            count.total += 1;
        }
        if matches!(severity, Severity::Error | Severity::Critical) {
            of.last_error = Some(now.wall);
        }
        let kind = if self.levels.contains(&severity) {
            self.search.message(of.patterns.entry(severity).or_default(), says, now.instant)
        } else {
            Kind::Plain
        };
        if let Some(limits) = &mut self.classic {
            of.classic.message(&origin.name, severity, kind, says, limits);
        }
        match kind {
            Kind::Plain | Kind::Pattern(_) => {}
            Kind::Other => self.leave_out(LeftOut::Pattern),
            Kind::Skipped => self.leave_out(LeftOut::Budget),
        }
    }

    /// Lets go of patterns that have not occurred for the retention.
    pub fn expire(&mut self, now: Instant) {
        let retention = self.search.settings.retention;
        for of in self.of.values_mut() {
            for (severity, of_severity) in &mut of.patterns {
                let patterns = &mut of_severity.patterns;
                let before = patterns.len();
                patterns.retain(|_, pattern| now.saturating_duration_since(pattern.latest) < retention);
                self.search.kept -= before - patterns.len();
                if let Some(limits) = self.classic.as_mut().filter(|_| patterns.len() < before) {
                    let known: HashSet<Hash> = patterns.values().map(|pattern| pattern.hash).collect();
                    of.classic.expire(*severity, |hash| known.contains(hash), limits);
                }
            }
        }
    }

    /// Lets go of what was counted of somebody.
    pub fn forget(&mut self, subject: &LogOwner) {
        if let Some(mut of) = self.of.remove(subject) {
            self.search.kept -= kept(&of);
            if let Some(limits) = &mut self.classic {
                of.classic.clear(limits);
            }
        }
    }

    /// Somebody turned out to be another, whose counts go on with these.
    pub fn join(&mut self, subject: &LogOwner, other: LogOwner) {
        let Some(from) = self.of.remove(subject) else { return };
        self.search.kept -= kept(&from);
        let into = self.of.entry(other).or_default();
        if let Some(limits) = &mut self.classic {
            into.classic.join(from.classic, limits);
        }
        for (source, log) in from.logs {
            let into = into.logs.entry(source).or_default();
            into.messages.iter_mut().zip(&log.messages).for_each(|(into, from)| into.join(from));
            into.bytes.join(&log.bytes);
        }
        into.last_error = into.last_error.or(from.last_error);
        for (severity, from) in from.patterns {
            let into = into.patterns.entry(severity).or_default();
            for (words, pattern) in from.patterns {
                if let Some(known) = into.patterns.get_mut(&words) {
                    known.count.join(&pattern.count);
                } else {
                    into.patterns.insert(words, pattern);
                    self.search.kept += 1;
                }
            }
            for (into, from) in [(&mut into.other, from.other), (&mut into.skipped, from.skipped)] {
                if let Some(from) = from {
                    into.get_or_insert_default().join(&from);
                }
            }
        }
    }
}

impl Search {
    /// Counts a message among the patterns of its severity.
    fn message(&mut self, of: &mut SeverityPatterns, says: &str, now: Instant) -> Kind {
        if !self.allowed.take(now) {
            of.skipped.get_or_insert_default().total += 1;
            return Kind::Skipped;
        }
        let Self { settings, scratch, kept, .. } = self;
        scratch.of(says);
        let words = scratch.words.as_slice();
        let known = match of.patterns.get_mut(words) {
            Some(pattern) => Some(pattern),
            None => of.patterns.iter_mut().find(|(known, _)| alike(known, words)).map(|(_, pattern)| pattern),
        };
        if let Some(pattern) = known {
            pattern.count.total += 1;
            pattern.latest = now;
            return Kind::Pattern(pattern.hash);
        }
        if of.patterns.len() >= settings.patterns || *kept >= settings.patterns_total {
            of.other.get_or_insert_default().total += 1;
            return Kind::Other;
        }
        let sample = match settings.sample {
            // Words are ASCII.
            LogSample::Pattern => {
                Cow::Borrowed(scratch.text.get(..settings.sample_length).unwrap_or(&scratch.text))
            }
            LogSample::First => Cow::Owned(bounded(says, settings.sample_length)),
            LogSample::Off => Cow::Borrowed(""),
        };
        let hash = scratch.hash();
        let pattern = Pattern { hash, sample: (&*sample).into(), count: SeriesCounter::first(), latest: now };
        of.patterns.insert(words.into(), pattern);
        *kept += 1;
        Kind::Pattern(hash)
    }
}

/// The counts of a container, service or file; created if there are none.
fn of_subject<'a>(of: &'a mut HashMap<LogOwner, SubjectCounts>, subject: &LogOwner) -> &'a mut SubjectCounts {
    of.entry(subject.clone()).or_default()
}

fn kept(of: &SubjectCounts) -> usize {
    of.patterns.values().map(|of| of.patterns.len()).sum()
}

#[cfg(test)]
mod tests;
