//! Connections in the accept queue, and how long they have waited (pure).
//!
//! A connection in the accept queue has no inode, since no process has accepted it (`sock_i_ino` in `net/core/sock.c`).
//! Its `tcpi_last_data_sent` counts from the end of the handshake, since nothing was sent after it.

use super::diag::{Record, State};
use std::time::Duration;

/// A connection in the accept queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedConnection {
    /// Time since the handshake ended; the kernel reports milliseconds.
    pub age: Duration,
    /// Whether the client has closed the connection.
    pub abandoned: bool,
}

impl QueuedConnection {
    /// The waiting connection of a record. `None` if a process has the socket, or if it is neither established nor in
    /// `CLOSE_WAIT`. The record does not say whether a socket listens on the port.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        let abandoned = match record.state {
            State::Established => false,
            State::CloseWait => true,
            _ => return None,
        };
        if record.inode != 0 {
            return None;
        }
        let age = Duration::from_millis(record.tcp?.last_data_sent()?.into());
        Some(Self { age, abandoned })
    }
}
