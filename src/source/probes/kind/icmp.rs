//! ICMP echo probe: over an unprivileged datagram socket if `net.ipv4.ping_group_range` allows it, else over a raw
//! socket.
//!
//! Each probe has its own socket, connected to the peer, so that the kernel delivers only replies of that peer; an
//! unconnected raw socket receives every ICMP packet of the machine. Round-trip times are computed from the kernel's
//! timestamps of both directions; without a transmit timestamp, from the time before sending.

#![expect(
    clippy::disallowed_methods,
    reason = "round-trip times are measured, also against the kernel's timestamps, and requests have an interval"
)]

use crate::reading::SourceError;
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Icmp as IcmpSettings, Target as Settings};
use crate::source::probes::datagram::{Arrival, Datagrams, RESENDS};
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::source::probes::result::Echoes;
use packet::Echo;
use socket2::{Domain, Protocol, Socket, Type};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub mod packet;

/// Interval between two requests of a probe.
const SPACING: Duration = Duration::from_millis(200);

/// Time before the deadline at which the probe stops waiting for replies.
const REST: Duration = Duration::from_millis(2);

/// An ICMP echo probe.
#[derive(Debug)]
pub struct Icmp {
    host: String,
    settings: IcmpSettings,
}

/// A request that was sent.
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

impl Icmp {
    /// Creates the probe from its settings.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Self, String> {
        let icmp = settings.icmp;
        let takes = SPACING * u32::from(icmp.count.saturating_sub(1));
        if takes >= timeout {
            let (takes, timeout) = (humantime::format_duration(takes), humantime::format_duration(timeout));
            return Err(format!(
                "sends {} echo requests in {takes}, and has a timeout of {timeout}",
                icmp.count
            ));
        }
        Ok(Self { host: settings.server().0, settings: icmp })
    }

    /// Sends the requests and waits for replies; one reply is enough.
    pub async fn run(&self, attempt: &mut Attempt<'_>) -> Result<(), Fault> {
        let until = attempt.deadline.checked_sub(REST).unwrap_or(attempt.deadline);
        let peer = attempt.resolve(&self.host, 0).await?;
        let (socket, raw) = open(attempt, peer).await?;
        if let Some(ttl) = self.settings.ttl {
            let set = if peer.is_ipv4() {
                socket.set_ttl_v4(ttl.into())
            } else {
                socket.set_unicast_hops_v6(ttl.into())
            };
            set.map_err(|error| Fault::io("setting the hop limit", &error))?;
        }
        let socket = Datagrams::new(socket)?;
        let began = attempt.begin(Phase::Request);
        let echo =
            Echo::new(RandomState::new().hash_one(began), peer.is_ipv6(), raw, self.settings.size.into());
        let mut sent: Vec<SentRequest> = Vec::new();
        let mut echoes = Echoes::default();
        let ended = self.exchange(&socket, &echo, until, &mut sent, &mut echoes).await;
        attempt.note(|| format!("{} of {} answered", echoes.round_trips.len(), echoes.sent));
        let answered = !echoes.round_trips.is_empty();
        attempt.result.echoes = Some(echoes);
        match ended {
            Err(fault) if !answered => Err(fault),
            _ if answered => {
                attempt.end(Phase::Request, began.elapsed());
                Ok(())
            }
            _ => {
                let within = humantime::format_duration(attempt.route.timeout);
                Err(Fault::new(ProbeError::Timeout, format!("no echo reply was received within {within}")))
            }
        }
    }

    async fn exchange(
        &self,
        socket: &Datagrams,
        echo: &Echo,
        until: Instant,
        sent: &mut Vec<SentRequest>,
        echoes: &mut Echoes,
    ) -> Result<(), Fault> {
        let mut next = Instant::now();
        // Indexes of requests in the order in which they were sent, resent ones repeatedly: timestamps arrive in this
        // order.
        let mut order: Vec<usize> = Vec::new();
        let mut stamps = 0;
        let mut refused: Vec<Fault> = Vec::new();
        let mut buffer = vec![0; usize::from(self.settings.size) + 256];
        loop {
            let all_sent = sent.len() == usize::from(self.settings.count);
            // An error does not identify its request; one reply is enough, so the probe waits for the others.
            if all_sent && echoes.round_trips.len() + refused.len() >= sent.len() {
                return refused.into_iter().next().map_or(Ok(()), Err);
            }
            if !all_sent && Instant::now() >= next {
                let sequence = u16::try_from(sent.len()).unwrap_or(u16::MAX);
                order.push(sent.len());
                sent.push(SentRequest::now());
                echoes.sent += 1;
                socket.send(&echo.request(sequence))?;
                next += SPACING;
                continue;
            }
            let wait = if all_sent { until } else { until.min(next) };
            match tokio::time::timeout_at(wait.into(), socket.receive(&mut buffer)).await {
                Err(_) if Instant::now() >= until => return refused.into_iter().next().map_or(Ok(()), Err),
                Err(_) => {}
                Ok(Ok(Arrival::Sent(stamp))) => {
                    if let Some(one) = order.get(stamps).and_then(|index| sent.get_mut(*index)) {
                        one.stamp = Some(stamp);
                    }
                    stamps += 1;
                }
                // The message of a router about the MTU is no reply of the peer.
                Ok(Ok(Arrival::TooBig(length))) => {
                    let quoted = buffer.get(..length).and_then(packet::quoted_sequence).unwrap_or(0);
                    let index = usize::from(quoted);
                    if let Some(one) =
                        sent.get_mut(index).filter(|one| !one.answered && one.resends < RESENDS)
                    {
                        *one = SentRequest { resends: one.resends + 1, ..SentRequest::now() };
                        order.push(index);
                        socket.send(&echo.request(quoted))?;
                    }
                }
                Ok(Ok(Arrival::Packet(length, stamp))) => {
                    let answer = buffer.get(..length).and_then(|bytes| echo.answers(bytes));
                    let one = answer.and_then(|sequence| sent.get_mut(usize::from(sequence)));
                    if let Some(one) = one.filter(|one| !one.answered) {
                        one.answered = true;
                        echoes.round_trips.push(one.round_trip(stamp));
                    }
                }
                Ok(Err(error)) => refused.push(Fault::io("waiting for the echo", &error)),
            }
        }
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

/// What is needed to open either socket.
const NEEDED: &str = "CAP_NET_RAW, or the agent's group in net.ipv4.ping_group_range";

/// The kind of socket that this process may use for echo requests, in its own network namespace; nothing is sent.
pub fn permitted() -> Result<&'static str, SourceError> {
    let open = |kind| Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4));
    let datagram = open(Type::DGRAM).map(|_| "a datagram socket");
    let either = datagram.or_else(|_| open(Type::RAW).map(|_| "a raw socket"));
    either.map_err(|cause| SourceError::from_io("making a socket for echo requests", NEEDED, cause))
}

