//! A tracked socket: its state between two reads, and its changes since the last one (pure).

use super::connect::HandshakeDelta;
use super::delta::{Activity, ConnectionDelta, Delta};
use super::diag::{Memory, Record, State};
use super::direction::Direction;
use super::sample::{Counters, Sample};
use crate::metric::label::Event;

/// Group number of a socket without a group.
pub const NO_GROUP: u32 = u32::MAX;

/// The state of a tracked socket: 112 bytes.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one byte each, in a structure of which there are many; they are independent"
)]
pub struct TrackedSocket {
    /// Counters of the last read: the next increase is computed from here.
    baseline: Counters,
    /// Drops of the last read, for sockets that are no connections; wraps.
    drops: u32,
    /// Number of the group, or [`NO_GROUP`].
    pub group: u32,
    /// Number of the network namespace.
    pub namespace: u32,
    /// Number of the last dump of the namespace that had the socket.
    pub dump: u32,
    /// Whether the socket was seen as an established connection, and is counted as open.
    pub established: bool,
    connection: bool,
    /// Whether the socket is a subflow of Multipath TCP.
    pub mptcp: bool,
    /// Whether the flow is selected by the classic profile.
    pub selected: bool,
    /// Whether the connection has ended and was counted. The destroy event comes when its process closes it.
    pub ended: bool,
    /// Whether the client closed the connection before it was accepted, and that was counted.
    pub abandoned: bool,
    /// The end that opened the connection, from the first evidence: at the end there is less.
    pub direction: Option<Direction>,
}

/// What a dump reports about a socket.
#[derive(Debug, Clone, Copy)]
pub enum Observation {
    /// A TCP connection.
    Connection(Sample),
    /// A listening TCP socket.
    Listener {
        /// Connections in the accept queue.
        usage: u64,
        /// Maximum length of the accept queue (backlog).
        limit: u64,
        /// Connection attempts dropped so far; wraps. `None` if the kernel does not report them.
        drops: Option<u32>,
    },
    /// A UDP socket.
    Datagrams {
        /// Datagrams dropped so far; wraps.
        drops: u32,
    },
}

impl Observation {
    /// The values of a record that are counted; `None` if there are none: connection requests and `TIME_WAIT` are
    /// counted by state only.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        let drops = record.memory.and_then(Memory::drops);
        match record.state {
            State::Listen => Some(Self::Listener {
                usage: record.receive_queue.into(),
                limit: record.write_queue.into(),
                drops,
            }),
            State::TimeWait | State::SynRecv | State::NewSynRecv | State::BoundInactive => None,
            _ => match (record.tcp, drops) {
                (Some(tcp), _) => Some(Self::Connection(Sample::of(tcp, record.state))),
                (None, Some(drops)) => Some(Self::Datagrams { drops }),
                (None, None) => None,
            },
        }
    }

    /// Whether the socket is a connection, established or not.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether the socket is an established connection.
    pub fn established(&self) -> bool {
        matches!(self, Self::Connection(sample) if sample.established)
    }
}

impl TrackedSocket {
    /// A socket that a dump has for the first time. A socket that existed before the agent is counted from its present
    /// values, others from 0.
    pub fn new(namespace: u32, dump: u32, observation: &Observation, preexisting: bool) -> Self {
        let mut known = Self { dump, connection: observation.is_connection(), ..Self::unseen(namespace) };
        if preexisting {
            match observation {
                Observation::Connection(sample) => known.baseline = sample.counters,
                Observation::Listener { drops, .. } => known.drops = drops.unwrap_or_default(),
                Observation::Datagrams { drops } => known.drops = *drops,
            }
        }
        known
    }

    /// A connection that no dump had.
    pub fn unseen(namespace: u32) -> Self {
        Self {
            baseline: Counters::default(),
            drops: 0,
            connection: true,
            mptcp: false,
            group: NO_GROUP,
            namespace,
            dump: 0,
            established: false,
            selected: false,
            ended: false,
            abandoned: false,
            direction: None,
        }
    }

    /// Whether no dump had the socket.
    pub fn is_unseen(&self) -> bool {
        self.dump == 0
    }

    /// Whether the socket was a TCP connection at the last read.
    pub fn is_connection(&self) -> bool {
        self.connection
    }

    /// Marks a connection established before the agent as open; past events are not counted.
    pub fn already_open(&mut self) -> Delta {
        self.established = true;
        Delta { open: 1, ..Delta::default() }
    }

