//! Asking the kernel over netlink: sequence numbers, time limits, interrupted dumps and refusals.
//!
//! `net/netlink/af_netlink.c`. A request is answered by messages with its sequence number. The kernel goes on with a dump
//! as its answer is read, and refuses the next one with `EBUSY` until then (`__netlink_dump_start`), so what is left of an
//! answer that was given up is read before the next request. A dump is asked for again if something changed while it was
//! made (`NLM_F_DUMP_INTR`) or if a part of it is lost (`NLMSG_OVERRUN`, `ENOBUFS` where the kernel had no memory).

#![expect(clippy::disallowed_methods, reason = "an answer as a whole has a time limit")]

use super::message::{Malformed, Progress};
use crate::netlink::timeouts;
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;
use rustix::net::Protocol;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// How often a dump is asked for at most, if it is interrupted each time.
pub const ATTEMPTS: u32 = 4;

/// What carries datagrams to the kernel and back. A test has one of its own.
pub trait Transport {
    /// Sends one request.
    fn send(&mut self, request: &[u8]) -> io::Result<()>;
    /// Receives one datagram; `WouldBlock` if none came in time.
    fn receive(&mut self) -> io::Result<&[u8]>;
    /// Receives one datagram if there is one, and does not wait.
    fn receive_now(&mut self) -> io::Result<&[u8]>;
}

impl Transport for NetlinkSocket {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        Self::send(self, request)
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        Self::receive(self)
    }

    fn receive_now(&mut self) -> io::Result<&[u8]> {
        Self::receive_now(self)
    }
}

/// Takes an answer, datagram by datagram.
pub trait ResponseHandler {
    /// Why a datagram could not be understood.
    type Malformed: std::error::Error + Send + Sync + 'static;

    /// Takes one datagram; messages with another sequence number do not count.
    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Self::Malformed>;

    /// The request is repeated: a new answer follows, from its beginning.
    fn restart(&mut self);
}

/// Reads one datagram of an answer with this sequence number.
type RowParser<R> = fn(&[u8], u32, &mut Vec<R>) -> Result<Progress, Malformed>;

/// The rows of an answer that were read so far.
struct Rows<R> {
    rows: Vec<R>,
    parse: RowParser<R>,
}

impl<R> ResponseHandler for Rows<R> {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        (self.parse)(datagram, sequence, &mut self.rows)
    }

    fn restart(&mut self) {
        self.rows.clear();
    }
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The socket could not be opened, written to or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The kernel did not answer, or the answer did not end, within this time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The kernel refused, with this error number.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// Every answer was interrupted.
    #[error("the dump was interrupted {0} times")]
    Interrupted(u32),
    /// The answer could not be understood.
    #[error(transparent)]
    Malformed(Box<dyn std::error::Error + Send + Sync>),
}

impl RequestError {
    /// The error of a source. The kernel refuses with one of `absent` where it does not have what was asked for.
    pub fn into_source(self, doing: String, absent: &[i32]) -> SourceError {
        match self {
            Self::Timeout(after) => SourceError::Timeout { doing, after },
            Self::Malformed(cause) => SourceError::parse(doing, cause),
            Self::Interrupted(_) => SourceError::io(doing, self),
            Self::Io(cause) => SourceError::from_io(doing, "CAP_NET_ADMIN", cause),
            Self::Refused(number) => {
                let cause = io::Error::from_raw_os_error(number);
                match number {
                    libc::EPERM | libc::EACCES => SourceError::denied(doing, "CAP_NET_ADMIN", cause),
                    number if absent.contains(&number) => SourceError::absent(doing, cause),
                    _ => SourceError::io(doing, cause),
                }
            }
        }
    }
}

/// How an attempt ended that did not fail.
enum Completion {
    Complete,
    Interrupted,
}

/// A netlink socket that is asked repeatedly.
#[derive(Debug)]
pub struct Client<T = NetlinkSocket> {
    transport: T,
    sequence: u32,
    /// The answer to the latest request was not read to its end.
    unread: bool,
    /// How long the answer to a request may take as a whole, attempts included.
    whole: Duration,
}

