//! The end that opened a connection (pure).
//!
//! Evidence comes before guesses. The first rule that gives an answer decides:
//!
//! 1. **The handshake.** A socket seen in `SYN_SENT` opened the connection; one seen in `SYN_RECV` was opened by its
//!    peer, and keeps its cookie when established. A connection that ended without being established was in `SYN_SENT`,
//!    because the kernel creates no socket for the other end before the handshake is complete.
//! 2. **Sequence numbers.** `tcpi_bytes_acked` counts the payload, the SYN of the end that sent one, and the FIN; the
//!    payload is also counted separately (Linux 4.19), and data not yet acknowledged is in the send queue. So the
//!    difference is 1 for the end that opened the connection and 0 for the other, as long as no FIN was sent, and the
//!    state says whether one was (`tcp_rcv_synsent_state_process`, `tcp_ack` in `net/ipv4/tcp_input.c`). When the
//!    connection has ended, 0 is incoming, 2 is outgoing, and 1 is either the SYN of an end that was reset or the FIN of
//!    an end that accepted. The counts of segments distinguish the two: a FIN in a segment of its own is counted in
//!    `tcpi_delivered`, and the end that opened the connection sent at least two segments without data.
//! 3. **Listeners.** A socket listens on the local address, or did in the last minutes.
//! 4. **Listeners nearby.** A socket listens on the port at another address; or a transparent proxy listens, and the
//!    local port is not an ephemeral port.
//! 5. **Ports.** One port is in `ip_local_port_range` and the other is not; or one is a well-known port.
//! 6. **Unknown.**
//!
//! Sequence numbers come before listeners because a program may connect from the port it listens on (`SO_REUSEPORT`).
//! From rule 5 on nothing is certain; a port that may not be the port of a service gets no group of its own.

use super::diag::{Record, State};
use super::listen::Listeners;
use super::sample::Sample;
use super::tcp_info::{FAST_OPEN_CHILD, SYN_DATA, TcpInfo};
use crate::host::ephemeral::EphemeralPorts;

/// Ports below this are well known: a program needs a privilege to listen on one.
const WELL_KNOWN: u16 = 1024;

/// The end that opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer opened the connection; this end is the server.
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
            Self::Unknown => crate::text::UNKNOWN,
        }
    }
}

/// What is known of a network namespace when the direction of one of its connections is decided.
#[derive(Debug, Clone, Copy)]
pub struct NamespaceEvidence<'a> {
    /// The listening sockets.
    pub listeners: &'a Listeners,
    /// The range of ephemeral ports (`ip_local_port_range`).
    pub ephemeral: EphemeralPorts,
    /// Whether the cookie of the record was seen in `SYN_RECV`.
    pub seen_in_handshake: bool,
}

/// The end that opened a connection, and how certain that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Which end opened the connection.
    pub direction: Direction,
    /// Whether the direction is based on evidence and not on a guess.
    pub certain: bool,
    /// Whether the port of the accepting end is certainly the port of a service.
    pub certain_port: bool,
}

impl Verdict {
    /// A verdict based on evidence.
    pub const fn certain(direction: Direction) -> Self {
        Self { direction, certain: true, certain_port: true }
    }

    const fn guess(direction: Direction, certain_port: bool) -> Self {
        Self { direction, certain: false, certain_port }
    }

    /// The verdict for the connection of a record; for a UDP socket, the end at which the service is.
    pub fn of(record: &Record<'_>, evidence: &NamespaceEvidence<'_>) -> Self {
        if record.tcp.is_none() && record.state != State::Listen {
            return datagrams(record, evidence.ephemeral);
        }
        handshake(record, evidence)
            .or_else(|| sequence(record).filter(|found| !is_restored(record, *found, evidence.ephemeral)))
            .or_else(|| listener(record, evidence.listeners))
            .map(Self::certain)
            .or_else(|| transparent(record, evidence))
            .or_else(|| ports(record, evidence.ephemeral))
            .unwrap_or(Self::guess(Direction::Unknown, false))
    }
}

