//! One round of echoes: a request to each address, from the network namespace of its container.
//!
//! Each network namespace has one socket for each address family, however many addresses there are. A socket is not connected,
//! so that it receives the echo replies for its whole network namespace; what is no reply to a request of its own is skipped.

#![expect(clippy::disallowed_methods, reason = "a round waits for a bounded time")]

use crate::host::datagram::{Arrival, receive};
use crate::host::icmp::{self, NEEDED, Requests};
use crate::reading::SourceError;
use crate::source::containers::procfs::namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::Socket;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long replies are waited for after the last request.
const WAIT: Duration = Duration::from_secs(1);

/// Payload of a request, bytes, as `ping` sends it.
const SIZE: usize = 56;

/// Network namespaces whose sockets are open at the same time.
const AT_ONCE: usize = 128;

/// Requests after which the arrivals so far are read, so that the receive buffer does not overflow.
const BURST: usize = 32;

/// Arrivals that are read one after the other: others may send echoes too, as fast as they like.
const ARRIVALS: usize = 1024;

/// The addresses that a container has connections to.
#[derive(Debug, Clone)]
pub struct Question {
    /// Number of the container.
    pub number: u64,
    /// A process in its network namespace.
    pub process: u32,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
}

/// The round trips.
#[derive(Debug, Default)]
pub struct RoundTrips {
    /// Number of the container, address, round trip; `None`: there was no reply, or no request could be sent.
    pub round_trips: Vec<(u64, IpAddr, Option<Duration>)>,
    /// Numbers of the containers from whose network namespace requests could be sent.
    pub opened: Vec<u64>,
    /// Why requests could not be sent from a network namespace, and the numbers of the containers in it.
    pub error: Option<(SourceError, Vec<u64>)>,
}

/// Sends a request to each address, and waits for the replies, a second at most for every 128 network namespaces. The thread enters these
/// network namespaces, so it is one that ends afterwards.
pub fn ask(questions: &[Question]) -> RoundTrips {
    let mut answers = RoundTrips::default();
    let namespaces = namespaces(questions);
    for some in namespaces.chunks(AT_ONCE) {
        let mut bursts = Vec::new();
        for questions in some {
            let numbers = questions.iter().map(|question| question.number);
            match Burst::open(questions, &mut bursts) {
                Ok(()) => answers.opened.extend(numbers),
                Err(error) => {
                    answers.error = answers.error.or(error.map(|error| (error, numbers.collect())));
                }
            }
        }
        let mut buffer = [0; SIZE + 256];
        for burst in &mut bursts {
            burst.send(&mut buffer);
        }
        wait(&mut bursts, Instant::now() + WAIT, &mut buffer);
        answers.round_trips.extend(bursts.into_iter().flat_map(Burst::answers));
    }
    // Those from which nothing was sent have not answered either.
    let mut asked: HashSet<(u64, IpAddr)> =
        answers.round_trips.iter().map(|(number, ip, _)| (*number, *ip)).collect();
    for question in questions {
        let unasked = question.addresses.iter().filter(|ip| asked.insert((question.number, **ip)));
        answers.round_trips.extend(unasked.map(|ip| (question.number, *ip, None)));
    }
    answers
}

/// Opens the sockets for these addresses, and sends nothing. Returned are how many network namespaces there are, and the kind of the
/// sockets. As with [`ask`], the thread ends afterwards.
pub(super) fn try_out(questions: &[Question]) -> Result<(usize, &'static str), SourceError> {
    let namespaces = namespaces(questions);
    let mut kind = "a datagram socket";
    for questions in &namespaces {
        let mut bursts = Vec::new();
        Burst::open(questions, &mut bursts).or_else(|error| error.map_or(Ok(()), Err))?;
        if bursts.iter().any(|burst| burst.raw) {
            kind = "a raw socket";
        }
    }
    Ok((namespaces.len(), kind))
}

/// The questions by network namespace, that of this thread first, since a thread cannot return to it. Those whose process is gone
/// are left out.
fn namespaces(questions: &[Question]) -> Vec<Vec<&Question>> {
    let own = namespace("thread-self");
    let mut all: BTreeMap<(bool, u64), Vec<&Question>> = BTreeMap::new();
    for question in questions {
        if let Some(inode) = namespace(&question.process.to_string()) {
            all.entry((Some(inode) != own, inode)).or_default().push(question);
        }
    }
    all.into_values().collect()
}

/// The requests from one network namespace to the addresses of one family.
struct Burst {
    socket: Socket,
    raw: bool,
    requests: Requests,
    /// By sequence number: container, address, round trip.
    asked: Vec<(u64, IpAddr, Option<Duration>)>,
    /// Requests that were sent and are not answered.
    open: usize,
}

