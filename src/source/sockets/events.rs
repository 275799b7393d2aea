//! Socket destroy events: messages to the multicast groups of `sock_diag`, one for each TCP socket that is destroyed.
//!
//! An event has the last `tcp_info` of the socket (`net/core/sock_diag.c`, `sock_diag_broadcast_destroy`), so that
//! connections that live between two dumps are counted. There are thousands of events per second, and the receive
//! buffer holds few of them; so one thread receives those of all network namespaces, a thousand times a second. If the
//! buffer is full, the kernel reports the number of events it dropped, and the next dump shows which sockets are gone.

#![expect(
    clippy::disallowed_methods,
    reason = "an event has no timestamp; the moment its batch is received is its time"
)]

use super::classic::milliseconds;
use super::diag;
use super::direction::{Direction, ended_in_order};
use super::mptcp::MptcpCounters;
use super::tcp_info::TcpInfo;
use super::track::Tracker;
use crate::filter::{Filter, FilteredSocket, Names};
use crate::metric::distribution::Distribution;
use crate::netlink::timeouts::{DATAGRAM, EVENTS_TOGETHER};
use crate::netlink::{Waker, Wakeup, wake};
use crate::reading::{Readings, SourceError};
use crate::source::sockets::labels::Key;
use crate::source::sockets::metrics;
use crate::source::sockets::timeouts::EVENTS_IDLE;
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use crate::timeouts::GLANCE;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Receive buffer for the events of a network namespace, bytes: about 3,000 events. It takes memory only while in use.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Minimum memory of an event in the kernel, bytes: the message and the overhead of a datagram.
const EVENT_MEMORY: usize = 768;

/// Maximum number of events received from one network namespace before those of the next.
const BATCH: usize = 256;

/// A netlink socket that receives the destroy events of one network namespace.
#[derive(Debug)]
pub struct DestroyEvents {
    socket: NetlinkSocket,
    names: Arc<Names>,
    receive_buffer: usize,
    lost: u32,
    mptcp: MptcpCounters,
}

impl DestroyEvents {
    /// Opens a socket in the calling thread's network namespace and joins the destroy groups. Needs no privilege.
    pub fn open(names: Arc<Names>) -> io::Result<Self> {
        let socket = NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, DATAGRAM)?;
        let receive_buffer = socket.make_room(RECEIVE_BUFFER)?;
        socket.join(diag::TCP_DESTROY)?;
        socket.join(diag::TCP_DESTROY_V6)?;
        Ok(Self { socket, names, receive_buffer, lost: 0, mptcp: MptcpCounters::open() })
    }

    /// Size of the receive buffer, bytes.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Whether the buffer is smaller than requested: without `CAP_NET_ADMIN`, `net.core.rmem_max` is the limit.
    pub fn is_limited(&self) -> bool {
        self.receive_buffer < RECEIVE_BUFFER
    }
}

/// State shared by the events thread and the source.
#[derive(Debug)]
pub struct Shared {
    tracker: Mutex<Tracker>,
    /// Receivers of destroy events, by number of the network namespace.
    listening: Mutex<BTreeMap<u32, DestroyEvents>>,
    /// Round-trip times of the flows of the classic profile.
    classic: Option<Arc<Mutex<Distribution>>>,
    waker: Waker,
    filter: Filter,
    received: AtomicU64,
    lost: AtomicU64,
    /// The reason why not all events are received as they come.
    error: Mutex<Option<String>>,
}