impl Client {
    /// Opens a socket in the calling thread's network namespace; without a protocol one of `NETLINK_ROUTE`, whose number is
    /// 0. This needs no privilege; some requests do.
    pub fn open(protocol: impl Into<Option<Protocol>>, name: &str) -> Result<Self, SourceError> {
        let socket = NetlinkSocket::open(protocol, timeouts::DATAGRAM).map_err(|cause| {
            let doing = format!("opening a {name} netlink socket");
            match cause.raw_os_error() {
                // The kernel was built without it, or the address family is not allowed (RestrictAddressFamilies).
                Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => SourceError::absent(doing, cause),
                _ => SourceError::from_io(doing, "CAP_NET_ADMIN", cause),
            }
        })?;
        Ok(Self::new(socket, timeouts::DUMP))
    }
}

impl<T: Transport> Client<T> {
    /// A client over an open socket. `whole` bounds each request with its answer.
    pub fn new(transport: T, whole: Duration) -> Self {
        Self { transport, sequence: 0, unread: false, whole }
    }

    /// Sends a request, which `request` makes for a sequence number, and hands the answer to `answer`. An interrupted
    /// answer is asked for again, up to [`ATTEMPTS`] times in all.
    pub fn ask<A: ResponseHandler>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        answer: &mut A,
    ) -> Result<(), RequestError> {
        let until = Instant::now() + self.whole;
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 {
                answer.restart();
            }
            if let Completion::Complete = self.attempt(&request, answer, until)? {
                return Ok(());
            }
        }
        Err(RequestError::Interrupted(ATTEMPTS))
    }

    /// Sends a request and returns the rows of its answer; `parse` reads one datagram.
    pub fn rows<R>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        parse: RowParser<R>,
    ) -> Result<Vec<R>, RequestError> {
        let mut answer = Rows { rows: Vec::new(), parse };
        self.ask(request, &mut answer)?;
        Ok(answer.rows)
    }

    fn attempt<A: ResponseHandler>(
        &mut self,
        request: &impl Fn(u32) -> Vec<u8>,
        answer: &mut A,
        until: Instant,
    ) -> Result<Completion, RequestError> {
        self.discard(until)?;
        self.sequence = self.sequence.wrapping_add(1).max(1); // 0 is that of events, which nobody asked for
        self.transport.send(&request(self.sequence)).map_err(timed_out)?;
        self.unread = true;
        loop {
            let datagram = match self.transport.receive() {
                Ok(datagram) => datagram,
                Err(error) if lost(&error) => return Ok(Completion::Interrupted),
                Err(error) => return Err(timed_out(error)),
            };
            let progress = answer
                .take(datagram, self.sequence)
                .map_err(|malformed| RequestError::Malformed(Box::new(malformed)))?;
            match progress {
                Progress::More if Instant::now() >= until => return Err(RequestError::Timeout(self.whole)),
                Progress::More => {}
                Progress::Interrupted => return Ok(Completion::Interrupted),
                Progress::Done => {
                    self.unread = false;
                    return Ok(Completion::Complete);
                }
                Progress::Refused(number) => {
                    self.unread = false;
                    return Err(RequestError::Refused(number));
                }
            }
        }
    }

    /// Reads what is left of an answer that was given up.
    fn discard(&mut self, until: Instant) -> Result<(), RequestError> {
        while self.unread {
            self.unread = match self.transport.receive_now() {
                Ok(_) => true,
                // Longer than any that was expected, or lost: read all the same.
                Err(error) => error.kind() == ErrorKind::InvalidData || lost(&error),
            };
            if self.unread && Instant::now() >= until {
                return Err(RequestError::Timeout(self.whole));
            }
        }
        Ok(())
    }
}

/// The kernel had no memory for a part of the answer.
fn lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

fn timed_out(error: io::Error) -> RequestError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => RequestError::Timeout(timeouts::DATAGRAM),
        _ => RequestError::Io(error),
    }
}
