//! Connections that wait to be accepted, and for how long (pure).
//!
//! A connection in the accept queue has no inode: no process has it yet (`sock_i_ino` in `net/core/sock.c`). Its
//! `tcpi_last_data_sent` counts from the end of the handshake, for nobody has sent on it since.

use super::diag::{Record, State};
use std::time::Duration;

/// A connection in the accept queue of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Since its handshake ended; milliseconds are what the kernel tells.
    pub age: Duration,
    /// Whether the client has closed it.
    pub abandoned: bool,
}

impl Waiting {
    /// Of a socket of a dump; `None` of one that a process has, or that is not established. Whether anybody listens on
    /// its port the record does not say.
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
