//! What is counted when there is more than the limits allow, and what goes.

use super::{Counts, LogOwner, Origin, Timestamp};
use crate::host::Host;
use crate::host::inventory::config::Inventory as Settings;
use crate::metric::{Handle, LabelSet, Metric};
use crate::reading::Readings;
use crate::source::SourceKind;
use crate::source::logs::config::{Classic, Files, Level, LogSample, Logs as LogsSettings};
use crate::source::logs::labels::{self, LeftOut, LogSource};
use crate::source::logs::severity::Severity;
use crate::source::logs::stream::Message;
use crate::source::logs::{Logs, metrics, observe};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "a point in time, whichever")]
fn now() -> Timestamp {
    Timestamp { instant: Instant::now(), wall: 1.0 }
}

fn of_file(number: usize) -> Origin {
    let path: Arc<str> = format!("/var/log/{number}.log").into();
    Origin { subject: LogOwner::File(Arc::clone(&path)), source: LogSource::File, name: path }
}

/// What is observed of the counts.
fn observed(counts: &mut Counts, host: &Host) -> Readings {
    let mut out = Readings::default();
    observe::observe(counts, &host.inventory(), LogSample::Pattern, Some(&"machine".into()), &mut out);
    out
}

fn series(out: &Readings, metric: &Metric) -> usize {
    out.iter().filter(|reading| reading.metric.name == metric.name).count()
}

/// A number in letters, since digits are no part of a pattern.
fn word(number: usize) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

#[test]
fn series_are_as_many_as_the_bounds_say_and_no_more_however_many_patterns_there_are() {
    const FILES: usize = 30;
    const WORDS: [&str; 6] = ["debug", "info", "warning", "error", "critical", "unknown"];
    let levels =
        vec![Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical, Level::Unknown];
    let messages = FILES * WORDS.len() * 12;
    let settings = LogsSettings {
        levels,
        patterns: 10,
        patterns_total: 500,
        // As many as are made in a moment; the pattern of what is made after them is not looked for.
        pattern_rate: u32::try_from(messages).unwrap(),
        files: Files::Paths(Vec::new()),
        max_files: FILES,
        classic: Classic { enabled: true },
        ..LogsSettings::default()
    };
    let host = Host::new(&Settings { limit: 1, ..Settings::default() });
    let bounds = Logs::bounds(&settings, &host);
    let bound = |set: &LabelSet| bounds.iter().find(|(of, _)| of.is(set)).unwrap().1;
    let (mut counts, at) = (Counts::new(&settings), now());
    let mut message = |file: usize, word: &str, text: &str| {
        counts.message(&of_file(file), Message::new(&format!("{word}: {text}"), None), at);
    };
    for pattern in 0..12 {
        for file in 0..FILES {
            for severity in WORDS {
                let word = word(1000 + file * 100 + pattern);
                message(file, severity, &format!("{word} x{word} y{word}"));
            }
        }
    }
    for file in 0..FILES {
        for severity in WORDS {
            message(file, severity, "the last one");
        }
    }
    assert_eq!(counts.left_out[LeftOut::Budget as usize], (FILES * WORDS.len()) as u64);
    assert_eq!(counts.left_out[LeftOut::Pattern as usize], messages as u64 - 500);
    let out = observed(&mut counts, &host);
    // One container fewer than there may be: 4 logs and 12 series of the rest.
    let rest = 2 * Severity::ALL.len();
    assert_eq!(bound(&labels::PATTERN), 500 + rest * (FILES + 1));
    assert!(series(&out, metrics::CONTAINER_LOG_PATTERNS.metric()) <= 500 + rest * FILES);
    assert_eq!(series(&out, metrics::CONTAINER_LOG_PATTERN_INFO.metric()), bound(&labels::PATTERN_INFO));
    let severities = Severity::ALL.len();
    assert_eq!(series(&out, metrics::CONTAINER_LOG_MESSAGES.metric()), FILES * severities);
    assert_eq!(bound(&labels::LOG), FILES + LogSource::ALL.len());
    assert_eq!(series(&out, metrics::CONTAINER_LOG_IO.metric()), FILES);
    assert_eq!(series(&out, metrics::CONTAINER_LOG_LAST_MESSAGE_TIME.metric()), FILES);
    assert_eq!(bound(&labels::WORKLOAD), FILES + 1);
    assert!(series(&out, metrics::CONTAINER_CLASSIC_LOG_MESSAGES.metric()) <= bound(&labels::CLASSIC));
    // Whether or not their patterns are counted, every message has its severity.
    for of in counts.of.values() {
        let log = &of.logs[&LogSource::File];
        assert_eq!(log.messages.iter().map(|count| count.total).collect::<Vec<_>>(), [13; 6]);
    }
}

#[test]
fn with_the_defaults_there_are_at_most_as_many_series_as_the_limits_say() {
    let host = Host::new(&Settings::default());
    let bounds = Logs::bounds(&LogsSettings::default(), &host);
    let bound = |set: &LabelSet| bounds.iter().find(|(of, _)| of.is(set)).unwrap().1;
    // 500 containers. Of each log 6 severities and the bytes, of each container the last error; 5,000 patterns, each with what
    // it says; and of each container and severity the two of the rest.
    assert_eq!(bound(&labels::LOG), 500 * LogSource::ALL.len());
    assert_eq!(bound(&labels::WORKLOAD), 500);
    assert_eq!(bound(&labels::PATTERN) + bound(&labels::PATTERN_INFO), 2 * 5000 + 500 * 6 * 2);
    assert_eq!(bound(&labels::CLASSIC), 0);
}

#[test]
fn a_pattern_that_does_not_occur_for_the_retention_goes_and_makes_room() {
    let settings = LogsSettings {
        patterns: 1,
        retention: Duration::from_mins(1),
        classic: Classic { enabled: true },
        ..LogsSettings::default()
    };
    let host = Host::new(&Settings::default());
    let (mut counts, began) = (Counts::new(&settings), now());
    let message = |counts: &mut Counts, text: &str, after: u64| {
        let at = Timestamp { instant: began.instant + Duration::from_secs(after), ..began };
        counts.expire(at.instant);
        counts.message(&of_file(1), Message::new(text, None), at);
    };
    message(&mut counts, "ERROR order failed", 0);
    message(&mut counts, "ERROR order failed", 50);
    // It occurred 59 s before.
    message(&mut counts, "ERROR something else", 109);
    assert_eq!(counts.left_out[LeftOut::Pattern as usize], 1);
    message(&mut counts, "ERROR something else", 110);
    assert_eq!(counts.left_out[LeftOut::Pattern as usize], 1);
    let out = observed(&mut counts, &host);
    let samples = |metric: &Metric| {
        let of_metric = out.iter().filter(|reading| reading.metric.name == metric.name);
        of_metric.filter(|reading| format!("{:?}", reading.labels).contains("something else")).count()
    };
    assert_eq!(series(&out, metrics::CONTAINER_LOG_PATTERN_INFO.metric()), 1);
    assert_eq!(samples(metrics::CONTAINER_LOG_PATTERN_INFO.metric()), 1);
    assert_eq!(samples(metrics::CONTAINER_CLASSIC_LOG_MESSAGES.metric()), 1);
}
