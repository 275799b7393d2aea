//! What a socket did between two reads: what its group has to add (pure).

use super::path::PathState;
use super::sample::{Counters, Measurements, SupportedFields};
use crate::metric::label::Event;

/// The difference between two reads of a socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delta {
    /// How often each event happened, in the order of [`Event::ALL`].
    pub events: [u8; Event::ALL.len()],
    /// By how many the open connections became more.
    pub open: i8,
    /// Change of the socket's counters since the last dump.
    pub activity: Activity,
}

/// What a socket did, by its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    /// Nothing that is counted.
    #[default]
    None,
    /// A TCP connection sent and received.
    Connection(ConnectionDelta),
    /// A TCP socket listened.
    Listener {
        /// Connections that wait to be accepted, now.
        usage: u64,
        /// How many may wait, now.
        limit: u64,
        /// Attempts dropped since; `None` where the kernel does not say.
        dropped: Option<u64>,
    },
    /// A UDP socket dropped datagrams.
    Datagrams {
        /// Datagrams dropped since.
        dropped: u64,
    },
}

/// What a connection did between two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionDelta {
    /// By how much each counter has grown.
    pub grown: Counters,
    /// Which of them the kernel sends.
    pub present: SupportedFields,
    /// The measurements, where they go into the distributions: data was acknowledged, or the connection ended.
    pub measured: Option<Measurements>,
    /// What is so of the path now; `None` at the connection's end.
    pub path: Option<PathState>,
}

impl ConnectionDelta {
    /// Whether data was acknowledged.
    pub fn progress(&self) -> bool {
        self.grown.acked > 0
    }
}

impl Delta {
    /// A connection was established.
    pub fn opened(&mut self) {
        self.note(Event::Opened);
        self.open += 1;
    }

    /// An established connection ended, by this event.
    pub fn ended(&mut self, event: Event) {
        self.note(event);
        self.open -= 1;
    }

    /// A connection was opened or has ended.
    pub fn note(&mut self, event: Event) {
        if let Some(count) = self.events.get_mut(event as usize) {
            *count += 1;
        }
    }

    /// What the connection did; `None` of other sockets.
    pub fn connection(&self) -> Option<ConnectionDelta> {
        match self.activity {
            Activity::Connection(delta) => Some(delta),
            _ => None,
        }
    }
}
