//! The thread a source runs on, and the deadline it is given.
//!
//! One worker serves every reader, so that what a source remembers (how often a counter has wrapped) is the same
//! for all of them. A source that hangs keeps its own thread and nothing else: whoever asked gets a time-out.

use super::{Source, SourceError};
use crate::reading::Readings;
use crate::stop::Stop;
use crate::timeouts;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Questions that may wait for a source. There are two readers and few scrapes at a time; what is over it is
/// answered with a time-out at once.
const QUEUE: usize = 16;

/// A source on its thread.
#[derive(Debug)]
pub struct Worker {
    /// Name of the source.
    pub name: &'static str,
    deadline: Duration,
    questions: SyncSender<Question>,
    thread: JoinHandle<()>,
}

struct Question {
    give_up_at: Instant,
    answer: SyncSender<Answer>,
}

/// What a source answered.
#[derive(Debug)]
pub struct Answer {
    /// Its numbers and the parts that failed.
    pub readings: Readings,
    /// Whether it could be read as a whole.
    pub result: Result<(), SourceError>,
    /// How long it took, or how long it was waited for.
    pub took: Duration,
}

/// A question that is under way.
pub struct Pending {
    asked_at: Instant,
    deadline: Duration,
    answer: Option<Receiver<Answer>>,
}

impl Worker {
    /// Starts the thread of a source. `deadline` is how long one answer is waited for.
    pub fn start(
        name: &'static str,
        deadline: Duration,
        mut source: Box<dyn Source>,
    ) -> std::io::Result<Self> {
        let (questions, inbox) = sync_channel::<Question>(QUEUE);
        let thread = std::thread::Builder::new().name(format!("source-{name}")).spawn(move || {
            for question in inbox {
                if Instant::now() >= question.give_up_at {
                    continue; // whoever asked has long gone
                }
                // The asker may give up between the question and the answer; then nobody wants it.
                let _nobody_waits = question.answer.send(read(source.as_mut()));
            }
        })?;
        Ok(Self { name, deadline, questions, thread })
    }

    /// Lets the thread end and waits for it, no longer than `until`.
    pub fn finish(self, until: Instant) {
        drop(self.questions);
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks; the answer is collected with [`Pending::wait`], so that several sources work at the same time.
    pub fn ask(&self) -> Pending {
        let asked_at = Instant::now();
        let (answer, receiver) = sync_channel(1);
        let question = Question { give_up_at: asked_at + self.deadline, answer };
        let taken = self.questions.try_send(question).is_ok();
        Pending { asked_at, deadline: self.deadline, answer: taken.then_some(receiver) }
    }
}

fn read(source: &mut dyn Source) -> Answer {
    let started = Instant::now();
    let mut readings = Readings::default();
    let result = catch_unwind(AssertUnwindSafe(|| source.read(&mut readings))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        readings = Readings::default();
        Err(SourceError::Panicked { message })
    });
    Answer { readings, result, took: started.elapsed() }
}

impl Pending {
    /// Waits for the answer, no longer than the deadline and, when the agent stops, no longer than it has left.
    pub fn wait(self, stop: &Stop) -> Answer {
        if let Some(receiver) = &self.answer {
            loop {
                let until = stop.cap(self.asked_at + self.deadline, timeouts::DRAIN);
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
        Answer { readings: Readings::default(), result: Err(error), took }
    }
}
