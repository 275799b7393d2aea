//! The values of `tcp_info` that are counted, of one connection at one moment (pure).

use super::connect::Handshake;
use super::diag::State;
use super::path::{PathCounters, PathFields, PathState, increase};
use super::tcp_info::{SACK, TIMESTAMPS, TcpInfo, WINDOW_SCALE};

/// TCP options that only the answer to a SYN brings.
const NEGOTIATED: u8 = TIMESTAMPS | SACK | WINDOW_SCALE;

/// One read of a connection. A counter that the kernel did not send is 0; [`Sample::supported`] has the fields that it
/// sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Counters of traffic and retransmits.
    pub counters: Counters,
    /// Measurements of the network path.
    pub measurements: Measurements,
    /// Present state of the path; `None` for a connection that is not established.
    pub path: Option<PathState>,
    /// What is known of the handshake.
    pub handshake: Handshake,
    /// Whether the connection was ever established.
    pub established: bool,
    /// Fields that the kernel sends.
    pub supported: SupportedFields,
}

/// Values that only increase while a connection lasts. The 32-bit counters wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes sent, each counted once.
    pub sent: u64,
    /// Payload bytes received; a FIN counts as one byte.
    pub received: u64,
    /// Bytes acknowledged; SYN and FIN count as one each.
    pub acked: u64,
    /// Microseconds with data to send.
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
    /// Counters of the network path.
    pub path: PathCounters,
}

/// The current measurements of a connection; `None` where there is none yet, or the kernel does not send it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measurements {
    /// Smoothed round-trip time, microseconds.
    pub rtt: Option<u32>,
    /// Minimum round-trip time, microseconds.
    pub min_rtt: Option<u32>,
    /// Congestion window, segments.
    pub cwnd: Option<u32>,
    /// Delivery rate, bytes per second.
    pub delivery_rate: Option<u64>,
}

/// Fields that a kernel sends, of those added after 2.6. A field that it does not send is not reported, rather than 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SupportedFields {
    /// Byte counts: Linux 4.1.
    pub bytes: bool,
    /// Segment counts: Linux 4.2.
    pub segments: bool,
    /// Busy and limited times: Linux 4.10.
    pub times: bool,
    /// Counters of the network path.
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
    /// The increase of each counter since `before`, wrapped or not. A counter that decreased has increase 0.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(before.sent),
            received: self.received.saturating_sub(before.received),
            acked: self.acked.saturating_sub(before.acked),
            busy: self.busy.saturating_sub(before.busy),
            rwnd_limited: self.rwnd_limited.saturating_sub(before.rwnd_limited),
            sndbuf_limited: self.sndbuf_limited.saturating_sub(before.sndbuf_limited),
            segs_out: increase(before.segs_out, self.segs_out),
            segs_in: increase(before.segs_in, self.segs_in),
            retransmits: increase(before.retransmits, self.retransmits),
            path: self.path.since(&before.path),
        }
    }
}

impl Sample {
    /// Reads the sample from the `tcp_info` of a socket in this state.
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
            handshake: Handshake::of(tcp),
            established: match state {
                State::SynSent | State::SynRecv | State::NewSynRecv | State::BoundInactive => false,
                // A connection that was reset from this end has lost its counters and kept its minimum round-trip time.
                // The negotiated options also say that it was established; the others are set when a SYN is sent.
                State::Close => {
                    min_rtt.is_some()
                        || acked.is_some_and(|bytes| bytes > 0)
                        || received.is_some_and(|bytes| bytes > 0)
                        || tcp.options().is_some_and(|options| options & NEGOTIATED != 0)
                }
                _ => true,
            },
            supported: SupportedFields {
                bytes: acked.is_some(),
                segments: tcp.segs_out().is_some(),
                times: tcp.busy_time().is_some(),
                path: PathFields::of(tcp),
            },
        }
    }
}
