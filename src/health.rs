//! How the sources are doing: for the log, the error counters, `/-/ready` and the page at `/`.
//!
//! A state is logged when it changes, not in every cycle.

#![expect(
    clippy::disallowed_methods,
    reason = "how long ago a source answered is taken when its answer comes in"
)]

use crate::metric::label::Reason;
use crate::reading::{Failure, Outcome, chain};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state of every source, as the last cycle of any reader left it.
#[derive(Debug, Default)]
pub struct Health {
    sources: Mutex<BTreeMap<&'static str, SourceHealth>>,
}

/// The state of one source.
#[derive(Debug, Clone, Default)]
pub struct SourceHealth {
    /// Whether it answered in the last cycle, as a whole.
    pub up: bool,
    /// When it last did.
    pub last_success: Option<Instant>,
    /// What was wrong in the last cycle: part (empty for the whole) and reason, with the text.
    pub failures: BTreeMap<(String, Reason), String>,
    /// How often it failed, whole or in part.
    pub errors: BTreeMap<Reason, u64>,
}

impl Health {
    /// Takes what a cycle found out about one source, and logs what has changed.
    pub fn note(&self, outcome: &Outcome) {
        let mut sources = self.lock();
        let first = !sources.contains_key(outcome.source);
        let health = sources.entry(outcome.source).or_default();
        let mut failures = BTreeMap::new();
        for Failure { part, error } in &outcome.failures {
            *health.errors.entry(error.reason()).or_default() += 1;
            failures.insert((part.clone(), error.reason()), chain(error.as_ref()));
        }
        log_changes(outcome.source, &health.failures, &failures);
        if outcome.up && !health.up && !first {
            tracing::info!(source = outcome.source, "recovered");
        }
        health.failures = failures;
        health.up = outcome.up;
        if outcome.up {
            health.last_success = Some(Instant::now());
        }
    }

    /// The state of every source that was asked so far.
    pub fn sources(&self) -> BTreeMap<&'static str, SourceHealth> {
        self.lock().clone()
    }

    /// How long ago any source last succeeded.
    pub fn last_success(&self) -> Option<Duration> {
        self.lock().values().filter_map(|health| health.last_success).max().map(|at| at.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, SourceHealth>> {
        // What is kept here is whole after every statement, so a panic elsewhere leaves nothing half-written.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Failures = BTreeMap<(String, Reason), String>;

fn log_changes(source: &'static str, before: &Failures, now: &Failures) {
    for ((part, reason), text) in now.iter().filter(|(key, _)| !before.contains_key(*key)) {
        let reason = reason.word();
        let part = (!part.is_empty()).then_some(part.as_str());
        if reason == Reason::Absent.word() {
            // Nothing is broken: the machine does not have it.
            tracing::info!(source, part, reason, "{text}");
        } else {
            tracing::warn!(source, part, reason, "{text}");
        }
    }
    for (part, reason) in before.keys().filter(|(part, _)| !now.keys().any(|(now, _)| now == part)) {
        if !part.is_empty() {
            tracing::info!(source, part, reason = reason.word(), "recovered");
        }
    }
}
