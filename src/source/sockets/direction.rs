//! Which end opened a connection (pure).
//!
//! A connection whose local end is one that somebody listens on was opened by the peer. Where that cannot be told (the
//! listener is gone, or came after the last dump), the kernel's count of acknowledged bytes gives it away: it has one
//! more for the SYN of the end that sent one (`tcp_rcv_synsent_state_process` in `net/ipv4/tcp_input.c`), and one more
//! for the FIN.

use super::diag::{Record, State};
use super::listen::Listeners;

/// Which end opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer: this end serves.
    Incoming,
    /// This end.
    Outgoing,
}

impl Direction {
    /// The value of the attribute `direction`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }

    /// Which end opened the connection of this record, as far as can be told from it and from who listens.
    pub fn of(record: &Record<'_>, listeners: &Listeners) -> Self {
        if listeners.has(record.family, record.local) {
            return Self::Incoming;
        }
        match opened_here(record) {
            Some(false) => Self::Incoming,
            Some(true) | None => Self::Outgoing,
        }
    }
}

/// Whether a connection was opened from this end, by the kernel's count of bytes; `None` where that does not tell.
fn opened_here(record: &Record<'_>) -> Option<bool> {
    if record.peer.port() == 0 {
        return None; // it was refused, or reset from here, and has lost its counters
    }
    let tcp = record.tcp?;
    let payload = tcp.payload_sent()?;
    let ended = record.state == State::Close;
    if !ended && (record.state != State::Established || tcp.unacked()? > 0) {
        return None;
    }
    if ended && tcp.min_rtt().is_none() {
        return None; // it was never made
    }
    match (ended, tcp.bytes_acked()?.checked_sub(payload)?) {
        // Neither a SYN nor a FIN.
        (_, 0) => Some(false),
        // The FIN of who was connected to, or the SYN of who was reset by the peer. Services have the lower port.
        (true, 1) => Some(record.local.port() > record.peer.port()),
        (false, 1) | (true, 2) => Some(true),
        _ => None,
    }
}

/// Whether a connection ended in order: its FIN was acknowledged. Before Linux 4.19 that cannot be told, and most end so.
pub fn ended_in_order(record: &Record<'_>, direction: Option<Direction>) -> bool {
    let Some(tcp) = record.tcp else { return true };
    match tcp.payload_sent().zip(tcp.bytes_acked()) {
        None => true,
        // The end that opened it has one more for its SYN.
        Some((payload, acked)) => {
            acked.saturating_sub(payload) > u64::from(direction != Some(Direction::Incoming))
        }
    }
}