/// Evidence of the handshake: the states in which the socket was seen.
fn handshake(record: &Record<'_>, evidence: &NamespaceEvidence<'_>) -> Option<Direction> {
    match record.state {
        _ if evidence.seen_in_handshake => Some(Direction::Incoming),
        State::SynSent => Some(Direction::Outgoing),
        State::SynRecv | State::NewSynRecv => Some(Direction::Incoming),
        State::Close => {
            let tcp = record.tcp?;
            // Before Linux 4.6 a connection that was reset from this end has lost every sign that it was established.
            let tells = tcp.data_segs_in().is_some();
            (tells && !Sample::of(tcp, record.state).established).then_some(Direction::Outgoing)
        }
        _ => None,
    }
}

/// Evidence of the counts of bytes.
fn sequence(record: &Record<'_>) -> Option<Direction> {
    let tcp = record.tcp?;
    let acked = tcp.bytes_acked()?;
    let opened = |syn: u64| match syn {
        0 => Some(Direction::Incoming),
        1 => Some(Direction::Outgoing),
        _ => None, // the fields of the record were read at different moments
    };
    let no_fin = matches!(record.state, State::Established | State::CloseWait);
    // The state is read before the socket is locked for the counts (`tcp_get_info`). While a process closes it, a FIN is
    // sent and acknowledged in between: a segment that was delivered, besides the handshake's and those with data.
    if no_fin && tcp.delivered().and_then(|segments| segments.checked_sub(1)) > tcp.data_segs_out() {
        return None;
    }
    let Some(payload) = tcp.payload_sent() else {
        // Before Linux 4.19 the payload is not counted; without payload the count is not needed.
        let nothing_sent = tcp.data_segs_out() == Some(0);
        return if no_fin && (acked == 0 || nothing_sent) { opened(acked) } else { None };
    };
    let unsent = u64::from(tcp.notsent_bytes()?);
    let unacked = u64::from(record.write_queue).checked_sub(unsent)?;
    if record.state == State::Close {
        // An end that accepted, sent nothing and received only a reset has received one segment.
        if tcp.segs_out() == Some(0) && tcp.segs_in() == Some(0) {
            return None; // it was disconnected, which clears its counters
        }
        return match (acked + unacked).checked_sub(payload)? {
            0 => Some(Direction::Incoming),
            1 => syn_or_fin(tcp, payload, unacked),
            2 => Some(Direction::Outgoing),
            _ => None,
        };
    }
    // The queue is read separately, possibly at another moment; with nothing in flight it is not needed.
    let in_flight = if tcp.unacked()? == 0 { 0 } else { unacked };
    let fin = match record.state {
        _ if no_fin => 0,
        State::FinWait2 => 1,
        // The FIN is sent after all data.
        State::FinWait1 | State::Closing | State::LastAck => u64::from(unsent == 0),
        _ => return None,
    };
    opened((acked + in_flight).checked_sub(payload + fin)?)
}

/// Whether the socket was created with the state of another one (`TCP_REPAIR`, as CRIU does), so that no SYN is
/// counted: neither end's SYN was delivered, and the port that seems to be the service's is an ephemeral port.
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

/// Whether the one count of an ended connection is the SYN or the FIN of this end.
fn syn_or_fin(tcp: TcpInfo<'_>, payload: u64, unacked: u64) -> Option<Direction> {
    // The SYN is acknowledged first.
    if tcp.bytes_acked()? == 0 {
        return Some(Direction::Incoming);
    }
    // Segments delivered: SYN or SYN-ACK, segments with data, and the FIN if it had a segment of its own.
    let beyond_handshake = tcp.delivered()?.checked_sub(1)?;
    if payload == 0 {
        return Some(if beyond_handshake == 0 { Direction::Outgoing } else { Direction::Incoming });
    }
    let nothing_lost = tcp.total_retrans()? == 0 && unacked == 0;
    let own_fin = beyond_handshake.checked_sub(tcp.data_segs_out()?) == Some(1);
    if nothing_lost && own_fin {
        return Some(Direction::Incoming);
    }
    // A SYN with data counts as both, and is sent by the end that opens the connection (TCP Fast Open).
    let syn_with_data = tcp.options()? & SYN_DATA != 0 && tcp.delivered() == tcp.data_segs_out();
    if nothing_lost && syn_with_data {
        return Some(Direction::Outgoing);
    }
    by_bare_segments(tcp, nothing_lost)
}

