//! The threads that wait for what the kernel reports at once: connections whose translation is asked for, and control
//! groups that were not seen before.
//!
//! The question to conntrack goes out at once: engines delete a container's entries when it ends. The kernel counts the
//! connection when it has the answer; one that ended before is counted here, from its opening on.

#![expect(
    clippy::disallowed_methods,
    reason = "questions have a rate, and destinations are asked about again after a while"
)]

use super::groups;
use super::kernel::records::{Asked, Destination, Ended, Event, Question, Totals};
use super::kernel::{Answers, Groups, Ring};
use super::tcp;
use super::translate::{self, Rule};
use crate::host::inventory::Inventory;
use crate::netlink::Client;
use crate::reading::SourceError;
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the threads wait before they look whether the agent stops.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// From one look at what is left of answers to the next.
const SWEEP: Duration = Duration::from_secs(10);
/// Groups that wait for their names.
const WAITING: usize = 1024;
/// Connections whose answer found no room in the kernel, and destinations counted between two cycles.
const MOST: usize = 65_536;

/// What was counted since the last cycle.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    /// By destination.
    pub(super) counted: HashMap<Destination, Totals>,
    /// Connections that were not asked about: `translate_rate` was reached.
    pub(super) unasked: u64,
    /// Connections that found no room in `counted`.
    pub(super) uncounted: u64,
    /// Why conntrack could not be asked; kept until it answers.
    pub(super) error: Option<Arc<SourceError>>,
    /// One of the threads has panicked.
    pub(super) broken: bool,
}

/// Shared by the thread and the source.
#[derive(Debug, Default)]
pub(super) struct SharedCounts(Mutex<EventCounts>);

impl SharedCounts {
    /// What is there now, of which there remains what is so until something else happens.
    pub(super) fn take(&self) -> EventCounts {
        let mut told = self.lock();
        let rest = EventCounts { error: told.error.clone(), broken: told.broken, ..EventCounts::default() };
        std::mem::replace(&mut *told, rest)
    }

