//! A netlink socket that receives the events of one network namespace.

use super::message::{self, GROUPS};
use super::totals::Totals;
use crate::netlink::timeouts::DATAGRAM;
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Receive buffer, bytes, of which the kernel makes twice as many: some 15,000 events. It takes memory only while in use.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Minimum memory of an event in the kernel, bytes: the message and the overhead of a datagram.
const EVENT_MEMORY: usize = 768;

/// Maximum number of events received at once from one network namespace.
const BATCH: usize = 256;

/// Whether the kernel sends events: 0 never, 1 always, 2 while a socket listens (since Linux 5.19, the default).
const SYSCTL: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// The receiver of one network namespace.
#[derive(Debug)]
pub struct Listener {
    socket: NetlinkSocket,
    receive_buffer: usize,
    lost: u32,
}

impl Listener {
    /// Opens a socket in the calling thread's network namespace, and joins the groups of new and destroyed entries.
    pub fn open() -> Result<Self, SourceError> {
        Self::with_buffer(RECEIVE_BUFFER)
    }

    /// The same with a receive buffer of so many bytes.
    pub fn with_buffer(bytes: usize) -> Result<Self, SourceError> {
        let doing = "joining the ctnetlink groups of new and destroyed entries";
        if crate::sys::read_limited(SYSCTL, 16).is_ok_and(|text| text.trim() == "0") {
            return Err(SourceError::absent(doing, "nf_conntrack_events is 0: the kernel sends no events"));
        }
        let open = || {
            let socket = NetlinkSocket::open(rustix::net::netlink::NETFILTER, DATAGRAM)?;
            let receive_buffer = socket.make_room(bytes)?;
            for group in GROUPS {
                socket.join(group)?;
            }
            Ok(Self { socket, receive_buffer, lost: 0 })
        };
        open().map_err(|cause: io::Error| SourceError::from_io(doing, "CAP_NET_ADMIN", cause))
    }

    /// A duplicate of the socket, for whoever waits for it.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Receives up to a batch of events. Returns whether there may be more.
    pub fn take(&mut self, totals: &mut Totals) -> bool {
        for _ in 0..BATCH {
            match self.socket.receive_now() {
                Ok(datagram) => {
                    if let Err(error) = message::parse(datagram, |event| totals.take(event)) {
                        tracing::debug!(%error, "an event of connection tracking could not be parsed");
                        totals.lose(1);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.note_lost(totals, 1),
                Err(_) => return false,
            }
        }
        true
    }

    /// Receives what is in the buffer now.
    pub fn drain(&mut self, totals: &mut Totals) {
        // Bounded, because events may come faster than they are received.
        let waiting = self.socket.waiting().ok().and_then(|bytes| usize::try_from(bytes).ok());
        for _ in 0..=waiting.unwrap_or(self.receive_buffer) / EVENT_MEMORY / BATCH {
            if !self.take(totals) {
                break;
            }
        }
        // After an ENOBUFS the kernel drops further events without another error until the buffer is empty.
        self.note_lost(totals, 0);
    }

    /// Counts events dropped by the kernel; `or` of them if the kernel does not report the number.
    fn note_lost(&mut self, totals: &mut Totals, or: u32) {
        let lost = self.socket.lost().unwrap_or_else(|_| self.lost.wrapping_add(or));
        totals.lose(lost.wrapping_sub(self.lost).into());
        self.lost = lost;
    }
}
