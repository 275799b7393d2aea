//! What TCP detected on the network path of a connection: losses, reordering, congestion marks, and what blocks it now
//! (pure).
//!
//! `tcp_get_info` in `net/ipv4/tcp.c`. The counters are the kernel's, and only increase while a connection lasts.

use super::diag::State;
use super::tcp_info::TcpInfo;

/// Value of [`TcpInfo::backoff`] from which a connection counts as stalled: three timeouts in a row, at least 1.5
/// seconds without an acknowledgement.
const STALLED: u8 = 3;

/// Counters of the network path since the connection was created. 0 if the kernel does not send them. All of them wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Milliseconds spent in recovery from retransmission timeouts.
    pub timeout_time: u32,
    /// Segments that the receiver reported as duplicates.
    pub spurious: u32,
    /// Times that reordering was detected.
    pub reordered: u32,
    /// Segments received out of order.
    pub out_of_order: u32,
    /// Segments delivered with a congestion mark (ECN CE).
    pub ecn_marked: u32,
    /// Retransmission timeouts.
    pub timeouts: u16,
}

/// The fields that a kernel sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "fields came with different releases of the kernel")]
pub struct PathFields {
    /// ECN marks: Linux 4.18.
    pub ecn: bool,
    /// Duplicate SACKs and reordering: Linux 4.19.
    pub sack: bool,
    /// Segments out of order: Linux 5.4.
    pub out_of_order: bool,
    /// The peer's receive window: Linux 5.4.
    pub window: bool,
    /// Retransmission timeouts: Linux 6.7.
    pub timeouts: bool,
}

/// State of an established connection at the moment of the read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathState {
    /// The peer's receive window is 0, and data is unsent.
    pub zero_window: bool,
    /// Data is unacknowledged, and its retransmission timeout has expired three times in a row or more.
    pub stalled: bool,
    /// Path MTU, bytes; 0 where the kernel does not send it.
    pub mtu: u32,
}

impl PathCounters {
    /// Reads the counters of a `tcp_info`.
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

    /// The increase of each counter since `before`, wrapped or not. A counter that decreased has increase 0.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let timeouts = self.timeouts.wrapping_sub(before.timeouts);
        Self {
            timeout_time: increase(before.timeout_time, self.timeout_time),
            spurious: increase(before.spurious, self.spurious),
            reordered: increase(before.reordered, self.reordered),
            out_of_order: increase(before.out_of_order, self.out_of_order),
            ecn_marked: increase(before.ecn_marked, self.ecn_marked),
            timeouts: if timeouts <= u16::MAX / 2 { timeouts } else { 0 },
        }
    }
}

/// The increase of a 32-bit counter, wrapped or not. A decrease means that the socket was connected again: the increase
/// is unknown, and 0 is returned.
pub(super) fn increase(before: u32, now: u32) -> u32 {
    let more = now.wrapping_sub(before);
    if more <= u32::MAX / 2 { more } else { 0 }
}

impl PathFields {
    /// The fields that a `tcp_info` has.
    pub fn of(tcp: TcpInfo<'_>) -> Self {
        Self {
            ecn: tcp.delivered_ce().is_some(),
            sack: tcp.dsack_dups().is_some(),
            out_of_order: tcp.rcv_ooopack().is_some(),
            window: tcp.snd_wnd().is_some(),
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
            window: self.window || other.window,
            timeouts: self.timeouts || other.timeouts,
        }
    }
}

impl PathState {
    /// Reads the state from the `tcp_info` of a socket in this state; `None` if it is not established or can send
    /// nothing any more: a SYN without an answer is no delayed data.
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
