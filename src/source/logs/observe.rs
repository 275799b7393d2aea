//! From what was counted to readings.

use super::classic::{Classic, Kind};
use super::config::LogSample;
use super::counts::{Counts, LogOwner, SubjectCounts};
use super::labels::{LeftOut, LogSource, Lost};
use super::severity::Severity;
use super::{metrics, pattern};
use crate::host::inventory::Inventory;
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use crate::text::OTHER;
use std::sync::Arc;

/// The pattern of those whose pattern was not looked for.
const SKIPPED: &str = "~skipped";

/// Observes all that was counted; what belongs to nobody any more goes.
pub(super) fn observe(
    counts: &mut Counts,
    inventory: &Inventory,
    sample: LogSample,
    machine: Option<&Arc<str>>,
    out: &mut Readings,
) {
    settle(counts, inventory);
    for (subject, of) in &mut counts.of {
        let (labels, identity) = match subject {
            LogOwner::Container(number) => match inventory.current(*number) {
                Some(workload) => (workload.labels.clone(), Arc::clone(&workload.identity)),
                None => continue,
            },
            LogOwner::File(path) => {
                (Labels::new(vec![(Label::LogFilePath, Arc::clone(path))]), Arc::from(""))
            }
        };
        of_subject(&labels, of, sample, out);
        if let Some(machine) = machine {
            of_coroot(machine, &identity, &mut of.classic, out);
        }
    }
    for (reason, bytes) in Lost::ALL.iter().zip(&counts.lost) {
        let labels = [(Label::Reason, reason.word().into())];
        out.observe(metrics::CONNSCOPE_LOGS_LOST, &labels, *bytes);
    }
    for (key, count) in LeftOut::ALL.iter().zip(&counts.left_out) {
        out.observe(metrics::CONNSCOPE_LOGS_LEFT_OUT, &[(Label::Key, key.word().into())], *count);
    }
    for source in LogSource::ALL {
        let malformed = counts.malformed.get(source).copied().unwrap_or_default();
        let labels = [(Label::LogSource, source.word().into())];
        out.observe(metrics::CONNSCOPE_LOGS_MALFORMED, &labels, malformed);
    }
}

/// Containers whose name was found late are who they are now, and those that are gone are forgotten.
fn settle(counts: &mut Counts, inventory: &Inventory) {
    let number = |subject: &LogOwner| match subject {
        LogOwner::Container(number) => Some(*number),
        LogOwner::File(_) => None,
    };
    let containers: Vec<u64> = counts.of.keys().filter_map(number).collect();
    for number in containers {
        let subject = LogOwner::Container(number);
        match inventory.current(number) {
            Some(workload) if workload.number != number => {
                counts.join(&subject, LogOwner::Container(workload.number));
            }
            Some(_) => {}
            None => counts.forget(&subject),
        }
    }
}

fn of_subject(labels: &Labels, of: &mut SubjectCounts, sample: LogSample, out: &mut Readings) {
    for (source, log) in &mut of.logs {
        let labels = labels.with(Label::LogSource, source.word());
        for (severity, count) in Severity::ALL.iter().zip(&mut log.messages) {
            let labels = labels.with(Label::Severity, severity.word());
            out.observe(metrics::CONTAINER_LOG_MESSAGES, labels, count.observed(out.readers()));
        }
        out.observe(metrics::CONTAINER_LOG_IO, labels, log.bytes.observed(out.readers()));
    }
    if let Some(time) = of.last_error {
        out.observe(metrics::CONTAINER_LOG_LAST_MESSAGE_TIME, labels, time);
    }
    for (severity, of) in &mut of.patterns {
        let labels = labels.with(Label::Severity, severity.word());
        for pattern in of.patterns.values_mut() {
            let labels = labels.with(Label::Pattern, pattern::word(pattern.hash));
            out.observe(metrics::CONTAINER_LOG_PATTERNS, &labels, pattern.count.observed(out.readers()));
            let info = match sample {
                LogSample::Off => labels,
                LogSample::Pattern | LogSample::First => {
                    labels.with(Label::Sample, Arc::clone(&pattern.sample))
                }
            };
            out.observe(metrics::CONTAINER_LOG_PATTERN_INFO, info, 1);
        }
        for (word, count) in [(OTHER, &mut of.other), (SKIPPED, &mut of.skipped)] {
            if let Some(count) = count {
                let labels = labels.with(Label::Pattern, word);
                out.observe(metrics::CONTAINER_LOG_PATTERNS, labels, count.observed(out.readers()));
            }
        }
    }
}

/// Under the labels of coroot-node-agent, by the identity of a container; empty of a file that is nobody's.
fn of_coroot(machine: &Arc<str>, identity: &Arc<str>, classic: &mut Classic, out: &mut Readings) {
    for (source, severity, kind, sample, count) in classic.iter() {
        let hash = match kind {
            Kind::Plain => String::new(),
            Kind::Pattern(hash) => pattern::word(hash),
            Kind::Other => "0".repeat(32),
            Kind::Skipped => "1".repeat(32),
        };
        let labels = Labels::new(vec![
            (Label::ClassicContainerId, Arc::clone(identity)),
            (Label::ClassicMachineId, Arc::clone(machine)),
            (Label::Source, Arc::clone(source)),
            (Label::ClassicLevel, severity.word().into()),
            (Label::ClassicPatternHash, hash.into()),
            (Label::Sample, Arc::clone(sample)),
        ]);
        out.observe(metrics::CONTAINER_CLASSIC_LOG_MESSAGES, labels, count.observed(out.readers()));
    }
}
