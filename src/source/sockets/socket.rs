//! One socket: what is remembered of it, what a look at it found, and how the difference is counted.

use super::diag::{Memory, Record, State};
use super::group::{Groups, Traits};
use super::listen::{Direction, Listeners};
use super::total::{Counters, Sample, Totals, grown};
use super::track::{Found, Since};
use crate::metric::label::Event;
use std::time::Instant;

/// A socket whose group is not known yet.
pub(super) const NO_GROUP: u32 = u32::MAX;

/// What is remembered of a socket: 88 bytes.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a byte of what there are many of, and independent")]
pub(super) struct Remembered {
    pub(super) before: Before,
    pub(super) group: u32,
    pub(super) namespace: u32,
    /// The last dump of its namespace that had it.
    pub(super) dump: u32,
    pub(super) established: bool,
    pub(super) selected: bool,
    /// The peer opened it, as far as could be told when it came: at its end less can be.
    pub(super) incoming: bool,
    /// It has ended and was counted so; its event is still to come, for its process has not closed it.
    pub(super) gone: bool,
}

/// What a socket had counted when it was last looked at.
#[derive(Debug)]
pub(super) enum Before {
    Connection(Counters),
    /// A socket that listens, or one of UDP: what it had dropped.
    Drops(u32),
}

/// What a look at a socket found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    Connection(Sample),
    Listener { usage: u64, limit: u64, drops: Option<u32> },
    Datagrams { drops: u32 },
}

/// What there is to count of a socket.
pub(super) fn look(record: &Record<'_>) -> Option<Look> {
    let drops = record.memory.and_then(Memory::drops);
    match record.state {
        State::Listen => Some(Look::Listener {
            usage: record.receive_queue.into(),
            limit: record.write_queue.into(),
            drops,
        }),
        // Not sockets yet, or not any more: they are counted by state.
        State::TimeWait | State::SynRecv | State::NewSynRecv | State::BoundInactive => None,
        _ => match (record.tcp, drops) {
            (Some(tcp), _) => Some(Look::Connection(Sample::of(tcp))),
            (None, Some(drops)) => Some(Look::Datagrams { drops }),
            (None, None) => None,
        },
    }
}

/// What a socket is counted from: where it stands, if it was there before us, and nothing otherwise.
pub(super) fn before(look: &Look, old: bool) -> Before {
    match look {
        Look::Connection(sample) if old => Before::Connection(sample.counters),
        Look::Connection(_) => Before::Connection(Counters::default()),
        Look::Listener { drops: Some(drops), .. } | Look::Datagrams { drops } if old => Before::Drops(*drops),
        Look::Listener { .. } | Look::Datagrams { .. } => Before::Drops(0),
    }
}

pub(super) fn traits(namespace: u32, record: &Record<'_>, listeners: &Listeners, owner: &Found) -> Traits {
    let mut traits = Traits {
        namespace,
        direction: None,
        port: Some(record.local.port()),
        peer: None,
        family: record.family,
        uid: (record.state != State::Close || record.tcp.is_none()).then_some(record.uid),
        cgroup: owner.cgroup.clone(),
        process: owner.process.clone(),
    };
    if record.state == State::Listen {
        traits.direction = Some(Direction::Incoming);
    } else if !record.peer.ip().is_unspecified() {
        traits.peer = Some(record.peer.ip());
        if record.tcp.is_some() {
            let direction = listeners.direction(record);
            traits.direction = Some(direction);
            if direction == Direction::Outgoing {
                // The kernel has forgotten the port of what was refused or reset from here.
                traits.port = Some(record.peer.port()).filter(|port| *port != 0);
            }
        } else {
            traits.port = Some(record.peer.port());
        }
    }
    traits
}

/// Whether a look found a connection that was made.
pub(super) fn established(look: &Look) -> bool {
    matches!(look, Look::Connection(sample) if sample.established)
}

/// Puts a socket into its group; `open` says that it was a connection before it was looked at.
pub(super) fn enter(groups: &mut Groups, known: &mut Remembered, traits: &Traits, open: bool, now: Instant) {
    known.group = groups.of(traits, now);
    known.established = open;
    if let Some(group) = groups.at(known.group, now) {
        group.sockets += 1;
        group.totals.open += u64::from(open);
    }
}

