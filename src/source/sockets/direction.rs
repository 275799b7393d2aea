//! Which end opened a connection (pure).
//!
//! Evidence comes before guesses, in this order; the first that says something decides:
//!
//! 1. **The handshake.** A socket that was seen in `SYN_SENT` opens a connection, one that was seen in `SYN_RECV` was opened
//!    by its peer; it keeps its cookie when it is established. What has ended without being established was in `SYN_SENT`,
//!    for the kernel makes no socket of the other kind before the handshake is complete.
//! 2. **Sequence numbers.** `tcpi_bytes_acked` counts the SYN of the end that sent one, and the FIN; the payload is counted
//!    apart (Linux 4.19). What has not been acknowledged is in the send queue. So the difference is 1 for the end that
//!    opened the connection and 0 for the other, as long as no FIN was sent, and the state says whether it was
//!    (`tcp_rcv_synsent_state_process`, `tcp_ack` in `net/ipv4/tcp_input.c`). When the connection has ended, 0 is incoming, 2 is
//!    outgoing, and 1 is the SYN of an end that was reset or the FIN of one that was connected to. Which of the two, the
//!    counts of segments say: a FIN that went out in a segment of its own is in `tcpi_delivered`, and who opened the
//!    connection sent at least two segments without data.
//! 3. **Listeners.** Somebody listens on the local address, or did within the last minutes.
//! 4. **Listeners nearby.** Somebody listens on the port at another address; or a transparent proxy listens, and the
//!    local port is none that the kernel gives to clients.
//! 5. **Ports.** One port is in `ip_local_port_range` and the other is not; or one is a well-known port.
//! 6. **Unknown.**
//!
//! Sequence numbers come before listeners because a program may connect from the port it listens on (`SO_REUSEPORT`).
//! From 5 on nothing is certain, and a port that is not certain to be a service's gets no group of its own.

use super::diag::{Record, State};
use super::listen::Listeners;
use super::sample::Sample;
use super::tcp_info::{FAST_OPEN_CHILD, SYN_DATA, TcpInfo};
use crate::host::ephemeral::EphemeralPorts;

/// Ports below this are well known: a program needs a privilege to listen on one.
const WELL_KNOWN: u16 = 1024;

/// Which end opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer: this end serves.
    Incoming,
    /// This end opened the connection.
    Outgoing,
    /// Unknown: there is no evidence for either end.
    Unknown,
}

impl Direction {
    /// The value of the attribute `direction`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::Unknown => "~unknown",
        }
    }
}

/// What is known of a network namespace besides a record of one of its connections.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceEvidence<'a> {
    /// The addresses that are listened on.
    pub listeners: &'a Listeners,
    /// Which ports the kernel gives to clients.
    pub ephemeral: EphemeralPorts,
    /// Whether the cookie of the record was seen in `SYN_RECV`.
    pub seen_in_handshake: bool,
}

/// Which end opened a connection, and how far that can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Which end opened the connection.
    pub direction: Direction,
    /// Whether there was evidence, and not only a guess.
    pub certain: bool,
    /// Whether the port of the end that was connected to is one of a service for certain.
    pub certain_port: bool,
}

impl Verdict {
    /// By evidence.
    pub const fn certain(direction: Direction) -> Self {
        Self { direction, certain: true, certain_port: true }
    }

    const fn guess(direction: Direction, certain_port: bool) -> Self {
        Self { direction, certain: false, certain_port }
    }

    /// Which end opened the connection of this record, or at which end of a UDP socket the service is.
    pub fn of(record: &Record<'_>, surroundings: &NamespaceEvidence<'_>) -> Self {
        if record.tcp.is_none() && record.state != State::Listen {
            return datagrams(record, surroundings.ephemeral);
        }
        handshake(record, surroundings)
            .or_else(|| sequence(record).filter(|found| !is_restored(record, *found, surroundings.ephemeral)))
            .or_else(|| listener(record, surroundings.listeners))
            .map(Self::certain)
            .or_else(|| transparent(record, surroundings))
            .or_else(|| ports(record, surroundings.ephemeral))
            .unwrap_or(Self::guess(Direction::Unknown, false))
    }
}