impl Shared {
    /// Creates it without network namespaces.
    pub fn new(
        tracker: Tracker,
        filter: Filter,
        classic: Option<Arc<Mutex<Distribution>>>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            tracker: Mutex::new(tracker),
            listening: Mutex::default(),
            classic,
            waker: Waker::new()?,
            filter,
            received: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            error: Mutex::default(),
        }))
    }

    /// The tracked sockets; locks them.
    pub fn tracker(&self) -> MutexGuard<'_, Tracker> {
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listening(&self) -> MutexGuard<'_, BTreeMap<u32, DestroyEvents>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a network namespace whose events are received.
    pub fn add(&self, namespace: u32, listening: DestroyEvents) {
        self.listening().insert(namespace, listening);
        self.waker.wake();
    }

    /// Removes a network namespace, and closes its receiver.
    pub fn remove(&self, namespace: u32) {
        self.listening().remove(&namespace);
        self.waker.wake();
    }

    /// Replaces the meaning of the names in the filter in a network namespace.
    pub fn rename(&self, namespace: u32, names: &Arc<Names>) {
        if let Some(listening) = self.listening().get_mut(&namespace) {
            listening.names = Arc::clone(names);
        }
    }

    /// Receives the events that are in the buffers now. The source calls it after the dumps, so that a cycle reports
    /// the sockets destroyed before it.
    pub fn drain(&self) {
        let mut listening = self.listening();
        for (namespace, one) in listening.iter_mut() {
            // Bounded, because sockets may close faster than events are received.
            let waiting = one
                .socket
                .waiting()
                .map_or(one.receive_buffer, |bytes| usize::try_from(bytes).unwrap_or(one.receive_buffer));
            for _ in 0..=waiting / EVENT_MEMORY / BATCH {
                if !self.take(*namespace, one) {
                    break;
                }
            }
            // After an ENOBUFS the kernel drops further events without another error until the buffer has space.
            self.note_lost(*namespace, one, 0);
            one.mptcp.refresh();
        }
    }

    /// Counts events dropped by the kernel; `or` of them if the kernel does not report the number.
    fn note_lost(&self, namespace: u32, listening: &mut DestroyEvents, or: u32) {
        let lost = listening.socket.lost().unwrap_or_else(|_| listening.lost.wrapping_add(or));
        let more = lost.wrapping_sub(listening.lost);
        if more > 0 {
            listening.lost = lost;
            self.lost.fetch_add(more.into(), Ordering::Relaxed);
            self.tracker().lost(namespace);
        }
    }

    /// Receives up to a batch of events of one network namespace. Returns whether there may be more.
    fn take(&self, namespace: u32, listening: &mut DestroyEvents) -> bool {
        let now = Instant::now();
        for _ in 0..BATCH {
            match listening.socket.receive_now() {
                Ok(datagram) => self.count(namespace, datagram, &listening.names, &mut listening.mptcp, now),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.note_lost(namespace, listening, 1);
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn count(&self, namespace: u32, datagram: &[u8], names: &Names, mptcp: &mut MptcpCounters, now: Instant) {
        let parsed = diag::parse_event(datagram, |record| {
            let mut tracker = self.tracker();
            // The filter is needed only for sockets that no dump had; the others have passed it.
            let takes = tracker.is_tracked(record.cookie).then_some(true);
            let takes = takes.or_else(|| self.filter.matched(&subject(record), names));
            if takes.is_none() && !record.peer.ip().is_unspecified() {
                tracker.groups.leave_out(Key::Filter);
            }
            if takes == Some(true) {
                let counts = if record.peer.port() == 0 {
                    mptcp.reset_counts(now)
                } else if ended_in_order(record, Some(Direction::Outgoing)) {
                    None
                } else {
                    mptcp.reset_counts_limited(now)
                };
                if let Some(counts) = counts {
                    tracker.note_resets(namespace, counts, now);
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

    /// Observes the numbers of events received and lost.
    pub fn observe(&self, out: &mut Readings) {
        out.observe(metrics::CONNSCOPE_SOCKETS_EVENTS, &[], self.received.load(Ordering::Relaxed));
        out.observe(metrics::CONNSCOPE_SOCKETS_EVENTS_LOST, &[], self.lost.load(Ordering::Relaxed));
    }

    /// The reason why events are not counted as they come; `None` if they are. Otherwise the next cycle counts those in
    /// the buffer.
    pub fn error(&self) -> Option<SourceError> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        error.map(|cause| SourceError::io("receiving socket destroy events", cause))
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Receives and counts events until the agent stops. Calls `idle` every [`EVENTS_IDLE`]. After a panic it returns, and [`Self::error`] gives the error.
    pub fn run(&self, stop: &Stop, idle: impl FnMut()) {
        if catch_unwind(AssertUnwindSafe(|| self.wait_and_count(stop, idle))).is_err() {
            self.set_error(Some(
                "the thread panicked; restart the agent, and report it as a defect of connscope".to_owned(),
            ));
        }
    }

    fn wait_and_count(&self, stop: &Stop, mut idle: impl FnMut()) {
        let mut idled: Option<Instant> = None;
        let mut sockets = Vec::new();
        loop {
            let since = idled.map(|idled| idled.elapsed()).unwrap_or_default();
            match self.waker.wait(&sockets, stop, EVENTS_IDLE.saturating_sub(since)) {
                Ok(Wakeup::Stop) => return,
                Ok(Wakeup::Changed) => sockets = self.sockets(),
                Ok(Wakeup::Events(ready)) => {
                    let mut more = false;
                    let mut listening = self.listening();
                    for namespace in ready {
                        if let Some(one) = listening.get_mut(&namespace) {
                            more |= self.take(namespace, one);
                        }
                    }
                    drop(listening);
                    // Several events are received together: waking up for each takes longer than to count it.
                    if !more && stop.killed_within(EVENTS_TOGETHER) {
                        return;
                    }
                }
                Err(error) => {
                    self.set_error(Some(error.to_string()));
                    if stop.killed_within(GLANCE) {
                        return;
                    }
                    sockets = self.sockets();
                }
            }
            if idled.is_none_or(|idled| idled.elapsed() >= EVENTS_IDLE) {
                idled = Some(Instant::now());
                if self.error().is_some() {
                    sockets = self.sockets();
                }
                idle();
            }
        }
    }

    /// Duplicates of the sockets, so that namespaces can be added and removed while the thread waits.
    fn sockets(&self) -> Vec<(u32, OwnedFd)> {
        let listening = self.listening();
        let open =
            listening.iter().map(|(namespace, one)| (*namespace, one.socket.as_fd().try_clone_to_owned()));
        let (duplicates, failure) = wake::duplicates(open);
        drop(listening);
        self.set_error(failure);
        duplicates
    }
}

/// The fields that the filter compares. A destroyed socket is compared as an established one.
fn subject(record: &diag::Record<'_>) -> FilteredSocket {
    FilteredSocket { state: diag::State::Established as u8, ..super::subject::subject(record) }
}
