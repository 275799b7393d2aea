//! ICMP echo: over an unprivileged datagram socket where `net.ipv4.ping_group_range` allows it, else over a raw one.
//!
//! Each probe has a socket of its own, connected to the peer, so that the kernel hands it the answers of that peer only;
//! a raw socket that is not connected is given every ICMP packet of the machine. Round trips are taken from the kernel's
//! time stamps of both directions; where it gives none for sending, from the moment before.

#![expect(
    clippy::disallowed_methods,
    reason = "round trips are measured, against the kernel's time stamps too, and requests have an interval"
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

/// From one request to the next of one probe.
const SPACING: Duration = Duration::from_millis(200);

/// What is left of the time of the probe when answers are no longer waited for.
const REST: Duration = Duration::from_millis(2);

/// Echo requests.
#[derive(Debug)]
pub struct Icmp {
    host: String,
    settings: IcmpSettings,
}

/// A request that was sent.
struct SentRequest {
    /// When it was sent last, by this process's wall clock, since 1970.
    at: Duration,
    /// The same by the monotonic clock, which nobody sets.
    monotonic: Instant,
    /// By the kernel's stamp.
    stamp: Option<Duration>,
    /// How often it was repeated: it was larger than the MTU of the network path.
    resends: u32,
    answered: bool,
}

impl SentRequest {
    fn now() -> Self {
        Self { at: now(), monotonic: Instant::now(), stamp: None, resends: 0, answered: false }
    }

    /// The round trip of a reply that the kernel received then.
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

    /// Sends the requests and waits for their answers; one is enough.
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
        // Requests in the order they were sent, those that were repeated each time: stamps come in this order.
        let mut order: Vec<usize> = Vec::new();
        let mut stamps = 0;
        let mut refused: Vec<Fault> = Vec::new();
        let mut buffer = vec![0; usize::from(self.settings.size) + 256];
        loop {
            let all_sent = sent.len() == usize::from(self.settings.count);
            // An error does not say which request it answers; one answer is enough, so that the rest is waited for.
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
                // A router's word about the path is no answer of the peer.
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

/// From the request to the answer as this process saw it, by two clocks.
#[derive(Debug, Clone, Copy)]
pub struct ElapsedTimes {
    /// By the monotonic clock.
    pub monotonic: Duration,
    /// By the clock that the kernel's time stamps are of; `None` where it went back meanwhile.
    pub clock: Option<Duration>,
}

impl ElapsedTimes {
    /// How far the two clocks may be apart: more is the clock that was set, and not the look at the one after the other.
    const APART: Duration = Duration::from_millis(1);

    /// A round trip by the kernel's time stamps, if their clock was not set meanwhile: it was shorter than what this process
    /// saw. Else what this process saw by the monotonic clock.
    pub fn bound(self, stamps: Option<Duration>) -> Duration {
        let steady = self.clock.is_some_and(|clock| clock.abs_diff(self.monotonic) <= Self::APART);
        stamps.filter(|stamps| steady && *stamps <= self.monotonic).unwrap_or(self.monotonic)
    }
}

/// The kernel's time stamps are of this clock.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What is missing where neither socket can be had.
const NEEDED: &str = "CAP_NET_RAW, or the agent's group in net.ipv4.ping_group_range";

/// The socket that this process may send echo requests over, in its own network namespace; nothing is sent.
pub fn permitted() -> Result<&'static str, SourceError> {
    let open = |kind| Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4));
    let datagram = open(Type::DGRAM).map(|_| "a datagram socket");
    let either = datagram.or_else(|_| open(Type::RAW).map(|_| "a raw socket"));
    either.map_err(|cause| SourceError::from_io("making a socket for echo requests", NEEDED, cause))
}

/// A socket connected to the peer, and whether it is a raw one.
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
        // Echo replies only: our own requests over loopback are no answers.
        crate::sys::socket::icmp_filter(socket.as_fd(), !1).map_err(failed("setting ICMP_FILTER"))?;
    }
    socket.connect(&peer.into()).map_err(|error| Fault::connecting("finding a route to the peer", &error))?;
    Ok((socket, raw))
}
