//! The labels of the logs: the closed sets of their values, and which have one bound together.

use super::severity::Severity;
use crate::host::inventory::workload_and;
use crate::metric::label::closed_set;
use crate::metric::{Label, LabelSet};

closed_set! {
    /// The closed set of values of the label `log.source`: where a log is.
    LogSource {
        /// Docker's `json-file`.
        Docker = "docker",
        /// The log of a container as containerd and CRI-O write it.
        Cri = "cri",
        /// The journal of systemd.
        Journald = "journald",
        /// A file with lines of text.
        File = "file",
    }
}

closed_set! {
    /// The closed set of values of the label `reason` of what was lost.
    Lost {
        /// The file was renamed and removed before it was read.
        Rotated = "rotated",
        /// The file was cut off before it was read.
        Truncated = "truncated",
        /// The end of a line or message of more than 64 KiB.
        LineTooLong = "line_too_long",
        /// Entries of a journal that could not be read.
        Journal = "journal",
    }
}

closed_set! {
    /// The closed set of values of the label `key`: the limit that was exceeded.
    LeftOut {
        /// A file (`max_files`), or a link, FIFO or device that a list of `files` names.
        File = "file",
        /// The pattern of a message (`patterns`, `patterns_total`).
        Pattern = "pattern",
        /// The pattern of a message, which was not looked for (`pattern_rate`).
        Budget = "budget",
    }
}

const BOUNDED_BY: &str =
    "`inventory.limit` for each `log.source`, and `sources.logs.max_files` with a list of `files`";

/// The container or service of a log, or the path of a file that the configuration names.
pub static WORKLOAD: LabelSet = LabelSet::configured(
    workload_and![LogFilePath],
    "`inventory.limit`, and `sources.logs.max_files` with a list of `files`",
);

/// A log: its container or file, and its source.
pub static LOG: LabelSet = LabelSet::configured(workload_and![LogFilePath, LogSource], BOUNDED_BY);

/// Severity of a message.
pub static SEVERITY: LabelSet = LabelSet::fixed(&[Label::Severity], Severity::ALL.len());

/// A pattern of the messages of a log.
pub static PATTERN: LabelSet = LabelSet::configured(
    workload_and![LogFilePath, Pattern, Severity],
    "`sources.logs.patterns_total`, and `~other` and `~skipped` of each container or file and severity",
);

/// A pattern with a sample of its messages.
pub static PATTERN_INFO: LabelSet = LabelSet::configured(
    workload_and![LogFilePath, Pattern, Sample, Severity],
    "`sources.logs.patterns_total`",
);

/// Messages of a log, with the labels of coroot-node-agent.
pub static CLASSIC: LabelSet = LabelSet::configured(
    &[
        Label::ClassicContainerId,
        Label::ClassicLevel,
        Label::ClassicMachineId,
        Label::ClassicPatternHash,
        Label::Source,
        Label::Sample,
    ],
    "`sources.logs.patterns_total`, and for each log three of each severity",
);

/// Source of a log.
pub static SOURCE: LabelSet = LabelSet::fixed(&[Label::LogSource], LogSource::ALL.len());

/// Reason why bytes were lost.
pub static LOST: LabelSet = LabelSet::fixed(&[Label::Reason], Lost::ALL.len());

/// The limit that was exceeded.
pub static LEFT_OUT: LabelSet = LabelSet::fixed(&[Label::Key], LeftOut::ALL.len());
