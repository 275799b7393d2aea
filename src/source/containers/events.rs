//! The threads that wait for events of the kernel: connections whose translation is to be looked up, and control
//! groups that were not seen before.
//!
//! Conntrack is queried immediately, because engines delete a container's entries when it ends. The kernel counts the
//! connection when it has the answer; a connection that ended before is counted here as a whole.

#![expect(
    clippy::disallowed_methods,
    reason = "questions have a rate, and destinations are asked about again after a while"
)]

use super::groups;
use super::kernel::records::{ConnectionId, Destination, Ended, Established, Event, Totals};
use super::kernel::{AnswerMaps, Groups, Ring};
use super::tcp;
use super::translate::{self, Rule};
use crate::host::inventory::Inventory;
use crate::netlink::Client;
use crate::reading::{Readings, SourceError};
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

/// How often the threads check whether the agent stops.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
/// Interval in which unused answers are removed.
const SWEEP: Duration = Duration::from_secs(10);
/// Maximum number of control groups that wait for their names.
const WAITING: usize = 1024;
/// Connections whose answer did not fit into the kernel's map, and destinations counted between two cycles.
const MAX_REMEMBERED: usize = 65_536;

/// Counts since the last cycle.
#[derive(Debug, Default)]
pub(super) struct EventCounts {
    /// By destination.
    pub(super) counted: HashMap<Destination, Totals>,
    /// Connections that were not looked up because `translate_rate` was reached.
    pub(super) unasked: u64,
    /// Connections that did not fit into `counted`.
    pub(super) uncounted: u64,
    /// Error of the last query of conntrack; kept until one succeeds.
    pub(super) error: Option<Arc<SourceError>>,
    /// One of the threads has panicked.
    pub(super) broken: bool,
}

impl EventCounts {
    /// Says what the threads cannot do.
    pub(super) fn report(&self, out: &mut Readings) {
        if let Some(error) = &self.error {
            out.fail(
                "translate",
                error.again("the destinations of connections behind NAT are not looked up"),
            );
        }
        if self.broken {
            let message = "the thread that waits for events has ended; restart the agent".to_owned();
            out.fail("events", SourceError::Panicked { message });
        }
    }
}

/// Shared by the thread and the source.
#[derive(Debug, Default)]
pub(super) struct SharedCounts(Mutex<EventCounts>);

impl SharedCounts {
    /// Takes the counts; a lasting error stays.
    pub(super) fn take(&self) -> EventCounts {
        let mut counts = self.lock();
        let rest =
            EventCounts { error: counts.error.clone(), broken: counts.broken, ..EventCounts::default() };
        std::mem::replace(&mut *counts, rest)
    }

