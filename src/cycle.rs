//! A collection by one reader: reads every source, waits until the deadline at most, and keeps the readings that
//! arrived in time.
//!
//! The SDK calls back once per instrument and does not say when a collection begins. So the first instrument whose
//! callback is called for the second time begins a new cycle. This holds because a provider never collects twice at the
//! same time and calls every instrument once per collection; so each reader has a provider and a [`Cycle`] of its own.

#![expect(clippy::disallowed_methods, reason = "the time at which a collection began is recorded here")]

use crate::health::Health;
use crate::history::History;
use crate::metric::label::Reason;
use crate::metric::{Label, Metric, Table};
use crate::reading::first::ReaderKind;
use crate::reading::{Failure, Readers, Reading, Readings, Snapshot, SourceOutcome};
use crate::self_metrics::{self, SelfMetrics};
use crate::source::worker::{Pending, SourceResponse, Worker};
use crate::source::{Reports, metrics};
use crate::stop::Stop;
use progress::Progress;
use set::SourceSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

pub mod progress;
pub mod set;

/// The running sources; shared by all readers.
#[derive(Debug)]
pub struct Sources {
    running: RwLock<Arc<SourceSet>>,
    left_out: AtomicU64,
    /// Where every cycle is recorded; `None` if nobody shows it.
    history: RwLock<Option<Arc<History>>>,
    /// State of every source after its last cycle, for the log, the error counters and `/-/ready`.
    pub health: Health,
    /// Number of completed cycles of all readers.
    completed: watch::Sender<u64>,
    readers: Mutex<Vec<Weak<Progress>>>,
    stop: Stop,
}

impl Sources {
    /// Creates it with a set of running sources.
    pub fn new(set: SourceSet, stop: &Stop) -> Self {
        Self {
            running: RwLock::new(Arc::new(set)),
            left_out: AtomicU64::new(0),
            history: RwLock::default(),
            health: Health::default(),
            completed: watch::Sender::new(0),
            readers: Mutex::default(),
            stop: stop.clone(),
        }
    }

    /// Creates it from running workers and their table.
    pub fn of(
        workers: Vec<Worker>,
        table: Arc<Table>,
        own: Option<Arc<dyn SelfMetrics>>,
        stop: &Stop,
    ) -> Self {
        let workers = workers.into_iter().map(Arc::new).collect();
        Self::new(SourceSet { workers, table, self_metrics: own.into_iter().collect() }, stop)
    }

    /// The enabled sources.
    pub fn set(&self) -> Arc<SourceSet> {
        Arc::clone(&self.running.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the set of sources, with its table. A source that is not in the new set stops after the last cycle that
    /// reads it.
    pub fn replace(&self, set: SourceSet) {
        let set = Arc::new(set);
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *running, Arc::clone(&set));
        drop(running);
        self.health.replaced(&set.names().collect::<Vec<_>>(), |name| !set.shares(&old, name));
    }

    /// The rows of the table, with their limits.
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(self.set().table())
    }

    /// Number of readings that were left out because their metric had reached its limit.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Records every cycle from now on, or none.
    pub fn record(&self, history: Option<Arc<History>>) {
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history;
    }

