//! The thread that dumps the tables, at its own pace, and what it found last.

#![expect(clippy::disallowed_methods, reason = "the age of a dump is a metric, and rounds have an interval")]

use super::config::Entries as Settings;
use super::dump::{self, Attempt, DumpResult, Options};
use super::spread::ByProtocol;
use crate::host::netns::{self, Namespace};
use crate::reading::{SourceError, chain};
use crate::source::conntrack::NAME;
use crate::stop::Stop;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Number of the agent's own network namespace if it is the only one.
const OWN: (u64, u64) = (0, 0);

/// Whether the log has the warning that ranges of source NAT are not known: a node may have many pods with such rules.
static WARNED: AtomicBool = AtomicBool::new(false);

/// The text of that warning.
const RANGES_UNKNOWN: &str =
    "not every range of source NAT is known: conntrack.snat.ports.limit may be of a rule without a range";

/// What is known of the table of one network namespace.
#[derive(Debug)]
pub struct TableState {
    /// Value of the attribute `netns`; `None` if only the agent's own namespace is read.
    pub label: Option<Arc<str>>,
    /// What the last dump found.
    pub found: Option<DumpResult>,
    /// When the last dump ended.
    pub at: Option<Instant>,
    /// How long it took.
    pub took: Duration,
    /// CPU time of all dumps, those that failed included.
    pub cpu_time: Duration,
    /// CPU time of the last one.
    pub needs: Duration,
    /// When the last one began; `None` before the first.
    pub tried: Option<Instant>,
    /// Whether the log says that ranges of source NAT are not known.
    pub ranges_said: bool,
    /// Dumps that ended early.
    pub ended_early: u64,
    /// Values of the entries of all dumps, by protocol.
    pub totals: ByProtocol,
    /// When the first dump began.
    pub since: SystemTime,
    /// Why the last attempt failed.
    pub error: Option<SourceError>,
}

impl TableState {
    fn new(label: Option<Arc<str>>) -> Self {
        Self {
            label,
            found: None,
            at: None,
            took: Duration::ZERO,
            cpu_time: Duration::ZERO,
            needs: Duration::ZERO,
            tried: None,
            ranges_said: false,
            ended_early: 0,
            totals: ByProtocol::default(),
            since: SystemTime::now(),
            error: None,
        }
    }

    fn take(&mut self, attempt: Attempt, began: Instant) {
        let Attempt { result, cpu_time } = attempt;
        self.cpu_time += cpu_time;
        (self.needs, self.tried) = (cpu_time, Some(began));
        match result {
            Ok(found) => {
                if let Some(why) = found.ranges_unknown.as_ref().filter(|_| !self.ranges_said) {
                    self.ranges_said = true;
                    let netns = self.label.as_deref().unwrap_or_default();
                    if WARNED.swap(true, Ordering::Relaxed) {
                        tracing::debug!(source = NAME, netns, why, "{RANGES_UNKNOWN}");
                    } else {
                        tracing::warn!(source = NAME, netns, why, "{RANGES_UNKNOWN}");
                    }
                }
                let early = !found.is_whole();
                if early && self.found.as_ref().is_none_or(DumpResult::is_whole) {
                    let netns = self.label.as_deref().unwrap_or_default();
                    let (entries, share) = (found.tally.entries, found.share);
                    tracing::warn!(
                        source = NAME,
                        netns,
                        entries,
                        share,
                        "a dump of the table has ended early: raise sources.conntrack.entries.budget or interval"
                    );
                }
                self.totals.merge(&found.tally.values);
                self.ended_early += u64::from(early);
                self.found = Some(found);
                (self.at, self.took, self.error) = (Some(Instant::now()), began.elapsed(), None);
            }
            Err(error) => {
                if self.error.is_none() {
                    tracing::debug!(source = NAME, error = chain(&error), "no entries of the table");
                }
                self.error = Some(error);
            }
        }
    }
}

/// What the thread found, by the number of the namespace's file; the agent's own has the number 0 if it is the only one.
#[derive(Debug, Default)]
pub struct Results {
    /// Network namespaces.
    pub known: BTreeMap<(u64, u64), TableState>,
    /// Whether every namespace was tried once.
    pub complete: bool,
    /// What the thread panicked with in the last round.
    pub panicked: Option<SourceError>,
    /// The network namespaces that the last cycle has found; `None` if that is the agent's own alone.
    wanted: Option<Vec<Namespace>>,
    /// Whether there was a cycle.
    asked: bool,
}

impl Results {
    /// Forgets what is known of network namespaces other than those that a cycle has found; `None`: the agent's own alone.
    /// The number of a namespace that is gone may be that of a new one, so its label counts too.
    pub fn keep(&mut self, found: Option<&[Namespace]>) {
        self.known.retain(|file, known| match found {
            None => *file == OWN,
            Some(found) => {
                found.iter().any(|one| one.file == *file && known.label.as_ref() == Some(&one.label))
            }
        });
    }
}