    /// Does the work of a thread, and notes if it panics.
    fn watch(&self, work: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            self.lock().broken = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, EventCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
pub(super) struct ReaderInputs {
    /// Events of the kernel: connections opened and closed.
    pub(super) ring: Ring,
    /// Kernel maps that the translated destinations are written to.
    pub(super) answers: Answers,
    /// Path of each control group by its id.
    pub(super) groups: Arc<Groups>,
    /// Containers and services by their control groups.
    pub(super) inventory: Arc<Inventory>,
    /// Questions a second.
    pub(super) rate: u32,
}

/// Starts the threads. They end with the agent. `translate`: whether conntrack is asked.
pub(super) fn start(work: ReaderInputs, translate: bool, stop: &Stop) -> io::Result<Arc<SharedCounts>> {
    let shared = Arc::new(SharedCounts::default());
    let (names, asked) = sync_channel(WAITING);
    let (groups, inventory, stopped) = (Arc::clone(&work.groups), Arc::clone(&work.inventory), stop.clone());
    std::thread::Builder::new().name("containers-names".to_owned()).spawn({
        let told = Arc::clone(&shared);
        move || told.watch(|| ask_names(&asked, &groups, &inventory, &stopped))
    })?;
    let (told, stop) = (Arc::clone(&shared), stop.clone());
    std::thread::Builder::new().name("containers-news".to_owned()).spawn(move || {
        let thread = RingReader::new(work, Arc::clone(&told), names, translate);
        told.watch(|| thread.run(&stop));
    })?;
    Ok(shared)
}

/// Asks for the names of new groups while their files are there.
fn ask_names(asked: &Receiver<u64>, groups: &Groups, inventory: &Inventory, stop: &Stop) {
    while !stop.draining() {
        if let Ok(key) = asked.recv_timeout(Duration::from_millis(250)) {
            groups::who(key, groups, inventory);
        }
    }
}

struct RingReader {
    work: ReaderInputs,
    shared: Arc<SharedCounts>,
    names: SyncSender<u64>,
    conntrack: Option<Client<NetlinkSocket>>,
    rule: Rule,
    /// Answers that found no room in the kernel.
    kept: HashMap<Question, SocketAddr>,
    swept: Instant,
}

impl RingReader {
    fn new(work: ReaderInputs, shared: Arc<SharedCounts>, names: SyncSender<u64>, translate: bool) -> Self {
        let open = || Client::open(rustix::net::netlink::NETFILTER, "netfilter");
        let conntrack = match translate.then(open).transpose() {
            Ok(client) => client,
            Err(error) => {
                shared.lock().error = Some(Arc::new(error));
                None
            }
        };
        Self {
            work,
            shared,
            names,
            conntrack,
            rule: Rule::default(),
            kept: HashMap::new(),
            swept: Instant::now(),
        }
    }

    fn run(mut self, stop: &Stop) {
        while !stop.draining() {
            let mut ready = [PollFd::from_borrowed_fd(self.work.ring.as_fd(), PollFlags::IN)];
            // A signal is as good as the time.
            let _ready_or_not = poll(&mut ready, Some(&LOOK));
            while !stop.draining()
                && let Some(event) = self.work.ring.take()
            {
                match event {
                    // A group whose name is not asked for now is asked for by the next cycle.
                    Event::Group(key) => drop(self.names.try_send(key)),
                    Event::Asked(asked) => self.asked(&asked),
                    Event::Ended(ended) => self.ended(&ended),
                }
            }
            self.answer_kept();
            self.sweep();
            for asked in self.rule.expired(Instant::now()) {
                self.work.answers.forget_direct(asked);
            }
        }
    }

    fn asked(&mut self, asked: &Asked) {
        let got = self.translated(asked);
        if !self.work.answers.answer(asked.question, got) && self.kept.len() < MOST {
            self.kept.insert(asked.question, got);
        }
    }

    /// Tries answers again that found no room. The kernel takes those of open connections once a cycle.
    fn answer_kept(&mut self) {
        let answers = &mut self.work.answers;
        let mut room = true;
        self.kept.retain(|question, got| {
            room = room && answers.answer(*question, *got);
            !room
        });
    }

    /// Takes away what is left of answers.
    fn sweep(&mut self) {
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            // What cannot be read now is read the next time.
            let _read_or_not = self.work.answers.sweep();
        }
    }

    /// What a connection has got; what was asked for where that cannot be found out.
    fn translated(&mut self, question: &Asked) -> SocketAddr {
        let (asked, now) = (question.asked, Instant::now());
        let Some(client) = &mut self.conntrack else {
            self.leave_alone(asked, translate::WHILE);
            return asked;
        };
        if !self.rule.allows(self.work.rate, now) {
            self.shared.lock().unasked += 1;
            self.leave_alone(asked, Duration::from_secs(1));
            return asked;
        }
        match translate::ask(client, question.local, asked) {
            Ok(got) => {
                self.shared.lock().error = None;
                if self.rule.settled(asked, got) {
                    self.leave_alone(asked, translate::WHILE);
                }
                got.unwrap_or(asked)
            }
            Err(error) => {
                self.shared.lock().error = Some(Arc::new(error));
                self.leave_alone(asked, translate::WHILE);
                asked
            }
        }
    }

    /// Has the kernel count connections to a destination by itself for so long.
    fn leave_alone(&mut self, asked: SocketAddr, pause: Duration) {
        if !self.rule.pause(asked, pause, Instant::now()) {
            return;
        }
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::try_from(now).unwrap_or_default();
        let until = u64::try_from((now + pause).as_nanos()).unwrap_or(u64::MAX);
        self.work.answers.direct(asked, until);
    }

    fn ended(&mut self, ended: &Ended) {
        let got = self.kept.remove(&ended.question).or_else(|| self.work.answers.withdraw(ended.question));
        let mut totals = Totals {
            opened: u32::from(ended.opened),
            closed: u32::from(!ended.reset),
            reset: u32::from(ended.reset),
            retransmits: ended.retransmits,
            rtts: u32::from(ended.rtt > 0),
            rtt: u64::from(ended.rtt),
            sent: ended.sent,
            received: ended.received,
            connecting: ended.handshake.unwrap_or_default(),
            ..Totals::default()
        };
        if let Some(count) =
            ended.handshake.and_then(|handshake| totals.connect.get_mut(tcp::bucket(handshake)))
        {
            *count = 1;
        }
        let got = got.unwrap_or(ended.asked);
        self.count(Destination { group: ended.group, asked: ended.asked, got }, &totals);
    }

    fn count(&self, key: Destination, more: &Totals) {
        let mut news = self.shared.lock();
        if news.counted.len() < MOST || news.counted.contains_key(&key) {
            let counted = news.counted.entry(key).or_default();
            *counted = counted.plus(more);
        } else {
            news.uncounted += 1;
        }
    }
}