    /// The recorded cycles, if any are.
    pub fn history(&self) -> Option<Arc<History>> {
        self.history.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The reports of the sources.
    pub fn reports(&self) -> Vec<Arc<dyn Reports>> {
        self.set().workers.iter().filter_map(|worker| worker.reports.clone()).collect()
    }

    /// The readers that there are.
    fn all_readers(&self, now: Instant) -> Readers {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let there = readers.iter().filter_map(Weak::upgrade).filter(|reader| reader.is_there(now));
        Readers::of(there.map(|reader| reader.kind()))
    }

    /// Reads every source once, all at the same time.
    fn read_all(&self, readers: Readers) -> Snapshot {
        let set = self.set();
        let began = Instant::now();
        let pending: Vec<_> = set.workers.iter().map(|worker| (worker.name, worker.ask(readers))).collect();
        // The last sources of the list usually take longest; waiting for them first makes later waits short.
        let waited = |(name, pending): (_, Pending)| (name, pending.wait(&self.stop));
        let mut answers: Vec<_> = pending.into_iter().rev().map(waited).collect();
        let mut snapshot = Snapshot::empty(set.table());
        let of_sources = set.workers.iter().filter_map(|worker| Some((worker.part?, worker.since)));
        snapshot.began = of_sources.chain(set.self_metrics.iter().filter_map(|own| own.began())).collect();
        while let Some((name, answer)) = answers.pop() {
            let outcome = self.keep(&mut snapshot, name, answer);
            // A source that is interrupted by the stop of the agent, or replaced by a reload meanwhile, has not failed.
            if (outcome.up || !self.stop.draining()) && self.set().shares(&set, name) {
                self.health.note(&outcome);
            }
            snapshot.outcomes.push(outcome);
        }
        let mut own = Readings::default();
        self.observe_sources(&snapshot, &mut own);
        self_metrics::observe(&set.self_metrics, &mut own);
        own.observe(metrics::CONNSCOPE_READINGS_LEFT_OUT, &[], self.left_out());
        self.take(&mut snapshot, own.into_parts().0);
        if let Some(history) = self.history() {
            history.record(&snapshot, began);
        }
        self.completed.send_modify(|completed| *completed += 1);
        snapshot
    }

    /// Runs a cycle without a reader, to determine the state of the sources.
    pub fn try_all(&self) {
        drop(self.read_all(self.all_readers(Instant::now())));
    }

    /// Number of completed cycles, successful or not.
    pub fn completed(&self) -> u64 {
        *self.completed.borrow()
    }

    /// The longest deadline of all sources.
    pub fn longest(&self) -> Duration {
        self.set().workers.iter().map(|worker| worker.deadline()).max().unwrap_or_default()
    }

    /// Waits until more than this number of cycles have completed.
    pub async fn completed_after(&self, count: u64) {
        let mut completed = self.completed.subscribe();
        // The sender is a field of this, so the wait cannot fail.
        let _more = completed.wait_for(|completed| *completed > count).await;
    }

    /// Whether a collection of any reader is overdue by `grace`.
    pub fn overdue(&self, now: Instant, grace: Duration) -> bool {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.iter().filter_map(Weak::upgrade).any(|reader| reader.overdue(now, grace))
    }

    /// Registers a reader, and returns its progress.
    fn progress(&self, kind: ReaderKind) -> Arc<Progress> {
        let progress = Arc::new(Progress::new(kind, Instant::now()));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|reader| reader.strong_count() > 0);
        readers.push(Arc::downgrade(&progress));
        progress
    }

    /// Adds the result of a source to the snapshot.
    fn keep(&self, snapshot: &mut Snapshot, source: &'static str, answer: SourceResponse) -> SourceOutcome {
        let SourceResponse { readings, result, took } = answer;
        let (readings, mut failures) = readings.into_parts();
        let count = readings.iter().filter(|reading| !reading.metric.is_own()).count();
        let limits = readings.iter().filter_map(limit).collect();
        self.take(snapshot, readings);
        let up = result.is_ok();
        if let Err(error) = result {
            failures.push(Failure { part: String::new(), error: Arc::new(error) });
        }
        SourceOutcome { source, up, failures, took, readings: count, limits }
    }