/// What was seen of the socket itself.
fn handshake(record: &Record<'_>, surroundings: &NamespaceEvidence<'_>) -> Option<Direction> {
    match record.state {
        _ if surroundings.seen_in_handshake => Some(Direction::Incoming),
        State::SynSent => Some(Direction::Outgoing),
        State::SynRecv | State::NewSynRecv => Some(Direction::Incoming),
        State::Close => {
            let tcp = record.tcp?;
            // Before Linux 4.6 what was reset from here has lost all that would say that it was established.
            let tells = tcp.data_segs_in().is_some();
            (tells && !Sample::of(tcp, record.state).established).then_some(Direction::Outgoing)
        }
        _ => None,
    }
}

/// What the kernel's counts of bytes say.
fn sequence(record: &Record<'_>) -> Option<Direction> {
    let tcp = record.tcp?;
    let acked = tcp.bytes_acked()?;
    let opened = |syn: u64| match syn {
        0 => Some(Direction::Incoming),
        1 => Some(Direction::Outgoing),
        _ => None, // the record was made of numbers of two moments
    };
    let no_fin = matches!(record.state, State::Established | State::CloseWait);
    let Some(payload) = tcp.payload_sent() else {
        // Before Linux 4.19 the payload is not counted; but where there is none, there is no doubt.
        let nothing_sent = tcp.data_segs_out() == Some(0);
        return if no_fin && (acked == 0 || nothing_sent) { opened(acked) } else { None };
    };
    let unsent = u64::from(tcp.notsent_bytes()?);
    let unacked = u64::from(record.write_queue).checked_sub(unsent)?;
    if record.state == State::Close {
        // Who was connected to, was sent nothing but a reset and has said nothing, has received one segment.
        if tcp.segs_out() == Some(0) && tcp.segs_in() == Some(0) {
            return None; // it was disconnected, and has lost its counters
        }
        return match (acked + unacked).checked_sub(payload)? {
            0 => Some(Direction::Incoming),
            1 => syn_or_fin(tcp, payload, unacked),
            2 => Some(Direction::Outgoing),
            _ => None,
        };
    }
    // The queue is read apart from the rest, and may be of another moment; where nothing is in flight it is not needed.
    let in_flight = if tcp.unacked()? == 0 { 0 } else { unacked };
    let fin = match record.state {
        _ if no_fin => 0,
        State::FinWait2 => 1,
        // It is the last that is sent.
        State::FinWait1 | State::Closing | State::LastAck => u64::from(unsent == 0),
        _ => return None,
    };
    opened((acked + in_flight).checked_sub(payload + fin)?)
}

/// Whether the socket was made with the state of another one (`TCP_REPAIR`, as CRIU does), so that its SYN is counted nowhere:
/// neither end's has been delivered, and the kernel would have given the port that seems to be the service's to a client.
fn is_restored(record: &Record<'_>, found: Direction, ephemeral: EphemeralPorts) -> bool {
    let counts_no_handshake = |tcp: TcpInfo<'_>| {
        let settled = tcp.total_retrans()? == 0 && tcp.unacked()? == 0 && tcp.options()? & SYN_DATA == 0;
        Some(settled && tcp.delivered()? == tcp.data_segs_out()?)
    };
    found == Direction::Incoming
        && matches!(record.state, State::Established | State::CloseWait)
        && ephemeral.contains(record.local.port())
        && !ephemeral.contains(record.peer.port())
        && record.tcp.and_then(counts_no_handshake) == Some(true)
}

/// Of a connection that has ended, and of which either a SYN or a FIN of this end was sent: which of the two.
fn syn_or_fin(tcp: TcpInfo<'_>, payload: u64, unacked: u64) -> Option<Direction> {
    // The SYN is acknowledged first.
    if tcp.bytes_acked()? == 0 {
        return Some(Direction::Incoming);
    }
    // Segments delivered: SYN or SYN-ACK, those with data, and the FIN where it had a segment of its own.
    let beyond_handshake = tcp.delivered()?.checked_sub(1)?;
    if payload == 0 {
        return Some(if beyond_handshake == 0 { Direction::Outgoing } else { Direction::Incoming });
    }
    let nothing_lost = tcp.total_retrans()? == 0 && unacked == 0;
    let own_fin = beyond_handshake.checked_sub(tcp.data_segs_out()?) == Some(1);
    if nothing_lost && own_fin {
        return Some(Direction::Incoming);
    }
    // A SYN with data is one segment of both kinds, and is sent by the end that opens the connection (TCP Fast Open).
    let syn_with_data = tcp.options()? & SYN_DATA != 0 && tcp.delivered() == tcp.data_segs_out();
    if nothing_lost && syn_with_data {
        return Some(Direction::Outgoing);
    }
    by_bare_segments(tcp, nothing_lost)
}

