//! The thread a source runs on, and the deadline it is given.
//!
//! One worker serves every reader, so that what a source remembers (how often a counter has wrapped) is the same
//! for all of them. A source that hangs blocks only its own thread: the reader gets a time-out.

#![expect(
    clippy::disallowed_methods,
    reason = "the deadline of a source and the time it took are measured here"
)]

use super::{Reports, Source};
use crate::metric::Part;
use crate::reading::{Readers, Readings, SourceError};
use crate::stop::{ChildStop, Stop};
use crate::timeouts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Requests that may wait for a source. There are two readers and few scrapes at a time; requests over it are
/// answered with a time-out at once.
const QUEUE: usize = 16;

/// A source and its thread.
#[derive(Debug)]
pub struct Worker {
    /// Name of the source.
    pub name: &'static str,
    deadline: Duration,
    questions: SyncSender<ReadRequest>,
    /// The reports of the source.
    pub reports: Option<Arc<dyn Reports>>,
    load: Arc<Mutex<WorkerLoad>>,
    thread: JoinHandle<()>,
    /// Time since which it counts.
    pub since: SystemTime,
    /// Its part of the table.
    pub part: Option<&'static Part>,
    /// Stops what the source has started when the worker is dropped.
    _end: Option<ChildStop>,
}

/// A request to a worker.
#[derive(Debug, Default)]
struct WorkerLoad {
    /// Start of the request in progress.
    busy_since: Option<Instant>,
    /// Number of waiting requests.
    waiting: u32,
}

impl WorkerLoad {
    fn of(load: &Mutex<Self>) -> MutexGuard<'_, Self> {
        load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ReadRequest {
    give_up_at: Instant,
    readers: Readers,
    answer: SyncSender<SourceResponse>,
}

/// Result of one read of a source.
#[derive(Debug)]
pub struct SourceResponse {
    /// Its readings, and the parts that failed.
    pub readings: Readings,
    /// Whether it was read completely.
    pub result: Result<(), SourceError>,
    /// Duration of the read, or of the wait for it.
    pub took: Duration,
}

/// A request in progress.
pub struct Pending {
    asked_at: Instant,
    give_up_at: Instant,
    deadline: Duration,
    answer: Option<Receiver<SourceResponse>>,
}

impl Worker {
    /// Starts the thread of a source. `deadline` is how long one read is waited for.
    pub fn start(
        name: &'static str,
        deadline: Duration,
        mut source: Box<dyn Source>,
    ) -> std::io::Result<Self> {
        let (questions, inbox) = sync_channel::<ReadRequest>(QUEUE);
        let reports = source.reports();
        let load = Arc::new(Mutex::new(WorkerLoad::default()));
        let at_work = Arc::clone(&load);
        let thread = std::thread::Builder::new().name(format!("source-{name}")).spawn(move || {
            for question in inbox {
                let now = Instant::now();
                let gone = now >= question.give_up_at; // whoever asked does not wait any more
                let mut load = WorkerLoad::of(&at_work);
                load.waiting = load.waiting.saturating_sub(1);
                load.busy_since = (!gone).then_some(now);
                drop(load);
                if !gone {
                    let answer = read(source.as_mut(), question.readers);
                    WorkerLoad::of(&at_work).busy_since = None;
                    // The asker may give up between the question and the answer; then nobody wants it.
                    let _nobody_waits = question.answer.send(answer);
                }
            }
        })?;
        let since = SystemTime::now();
        Ok(Self { name, deadline, questions, reports, load, thread, since, part: None, _end: None })
    }

    /// The same, with what is to stop when the worker is dropped.
    #[must_use]
    pub fn ending(self, end: ChildStop) -> Self {
        Self { _end: Some(end), ..self }
    }

    /// The same, with its part of the table.
    #[must_use]
    pub fn counting(self, part: &'static Part) -> Self {
        Self { part: Some(part), ..self }
    }

    /// How long one read is waited for.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Stops the thread, and waits for it until `until` at most.
    pub fn finish(self, until: Instant) {
        drop(self.questions);
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Requests a read for a reader; the result is collected with [`Pending::wait`], so that several sources work at the same time.
    ///
    /// The deadline is for the source, so a question that has to wait behind others waits that much longer. Behind one
    /// that is overdue it does not wait at all: the source hangs, and that is the answer.
    pub fn ask(&self, readers: Readers) -> Pending {
        let asked_at = Instant::now();
        let mut load = WorkerLoad::of(&self.load);
        let ahead = load.waiting + u32::from(load.busy_since.is_some());
        let give_up_at = asked_at + self.deadline * (ahead + 1);
        let mut pending = Pending { asked_at, give_up_at, deadline: self.deadline, answer: None };
        if load.busy_since.is_none_or(|since| since + self.deadline > asked_at) {
            load.waiting += 1;
            // The worker, which begins at once, looks at its load first.
            drop(load);
            let (answer, receiver) = sync_channel(1);
            if self.questions.try_send(ReadRequest { give_up_at, readers, answer }).is_ok() {
                pending.answer = Some(receiver);
            } else {
                let mut load = WorkerLoad::of(&self.load);
                load.waiting = load.waiting.saturating_sub(1);
            }
        }
        pending
    }
}

fn read(source: &mut dyn Source, readers: Readers) -> SourceResponse {
    let started = Instant::now();
    let mut readings = Readings::asked_by(readers);
    let result = catch_unwind(AssertUnwindSafe(|| source.read(&mut readings))).unwrap_or_else(|panic| {
        readings = Readings::default();
        Err(SourceError::panicked(panic.as_ref()))
    });
    SourceResponse { readings, result, took: started.elapsed() }
}

impl Pending {
    /// Waits for the answer, no longer than the deadline and, when the agent stops, no longer than it has left.
    pub fn wait(self, stop: &Stop) -> SourceResponse {
        if let Some(receiver) = &self.answer {
            loop {
                let until = stop.cap(self.give_up_at, timeouts::DRAIN);
                let left = until.saturating_duration_since(Instant::now());
                match receiver.recv_timeout(left.min(timeouts::GLANCE)) {
                    Ok(answer) => return answer,
                    Err(RecvTimeoutError::Timeout) if left > timeouts::GLANCE => {}
                    Err(_) => break,
                }
            }
        }
        let took = self.asked_at.elapsed();
        let error = SourceError::Timeout { doing: "asking the source".to_owned(), after: self.deadline };
        SourceResponse { readings: Readings::default(), result: Err(error), took }
    }
}
