//! ICMP echo requests over one socket, and their replies.
//!
//! The socket is an unprivileged datagram socket if `net.ipv4.ping_group_range` allows it, else a raw one. Round-trip times are
//! computed from the kernel's timestamps of both directions; without a transmit timestamp, from the time before sending.

#![expect(
    clippy::disallowed_methods,
    reason = "round-trip times are measured, also against the kernel's timestamps"
)]

use crate::host::datagram::RESENDS;
use crate::reading::SourceError;
use packet::Echo;
use socket2::{Domain, Protocol, Socket, Type};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub mod packet;

/// What is needed to open either socket.
pub const NEEDED: &str = "CAP_NET_RAW, or the agent's group in net.ipv4.ping_group_range";

/// An echo request that was sent.
#[derive(Debug)]
struct SentRequest {
    /// Time when the request was last sent, by the wall clock (Unix time).
    at: Duration,
    /// Time when the request was last sent, by the monotonic clock.
    monotonic: Instant,
    /// The kernel's transmit timestamp.
    stamp: Option<Duration>,
    /// Number of times the request was resent because it exceeded the path MTU.
    resends: u32,
    answered: bool,
}

impl SentRequest {
    fn now() -> Self {
        Self { at: now(), monotonic: Instant::now(), stamp: None, resends: 0, answered: false }
    }

    /// The round-trip time of a reply with this receive timestamp.
    fn round_trip(&self, received: Option<Duration>) -> Duration {
        let took = ElapsedTimes { monotonic: self.monotonic.elapsed(), clock: now().checked_sub(self.at) };
        took.bound(received.unwrap_or_else(now).checked_sub(self.stamp.unwrap_or(self.at)))
    }
}

/// The echo requests of one socket, by their sequence numbers.
#[derive(Debug)]
pub struct Requests {
    echo: Echo,
    sent: Vec<SentRequest>,
    /// Sequence numbers of the packets that the kernel counts for its timestamps, in the order in which they were sent; those of
    /// resent requests repeatedly.
    stamped: Vec<u16>,
    /// Whether the kernel's number of a further packet is known.
    counted: bool,
}

impl Requests {
    /// No request yet. `size` is the length of the payload, bytes.
    pub fn new(ipv6: bool, raw: bool, size: usize) -> Self {
        let echo = Echo::new(RandomState::new().hash_one(Instant::now()), ipv6, raw, size);
        Self { echo, sent: Vec::new(), stamped: Vec::new(), counted: true }
    }

    /// Number of requests so far, resent ones not included.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether there is no request yet.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// The next request, to be sent now; its sequence number is the number of those before.
    pub fn request(&mut self) -> Vec<u8> {
        let sequence = u16::try_from(self.sent.len()).unwrap_or(u16::MAX);
        self.sent.push(SentRequest::now());
        self.bytes(sequence)
    }

    /// The request that an ICMP error quotes, to be resent now because it exceeded the path MTU; `None` if it was answered,
    /// or sent too often.
    pub fn again(&mut self, quoted: &[u8]) -> Option<Vec<u8>> {
        let sequence = packet::quoted_sequence(quoted).unwrap_or(0);
        let request = self.sent.get_mut(usize::from(sequence))?;
        if request.answered || request.resends >= RESENDS {
            return None;
        }
        *request = SentRequest { resends: request.resends + 1, ..SentRequest::now() };
        Some(self.bytes(sequence))
    }

    fn bytes(&mut self, sequence: u16) -> Vec<u8> {
        if self.counted {
            self.stamped.push(sequence);
        }
        self.echo.request(sequence)
    }

    /// The last request could not be sent. The kernel may have counted it or not, so the timestamps of later ones are not used.
    pub fn failed(&mut self) {
        if self.counted {
            self.stamped.pop();
            self.counted = false;
        }
    }

    /// Takes the transmit timestamp (Unix time) of a packet by its number ([`Arrival::Sent`](crate::host::datagram::Arrival)).
    pub fn stamp(&mut self, number: u32, stamp: Duration) {
        let sequence = usize::try_from(number).ok().and_then(|number| self.stamped.get(number));
        if let Some(request) = sequence.and_then(|sequence| self.sent.get_mut(usize::from(*sequence))) {
            request.stamp = Some(stamp);
        }
    }

    /// The sequence number and the round-trip time of the request that a packet answers for the first time. `stamp` is its
    /// receive timestamp (Unix time).
    pub fn reply(&mut self, packet: &[u8], stamp: Option<Duration>) -> Option<(u16, Duration)> {
        let sequence = self.echo.answers(packet)?;
        let request = self.sent.get_mut(usize::from(sequence)).filter(|request| !request.answered)?;
        request.answered = true;
        Some((sequence, request.round_trip(stamp)))
    }
}

/// Time from a request to its reply, as this process measured it, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct ElapsedTimes {
    /// By the monotonic clock.
    pub monotonic: Duration,
    /// By the clock of the kernel's timestamps; `None` if it was set back meanwhile.
    pub clock: Option<Duration>,
}

impl ElapsedTimes {
    /// Maximum difference between the two clocks; more means that one was set.
    const APART: Duration = Duration::from_millis(1);

    /// A round-trip time by the kernel's timestamps, if it is at most the monotonic time, and their clock was not set
    /// meanwhile. Otherwise the monotonic time.
    pub fn bound(self, stamps: Option<Duration>) -> Duration {
        let steady = self.clock.is_some_and(|clock| clock.abs_diff(self.monotonic) <= Self::APART);
        stamps.filter(|stamps| steady && *stamps <= self.monotonic).unwrap_or(self.monotonic)
    }
}

/// The present time of the clock of the kernel's timestamps.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A socket for echo requests in the network namespace of this thread, and whether it is a raw one. It does not block.
pub fn open(ipv6: bool) -> io::Result<(Socket, bool)> {
    let (domain, protocol) =
        if ipv6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let open = |kind| Socket::new(domain, kind, Some(protocol));
    let (socket, raw) = match open(Type::DGRAM) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (open(Type::RAW)?, true),
        datagram => (datagram?, false),
    };
    socket.set_nonblocking(true)?;
    prepare(&socket, ipv6, raw).map_err(|(_, error)| error)?;
    Ok((socket, raw))
}

/// Asks for timestamps, and has a raw socket receive echo replies only: over loopback, it would receive the requests too. The
/// error says what failed.
pub fn prepare(socket: &Socket, ipv6: bool, raw: bool) -> Result<(), (&'static str, io::Error)> {
    crate::sys::socket::stamp(socket.as_fd()).map_err(|error| ("setting SO_TIMESTAMPING", error))?;
    if raw {
        let filtered = crate::sys::socket::echo_replies_only(socket.as_fd(), ipv6);
        filtered.map_err(|error| ("setting ICMP_FILTER", error))?;
    }
    Ok(())
}

/// The kind of socket that this process may use for echo requests, in its own network namespace; nothing is sent.
pub fn permitted() -> Result<&'static str, SourceError> {
    match open(false) {
        Ok((_, false)) => Ok("a datagram socket"),
        Ok((_, true)) => Ok("a raw socket"),
        Err(cause) => Err(SourceError::from_io("making a socket for echo requests", NEEDED, cause)),
    }
}