/// What the segments without data say. The end that opened the connection sent its SYN and acknowledged the other's; and
/// a segment that was received in order is acknowledged at most once.
fn by_bare_segments(tcp: TcpInfo<'_>, nothing_lost: bool) -> Option<Direction> {
    let bare = tcp.segs_out()?.checked_sub(tcp.data_segs_out()?)?;
    let fast_open = tcp.options()? & (SYN_DATA | FAST_OPEN_CHILD) != 0;
    if bare <= 1 && !fast_open {
        return Some(Direction::Incoming);
    }
    // More bytes than these may bring updates of the window.
    let few = tcp.bytes_received()? < 32_768 && tcp.rcv_ooopack().unwrap_or(0) == 0;
    let handshake = bare >= tcp.data_segs_in()?.saturating_add(2);
    (nothing_lost && few && handshake).then_some(Direction::Outgoing)
}

/// Who listens on the local address, or on its port at another.
fn listener(record: &Record<'_>, listeners: &Listeners) -> Option<Direction> {
    let here = listeners.has(record.family, record.local) || listeners.has_port(record.local.port());
    here.then_some(Direction::Incoming)
}

/// A transparent proxy takes connections to ports that nobody listens on.
fn transparent(record: &Record<'_>, surroundings: &NamespaceEvidence<'_>) -> Option<Verdict> {
    let port = record.local.port();
    let takes = surroundings.listeners.transparent() && !surroundings.ephemeral.contains(port);
    takes.then_some(Verdict::guess(Direction::Incoming, port < WELL_KNOWN))
}

/// Of UDP there are the ports alone. One without a peer waits for whoever comes, or is a client whose port the kernel has
/// chosen.
fn datagrams(record: &Record<'_>, ephemeral: EphemeralPorts) -> Verdict {
    if record.peer.ip().is_unspecified() {
        return Verdict::guess(Direction::Incoming, !ephemeral.contains(record.local.port()));
    }
    ports(record, ephemeral).unwrap_or(Verdict::guess(Direction::Unknown, false))
}

/// Direction judged by the two ports alone: an ephemeral port is the client's.
fn ports(record: &Record<'_>, ephemeral: EphemeralPorts) -> Option<Verdict> {
    let (local, peer) = (record.local.port(), record.peer.port());
    let given = |port: u16| ephemeral.contains(port);
    let well_known = |port: u16| port < WELL_KNOWN;
    // Of what was disconnected the kernel has forgotten the peer's port; and one port alone says nothing.
    if peer == 0 {
        return None;
    }
    let outgoing = match (given(local), given(peer)) {
        (true, false) => true,
        (false, true) => false,
        _ if well_known(local) == well_known(peer) => return None,
        _ => well_known(peer),
    };
    Some(if outgoing {
        Verdict::guess(Direction::Outgoing, given(local) && well_known(peer))
    } else {
        Verdict::guess(Direction::Incoming, given(peer) && well_known(local))
    })
}

/// Whether a connection ended in order: its FIN was acknowledged. Before Linux 4.19 that cannot be told, and most end so;
/// and so does one of which nothing says who opened it, if it may have.
pub fn ended_in_order(record: &Record<'_>, direction: Option<Direction>) -> bool {
    let Some(tcp) = record.tcp else { return true };
    match tcp.payload_sent().zip(tcp.bytes_acked()) {
        None => true,
        // The end that opened it has one more for its SYN.
        Some((payload, acked)) => {
            acked.saturating_sub(payload) > u64::from(direction == Some(Direction::Outgoing))
        }
    }
}
