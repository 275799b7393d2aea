//! What was counted of each log, and the bounds of it.

use super::classic::{self, Classic, Kind};
use super::config::{Level, LogSample, Logs as Settings};
use super::count::SeriesCounter;
use super::labels::{LeftOut, LogSource, Lost};
use super::pattern::{Hash, Patterns, alike};
use super::severity::{Severity, text};
use super::stream::Message;
use crate::text::bounded;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A container or service, by its number in the inventory.
    Container(u64),
    /// A file that the configuration names.
    File(Arc<str>),
}

/// Where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose log it is.
    pub subject: Subject,
    /// Where it was found.
    pub source: LogSource,
    /// Its name among the logs of the subject, as coroot-node-agent has it ([`classic::source`]).
    pub name: Arc<str>,
}

/// What was counted of one log.
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
    words: Box<[u32]>,
    /// What is shown of it.
    pub sample: Arc<str>,
    /// Messages that have this pattern.
    pub count: SeriesCounter,
    latest: Instant,
}

/// The patterns of one severity.
#[derive(Debug, Default)]
pub struct SeverityPatterns {
    /// By their hash.
    pub patterns: BTreeMap<Hash, Pattern>,
    /// Messages for whose pattern there was no room; `None` before the first.
    pub other: Option<SeriesCounter>,
    /// Messages whose pattern was not looked for; `None` before the first.
    pub skipped: Option<SeriesCounter>,
}

/// What was counted of somebody's logs.
#[derive(Debug, Default)]
pub struct SubjectCounts {
    /// By where they are.
    pub logs: BTreeMap<LogSource, LogCounts>,
    /// Patterns by severity.
    pub patterns: BTreeMap<Severity, SeverityPatterns>,
    /// When the last message of severity error or critical was read, in seconds since 1970.
    pub last_error: Option<f64>,
    /// The same under the labels of coroot-node-agent; empty where that is off.
    pub classic: Classic,
}

/// What was counted of all.
#[derive(Debug)]
pub struct Counts {
    settings: Settings,
    levels: Vec<Severity>,
    scratch: Patterns,
    /// Patterns that are kept, of all.
    kept: usize,
    /// Messages whose pattern may be looked for now, and when that was reckoned.
    allowance: f64,
    reckoned: Option<Instant>,
    classic: Option<classic::Limits>,
    /// By whose logs they are.
    pub of: HashMap<Subject, SubjectCounts>,
    /// Bytes that were lost, in the order of [`Lost::ALL`].
    pub lost: [u64; Lost::ALL.len()],
    /// What found no room, in the order of [`LeftOut::ALL`].
    pub left_out: [u64; LeftOut::ALL.len()],
    /// Lines that are not what their format says.
    pub malformed: BTreeMap<LogSource, u64>,
}

