//! ICMP echo probe: over an unprivileged datagram socket if `net.ipv4.ping_group_range` allows it, else over a raw
//! socket.
//!
//! Each probe has its own socket, connected to the peer, so that the kernel delivers only replies of that peer; an
//! unconnected raw socket receives the echo replies for the whole machine. Requests, replies and round-trip times are those of
//! [`icmp`](crate::host::icmp).

#![expect(clippy::disallowed_methods, reason = "requests have an interval, and a probe a deadline")]

use crate::host::datagram::Arrival;
use crate::host::icmp::{NEEDED, Requests, prepare};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::{Icmp as IcmpSettings, Target as Settings};
use crate::source::probes::datagram::Datagrams;
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::source::probes::result::Echoes;
use socket2::{Protocol, Socket, Type};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

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
        let mut requests = Requests::new(peer.is_ipv6(), raw, self.settings.size.into());
        let mut echoes = Echoes::default();
        let ended = self.exchange(&socket, until, &mut requests, &mut echoes).await;
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
        until: Instant,
        requests: &mut Requests,
        echoes: &mut Echoes,
    ) -> Result<(), Fault> {
        let mut next = Instant::now();
        let mut refused: Vec<Fault> = Vec::new();
        let mut buffer = vec![0; usize::from(self.settings.size) + 256];
        loop {
            let all_sent = requests.len() == usize::from(self.settings.count);
            // An error does not identify its request; one reply is enough, so the probe waits for the others.
            if all_sent && echoes.round_trips.len() + refused.len() >= requests.len() {
                return refused.into_iter().next().map_or(Ok(()), Err);
            }
            if !all_sent && Instant::now() >= next {
                echoes.sent += 1;
                socket.send(&requests.request())?;
                next += SPACING;
                continue;
            }
            let wait = if all_sent { until } else { until.min(next) };
            match tokio::time::timeout_at(wait.into(), socket.receive(&mut buffer)).await {
                Err(_) if Instant::now() >= until => return refused.into_iter().next().map_or(Ok(()), Err),
                Err(_) => {}
                Ok(Ok(Arrival::Sent(number, stamp))) => requests.stamp(number, stamp),
                // The message of a router about the MTU is no reply of the peer.
                Ok(Ok(Arrival::TooBig(length))) => {
                    if let Some(request) = requests.again(buffer.get(..length).unwrap_or_default()) {
                        socket.send(&request)?;
                    }
                }
                Ok(Ok(Arrival::Packet(length, stamp))) => {
                    let reply = requests.reply(buffer.get(..length).unwrap_or_default(), stamp);
                    echoes.round_trips.extend(reply.map(|(_, round_trip)| round_trip));
                }
                Ok(Err(error)) => refused.push(Fault::io("waiting for the echo", &error)),
            }
        }
    }
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
    prepare(&socket, ipv6, raw).map_err(|(doing, error)| Fault::io(doing, &error))?;
    socket.connect(&peer.into()).map_err(|error| Fault::connecting("finding a route to the peer", &error))?;
    Ok((socket, raw))
}
