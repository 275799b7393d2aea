//! The messages under the name and labels of coroot-node-agent: one series for each log, severity and pattern.
//!
//! What is not of a pattern has an empty hash and sample; for patterns over the limit, and what was not looked for, the original
//! has hashes of zeros and of ones (`parser.go` of logparser). Its series live as long as the file that they are of.

use super::config::Logs as Settings;
use super::count::SeriesCounter;
use super::labels::LogSource;
use super::pattern::Hash;
use super::severity::Severity;
use crate::text::bounded;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What stands for a message in the labels `pattern_hash` and `sample`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The severity only.
    Plain,
    /// The hash of the pattern that the message belongs to.
    Pattern(Hash),
    /// Its pattern is over a limit.
    Other,
    /// Its pattern was not looked for.
    Skipped,
}

/// Messages of one severity and pattern in one log, and the first of them.
#[derive(Debug)]
struct ClassicPattern {
    count: SeriesCounter,
    sample: Arc<str>,
}

/// Counts of one log.
type PatternCounts = BTreeMap<(Severity, Kind), ClassicPattern>;

/// What was counted of somebody, by the value of the label `source`.
#[derive(Debug, Default)]
pub struct Classic(BTreeMap<Arc<str>, PatternCounts>);

/// Limits.
#[derive(Debug)]
pub struct Limits {
    /// Bytes of a sample at most.
    length: usize,
    /// Patterns of all logs at most.
    most: usize,
    /// Patterns that are kept.
    kept: usize,
}

impl Limits {
    /// `None` where nothing is to be counted.
    pub fn new(settings: &Settings) -> Option<Self> {
        let limits = Self { length: settings.sample_length, most: settings.patterns_total, kept: 0 };
        settings.classic.enabled.then_some(limits)
    }
}

/// The value of the label `source` of a log whose path is this, as who writes it has it.
pub fn source(source: LogSource, path: &str) -> Arc<str> {
    match source {
        LogSource::Docker | LogSource::Cri => "stdout/stderr".into(),
        LogSource::Journald => LogSource::Journald.word().into(),
        LogSource::File => path.into(),
    }
}

impl Classic {
    /// What was counted, by log, severity and kind: the first message, and how many there were.
    pub fn iter(
        &mut self,
    ) -> impl Iterator<Item = (&Arc<str>, Severity, Kind, &Arc<str>, &mut SeriesCounter)> {
        self.0.iter_mut().flat_map(|(source, log)| {
            log.iter_mut().map(move |((severity, kind), kept)| {
                (source, *severity, *kind, &kept.sample, &mut kept.count)
            })
        })
    }

    /// Counts a message.
    pub fn message(
        &mut self,
        source: &Arc<str>,
        severity: Severity,
        mut kind: Kind,
        says: &str,
        limits: &mut Limits,
    ) {
        if !self.0.contains_key(source) {
            self.0.insert(Arc::clone(source), PatternCounts::new());
        }
        let Some(log) = self.0.get_mut(source) else { return };
        let is_pattern = matches!(kind, Kind::Pattern(_));
        if is_pattern && limits.kept >= limits.most && !log.contains_key(&(severity, kind)) {
            kind = Kind::Other;
        }
        let kept = log.entry((severity, kind)).or_insert_with(|| {
            let sample = match kind {
                Kind::Plain => "".into(),
                Kind::Pattern(_) => {
                    limits.kept += 1;
                    bounded(says, limits.length).into()
                }
                Kind::Other => "unclassified pattern (pattern limit reached)".into(),
                Kind::Skipped => "event was sampled".into(),
            };
            ClassicPattern { count: SeriesCounter::default(), sample }
        });
        kept.count.total += 1;
    }

    /// Lets go of the patterns of a severity that are no longer known.
    pub fn expire(&mut self, severity: Severity, known: impl Fn(&Hash) -> bool, limits: &mut Limits) {
        for log in self.0.values_mut() {
            let before = log.len();
            log.retain(|(of, kind), _| match kind {
                Kind::Pattern(hash) => *of != severity || known(hash),
                Kind::Plain | Kind::Other | Kind::Skipped => true,
            });
            limits.kept -= before - log.len();
        }
    }