/// The results, which a cycle reads and the thread writes.
#[derive(Debug, Default)]
pub struct Shared {
    results: Mutex<Results>,
    changed: Condvar,
}

impl Shared {
    /// The results so far.
    pub fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which network namespaces a cycle has found; `None`: the agent's own alone.
    pub fn ask(&self, found: Option<&[Namespace]>) {
        let mut results = self.results();
        (results.wanted, results.asked) = (found.map(<[_]>::to_vec), true);
        drop(results);
        self.changed.notify_all();
    }

    /// Waits until every namespace was tried once, at most so long; whether that is so.
    pub fn wait(&self, most: Duration) -> bool {
        let incomplete = |results: &mut Results| !results.complete;
        self.changed
            .wait_timeout_while(self.results(), most, incomplete)
            .is_ok_and(|(results, _)| results.complete)
    }
}

/// Starts the thread.
pub fn start(settings: &Settings, stop: &Stop) -> std::io::Result<Arc<Shared>> {
    let shared = Arc::new(Shared::default());
    let rounds = Rounds { settings: settings.clone(), shared: Arc::clone(&shared), stop: stop.clone() };
    std::thread::Builder::new().name("conntrack-dump".to_owned()).spawn(move || {
        // The first cycle says which network namespaces there are.
        while !rounds.shared.results().asked {
            if rounds.stop.killed_within(crate::timeouts::GLANCE) || rounds.stop.draining() {
                return;
            }
        }
        loop {
            let started = Instant::now();
            let round = catch_unwind(AssertUnwindSafe(|| rounds.round()));
            rounds.finish(round.err().map(|panic| SourceError::panicked(panic.as_ref())));
            let rest = rounds.settings.interval.saturating_sub(started.elapsed());
            if rounds.stop.killed_within(rest) || rounds.stop.draining() {
                break;
            }
        }
    })?;
    Ok(shared)
}

struct Rounds {
    settings: Settings,
    shared: Arc<Shared>,
    stop: Stop,
}

impl Rounds {
    /// Dumps every table once, as far as the budget of an interval suffices.
    fn round(&self) {
        let mut left = self.settings.cpu_time();
        if let Some(namespaces) = self.namespaces() {
            let mut any = false;
            for namespace in namespaces {
                // What the budget no longer suffices for is first in the next round.
                let needs = self.needs(namespace.file);
                if (any && (left.is_zero() || left < needs)) || self.stop.draining() {
                    break;
                }
                let label = Some(Arc::clone(&namespace.label));
                any |= self.one(namespace.file, label, &mut left, |options| attempt_in(&namespace, options));
            }
        } else {
            self.one(OWN, None, &mut left, |options| Some(dump::attempt(options)));
        }
    }

    /// Ends a round.
    fn finish(&self, panicked: Option<SourceError>) {
        let mut results = self.shared.results();
        (results.complete, results.panicked) = (true, panicked);
        drop(results);
        self.shared.changed.notify_all();
    }

    /// The network namespaces, those first whose last dump began first, also if it failed; `None` if only the agent's own is
    /// read.
    fn namespaces(&self) -> Option<Vec<Namespace>> {
        let results = self.shared.results();
        let mut namespaces = results.wanted.clone()?;
        namespaces.sort_by_key(|namespace| results.known.get(&namespace.file).and_then(|known| known.tried));
        Some(namespaces)
    }

    /// CPU time that the last dump of a namespace took.
    fn needs(&self, file: (u64, u64)) -> Duration {
        let results = self.shared.results();
        results.known.get(&file).map_or(Duration::ZERO, |known| known.needs)
    }

    /// Takes a dump of a network namespace; whether there was one. Without one, the namespace is gone, and forgotten.
    fn one(
        &self,
        file: (u64, u64),
        label: Option<Arc<str>>,
        left: &mut Duration,
        dump: impl FnOnce(&Options<'_>) -> Option<Attempt>,
    ) -> bool {
        let options = Options { settings: &self.settings, budget: *left, stop: &self.stop };
        let began = Instant::now();
        let attempt = dump(&options);
        if self.stop.draining() {
            return false; // the dump was given up because the agent is stopping
        }
        let mut results = self.shared.results();
        let Some(attempt) = attempt else {
            results.known.remove(&file);
            return false;
        };
        *left = left.saturating_sub(attempt.cpu_time);
        let known = results.known.entry(file).or_insert_with(|| TableState::new(label.clone()));
        known.label = label;
        known.take(attempt, began);
        true
    }
}

/// Dumps the table of a network namespace; `None` if the namespace is gone.
fn attempt_in(namespace: &Namespace, options: &Options<'_>) -> Option<Attempt> {
    let visits = netns::visit(std::slice::from_ref(namespace), || Ok(dump::attempt(options)));
    match visits.into_iter().next()?.result {
        Ok((_, attempt)) => Some(attempt),
        Err(_) if netns::is_gone(&namespace.path, namespace.file) => None,
        Err(error) => Some(Attempt { result: Err(error), cpu_time: Duration::ZERO }),
    }
}

#[cfg(test)]
mod tests;
