//! What `tcp_info` says of one connection at one moment, as far as it is counted (pure).

use super::diag::State;
use super::path::{PathCounters, PathFields, PathState, grown};
use super::tcp_info::{SACK, TIMESTAMPS, TcpInfo, WINDOW_SCALE};

/// Options of TCP that only the answer to a SYN brings.
const NEGOTIATED: u8 = TIMESTAMPS | SACK | WINDOW_SCALE;

/// One reading of a connection. A counter is 0 where the kernel did not send it; [`Sample::present`] says which it sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Values that only grow while the socket lives.
    pub counters: Counters,
    /// What was measured of the path.
    pub measurements: Measurements,
    /// What is so of the path now; `None` of what is not established.
    pub path: Option<PathState>,
    /// Whether the connection was ever established.
    pub established: bool,
    /// Which fields the kernel sends.
    pub present: SupportedFields,
}

/// What only grows while a connection lasts. The 32-bit ones wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload sent, each byte once.
    pub sent: u64,
    /// Payload received; a FIN counts as one byte.
    pub received: u64,
    /// Bytes acknowledged; SYN and FIN count as one each.
    pub acked: u64,
    /// Microseconds with something to send.
    pub busy: u64,
    /// Microseconds limited by the receiver's window.
    pub rwnd_limited: u64,
    /// Microseconds limited by the send buffer.
    pub sndbuf_limited: u64,
    /// Segments sent.
    pub segs_out: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments retransmitted.
    pub retransmits: u32,
    /// What TCP noticed of the path.
    pub path: PathCounters,
}

/// The current measurements of a connection; `None` where there is none yet, or the kernel does not send it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measurements {
    /// Smoothed round trip, microseconds.
    pub rtt: Option<u32>,
    /// Least round trip, microseconds.
    pub min_rtt: Option<u32>,
    /// Congestion window, segments.
    pub cwnd: Option<u32>,
    /// Delivery rate, bytes a second.
    pub delivery_rate: Option<u64>,
}

/// Which of the younger fields a kernel sends; what it does not send is not reported, rather than reported as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SupportedFields {
    /// Bytes: Linux 4.1.
    pub bytes: bool,
    /// Segments: Linux 4.2.
    pub segments: bool,
    /// Times: Linux 4.10.
    pub times: bool,
    /// What TCP noticed of the path.
    pub path: PathFields,
}

impl SupportedFields {
    /// Fields that are in at least one of the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes || other.bytes,
            segments: self.segments || other.segments,
            times: self.times || other.times,
            path: self.path.or(other.path),
        }
    }
}

impl Counters {
    /// By how much each has grown since `before`, wrapped or not. One that fell counts as not grown.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            acked: self.acked.saturating_sub(before.acked),
            busy: self.busy.saturating_sub(before.busy),
            rwnd_limited: self.rwnd_limited.saturating_sub(before.rwnd_limited),
            sndbuf_limited: self.sndbuf_limited.saturating_sub(before.sndbuf_limited),
            segs_out: grown(before.segs_out, self.segs_out),
            segs_in: grown(before.segs_in, self.segs_in),
            retransmits: grown(before.retransmits, self.retransmits),
            path: self.path.since(&before.path),
        }
    }
}

impl Sample {
    /// Takes from the `tcp_info` of a socket in this state what is counted.
    pub fn of(tcp: TcpInfo<'_>, state: State) -> Self {
        let acked = tcp.bytes_acked();
        let received = tcp.bytes_received();
        let min_rtt = tcp.min_rtt();
        Self {
            counters: Counters {
                sent: tcp.payload_sent().or(acked).unwrap_or_default(),
                received: received.unwrap_or_default(),
                acked: acked.unwrap_or_default(),
                busy: tcp.busy_time().unwrap_or_default(),
                rwnd_limited: tcp.rwnd_limited().unwrap_or_default(),
                sndbuf_limited: tcp.sndbuf_limited().unwrap_or_default(),
                segs_out: tcp.segs_out().unwrap_or_default(),
                segs_in: tcp.segs_in().unwrap_or_default(),
                retransmits: tcp.total_retrans().unwrap_or_default(),
                path: PathCounters::of(tcp),
            },
            measurements: Measurements {
                rtt: tcp.rtt(),
                min_rtt,
                cwnd: tcp.snd_cwnd(),
                delivery_rate: tcp.delivery_rate(),
            },
            path: PathState::of(tcp, state),
            established: match state {
                State::SynSent | State::SynRecv | State::NewSynRecv | State::BoundInactive => false,
                // A connection that was reset from here has lost its counters and kept its least round trip. What was
                // negotiated says so too; the other options are set when a SYN is sent.
                State::Close => {
                    min_rtt.is_some()
                        || acked.is_some_and(|bytes| bytes > 0)
                        || received.is_some_and(|bytes| bytes > 0)
                        || tcp.options().is_some_and(|options| options & NEGOTIATED != 0)
                }
                _ => true,
            },
            present: SupportedFields {
                bytes: acked.is_some(),
                segments: tcp.segs_out().is_some(),
                times: tcp.busy_time().is_some(),
                path: PathFields::of(tcp),
            },
        }
    }
}
