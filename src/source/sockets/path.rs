//! What TCP noticed of the path of a connection: losses, reordering, congestion marks, and what stops it now (pure).
//!
//! `tcp_get_info` in `net/ipv4/tcp.c`. The counters are the kernel's own and only grow while a connection lasts.

use super::diag::State;
use super::tcp_info::TcpInfo;

/// Powers of two by which the retransmission timeout has been prolonged when a connection counts as stalled: after three
/// timeouts in a row, a second and a half or more without an acknowledgement.
const STALLED: u8 = 3;

/// What TCP noticed of the path so far. 0 where the kernel does not send it. All of them wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Milliseconds spent in recovery from retransmission timeouts.
    pub timeout_time: u32,
    /// Segments sent that the receiver said it had already.
    pub spurious: u32,
    /// Times that reordering was seen.
    pub reordered: u32,
    /// Segments received out of order.
    pub out_of_order: u32,
    /// Segments delivered that had met congestion (ECN).
    pub ecn_marked: u32,
    /// Retransmission timeouts.
    pub timeouts: u16,
}

/// Which of these fields a kernel sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "fields came with different releases of the kernel")]
pub struct PathFields {
    /// Marks of ECN: Linux 4.18.
    pub ecn: bool,
    /// Duplicate SACKs and reordering: Linux 4.19.
    pub sack: bool,
    /// Segments out of order, and the peer's window: Linux 5.4.
    pub out_of_order: bool,
    /// Retransmission timeouts: Linux 6.7.
    pub timeouts: bool,
}

/// What is so of an established connection at the moment it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    /// The peer's window is 0 and data waits to be sent.
    pub zero_window: bool,
    /// Data is unacknowledged and its retransmission timeout has run out three times in a row or more.
    pub stalled: bool,
    /// Path MTU, bytes; 0 where the kernel does not send it.
    pub mtu: u32,
}

impl PathCounters {
    /// Takes them from a `tcp_info`.
    pub fn of(tcp: TcpInfo<'_>) -> Self {
        Self {
            timeout_time: tcp.total_rto_time().unwrap_or_default(),
            spurious: tcp.dsack_dups().unwrap_or_default(),
            reordered: tcp.reord_seen().unwrap_or_default(),
            out_of_order: tcp.rcv_ooopack().unwrap_or_default(),
            ecn_marked: tcp.delivered_ce().unwrap_or_default(),
            timeouts: tcp.total_rto().unwrap_or_default(),
        }
    }

    /// By how much each has grown since `before`, wrapped or not. One that fell counts as not grown.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let timeouts = self.timeouts.wrapping_sub(before.timeouts);
        Self {
            timeout_time: grown(before.timeout_time, self.timeout_time),
            spurious: grown(before.spurious, self.spurious),
            reordered: grown(before.reordered, self.reordered),
            out_of_order: grown(before.out_of_order, self.out_of_order),
            ecn_marked: grown(before.ecn_marked, self.ecn_marked),
            timeouts: if timeouts <= u16::MAX / 2 { timeouts } else { 0 },
        }
    }
}

/// By how much a counter of 32 bits has grown, wrapped or not. One that fell is that of a socket that was connected
/// again: what it had before is not known any more, and nothing is counted of it.
pub(super) fn grown(before: u32, now: u32) -> u32 {
    let more = now.wrapping_sub(before);
    if more <= u32::MAX / 2 { more } else { 0 }
}

impl PathFields {
    /// Which of them a `tcp_info` has.
    pub fn of(tcp: TcpInfo<'_>) -> Self {
        Self {
            ecn: tcp.delivered_ce().is_some(),
            sack: tcp.dsack_dups().is_some(),
            out_of_order: tcp.rcv_ooopack().is_some(),
            timeouts: tcp.total_rto().is_some(),
        }
    }

    /// Fields that are in at least one of the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            ecn: self.ecn || other.ecn,
            sack: self.sack || other.sack,
            out_of_order: self.out_of_order || other.out_of_order,
            timeouts: self.timeouts || other.timeouts,
        }
    }
}

impl PathState {
    /// Takes it from the `tcp_info` of a socket in this state; `None` of one that is not established or can send nothing
    /// any more: a SYN without an answer is no data that is delayed.
    pub fn of(tcp: TcpInfo<'_>, state: State) -> Option<Self> {
        let can_send = matches!(
            state,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        );
        can_send.then(|| Self {
            zero_window: tcp.snd_wnd() == Some(0) && tcp.notsent_bytes().is_some_and(|bytes| bytes > 0),
            stalled: tcp.unacked().is_some_and(|segments| segments > 0)
                && tcp.backoff().is_some_and(|powers| powers >= STALLED),
            mtu: tcp.pmtu().unwrap_or_default(),
        })
    }
}
