//! Which types of application the containers are: a thread reads the command lines of their processes.
//!
//! Reading a command line waits while the process changes its memory map (`proc_pid_cmdline_read` in `fs/proc/base.c`), and
//! one whose disk does not answer may do so for long: the cycle asks, and takes the answers that are there.

use super::application::{self, Types};
use crate::host::cgroup::{descendants, pids};
use crate::host::inventory::Container;
use crate::reading::SourceError;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Processes of a container whose command lines are read.
const PROCESSES: usize = 64;

/// Most that is read of a command line; class paths are long.
const COMMAND: u64 = 32 * 1024;

/// From one look at a container to the next.
const AGAIN: Duration = Duration::from_mins(1);

/// The same for a container that was started less than [`YOUNG`] ago: what starts its program may be there still.
const SOON: Duration = Duration::from_secs(5);
const YOUNG: f64 = 60.0;

/// How long the first cycle waits for the answers.
const FIRST: Duration = Duration::from_millis(250);

/// A container that is asked for: its number, and the directories of its control groups.
struct Question {
    number: u64,
    groups: Vec<PathBuf>,
}

/// The types of each container, and the thread that finds them.
#[derive(Debug)]
pub(super) struct Applications {
    questions: SyncSender<Vec<Question>>,
    answers: Receiver<Vec<(u64, Types)>>,
    known: HashMap<u64, KnownTypes>,
    /// Whether an answer is still to come.
    waiting: bool,
}

#[derive(Debug, Default)]
struct KnownTypes {
    types: Types,
    /// The first process when it was asked for.
    process: Option<u32>,
    /// When it is asked for again.
    due: Option<Instant>,
}

impl Applications {
    /// Starts the thread, which ends with this.
    pub(super) fn start() -> Result<Self, SourceError> {
        // One list at a time: the next is asked for when the answer is there.
        let (questions, asked) = sync_channel(1);
        let (answer, answers) = channel();
        let thread = std::thread::Builder::new().name("applications".to_owned());
        thread
            .spawn(move || run(&asked, &answer))
            .map_err(|cause| SourceError::io("starting the thread applications", cause))?;
        Ok(Self { questions, answers, known: HashMap::new(), waiting: false })
    }

    /// Takes the answers, and asks for what is due at `now`. The error says that the thread is gone.
    pub(super) fn refresh(&mut self, containers: &[Container], now: Instant) -> Result<(), SourceError> {
        let first = self.known.is_empty();
        let there: HashSet<u64> = containers.iter().map(|container| container.workload.number).collect();
        self.known.retain(|number, _| there.contains(number));
        self.take(self.answers.try_recv())?;
        if self.waiting {
            return Ok(());
        }
        let running = containers.iter().filter(|container| !container.ended);
        let due: Vec<Question> = running.filter_map(|container| self.question(container, now)).collect();
        if due.is_empty() {
            return Ok(());
        }
        self.waiting = self.questions.try_send(due).is_ok();
        if first {
            let answer = self.answers.recv_timeout(FIRST);
            self.take(answer.map_err(|_| TryRecvError::Empty))?;
        }
        Ok(())
    }

    fn question(&mut self, container: &Container, now: Instant) -> Option<Question> {
        let number = container.workload.number;
        let known = self.known.entry(number).or_default();
        let another = known.process != container.process;
        if !another && known.due.is_some_and(|due| now < due) {
            return None;
        }
        let young = container.uptime.is_none_or(|uptime| uptime < YOUNG);
        known.process = container.process;
        known.due = Some(now + if young { SOON } else { AGAIN });
        let groups = container.groups.iter().map(|group| group.path.clone()).collect();
        Some(Question { number, groups })
    }

    fn take(&mut self, answer: Result<Vec<(u64, Types)>, TryRecvError>) -> Result<(), SourceError> {
        match answer {
            Ok(all) => {
                self.waiting = false;
                for (number, types) in all {
                    if let Some(known) = self.known.get_mut(&number) {
                        known.types = types;
                    }
                }
                Ok(())
            }
            Err(TryRecvError::Empty) => Ok(()),
            Err(TryRecvError::Disconnected) => {
                Err(SourceError::Panicked { message: "the thread applications has ended".to_owned() })
            }
        }
    }

    /// What a container is, as far as that is known.
    pub(super) fn of(&self, number: u64) -> &[&'static str] {
        self.known.get(&number).map_or(&[], |known| known.types.as_slice())
    }
}

/// Answers one list after the other, until nobody asks any more.
fn run(asked: &Receiver<Vec<Question>>, answer: &Sender<Vec<(u64, Types)>>) {
    for questions in asked {
        let types = |question: &Question| (question.number, types(&question.groups));
        if answer.send(questions.iter().map(types).collect()).is_err() {
            return;
        }
    }
}

fn types(groups: &[PathBuf]) -> Types {
    let mut processes: Vec<u32> = Vec::new();
    for group in groups {
        processes.extend(pids(group));
        // A group of version 2 with controllers for those below has no process of its own.
        processes.extend(descendants(group).iter().flat_map(|below| pids(below)));
        if !processes.is_empty() {
            break; // the other hierarchies have the same
        }
    }
    processes.truncate(PROCESSES);
    let command = |pid: &u32| crate::sys::read_limited_bytes(format!("/proc/{pid}/cmdline"), COMMAND).ok();
    let commands: Vec<Vec<u8>> = processes.iter().filter_map(command).collect();
    application::types(commands.iter().map(Vec::as_slice))
}
