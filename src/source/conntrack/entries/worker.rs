//! The thread that dumps the tables, at its own pace, and what it found last.

#![expect(clippy::disallowed_methods, reason = "the age of a dump is a metric, and rounds have an interval")]

use super::config::Entries as Settings;
use super::dump::{self, DumpResult, Options};
use super::spread::ByProtocol;
use crate::host::netns::{self, Finder, Namespace};
use crate::reading::{SourceError, chain};
use crate::source::conntrack::NAME;
use crate::stop::Stop;
use std::collections::BTreeMap;
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
    /// CPU time of all dumps.
    pub cpu_time: Duration,
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
            ended_early: 0,
            totals: ByProtocol::default(),
            since: SystemTime::now(),
            error: None,
        }
    }

    fn take(&mut self, result: Result<DumpResult, SourceError>, took: Duration) {
        match result {
            Ok(found) => {
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
                self.cpu_time += found.cpu_time;
                self.totals.merge(&found.tally.values);
                self.ended_early += u64::from(early);
                self.found = Some(found);
                (self.at, self.took, self.error) = (Some(Instant::now()), took, None);
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

    /// Waits until every namespace was tried once, at most so long; whether that is so.
    pub fn wait(&self, most: Duration) -> bool {
        let incomplete = |results: &mut Results| !results.complete;
        self.changed
            .wait_timeout_while(self.results(), most, incomplete)
            .is_ok_and(|(results, _)| results.complete)
    }
}

/// Starts the thread.
pub fn start(settings: &Settings, netns: &[String], stop: &Stop) -> std::io::Result<Arc<Shared>> {
    let shared = Arc::new(Shared::default());
    let mut rounds = Rounds {
        settings: settings.clone(),
        finder: Finder::new(netns),
        shared: Arc::clone(&shared),
        stop: stop.clone(),
    };
    std::thread::Builder::new().name("conntrack-dump".to_owned()).spawn(move || {
        loop {
            let started = Instant::now();
            rounds.round();
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
    finder: Finder,
    shared: Arc<Shared>,
    stop: Stop,
}

impl Rounds {
    /// Dumps every table once, as far as the budget of an interval suffices.
    fn round(&mut self) {
        let mut left = self.settings.cpu_time();
        if self.finder.is_configured() {
            let namespaces = self.namespaces();
            for (place, namespace) in namespaces.into_iter().enumerate() {
                // What the budget no longer suffices for is first in the next round.
                let needs = self.needs(namespace.file);
                if (place > 0 && (left.is_zero() || left < needs)) || self.stop.draining() {
                    break;
                }
                self.one(namespace.file, Some(Arc::clone(&namespace.label)), &mut left, |options| {
                    let visits = netns::visit(std::slice::from_ref(&namespace), || dump::dump(options));
                    let visit = visits.into_iter().next().map(|visit| visit.result.map(|(_, found)| found));
                    visit.unwrap_or_else(|| {
                        Err(SourceError::absent("entering a network namespace", "it is gone"))
                    })
                });
            }
        } else {
            self.one((0, 0), None, &mut left, dump::dump);
        }
        self.shared.results().complete = true;
        self.shared.changed.notify_all();
    }

    /// The network namespaces, those first whose last dump is the oldest. What is known of others is forgotten.
    fn namespaces(&mut self) -> Vec<Namespace> {
        let mut namespaces = self.finder.find().namespaces;
        let mut results = self.shared.results();
        results.known.retain(|file, _| namespaces.iter().any(|namespace| namespace.file == *file));
        namespaces.sort_by_key(|namespace| results.known.get(&namespace.file).and_then(|known| known.at));
        namespaces
    }

    /// CPU time that the last dump of a namespace took.
    fn needs(&self, file: (u64, u64)) -> Duration {
        let results = self.shared.results();
        let found = results.known.get(&file).and_then(|known| known.found.as_ref());
        found.map_or(Duration::ZERO, |found| found.cpu_time)
    }

    fn one(
        &self,
        file: (u64, u64),
        label: Option<Arc<str>>,
        left: &mut Duration,
        dump: impl FnOnce(&Options<'_>) -> Result<DumpResult, SourceError>,
    ) {
        let options = Options { settings: &self.settings, budget: *left, stop: &self.stop };
        let started = Instant::now();
        let result = dump(&options);
        if self.stop.draining() {
            return; // the dump was given up because the agent is stopping
        }
        if let Ok(found) = &result {
            *left = left.saturating_sub(found.cpu_time);
        }
        let mut results = self.shared.results();
        let known = results.known.entry(file).or_insert_with(|| TableState::new(label.clone()));
        known.label = label;
        known.take(result, started.elapsed());
    }
}
