//! One socket: what is remembered of it between two reads, and what it did since (pure).

use super::delta::{Activity, ConnectionDelta, Delta};
use super::diag::{Memory, Record, State};
use super::direction::Direction;
use super::sample::{Counters, Sample};
use crate::metric::label::Event;

/// The group of a socket that has none yet.
pub const NO_GROUP: u32 = u32::MAX;

/// What is remembered of a socket: 112 bytes.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a byte of what there are many of, and independent"
)]
pub struct KnownSocket {
    /// What it had counted at the last read: the next difference begins here.
    baseline: Counters,
    /// What it had dropped at the last read, where it is no connection; wraps.
    drops: u32,
    /// Number of its group, or [`NO_GROUP`].
    pub group: u32,
    /// Number of its network namespace.
    pub namespace: u32,
    /// The last dump of its namespace that had it.
    pub dump: u32,
    /// Whether it was seen as an established connection and is counted as open.
    pub established: bool,
    connection: bool,
    /// Whether it is a subflow of Multipath TCP.
    pub mptcp: bool,
    /// Whether whoever shows single flows has selected it.
    pub selected: bool,
    /// Whether it has ended and was counted so. Its destroy event is still to come, for its process has not closed it.
    pub ended: bool,
    /// Whether its client closed it before it was accepted, and it was counted so.
    pub abandoned: bool,
    /// Which end opened the connection, as it was told first, if there was evidence: at its end there is less.
    pub direction: Option<Direction>,
}

/// What a dump says of a socket.
#[derive(Debug, Clone, Copy)]
pub enum Observation {
    /// A TCP connection.
    Connection(Sample),
    /// A TCP socket that listens.
    Listener {
        /// Connections that wait to be accepted.
        usage: u64,
        /// Length of the accept queue (`backlog`).
        limit: u64,
        /// Attempts dropped so far; wraps. `None` where the kernel does not say.
        drops: Option<u32>,
    },
    /// A UDP socket.
    Datagrams {
        /// Datagrams dropped so far; wraps.
        drops: u32,
    },
}

impl Observation {
    /// What there is to count of a record; `None` where nothing is: what is no socket yet or not any more is counted by
    /// state alone.
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

    /// Whether it is a connection, established or not.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection(_))
    }

    /// Whether it is an established connection.
    pub fn established(&self) -> bool {
        matches!(self, Self::Connection(sample) if sample.established)
    }
}

impl KnownSocket {
    /// A socket that a dump has for the first time. One that was there before the agent is counted from where it stands,
    /// others from nothing.
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

    /// Whether no dump had it.
    pub fn is_unseen(&self) -> bool {
        self.dump == 0
    }

    /// Whether it was a TCP connection at the last read.
    pub fn is_connection(&self) -> bool {
        self.connection
    }

    /// It was an established connection before the agent: it is open, and nothing that happened is counted.
    pub fn already_open(&mut self) -> Delta {
        self.established = true;
        Delta { open: 1, ..Delta::default() }
    }

    /// What it did since the last read; this read is the baseline of the next.
    pub fn update(&mut self, observation: &Observation) -> Delta {
        let mut delta = Delta::default();
        match observation {
            Observation::Connection(sample) => {
                self.note_reconnected(sample, &mut delta);
                self.notice_established(sample, &mut delta);
            }
            // It is a socket of another kind now.
            _ if self.is_connection() && self.established => {
                self.established = false;
                delta.ended(Event::Closed);
            }
            _ => {}
        }
        // A socket that was connected and listens now is the same socket, and counts as what it is.
        let same_kind = self.connection == observation.is_connection();
        self.connection = observation.is_connection();
        match observation {
            Observation::Connection(sample) => {
                if same_kind {
                    delta.activity = Activity::Connection(connection(&self.baseline, sample, false));
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

    /// What a connection did since the last read, of its last numbers.
    pub fn last_update(&mut self, sample: &Sample) -> Delta {
        let mut delta = Delta::default();
        self.note_reconnected(sample, &mut delta);
        if self.connection {
            delta.activity = Activity::Connection(connection(&self.baseline, sample, sample.established));
        }
        delta
    }

    /// That the connection was established, where the last numbers are the first to say so.
    pub fn note_established(&mut self, sample: &Sample) -> Delta {
        let mut delta = Delta::default();
        self.notice_established(sample, &mut delta);
        delta
    }

    fn notice_established(&mut self, sample: &Sample, delta: &mut Delta) {
        if sample.established && !self.established {
            self.established = true;
            delta.opened();
        }
    }

    /// A socket that was connected before and is connected again (`connect` after it failed, or after `AF_UNSPEC`) counts
    /// from nothing: what falls is of another connection.
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
            // How it ended is not known any more; most end in order.
            delta.ended(Event::Closed);
        } else {
            delta.note(Event::Failed);
        }
    }

    /// Its end, by this event where it was a connection; `None` where it only leaves its group.
    pub fn end(&self, event: Option<Event>) -> Delta {
        let mut delta = Delta::default();
        if self.is_connection() {
            if self.established {
                delta.open = -1;
            }
            if let Some(event) = event {
                delta.note(event);
            }
        }
        delta
    }

    /// Its end, where nobody said how: most end in order, and what was never established has failed.
    pub fn vanish(&self) -> Delta {
        self.end(Some(if self.established { Event::Closed } else { Event::Failed }))
    }
}

/// What a connection did since `before`. Its measurements count where data was acknowledged, and at its end.
fn connection(before: &Counters, now: &Sample, ended: bool) -> ConnectionDelta {
    let grown = now.counters.since(before);
    let measured = (grown.acked > 0 || ended).then_some(now.measurements);
    let path = now.path.filter(|_| !ended);
    ConnectionDelta { grown, present: now.present, measured, path }
}
