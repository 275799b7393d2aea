//! State of the sources and of the push, for the log, the error counters, `/-/ready`, `/-/status` and the page at `/`.
//!
//! A state is logged when it changes, not in every cycle.

#![expect(
    clippy::disallowed_methods,
    reason = "how long ago a source answered is taken when its answer comes in"
)]

use crate::metric::label::Reason;
use crate::reading::{Failure, SourceOutcome, chain};
use crate::text;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The state of every source after the last cycle of any reader.
#[derive(Debug, Default)]
pub struct Health {
    sources: Mutex<BTreeMap<&'static str, SourceHealth>>,
    /// Errors of sources that a reload has disabled: they count since the start of the process.
    disabled: Mutex<BTreeMap<&'static str, BTreeMap<Reason, u64>>>,
    /// When any source succeeded last.
    last_success: Mutex<Option<Instant>>,
    push: Mutex<Push>,
}

/// State of the OTLP push, for `/-/status` and the log.
#[derive(Debug, Clone, Default)]
pub struct Push {
    /// Time of the last push that was accepted completely.
    pub last_success: Option<Instant>,
    /// Why the last push failed; `None` if it succeeded, or if none has ended.
    pub failure: Option<String>,
}

/// The state of one source.
#[derive(Debug, Clone, Default)]
pub struct SourceHealth {
    /// Whether it was read since it was started.
    pub asked: bool,
    /// Whether it was read in the last cycle, completely or in part.
    pub up: bool,
    /// Time of the last cycle in which the source was up.
    pub last_success: Option<Instant>,
    /// Failures of the last cycle by part (empty for the whole source) and reason, with their text.
    pub failures: BTreeMap<(String, Reason), String>,
    /// Number of failures, complete or partial, by reason.
    pub errors: BTreeMap<Reason, u64>,
    /// Number of readings in the last cycle.
    pub readings: usize,
    /// Limits that it has reached, by their metric, with the number of what was left out.
    pub limits: Vec<(String, f64)>,
}

impl SourceHealth {
    /// The state as a word: `up`, `up in part`, `absent`, `down`, or `not asked yet`.
    pub fn state(&self) -> &'static str {
        if !self.asked {
            return "not asked yet";
        }
        let absent = self.failures.keys().all(|(_, reason)| *reason == Reason::Absent);
        match (self.up, self.failures.is_empty(), absent) {
            (_, true, _) => "up",
            (true, ..) => "up in part",
            (false, _, true) => "absent",
            (false, _, false) => "down",
        }
    }
}

impl Health {
    /// Records the outcome of a cycle for one source, and logs what has changed.
    pub fn note(&self, outcome: &SourceOutcome) {
        let mut sources = self.lock();
        let errors = || self.disabled().remove(outcome.source).unwrap_or_default();
        let entry = sources.entry(outcome.source);
        let health = entry.or_insert_with(|| SourceHealth { errors: errors(), ..SourceHealth::default() });
        let first = !std::mem::replace(&mut health.asked, true);
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
        health.readings = outcome.readings;
        health.limits.clone_from(&outcome.limits);
        if outcome.up {
            health.last_success = Some(Instant::now());
            *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = health.last_success;
        }
    }

    /// The state of every source that was read so far.
    pub fn sources(&self) -> BTreeMap<&'static str, SourceHealth> {
        self.lock().clone()
    }

    /// The sources were replaced by those of these names. What is known of one that was restarted, for which `is_new` is
    /// true, ends; the numbers of its errors go on, because they are counters.
    pub fn replaced(&self, names: &[&str], is_new: impl Fn(&str) -> bool) {
        let mut sources = self.lock();
        let ended = sources.extract_if(.., |name, _| !names.contains(name));
        self.disabled().extend(ended.map(|(name, health)| (name, health.errors)));
        for (_, health) in sources.iter_mut().filter(|(name, _)| is_new(name)) {
            let errors = std::mem::take(&mut health.errors);
            *health = SourceHealth { errors, ..SourceHealth::default() };
        }
    }

    /// Time since any source last succeeded.
    pub fn last_success(&self) -> Option<Duration> {
        self.last_success.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Records the end of a push, with the reason if it failed.
    pub fn pushed(&self, failure: Option<&str>) {
        let mut push = self.push.lock().unwrap_or_else(PoisonError::into_inner);
        push.failure = failure.map(|why| text::bounded(why, text::LONGEST_ERROR));
        if failure.is_none() {
            push.last_success = Some(Instant::now());
        }
    }

    /// The push was disabled, or goes to another receiver: what is known of it ends.
    pub fn push_replaced(&self) {
        *self.push.lock().unwrap_or_else(PoisonError::into_inner) = Push::default();
    }

    /// State of the OTLP push, for `/-/status` and the log.
    pub fn push(&self) -> Push {
        self.push.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn disabled(&self) -> MutexGuard<'_, BTreeMap<&'static str, BTreeMap<Reason, u64>>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::Health;
    use crate::metric::label::Reason;
    use crate::reading::{Failure, SourceError, SourceOutcome};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn errors_go_on_counting_where_a_reload_restarts_or_disables_the_source_for_a_while() {
        let health = Health::default();
        let fail = || {
            let error = Arc::new(SourceError::absent("reading", "it is not there"));
            let failures = vec![Failure { part: String::new(), error }];
            let (took, limits) = (Duration::ZERO, Vec::new());
            health.note(&SourceOutcome { source: "one", up: false, failures, took, readings: 0, limits });
        };
        let errors = || health.sources().get("one").map(|one| one.errors[&Reason::Absent]);
        fail();
        health.replaced(&["one"], |_| true);
        fail();
        assert_eq!(errors(), Some(2));
        health.replaced(&["other"], |_| true);
        assert_eq!(errors(), None, "nothing is reported of what is disabled");
        health.replaced(&["one"], |_| true);
        fail();
        assert_eq!(errors(), Some(3));
    }
}