    /// Lets go of a log.
    pub fn forget(&mut self, source: &str, limits: &mut Limits) {
        if let Some(log) = self.0.remove(source) {
            limits.kept -= patterns(&log);
        }
    }

    /// Lets go of everything.
    pub fn clear(&mut self, limits: &mut Limits) {
        for log in std::mem::take(&mut self.0).into_values() {
            limits.kept -= patterns(&log);
        }
    }

    /// The counts of another go on with these.
    pub fn join(&mut self, other: Self, limits: &mut Limits) {
        for (source, from) in other.0 {
            let into = self.0.entry(source).or_default();
            for (key, from) in from {
                if let Some(into) = into.get_mut(&key) {
                    into.count.join(&from.count);
                    limits.kept -= usize::from(matches!(key.1, Kind::Pattern(_)));
                } else {
                    into.insert(key, from);
                }
            }
        }
    }
}

fn patterns(log: &PatternCounts) -> usize {
    log.keys().filter(|(_, kind)| matches!(kind, Kind::Pattern(_))).count()
}

#[cfg(test)]
mod tests {
    use super::{Classic, Kind, Limits};
    use crate::source::logs::config::{Classic as Enabled, Logs as Settings};
    use crate::source::logs::severity::Severity;
    use std::sync::Arc;

    fn limits() -> Limits {
        let classic = Enabled { enabled: true };
        let settings = Settings { classic, patterns_total: 3, sample_length: 16, ..Settings::default() };
        Limits::new(&settings).unwrap()
    }

    /// Counts a message of each of these patterns in a log.
    fn count(classic: &mut Classic, log: &str, patterns: &[u8], limits: &mut Limits) {
        for number in patterns {
            let kind = Kind::Pattern([*number; 16]);
            classic.message(&log.into(), Severity::Error, kind, "said \u{7} and much more", limits);
        }
    }

    fn totals(classic: &Classic, log: &str) -> Vec<(Kind, u64)> {
        classic.0[log].iter().map(|((_, kind), kept)| (*kind, kept.count.total)).collect()
    }

    #[test]
    fn each_log_has_its_patterns_and_those_over_the_limit_are_one() {
        let (mut classic, mut limits) = (Classic::default(), limits());
        count(&mut classic, "/var/log/a", &[1, 1, 2], &mut limits);
        count(&mut classic, "/var/log/b", &[1, 2, 3, 1], &mut limits);
        let [one, two] = [1, 2].map(|number| Kind::Pattern([number; 16]));
        assert_eq!(totals(&classic, "/var/log/a"), [(one, 2), (two, 1)]);
        assert_eq!(totals(&classic, "/var/log/b"), [(one, 2), (Kind::Other, 2)]);
        let sample = &classic.0["/var/log/a"][&(Severity::Error, one)].sample;
        assert_eq!((&**sample, sample.len() <= 16), ("said \u{fffd} and …", true));
        classic.forget("/var/log/a", &mut limits);
        assert_eq!(limits.kept, 1);
        count(&mut classic, "/var/log/b", &[2, 3], &mut limits);
        assert_eq!((limits.kept, classic.0.len()), (3, 1));
    }

    #[test]
    fn what_is_joined_or_forgotten_makes_room() {
        let (mut one, mut other, mut limits) = (Classic::default(), Classic::default(), limits());
        count(&mut one, "stdout/stderr", &[1], &mut limits);
        count(&mut other, "stdout/stderr", &[1, 2], &mut limits);
        one.join(other, &mut limits);
        assert_eq!(limits.kept, 2);
        assert_eq!(totals(&one, "stdout/stderr").iter().map(|(_, total)| total).sum::<u64>(), 3);
        one.expire(Severity::Warning, |_| false, &mut limits);
        assert_eq!(limits.kept, 2);
        one.expire(Severity::Error, |_| false, &mut limits);
        assert_eq!(limits.kept, 0);
        count(&mut one, "stdout/stderr", &[1], &mut limits);
        one.clear(&mut limits);
        assert_eq!((limits.kept, one.0.len()), (0, 0));
        assert!(Limits::new(&Settings::default()).is_none());
        let source: Arc<str> = super::source(super::LogSource::File, "/var/log/a");
        assert_eq!(&*source, "/var/log/a");
    }
}