    /// Runs the work of a thread, and records a panic.
    fn watch(&self, work: impl FnOnce()) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            self.lock().broken = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, EventCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of the thread.
pub(super) struct ReaderInputs {
    /// Events of the kernel: connections opened and closed.
    pub(super) ring: Ring,
    /// Kernel maps that the translated destinations are written to.
    pub(super) answers: AnswerMaps,
    /// Path of each control group by its id.
    pub(super) groups: Arc<Groups>,
    /// Containers and services by their control groups.
    pub(super) inventory: Arc<Inventory>,
    /// Maximum number of queries per second.
    pub(super) rate: u32,
}

/// Starts the threads. They end with the agent. `translate`: whether conntrack is queried.
pub(super) fn start(work: ReaderInputs, translate: bool, stop: &Stop) -> io::Result<Arc<SharedCounts>> {
    let shared = Arc::new(SharedCounts::default());
    let (names, groups_to_name) = sync_channel(WAITING);
    let (groups, inventory, stopped) = (Arc::clone(&work.groups), Arc::clone(&work.inventory), stop.clone());
    std::thread::Builder::new().name("containers-names".to_owned()).spawn({
        let counts = Arc::clone(&shared);
        move || counts.watch(|| ask_names(&groups_to_name, &groups, &inventory, &stopped))
    })?;
    let (counts, stop) = (Arc::clone(&shared), stop.clone());
    std::thread::Builder::new().name("bpf-events".to_owned()).spawn(move || {
        let thread = RingReader::new(work, Arc::clone(&counts), names, translate);
        counts.watch(|| thread.run(&stop));
    })?;
    Ok(shared)
}

/// Looks up the names of new groups while their files exist.
fn ask_names(waiting: &Receiver<u64>, groups: &Groups, inventory: &Inventory, stop: &Stop) {
    while !stop.draining() {
        if let Ok(key) = waiting.recv_timeout(Duration::from_millis(250)) {
            groups::workload(key, groups, inventory);
        }
    }
}

struct RingReader {
    work: ReaderInputs,
    shared: Arc<SharedCounts>,
    names: SyncSender<u64>,
    conntrack: Option<Client<NetlinkSocket>>,
    rule: Rule,
    /// Answers that did not fit into the kernel's map.
    kept: HashMap<ConnectionId, SocketAddr>,
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
                    Event::Established(established) => self.answer(&established),
                    Event::Ended(ended) => self.ended(&ended),
                }
            }
            self.answer_kept();
            self.sweep();
            for requested in self.rule.expired(Instant::now()) {
                self.work.answers.forget_direct(requested);
            }
        }
    }

    fn answer(&mut self, established: &Established) {
        let actual = self.translated(established);
        if !self.work.answers.answer(established.connection, actual) && self.kept.len() < MAX_REMEMBERED {
            self.kept.insert(established.connection, actual);
        }
    }

    /// Retries answers that did not fit. The kernel takes those of open connections once a cycle.
    fn answer_kept(&mut self) {
        let answers = &mut self.work.answers;
        let mut room = true;
        self.kept.retain(|connection, actual| {
            room = room && answers.answer(*connection, *actual);
            !room
        });
    }

    /// Removes unused answers.
    fn sweep(&mut self) {
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            // What cannot be read now is read the next time.
            let _read_or_not = self.work.answers.sweep();
        }
    }

    /// The actual destination of a connection; the requested one if it cannot be found out.
    fn translated(&mut self, established: &Established) -> SocketAddr {
        let (requested, now) = (established.requested, Instant::now());
        let Some(client) = &mut self.conntrack else {
            self.leave_alone(requested, translate::WHILE);
            return requested;
        };
        if !self.rule.allows(self.work.rate, now) {
            self.shared.lock().unasked += 1;
            self.leave_alone(requested, Duration::from_secs(1));
            return requested;
        }
        match translate::ask(client, established.local, requested) {
            Ok(actual) => {
                self.shared.lock().error = None;
                if self.rule.settled(requested, actual) {
                    self.leave_alone(requested, translate::WHILE);
                }
                actual.unwrap_or(requested)
            }
            Err(error) => {
                self.shared.lock().error = Some(Arc::new(error));
                self.leave_alone(requested, translate::WHILE);
                requested
            }
        }
    }

    /// Lets the kernel count connections to a destination without a query, for this long.
    fn leave_alone(&mut self, requested: SocketAddr, pause: Duration) {
        if !self.rule.pause(requested, pause, Instant::now()) {
            return;
        }
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::try_from(now).unwrap_or_default();
        let until = u64::try_from((now + pause).as_nanos()).unwrap_or(u64::MAX);
        self.work.answers.direct(requested, until);
    }

    fn ended(&mut self, ended: &Ended) {
        let actual =
            self.kept.remove(&ended.connection).or_else(|| self.work.answers.withdraw(ended.connection));
        let mut totals = Totals {
            opened: u32::from(ended.opened),
            closed: u32::from(!ended.reset),
            reset: u32::from(ended.reset),
            retransmits: ended.retransmits.wrapping_add(ended.syn_retransmits.into()),
            syn_retransmits: ended.syn_retransmits.into(),
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
        let actual = actual.unwrap_or(ended.requested);
        self.count(Destination { group: ended.group, requested: ended.requested, actual }, &totals);
    }

    fn count(&self, key: Destination, more: &Totals) {
        let mut counts = self.shared.lock();
        if counts.counted.len() < MAX_REMEMBERED || counts.counted.contains_key(&key) {
            let counted = counts.counted.entry(key).or_default();
            *counted = counted.plus(more);
        } else {
            counts.uncounted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EventCounts, SharedCounts};
    use crate::reading::{Readings, SourceError};
    use std::sync::Arc;

    fn failures(counts: &EventCounts) -> Vec<(String, &'static str)> {
        let mut out = Readings::default();
        counts.report(&mut out);
        let (_, failures) = out.into_parts();
        failures.into_iter().map(|failure| (failure.part, failure.error.reason().word())).collect()
    }

    #[test]
    fn a_thread_that_panics_is_a_failure_in_every_cycle_and_what_was_counted_is_kept() {
        let shared = SharedCounts::default();
        shared.watch(|| ());
        assert_eq!(failures(&shared.take()), []);
        shared.watch(|| {
            shared.lock().unasked = 3;
            let _guard = shared.lock();
            panic!("a defect");
        });
        let counts = shared.take();
        assert_eq!((counts.unasked, failures(&counts)), (3, vec![("events".to_owned(), "panicked")]));
        let counts = shared.take();
        assert_eq!((counts.unasked, failures(&counts)), (0, vec![("events".to_owned(), "panicked")]));
    }

    #[test]
    fn conntrack_that_does_not_answer_is_said_until_it_does() {
        let shared = SharedCounts::default();
        shared.lock().error = Some(Arc::new(SourceError::io("asking conntrack", "broken")));
        for _ in 0..2 {
            assert_eq!(failures(&shared.take()), [("translate".to_owned(), "io")]);
        }
        shared.lock().error = None;
        assert_eq!(failures(&shared.take()), []);
    }
}