/// Evidence of segments without data. The end that opened the connection sent its SYN and acknowledged the peer's; a
/// segment received in order is acknowledged at most once.
fn by_bare_segments(tcp: TcpInfo<'_>, nothing_lost: bool) -> Option<Direction> {
    let bare = tcp.segs_out()?.checked_sub(tcp.data_segs_out()?)?;
    let fast_open = tcp.options()? & (SYN_DATA | FAST_OPEN_CHILD) != 0;
    if bare <= 1 && !fast_open {
        return Some(Direction::Incoming);
    }
    // More bytes than this may cause window updates.
    let few = tcp.bytes_received()? < 32_768 && tcp.rcv_ooopack().unwrap_or(0) == 0;
    let handshake = bare >= tcp.data_segs_in()?.saturating_add(2);
    (nothing_lost && few && handshake).then_some(Direction::Outgoing)
}

/// Evidence of a socket that listens on the local address, or on the port at another address.
fn listener(record: &Record<'_>, listeners: &Listeners) -> Option<Direction> {
    let here = listeners.has(record.family, record.local) || listeners.has_port(record.local.port());
    here.then_some(Direction::Incoming)
}

/// A transparent proxy accepts connections to ports on which no socket listens.
fn transparent(record: &Record<'_>, evidence: &NamespaceEvidence<'_>) -> Option<Verdict> {
    let port = record.local.port();
    let takes = evidence.listeners.transparent() && !evidence.ephemeral.contains(port);
    takes.then_some(Verdict::guess(Direction::Incoming, port < WELL_KNOWN))
}

/// The verdict for a UDP socket, by its ports, and by whether the kernel or the program chose the local one. A socket
/// without a peer is a server, or a client with an ephemeral port.
fn datagrams(record: &Record<'_>, ephemeral: EphemeralPorts) -> Verdict {
    let (local, peer) = (record.local.port(), record.peer.port());
    let service = |port: u16| port < WELL_KNOWN || !ephemeral.contains(port);
    if record.peer.ip().is_unspecified() {
        return Verdict::guess(Direction::Incoming, service(local) || record.autobound == Some(false));
    }
    match record.autobound {
        Some(true) => Verdict::guess(Direction::Outgoing, service(peer)),
        // A resolver chooses the ports of its questions itself.
        Some(false) if peer >= WELL_KNOWN => Verdict::guess(Direction::Incoming, true),
        _ => ports(record, ephemeral).unwrap_or(Verdict::guess(Direction::Unknown, false)),
    }
}

/// Direction judged by the two ports alone: an ephemeral port is the client's.
fn ports(record: &Record<'_>, ephemeral: EphemeralPorts) -> Option<Verdict> {
    let (local, peer) = (record.local.port(), record.peer.port());
    let given = |port: u16| ephemeral.contains(port);
    let well_known = |port: u16| port < WELL_KNOWN;
    // A disconnected socket has lost the peer's port; one port alone gives no answer.
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

/// Whether a connection ended in order: its FIN was acknowledged. True where that is unknown: before Linux 4.19, and
/// for a connection of unknown direction that may have ended in order.
pub fn ended_in_order(record: &Record<'_>, direction: Option<Direction>) -> bool {
    let Some(tcp) = record.tcp else { return true };
    match tcp.payload_sent().zip(tcp.bytes_acked()) {
        None => true,
        // The end that opened the connection has one more count for its SYN.
        Some((payload, acked)) => {
            acked.saturating_sub(payload) > u64::from(direction == Some(Direction::Outgoing))
        }
    }
}