    /// The changes since the last read. This read becomes the baseline of the next.
    pub fn update(&mut self, observation: &Observation) -> Delta {
        let mut delta = Delta::default();
        let mut established = self.established;
        match observation {
            Observation::Connection(sample) => {
                self.note_reconnected(sample, &mut delta);
                established = self.established;
                self.notice_established(sample, &mut delta);
            }
            // The socket is of another kind now.
            _ if self.is_connection() && self.established => {
                self.established = false;
                delta.ended(Event::Closed);
            }
            _ => {}
        }
        // A socket that was connected and listens now keeps its cookie, and is counted as the new kind.
        let same_kind = self.connection == observation.is_connection();
        self.connection = observation.is_connection();
        match observation {
            Observation::Connection(sample) => {
                if same_kind {
                    delta.activity = Activity::Connection(self.changes(sample, established, false));
                }
                self.baseline = sample.counters;
            }
            Observation::Listener { usage, limit, drops } => {
                let dropped = drops.map(|drops| u64::from(drops.wrapping_sub(self.drops)));
                self.drops = drops.unwrap_or(self.drops);
                if same_kind {
                    delta.activity = Activity::Listener { usage: *usage, limit: *limit, dropped };
                }
            }
            Observation::Datagrams { drops } => {
                if same_kind {
                    let dropped = drops.wrapping_sub(self.drops).into();
                    delta.activity = Activity::Datagrams { dropped };
                }
                self.drops = *drops;
            }
        }
        delta
    }

    /// The changes since the last read, from the last numbers of a connection.
    pub fn last_update(&mut self, sample: &Sample) -> Delta {
        let mut delta = Delta::default();
        self.note_reconnected(sample, &mut delta);
        if self.connection {
            let changes = self.changes(sample, self.established, sample.established);
            delta.activity = Activity::Connection(changes);
        }
        delta
    }

    /// Records that the connection was established, if the last numbers are the first to show it.
    pub fn note_established(&mut self, sample: &Sample) -> Delta {
        let mut delta = Delta::default();
        self.notice_established(sample, &mut delta);
        delta
    }

    /// The changes of a connection since the last read; `established` says whether it was established then. Its
    /// measurements are recorded if data was acknowledged, and at its end.
    fn changes(&self, now: &Sample, established: bool, ended: bool) -> ConnectionDelta {
        let increase = now.counters.since(&self.baseline);
        let measured = (increase.acked > 0 || ended).then_some(now.measurements);
        let path = now.path.filter(|_| !ended);
        let outgoing = self.direction == Some(Direction::Outgoing);
        let handshake = now.handshake.only_syns.filter(|_| outgoing).map(|only_syns| {
            // Until it is established, nothing but SYNs is sent.
            if established || (now.established && !only_syns) {
                return HandshakeDelta::default();
            }
            let time = now.handshake.time.filter(|_| now.established);
            HandshakeDelta { syn_retransmits: increase.retransmits, time }
        });
        ConnectionDelta { increase, supported: now.supported, measured, path, handshake }
    }

    fn notice_established(&mut self, sample: &Sample, delta: &mut Delta) {
        if sample.established && !self.established {
            self.established = true;
            delta.opened();
        }
    }

    /// A socket that is connected again (`connect` after it failed, or after `AF_UNSPEC`) is counted from 0: counters
    /// that decreased belong to another connection.
    fn note_reconnected(&mut self, sample: &Sample, delta: &mut Delta) {
        if !self.connection {
            return;
        }
        let before = &mut self.baseline;
        let now = &sample.counters;
        let never_established = !sample.established && !self.established;
        let fell = now.acked < before.acked
            || now.received < before.received
            || (never_established && now.segs_out < before.segs_out);
        if !fell {
            return;
        }
        *before = Counters::default();
        if self.established {
            self.established = false;
            // How the earlier connection ended is unknown; most end in order.
            delta.ended(Event::Closed);
        } else {
            delta.add_event(Event::Failed);
        }
    }

    /// The changes at the end of the socket; `event` is counted if it was a connection.
    pub fn end(&self, event: Option<Event>) -> Delta {
        let mut delta = Delta::default();
        if self.is_connection() {
            if self.established {
                delta.open = -1;
            }
            if let Some(event) = event {
                delta.add_event(event);
            }
        }
        delta
    }

    /// The end of a socket without an event: most connections end in order, and one that was never established has
    /// failed.
    pub fn vanish(&self) -> Delta {
        self.end(Some(if self.established { Event::Closed } else { Event::Failed }))
    }
}
