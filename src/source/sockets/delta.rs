//! What a socket did between two reads: the amounts that its group adds (pure).

use super::connect::HandshakeDelta;
use super::path::PathState;
use super::sample::{Counters, Measurements, SupportedFields};
use crate::metric::label::Event;

/// The difference between two reads of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delta {
    /// Number of times that each event happened, in the order of [`Event::ALL`].
    pub events: [u8; Event::ALL.len()],
    /// Change of the number of open connections.
    pub open: i8,
    /// Change of the socket's counters since the last dump.
    pub activity: Activity,
}

/// The change of the counters of a socket, by its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    /// No counter changed.
    #[default]
    None,
    /// A TCP connection.
    Connection(ConnectionDelta),
    /// A listening TCP socket.
    Listener {
        /// Connections in the accept queue now.
        usage: u64,
        /// Maximum length of the accept queue now.
        limit: u64,
        /// Connection attempts dropped since the last read; `None` if the kernel does not report them.
        dropped: Option<u64>,
    },
    /// A UDP socket.
    Datagrams {
        /// Datagrams dropped since the last read.
        dropped: u64,
    },
}

/// The changes of a connection between two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionDelta {
    /// The increase of each counter.
    pub increase: Counters,
    /// The fields that the kernel sends.
    pub supported: SupportedFields,
    /// The measurements, if they are to be recorded in the distributions: data was acknowledged, or the connection
    /// ended.
    pub measured: Option<Measurements>,
    /// The present state of the path; `None` when the connection has ended.
    pub path: Option<PathState>,
    /// What was counted of the handshake; `None` unless this machine opened the connection, and if the kernel does not
    /// tell.
    pub handshake: Option<HandshakeDelta>,
}

impl ConnectionDelta {
    /// Whether data was acknowledged.
    pub fn progress(&self) -> bool {
        self.increase.acked > 0
    }
}

impl Delta {
    /// Records that a connection was established.
    pub fn opened(&mut self) {
        self.add_event(Event::Opened);
        self.open += 1;
    }

    /// Records that an established connection ended with this event.
    pub fn ended(&mut self, event: Event) {
        self.add_event(event);
        self.open -= 1;
    }

    /// Records an event of a connection.
    pub fn add_event(&mut self, event: Event) {
        if let Some(count) = self.events.get_mut(event as usize) {
            *count += 1;
        }
    }

    /// The changes of the connection; `None` for other sockets.
    pub fn connection(&self) -> Option<ConnectionDelta> {
        match self.activity {
            Activity::Connection(delta) => Some(delta),
            _ => None,
        }
    }
}