impl Burst {
    /// Enters the network namespace of these containers, and opens a socket for each family. The error is `None` if their processes
    /// are gone.
    fn open(questions: &[&Question], bursts: &mut Vec<Self>) -> Result<(), Option<SourceError>> {
        let process = enter(questions)?;
        for ipv6 in [false, true] {
            let of_family = |question: &&Question| {
                let number = question.number;
                let addresses = question.addresses.iter().filter(|ip| ip.is_ipv6() == ipv6);
                addresses.map(|ip| (number, *ip, None)).collect::<Vec<_>>()
            };
            let asked: Vec<_> = questions.iter().flat_map(of_family).collect();
            if asked.is_empty() {
                continue;
            }
            let (socket, raw) = icmp::open(ipv6).map_err(|cause| {
                let doing = format!(
                    "opening a socket for echo requests in the network namespace of process {process}"
                );
                Some(SourceError::from_io(doing, NEEDED, cause))
            })?;
            let requests = Requests::new(ipv6, raw, SIZE);
            bursts.push(Self { socket, raw, requests, asked, open: 0 });
        }
        Ok(())
    }

    /// Sends one request to each address.
    fn send(&mut self, buffer: &mut [u8]) {
        for place in 0..self.asked.len() {
            let Some((_, ip, _)) = self.asked.get(place) else { break };
            let to = SocketAddr::new(*ip, 0).into();
            let request = self.requests.request();
            if self.socket.send_to(&request, &to).is_ok() {
                self.open += 1;
            } else {
                self.requests.failed();
            }
            if (place + 1).is_multiple_of(BURST) {
                self.take(buffer);
            }
        }
    }

    /// Takes what has arrived.
    fn take(&mut self, buffer: &mut [u8]) {
        for _ in 0..ARRIVALS {
            match receive(self.socket.as_fd(), buffer) {
                Ok(Arrival::Sent(number, stamp)) => self.requests.stamp(number, stamp),
                Ok(Arrival::Packet(length, stamp)) => {
                    let reply = self.requests.reply(buffer.get(..length).unwrap_or_default(), stamp);
                    if let Some((sequence, round_trip)) = reply
                        && let Some((.., answer)) = self.asked.get_mut(usize::from(sequence))
                    {
                        *answer = Some(round_trip);
                        self.open = self.open.saturating_sub(1);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The error of an earlier request, which is reported once.
                Ok(Arrival::TooBig(_)) | Err(_) => {}
            }
        }
    }

    fn answers(self) -> impl Iterator<Item = (u64, IpAddr, Option<Duration>)> {
        self.asked.into_iter()
    }
}

/// Enters the network namespace that the processes of these containers are in, if it is not that of this thread. Returns the
/// process through which it was entered.
fn enter(questions: &[&Question]) -> Result<u32, Option<SourceError>> {
    let own = namespace("thread-self");
    for process in questions.iter().map(|question| question.process) {
        let inode = namespace(&process.to_string());
        if inode.is_none() {
            continue;
        }
        if inode == own {
            return Ok(process);
        }
        let path = PathBuf::from(format!("/proc/{process}/ns/net"));
        let failed = |doing: &str, capability, cause| {
            let doing = format!("{doing} the network namespace of process {process}");
            Some(SourceError::from_io(doing, capability, cause))
        };
        let file = match crate::sys::namespace::open(&path) {
            Ok(file) => file,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(failed("opening", "CAP_SYS_PTRACE", error)),
        };
        crate::sys::namespace::enter(&file).map_err(|error| failed("entering", "CAP_SYS_ADMIN", error))?;
        return Ok(process);
    }
    Err(None)
}

/// Whether an error says that a process has ended.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// Waits until every request is answered, or the deadline has passed.
fn wait(bursts: &mut [Burst], until: Instant, buffer: &mut [u8]) {
    loop {
        let mut open: Vec<&mut Burst> = bursts.iter_mut().filter(|burst| burst.open > 0).collect();
        let left = until.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            return;
        }
        let ready: Vec<bool> = {
            let mut polled: Vec<PollFd<'_>> =
                open.iter().map(|burst| PollFd::new(&burst.socket, PollFlags::IN)).collect();
            let timeout = Timespec::try_from(left).ok();
            if poll(&mut polled, timeout.as_ref()).is_err_and(|error| error != Errno::INTR) {
                return;
            }
            polled.iter().map(|one| !one.revents().is_empty()).collect()
        };
        for (burst, _) in open.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            burst.take(buffer);
        }
    }
}
