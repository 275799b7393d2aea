//! Socket destroy events: what the kernel sends to the multicast groups of `sock_diag` when a TCP socket is destroyed.
//!
//! Each event has the last `tcp_info` of the socket (`net/core/sock_diag.c`, `sock_diag_broadcast_destroy`), so that a
//! connection is counted that lived between two dumps. Events come by the thousand a second, and the receive buffer holds
//! few of them; so one thread waits for them, for all network namespaces, and counts each at once. If the buffer is full
//! the kernel says how many events it lost, and the next dump tells which sockets are gone.

#![expect(
    clippy::disallowed_methods,
    reason = "what the kernel says has no time; the moment it is received is the time of the event"
)]

use super::classic::milliseconds;
use super::diag;
use super::mptcp::MptcpCounters;
use super::tcp_info::TcpInfo;
use super::track::Tracker;
use crate::filter::{Filter, Names, Subject};
use crate::metric::distribution::Distribution;
use crate::netlink::timeouts::DATAGRAM;
use crate::reading::{Readings, SourceError};
use crate::source::sockets::labels::Key;
use crate::source::sockets::metrics;
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use crate::timeouts::GLANCE;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Receive buffer for events, for each network namespace: some 3,000 of them. It takes memory only while it is used.
const ROOM: usize = 8 * 1024 * 1024;

/// Memory that an event takes in the kernel at least: its bytes and what the kernel has for each datagram.
const LEAST: usize = 768;

/// Events that are received from one network namespace before those of the next.
const BATCH: usize = 256;

/// A netlink socket that receives the destroy events of one network namespace.
#[derive(Debug)]
pub struct DestroyEvents {
    socket: NetlinkSocket,
    names: Arc<Names>,
    room: usize,
    lost: u32,
    mptcp: MptcpCounters,
}

impl DestroyEvents {
    /// Opens a socket in the calling thread's network namespace and joins the groups. This needs no privilege.
    pub fn open(names: Arc<Names>) -> io::Result<Self> {
        let socket = NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, DATAGRAM)?;
        let room = socket.make_room(ROOM)?;
        socket.join(diag::TCP_DESTROY)?;
        socket.join(diag::TCP_DESTROY_V6)?;
        Ok(Self { socket, names, room, lost: 0, mptcp: MptcpCounters::open() })
    }

    /// Size of the receive buffer, bytes.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Whether that is less than was asked for: `net.core.rmem_max` is the limit without `CAP_NET_ADMIN`.
    pub fn is_limited(&self) -> bool {
        self.room < ROOM
    }
}