/// Counts what a socket did since it was last looked at.
pub(super) fn count(groups: &mut Groups, known: &mut Remembered, look: &Look, now: Instant) -> Option<Since> {
    let group = groups.at(known.group, now)?;
    if let Look::Connection(sample) = look {
        begin_anew(&mut group.totals, known, sample);
    } else if let Before::Connection(_) = known.before
        && known.established
    {
        // It is a socket of another kind now.
        known.established = false;
        group.totals.open = group.totals.open.saturating_sub(1);
        group.totals.note(Event::Closed);
    }
    match (look, &mut known.before) {
        (Look::Connection(sample), Before::Connection(before)) => {
            begin(&mut group.totals, &mut known.established, sample);
            let progress = group.totals.count(before, sample, false);
            let retransmits = grown(before.retransmits, sample.counters.retransmits);
            *before = sample.counters;
            Some(Since { retransmits, progress })
        }
        (Look::Listener { usage, limit, drops }, Before::Drops(before)) => {
            let dropped = drops.map(|drops| u64::from(drops.wrapping_sub(*before)));
            *before = drops.unwrap_or(*before);
            group.totals.listen(*usage, *limit, dropped);
            None
        }
        (Look::Datagrams { drops }, Before::Drops(before)) => {
            group.totals.drop(u64::from(drops.wrapping_sub(*before)));
            *before = *drops;
            None
        }
        // A socket that was connected and listens now is the same socket, and counts as what it is.
        (Look::Listener { drops, .. }, Before::Connection(_)) => {
            known.before = Before::Drops(drops.unwrap_or_default());
            None
        }
        (Look::Datagrams { drops }, Before::Connection(_)) => {
            known.before = Before::Drops(*drops);
            None
        }
        (Look::Connection(sample), Before::Drops(_)) => {
            known.before = Before::Connection(sample.counters);
            None
        }
    }
}

/// Notes that a connection was made, when that is seen first.
pub(super) fn begin(totals: &mut Totals, established: &mut bool, sample: &Sample) {
    if sample.established && !*established {
        *established = true;
        totals.note(Event::Opened);
        totals.open += 1;
    }
}

/// A socket that was connected before and is connected anew (`connect` again after it failed, or after `AF_UNSPEC`) counts
/// from nothing: what falls is of another connection.
fn begin_anew(totals: &mut Totals, known: &mut Remembered, sample: &Sample) {
    let Before::Connection(before) = &mut known.before else { return };
    let now = &sample.counters;
    let never_made = !sample.established && !known.established;
    let fell = now.acked < before.acked
        || now.received < before.received
        || (never_made && now.segs_out < before.segs_out);
    if !fell {
        return;
    }
    *before = Counters::default();
    if known.established {
        known.established = false;
        totals.open = totals.open.saturating_sub(1);
        // How it ended is not known any more; most end in order.
        totals.note(Event::Closed);
    } else {
        totals.note(Event::Failed);
    }
}

/// Counts the last numbers of a connection.
pub(super) fn finish(groups: &mut Groups, known: &mut Remembered, sample: &Sample, now: Instant) {
    let Some(group) = groups.at(known.group, now) else { return };
    begin_anew(&mut group.totals, known, sample);
    if let Before::Connection(before) = &known.before {
        let _last_of_its_kind = group.totals.count(before, sample, sample.established);
    }
}

/// Takes a socket out of its group.
pub(super) fn leave(groups: &mut Groups, known: &Remembered, now: Instant, event: Option<Event>) {
    if let Some(group) = groups.at(known.group, now) {
        group.sockets = group.sockets.saturating_sub(1);
        if let Before::Connection(_) = known.before {
            if known.established {
                group.totals.open = group.totals.open.saturating_sub(1);
            }
            if let Some(event) = event {
                group.totals.note(event);
            }
        }
    }
}

/// Whether a connection ended in order: its FIN was acknowledged. Before Linux 4.19 that cannot be told, and most end so.
pub(super) fn in_order(record: &Record<'_>, incoming: bool) -> bool {
    let Some(tcp) = record.tcp else { return true };
    match tcp.payload_sent().zip(tcp.bytes_acked()) {
        None => true,
        // The end that opened it has one more for its SYN.
        Some((payload, acked)) => acked.saturating_sub(payload) > u64::from(!incoming),
    }
}
