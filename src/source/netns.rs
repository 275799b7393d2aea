//! What every source says of the network namespaces it reads: which could be read, how many were left out, and one error
//! where none could.

use super::{Requirement, metrics};
use crate::host::netns::{Finder, FoundNamespaces, NAMESPACES, Namespace, visit};
use crate::metric::Label;
use crate::metric::label::Reason;
use crate::reading::{Readings, SourceError, chain};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What `netns:` of a source takes: entering another network namespace, and finding those of other users' processes.
pub const REQUIREMENT: Requirement = Requirement {
    capabilities: &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
    files: &["/run/netns", "/proc/PID/ns/net"],
    ..Requirement::of("other network namespaces (netns)")
};

/// What `check` names where neither entering nor finding them is allowed.
const BOTH: &str = "CAP_SYS_ADMIN and CAP_SYS_PTRACE";

/// How reading the configured network namespaces goes, in one cycle of one source.
#[derive(Debug)]
pub struct Report {
    source: Arc<str>,
    read: usize,
    failed: Vec<(Arc<str>, SourceError)>,
    unmatched: Vec<String>,
}

impl Report {
    /// Begins with what was found; the namespaces are for the source to read.
    pub fn begin(source: &'static str, found: FoundNamespaces, out: &mut Readings) -> (Self, Vec<Namespace>) {
        let FoundNamespaces { namespaces, left_out, missing, unmatched, incomplete, note: _ } = found;
        let mut report = Self { source: source.into(), read: 0, failed: Vec::new(), unmatched };
        let labels = [(Label::Source, Arc::clone(&report.source))];
        out.observe(metrics::CONNSCOPE_NETNS_LEFT_OUT, &labels, left_out as u64);
        if let Some(error) = incomplete {
            out.fail("netns: all", error);
        }
        for (label, error) in missing {
            report.record(&label, Err(error), out);
        }
        (report, namespaces)
    }

    /// Notes how reading one of them went.
    pub fn record(&mut self, label: &Arc<str>, result: Result<(), SourceError>, out: &mut Readings) {
        let labels = [(Label::Netns, Arc::clone(label)), (Label::Source, Arc::clone(&self.source))];
        out.observe(metrics::CONNSCOPE_NETNS_UP, &labels, u64::from(result.is_ok()));
        match result {
            Ok(()) => self.read += 1,
            Err(error) => self.failed.push((Arc::clone(label), error)),
        }
    }

    /// Notes what failed. If nothing could be read, that is one error, of the kind that the operator can do most about.
    pub fn finish(self, out: &mut Readings) -> Result<(), SourceError> {
        let result = if self.read > 0 { Ok(()) } else { Err(self.nothing()) };
        for (label, error) in self.failed {
            out.fail(label.to_string(), error);
        }
        result
    }

    fn nothing(&self) -> SourceError {
        let doing = "no configured network namespace could be read";
        let errors = || self.failed.iter().map(|(_, error)| error);
        match foremost(errors()) {
            Some(error) => error.again(doing),
            None => SourceError::absent(doing, unmatched(&self.unmatched)),
        }
    }
}

/// The error that the operator can do most about: the first that was denied, otherwise the first.
fn foremost<'a>(mut errors: impl Iterator<Item = &'a SourceError> + Clone) -> Option<&'a SourceError> {
    let first = errors.clone().next();
    errors.find(|error| error.reason() == Reason::Denied).or(first)
}

fn unmatched(patterns: &[String]) -> String {
    match patterns {
        [] => "there are none".to_owned(),
        patterns => format!("none matches {}", patterns.join(", ")),
    }
}

/// The errors of several ways as one text, for the log.
pub fn reasons<'a>(errors: impl Iterator<Item = (&'a str, &'a SourceError)>) -> String {
    errors.map(|(way, error)| format!("{way}: {}", chain(error))).collect::<Vec<_>>().join("; ")
}

/// Tries to read every configured network namespace, for `connscope check`: how many there are, or the error that the
/// operator can do most about, with how many failed and every entry that could not be looked up.
pub fn check(
    configured: &[String],
    read: impl Fn() -> Result<(), SourceError> + Sync,
) -> Result<String, SourceError> {
    let doing = "reading the configured network namespaces";
    let found = Finder::new(configured).find();
    let failed: Vec<SourceError> =
        visit(&found.namespaces, read).into_iter().filter_map(|visit| visit.result.err()).collect();
    let count = found.namespaces.len();
    let plural = if count == 1 { "" } else { "s" };
    let missing: Vec<&str> = found.missing.iter().map(|(label, _)| &**label).collect();
    let parts = [
        Some(format!("{count} network namespace{plural}")),
        (!failed.is_empty()).then(|| format!("{} of {count} failed", failed.len())),
        (!missing.is_empty()).then(|| format!("cannot be looked up: {}", missing.join(", "))),
        (found.left_out > 0)
            .then(|| format!("{} more are left out, the limit is {NAMESPACES}", found.left_out)),
        (!found.unmatched.is_empty()).then(|| unmatched(&found.unmatched)),
        found.note,
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let errors = failed.iter().chain(&found.incomplete).chain(found.missing.iter().map(|(_, error)| error));
    let doing = format!("{doing} ({text})");
    let needed: BTreeSet<&str> = errors.clone().filter_map(SourceError::capability).collect();
    match foremost(errors) {
        Some(error) if needed.len() > 1 => Err(SourceError::denied(doing, BOTH, chain(error))),
        Some(error) => Err(error.again(&doing)),
        None if count == 0 => {
            Err(SourceError::absent("reading the configured network namespaces", unmatched(&found.unmatched)))
        }
        None => Ok(text),
    }
}
