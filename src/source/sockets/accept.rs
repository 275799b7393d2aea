//! Connections in the accept queue, and how long they have waited (pure).
//!
//! A connection in the accept queue has no inode, since no process has accepted it (`sock_i_ino` in `net/core/sock.c`).
//! Its `tcpi_last_data_sent` counts from the end of the handshake, since nothing was sent after it.

use super::diag::{Record, State};
use super::tcp_info::TcpInfo;
use std::time::Duration;

/// A connection in the accept queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedConnection {
    /// Time since the handshake ended; the kernel reports milliseconds.
    pub age: Duration,
    /// Whether the client has closed the connection, or its sending side.
    pub abandoned: bool,
}

impl QueuedConnection {
    /// The waiting connection of a record. `None` if a process has or had the socket, or if it is neither established nor
    /// in `CLOSE_WAIT`. The record does not say whether a socket listens on the port.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        if !is_queued(record) {
            return None;
        }
        let abandoned = record.state == State::CloseWait;
        let age = Duration::from_millis(record.tcp?.last_data_sent()?.into());
        Some(Self { age, abandoned })
    }
}

/// Whether a connection looks as those in accept queues do: no process has it, and nothing was sent on it. A subflow of
/// MPTCP whose process has closed it stays in these states until the peer has acknowledged everything.
pub fn is_queued(record: &Record<'_>) -> bool {
    let sent = record.tcp.and_then(TcpInfo::data_segs_out).unwrap_or_default();
    record.inode == 0 && sent == 0 && matches!(record.state, State::Established | State::CloseWait)
}
