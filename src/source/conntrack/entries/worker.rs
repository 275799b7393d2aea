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
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
                    tracing::warn!(
                        source = NAME,
                        netns,
                        why,
                        "not every range of source NAT is known: conntrack.snat.ports.limit may be that of a rule without a range"
                    );
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
            for (place, namespace) in namespaces.into_iter().enumerate() {
                // What the budget no longer suffices for is first in the next round.
                let needs = self.needs(namespace.file);
                if (place > 0 && (left.is_zero() || left < needs)) || self.stop.draining() {
                    break;
                }
                self.one(namespace.file, Some(Arc::clone(&namespace.label)), &mut left, |options| {
                    let read = || Ok(dump::attempt(options));
                    let mut visits = netns::visit(std::slice::from_ref(&namespace), read).into_iter();
                    let visit = visits.next().map(|visit| visit.result.map(|(_, attempt)| attempt));
                    let gone = || Err(SourceError::absent("entering a network namespace", "it is gone"));
                    visit
                        .unwrap_or_else(gone)
                        .unwrap_or_else(|error| Attempt { result: Err(error), cpu_time: Duration::ZERO })
                });
            }
        } else {
            self.one((0, 0), None, &mut left, dump::attempt);
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
    /// read. What is known of others is forgotten.
    fn namespaces(&self) -> Option<Vec<Namespace>> {
        let mut results = self.shared.results();
        let mut namespaces = results.wanted.clone()?;
        results.known.retain(|file, _| namespaces.iter().any(|namespace| namespace.file == *file));
        namespaces.sort_by_key(|namespace| results.known.get(&namespace.file).and_then(|known| known.tried));
        Some(namespaces)
    }

    /// CPU time that the last dump of a namespace took.
    fn needs(&self, file: (u64, u64)) -> Duration {
        let results = self.shared.results();
        results.known.get(&file).map_or(Duration::ZERO, |known| known.needs)
    }

    fn one(
        &self,
        file: (u64, u64),
        label: Option<Arc<str>>,
        left: &mut Duration,
        dump: impl FnOnce(&Options<'_>) -> Attempt,
    ) {
        let options = Options { settings: &self.settings, budget: *left, stop: &self.stop };
        let began = Instant::now();
        let attempt = dump(&options);
        if self.stop.draining() {
            return; // the dump was given up because the agent is stopping
        }
        *left = left.saturating_sub(attempt.cpu_time);
        let mut results = self.shared.results();
        let known = results.known.entry(file).or_insert_with(|| TableState::new(label.clone()));
        known.label = label;
        known.take(attempt, began);
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Rounds, Shared};
    use crate::reading::SourceError;
    use crate::source::conntrack::entries::config::Entries;
    use crate::stop::Stop;
    use std::sync::Arc;
    use std::time::Duration;

    const COST: Duration = Duration::from_millis(40);

    fn rounds() -> Rounds {
        let stop = Stop::new().expect("a pipe");
        Rounds { settings: Entries::default(), shared: Arc::new(Shared::default()), stop }
    }

    fn failed() -> Attempt {
        let error = SourceError::absent("dumping", "no such module");
        Attempt { result: Err(error), cpu_time: COST }
    }

    #[test]
    fn a_dump_that_fails_costs_its_time_and_waits_for_its_turn() {
        let rounds = rounds();
        let mut left = Duration::from_millis(100);
        for file in [(1, 1), (1, 2)] {
            rounds.one(file, None, &mut left, |_| failed());
        }
        assert_eq!(left, Duration::from_millis(20));
        assert_eq!(rounds.needs((1, 1)), COST);
        let results = rounds.shared.results();
        let tried: Vec<_> = results.known.values().map(|known| (known.cpu_time, known.tried)).collect();
        assert!(tried.iter().all(|(cost, tried)| *cost == COST && tried.is_some()), "{tried:?}");
        assert!(tried[0].1 < tried[1].1, "the first is the next");
    }

    #[test]
    fn a_round_that_panics_is_known_until_one_does_not() {
        let rounds = rounds();
        let panic = std::panic::catch_unwind(|| panic!("of a test")).expect_err("it panics");
        rounds.finish(Some(SourceError::panicked(panic.as_ref())));
        assert!(rounds.shared.wait(Duration::ZERO), "nobody waits for it");
        let known = rounds.shared.results().panicked.as_ref().map(ToString::to_string);
        assert_eq!(known.as_deref(), Some("the source panicked: of a test"));
        rounds.finish(None);
        assert!(rounds.shared.results().panicked.is_none());
    }
}