/// A socket connected to the peer, and whether it is a raw socket.
async fn open(attempt: &Attempt<'_>, peer: SocketAddr) -> Result<(Socket, bool), Fault> {
    let protocol = if peer.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let (socket, raw) = match attempt.origin().socket_to(peer, Type::DGRAM, Some(protocol)).await {
        Ok(socket) => (socket, false),
        Err(unprivileged) if unprivileged.error == ProbeError::PermissionDenied => {
            let raw = attempt.origin().socket_to(peer, Type::RAW, Some(protocol)).await;
            let raw = raw.map_err(|fault| match fault.error {
                ProbeError::PermissionDenied => Fault::new(fault.error, format!("ICMP needs {NEEDED}")),
                _ => fault,
            })?;
            (raw, true)
        }
        Err(fault) => return Err(fault),
    };
    let failed = |doing: &'static str| move |error: std::io::Error| Fault::io(doing, &error);
    let ipv6 = peer.is_ipv6();
    crate::sys::socket::receive_errors(socket.as_fd(), ipv6).map_err(failed("setting IP_RECVERR"))?;
    crate::sys::socket::stamp(socket.as_fd()).map_err(failed("setting SO_TIMESTAMPING"))?;
    if raw && !ipv6 {
        // Receive echo replies only: over loopback, our own requests would be received too.
        crate::sys::socket::icmp_filter(socket.as_fd(), !1).map_err(failed("setting ICMP_FILTER"))?;
    }
    socket.connect(&peer.into()).map_err(|error| Fault::connecting("finding a route to the peer", &error))?;
    Ok((socket, raw))
}