    fn take(&self, snapshot: &mut Snapshot, readings: Vec<Reading>) {
        for reading in readings {
            if !snapshot.take(reading) {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn observe_sources(&self, snapshot: &Snapshot, out: &mut Readings) {
        for outcome in &snapshot.outcomes {
            let source = [(Label::Source, outcome.source.into())];
            out.observe(metrics::CONNSCOPE_SOURCE_UP, &source, u64::from(outcome.up));
            out.observe(metrics::CONNSCOPE_SOURCE_DURATION, &source, outcome.took.as_secs_f64());
        }
        for (source, health) in self.health.sources() {
            for reason in Reason::ALL {
                let labels = [(Label::Reason, reason.word().into()), (Label::Source, source.into())];
                let errors = health.errors.get(reason).copied().unwrap_or_default();
                out.observe(metrics::CONNSCOPE_SOURCE_ERRORS, &labels, errors);
            }
        }
    }

    /// Stops the sources, and waits for them until this time at most.
    pub fn finish(self, until: Instant) {
        let set = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        let workers = Arc::into_inner(set).map(|set| set.workers).unwrap_or_default();
        for worker in workers.into_iter().filter_map(Arc::into_inner) {
            worker.finish(until);
        }
    }
}

/// Values of the label `key` of `left_out` that are no limits: sockets of uncertain direction, and those whose destroy event
/// has too little for the filter.
const NO_LIMIT: [&str; 2] = ["direction", "filter"];

/// The metric and value of a reading that shows a reached limit: every `connscope.….left_out` above 0.
fn limit(reading: &Reading) -> Option<(String, f64)> {
    let metric = reading.metric;
    if !metric.is_own() || !metric.name.ends_with(".left_out") {
        return None;
    }
    let value = reading.value.number()?;
    let labels = reading.labels.iter().filter(|(label, _)| *label != Label::Source);
    let labels: Vec<String> = labels.map(|(label, value)| format!("{}=\"{value}\"", label.key())).collect();
    let is_limit =
        !reading.labels.iter().any(|(label, key)| *label == Label::Key && NO_LIMIT.contains(&&**key));
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    (value > 0.0 && is_limit).then(|| (format!("{}{labels}", metric.name), value))
}

/// The cycles of one reader.
#[derive(Debug)]
pub struct Cycle {
    sources: Arc<Sources>,
    /// The rows that have instruments. After a reload the sources may have another table.
    table: Arc<Table>,
    state: Mutex<State>,
    /// Progress of the reader.
    pub progress: Arc<Progress>,
}

#[derive(Debug)]
struct State {
    asked: Vec<bool>,
    snapshot: Snapshot,
}

impl Cycle {
    /// Creates it without a snapshot; the first instrument begins a cycle.
    pub fn new(sources: Arc<Sources>, kind: ReaderKind) -> Self {
        let table = sources.table();
        let asked = vec![true; table.rows().len()];
        let snapshot = Snapshot::empty(&table);
        let progress = sources.progress(kind);
        Self { sources, table, state: Mutex::new(State { asked, snapshot }), progress }
    }

    /// The rows that have instruments.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The readings of the present cycle for the instrument of this row, which gets them once. The SDK keeps the numbers in a
    /// form of its own, so that they need not be in memory twice. If a reload has raised the limit since, those over the one that the
    /// instrument was made with are left out: the SDK would add them up to one wrong series.
    pub fn readings(&self, metric: &Metric) -> Vec<Reading> {
        let instrument = self.table.index(metric).unwrap_or(usize::MAX);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked.get(instrument).copied().unwrap_or(true) {
            self.begin(&mut state);
        }
        if let Some(asked) = state.asked.get_mut(instrument) {
            *asked = true;
        }
        let mut readings = state.snapshot.remove(metric);
        if !std::ptr::eq(state.snapshot.table(), &raw const *self.table) {
            readings.truncate(self.table.limit(metric));
        }
        readings
    }

    /// Begins a cycle.
    fn begin(&self, state: &mut State) {
        // Reset before the sources are read: if reading panics, the other instruments do not begin another cycle.
        state.asked.fill(false);
        let now = Instant::now();
        let late = self.progress.collecting(now);
        let readers = self.sources.all_readers(now).asks(self.progress.kind(), late);
        state.snapshot = Snapshot::empty(&self.table);
        state.snapshot = self.sources.read_all(readers);
    }

    /// Runs a cycle for a reader without instruments. Returns its snapshot.
    pub fn run(&self) -> Snapshot {
        self.begin(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.finish()
    }

    /// Takes the snapshot of the completed cycle, without the readings that the instruments got. The caller reports to
    /// [`Cycle::progress`] when it exports it.
    pub fn finish(&self) -> Snapshot {
        self.progress.waiting(Instant::now());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut state.snapshot, Snapshot::empty(&self.table))
    }

    /// State of the sources.
    pub fn health(&self) -> &Health {
        &self.sources.health
    }
}

#[cfg(test)]
mod tests;