/// A point in time, by the clock that only goes on and by the one on the wall (seconds since 1970).
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
            settings: settings.clone(),
            levels: levels.collect(),
            scratch: Patterns::default(),
            kept: 0,
            allowance: f64::from(settings.pattern_rate),
            reckoned: None,
            classic: classic::Limits::new(settings),
            of: HashMap::new(),
            lost: Default::default(),
            left_out: Default::default(),
            malformed: BTreeMap::new(),
        }
    }

    /// A log is followed: its series begin.
    pub fn begin(&mut self, origin: &Origin) {
        self.of(&origin.subject).logs.entry(origin.source).or_default();
    }

    fn of(&mut self, subject: &Subject) -> &mut SubjectCounts {
        if !self.of.contains_key(subject) {
            self.of.insert(subject.clone(), SubjectCounts::default());
        }
        self.of.entry(subject.clone()).or_default()
    }

    /// Bytes were read.
    pub fn read(&mut self, origin: &Origin, bytes: u64) {
        self.of(&origin.subject).logs.entry(origin.source).or_default().bytes.total += bytes;
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

    /// Something found no room.
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
        let of = self.of(&origin.subject);
        let log = of.logs.entry(origin.source).or_default();
        if let Some(count) = log.messages.get_mut(severity as usize) {
            count.total += 1;
        }
        if matches!(severity, Severity::Error | Severity::Critical) {
            of.last_error = Some(now.wall);
        }
        let kind = if self.levels.contains(&severity) {
            self.pattern(&origin.subject, severity, says, now.instant)
        } else {
            Kind::Plain
        };
        if let (Some(of), Some(limits)) = (self.of.get_mut(&origin.subject), &mut self.classic) {
            of.classic.message(&origin.name, severity, kind, says, limits);
        }
    }

    fn pattern(&mut self, subject: &Subject, severity: Severity, says: &str, now: Instant) -> Kind {
        let looked_for = self.may_look(now);
        let Some(of) = self.of.get_mut(subject) else { return Kind::Plain };
        let of = of.patterns.entry(severity).or_default();
        if !looked_for {
            of.skipped.get_or_insert_default().total += 1;
            self.leave_out(LeftOut::Budget);
            return Kind::Skipped;
        }
        let shown = if self.settings.sample == LogSample::Pattern { self.settings.sample_length } else { 0 };
        let hash = self.scratch.of(says, shown);
        let words = self.scratch.words.as_slice();
        let known = if of.patterns.contains_key(&hash) {
            of.patterns.get_key_value(&hash).map(|(hash, _)| *hash)
        } else {
            of.patterns.iter().find(|(_, pattern)| alike(&pattern.words, words)).map(|(hash, _)| *hash)
        };
        if let Some(pattern) = known.and_then(|known| of.patterns.get_mut(&known)) {
            pattern.count.total += 1;
            pattern.latest = now;
            return Kind::Pattern(known.unwrap_or(hash));
        }
        if of.patterns.len() >= self.settings.patterns || self.kept >= self.settings.patterns_total {
            of.other.get_or_insert_default().total += 1;
            self.leave_out(LeftOut::Pattern);
            return Kind::Other;
        }
        let sample = match self.settings.sample {
            LogSample::Pattern => Cow::Borrowed(&*self.scratch.text),
            LogSample::First => Cow::Owned(bounded(says, self.settings.sample_length)),
            LogSample::Off => Cow::Borrowed(""),
        };
        let (words, sample, count) = (words.into(), (&*sample).into(), SeriesCounter::first());
        let pattern = Pattern { words, sample, count, latest: now };
        of.patterns.insert(hash, pattern);
        self.kept += 1;
        Kind::Pattern(hash)
    }

    /// Whether one more pattern may be looked for now: so many in a second, and as many at once.
    fn may_look(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.settings.pattern_rate);
        let passed =
            self.reckoned.replace(now).map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        self.allowance = (self.allowance + passed.as_secs_f64() * rate).min(rate);
        let may = self.allowance >= 1.0;
        self.allowance -= f64::from(u8::from(may));
        may
    }

    /// Lets go of patterns that have not occurred for the retention.
    pub fn expire(&mut self, now: Instant) {
        let retention = self.settings.retention;
        for of in self.of.values_mut() {
            for (severity, of_severity) in &mut of.patterns {
                let patterns = &mut of_severity.patterns;
                let before = patterns.len();
                patterns.retain(|_, pattern| now.saturating_duration_since(pattern.latest) < retention);
                self.kept -= before - patterns.len();
                if let Some(limits) = self.classic.as_mut().filter(|_| patterns.len() < before) {
                    of.classic.expire(*severity, |hash| patterns.contains_key(hash), limits);
                }
            }
        }
    }

    /// Lets go of what was counted of somebody.
    pub fn forget(&mut self, subject: &Subject) {
        if let Some(mut of) = self.of.remove(subject) {
            self.kept -= kept(&of);
            if let Some(limits) = &mut self.classic {
                of.classic.clear(limits);
            }
        }
    }

    /// Somebody turned out to be another, whose counts go on with these.
    pub fn join(&mut self, subject: &Subject, other: Subject) {
        let Some(from) = self.of.remove(subject) else { return };
        self.kept -= kept(&from);
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
            for (hash, pattern) in from.patterns {
                if let Some(known) = into.patterns.get_mut(&hash) {
                    known.count.join(&pattern.count);
                } else {
                    into.patterns.insert(hash, pattern);
                    self.kept += 1;
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

fn kept(of: &SubjectCounts) -> usize {
    of.patterns.values().map(|of| of.patterns.len()).sum()
}