/// What the thread and the source share.
#[derive(Debug)]
pub struct Shared {
    tracker: Mutex<Tracker>,
    /// By the number of the network namespace.
    listening: Mutex<BTreeMap<u32, DestroyEvents>>,
    /// Round trips of the flows of the classic profile.
    classic: Option<Arc<Mutex<Distribution>>>,
    wake: OwnedFd,
    filter: Filter,
    received: AtomicU64,
    lost: AtomicU64,
    /// Why not all events are received as they come.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    /// No events are received yet.
    pub fn new(
        tracker: Tracker,
        filter: Filter,
        classic: Option<Arc<Mutex<Distribution>>>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            tracker: Mutex::new(tracker),
            listening: Mutex::default(),
            classic,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            filter,
            received: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            trouble: Mutex::default(),
        }))
    }

    /// What is remembered of the sockets.
    pub fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<u32, DestroyEvents>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives the events of one more network namespace.
    pub fn add(&self, namespace: u32, listening: DestroyEvents) {
        self.listening().insert(namespace, listening);
        self.wake();
    }

    /// Receives no more events of a network namespace, and closes its socket.
    pub fn remove(&self, namespace: u32) {
        self.listening().remove(&namespace);
        self.wake();
    }

    /// Changes what the names in the filter stand for in a network namespace.
    pub fn rename(&self, namespace: u32, names: &Arc<Names>) {
        if let Some(listening) = self.listening().get_mut(&namespace) {
            listening.names = Arc::clone(names);
        }
    }

    fn wake(&self) {
        // An eventfd that is full is readable, which is all that is wanted.
        let _readable_either_way = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Receives the events that are in the buffers now. The source calls it after a dump, so that a cycle reports the
    /// sockets that were destroyed before it.
    pub fn drain(&self) {
        let mut listening = self.listening();
        for (namespace, one) in listening.iter_mut() {
            // Where sockets close faster than this goes, there would be no end to it.
            let waiting =
                one.socket.waiting().map_or(one.room, |bytes| usize::try_from(bytes).unwrap_or(one.room));
            for _ in 0..=waiting / LEAST / BATCH {
                if !self.take(*namespace, one) {
                    break;
                }
            }
            // What is lost after the kernel has said so, and before there is room again, it does not say once more.
            self.note_lost(*namespace, one, 0);
            one.mptcp.refresh();
        }
    }

    /// Counts the events that the kernel lost; `or` of them where it does not say how many.
    fn note_lost(&self, namespace: u32, listening: &mut DestroyEvents, or: u32) {
        let lost = listening.socket.lost().unwrap_or_else(|_| listening.lost.wrapping_add(or));
        let more = lost.wrapping_sub(listening.lost);
        if more > 0 {
            listening.lost = lost;
            self.lost.fetch_add(more.into(), Ordering::Relaxed);
            self.tracker().lost(namespace);
        }
    }

    /// Receives up to a batch of events of one network namespace; whether there may be more.
    fn take(&self, namespace: u32, listening: &mut DestroyEvents) -> bool {
        for _ in 0..BATCH {
            match listening.socket.receive_now() {
                Ok(datagram) => self.count(namespace, datagram, &listening.names, &mut listening.mptcp),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.note_lost(namespace, listening, 1);
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn count(&self, namespace: u32, datagram: &[u8], names: &Names, mptcp: &mut MptcpCounters) {
        let now = Instant::now();
        let parsed = diag::parse_event(datagram, |record| {
            let mut tracker = self.tracker();
            // The filter is for what no dump has had; what one has had has passed it.
            let takes = tracker.knows(record.cookie).then_some(true);
            let takes = takes.or_else(|| self.filter.matched(&subject(record), names));
            if takes.is_none() && !record.peer.ip().is_unspecified() {
                tracker.groups.leave_out(Key::Filter);
            }
            if takes == Some(true) {
                if record.peer.port() == 0
                    && let Some(sent) = mptcp.resets_sent(now)
                {
                    tracker.note_resets_sent(namespace, sent, now);
                }
                let selected = tracker.closed(namespace, record, now);
                drop(tracker);
                let rtt = record.tcp.and_then(TcpInfo::rtt).filter(|_| selected);
                if let (Some(classic), Some(rtt)) = (&self.classic, rtt) {
                    let mut classic = classic.lock().unwrap_or_else(PoisonError::into_inner);
                    classic.record(milliseconds(rtt));
                }
            }
        });
        match parsed {
            Ok(_) => self.received.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(%error, "a sock_diag event could not be parsed");
                self.tracker().lost(namespace);
                self.lost.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    /// Observes how many events there were.
    pub fn observe(&self, out: &mut Readings) {
        out.observe(metrics::CONNSCOPE_SOCKETS_EVENTS, &[], self.received.load(Ordering::Relaxed));
        out.observe(metrics::CONNSCOPE_SOCKETS_EVENTS_LOST, &[], self.lost.load(Ordering::Relaxed));
    }

    /// Why events are not counted as they come, if they are not: those in the buffer are counted with the next cycle then.
    pub fn trouble(&self) -> Option<SourceError> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map(|cause| SourceError::io("receiving socket destroy events", cause))
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Waits for events and counts them until the agent stops; `idle` is called every [`EVENTS_IDLE`](super::timeouts::EVENTS_IDLE). After a
    /// panic no more events are received, which [`Self::trouble`] says.
    pub fn run(&self, stop: &Stop, idle: impl FnMut()) {
        if catch_unwind(AssertUnwindSafe(|| self.wait_and_count(stop, idle))).is_err() {
            self.note(Some(
                "the thread panicked; restart the agent, and report it as a defect of connscope".to_owned(),
            ));
        }
    }

    fn wait_and_count(&self, stop: &Stop, mut idle: impl FnMut()) {
        let mut idled = None;
        let mut sockets = Vec::new();
        loop {
            match self.wait(&sockets, stop, super::timeouts::EVENTS_IDLE) {
                Ok(Wakeup::Stop) => return,
                Ok(Wakeup::Changed) => sockets = self.sockets(),
                Ok(Wakeup::Events(ready)) => {
                    let mut listening = self.listening();
                    for namespace in ready {
                        if let Some(one) = listening.get_mut(&namespace) {
                            let _more_comes_in_the_next_round = self.take(namespace, one);
                        }
                    }
                }
                Err(error) => {
                    self.note(Some(error.to_string()));
                    if stop.killed_within(GLANCE) {
                        return;
                    }
                    sockets = self.sockets();
                }
            }
            if idled.is_none_or(|idled: Instant| idled.elapsed() >= super::timeouts::EVENTS_IDLE) {
                idled = Some(Instant::now());
                if self.trouble().is_some() {
                    sockets = self.sockets();
                }
                idle();
            }
        }
    }

    /// Duplicates of the sockets, so that namespaces can be added and removed while their events are waited for.
    fn sockets(&self) -> Vec<(u32, OwnedFd)> {
        let mut trouble = None;
        let mut duplicates = Vec::new();
        for (namespace, listening) in self.listening().iter() {
            match listening.socket.as_fd().try_clone_to_owned() {
                Ok(socket) => duplicates.push((*namespace, socket)),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
        self.note(trouble);
        duplicates
    }

    /// Waits until there is something to do.
    fn wait(&self, sockets: &[(u32, OwnedFd)], stop: &Stop, most: Duration) -> io::Result<Wakeup> {
        let killed = stop.killed();
        let mut watched = vec![PollFd::new(&killed, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
        watched.extend(sockets.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)));
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut watched, Some(&most)) {
            Err(rustix::io::Errno::INTR) => {}
            other => {
                other?;
            }
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            return Ok(Wakeup::Stop);
        }
        if ready.next() == Some(true) {
            let mut number = [0; 8];
            let _nobody_reads_it_besides = rustix::io::read(&self.wake, &mut number);
            return Ok(Wakeup::Changed);
        }
        let ready =
            sockets.iter().zip(ready).filter(|(_, ready)| *ready).map(|((namespace, _), _)| *namespace);
        Ok(Wakeup::Events(ready.collect()))
    }
}

/// Reason why the thread woke up.
enum Wakeup {
    /// The agent is stopping.
    Stop,
    /// A network namespace was added or removed.
    Changed,
    /// There are events in these network namespaces.
    Events(Vec<u32>),
}

/// What the filter looks at. A socket that has ended has no state but that; it is taken for what it was.
fn subject(record: &diag::Record<'_>) -> Subject {
    Subject { state: diag::State::Established as u8, ..super::subject::subject(record) }
}
