//! The counts of a destination of a container, and their compact form in memory.

use super::CONNECT_TIMES;
use crate::metric::distribution::Distribution;
use crate::source::containers::failure::Failure;
use crate::source::containers::kernel::records::{BUCKETS, Totals};
use crate::source::containers::packed::Packed;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

/// Eighths of a microsecond in a second: the unit of `srtt_us`.
const EIGHTHS: f64 = 8_000_000.0;

/// The bounds of all distributions.
static BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| Arc::from(CONNECT_TIMES.as_slice()));

/// The counts of a destination of a container.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Connections established.
    pub opened: u64,
    /// Connections that ended in order.
    pub closed: u64,
    /// Connections that ended with a reset.
    pub reset: u64,
    /// Connections that were not established, by [`Failure`].
    pub failed: [u64; Failure::ALL.len()],
    /// Segments retransmitted, SYNs included.
    pub retransmits: u64,
    /// SYNs retransmitted.
    pub syn_retransmits: u64,
    /// Payload sent, bytes.
    pub sent: u64,
    /// Payload received, bytes.
    pub received: u64,
    /// Handshakes by bucket of their duration.
    connect: [u64; BUCKETS],
    /// Sum of the durations of handshakes, seconds.
    pub connecting: f64,
    since: SystemTime,
    open: i64,
    rtt: u64,
    rtts: u32,
}

impl Counts {
    /// Adds what the kernel or the agent counted.
    pub(super) fn add(&mut self, more: &Totals) {
        self.opened += u64::from(more.opened);
        self.closed += u64::from(more.closed);
        self.reset += u64::from(more.reset);
        self.open += i64::from(more.open.cast_signed());
        for (sum, failed) in self.failed.iter_mut().zip(more.failed) {
            *sum += u64::from(failed);
        }
        self.retransmits += u64::from(more.retransmits);
        self.syn_retransmits += u64::from(more.syn_retransmits);
        self.sent += more.sent;
        self.received += more.received;
        self.rtt += more.rtt;
        self.rtts += more.rtts;
        for (sum, count) in self.connect.iter_mut().zip(more.connect) {
            *sum += u64::from(count);
        }
        self.connecting += Duration::from_nanos(more.connecting).as_secs_f64();
    }

    /// Adds another's numbers, which turned out to be of the same container.
    pub(super) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.reset += other.reset;
        self.open += other.open;
        for (sum, failed) in self.failed.iter_mut().zip(other.failed) {
            *sum += failed;
        }
        self.retransmits += other.retransmits;
        self.syn_retransmits += other.syn_retransmits;
        self.sent += other.sent;
        self.received += other.received;
        self.rtt += other.rtt;
        self.rtts += other.rtts;
        for (sum, count) in self.connect.iter_mut().zip(other.connect) {
            *sum += count;
        }
        self.connecting += other.connecting;
    }

    /// Open connections.
    pub fn open(&self) -> u64 {
        u64::try_from(self.open).unwrap_or_default()
    }

    /// Handshakes, seconds.
    pub fn connect(&self) -> Distribution {
        Distribution::restored(Arc::clone(&BOUNDS), self.connect.into(), self.connecting, self.since)
    }

    /// Mean smoothed round trip of the connections that were open or ended since the last cycle, seconds.
    #[expect(clippy::cast_precision_loss, reason = "a sum of round trips in a cycle is far from 2^53")]
    pub fn rtt(&self) -> Option<f64> {
        (self.rtts > 0).then(|| self.rtt as f64 / f64::from(self.rtts) / EIGHTHS)
    }
}

const NUMBERS: usize = 7 + Failure::ALL.len() + BUCKETS;

/// The same as it is kept.
#[derive(Debug)]
pub(super) struct StoredCounts {
    /// The numbers that only grow.
    numbers: Packed,
    connecting: f64,
    since: SystemTime,
    /// Open connections; below 0 while an end was read and its opening was not.
    pub(super) open: i64,
    /// The round trips of one cycle; in a later one there are none.
    rtt: u64,
    rtts: u32,
    cycle: u32,
    /// When something happened last, as it is told.
    pub(super) touched: u64,
}

impl StoredCounts {
    /// Nothing so far.
    #[expect(clippy::disallowed_methods, reason = "a series begins when its destination is first seen")]
    pub(super) fn new(touched: u64) -> Self {
        let since = SystemTime::now();
        Self {
            numbers: Packed::default(),
            connecting: 0.0,
            since,
            open: 0,
            rtt: 0,
            rtts: 0,
            cycle: 0,
            touched,
        }
    }

    /// The numbers of the destination as they are observed in a cycle.
    pub(super) fn counts(&self, cycle: u32) -> Counts {
        let (rtt, rtts) = if self.cycle == cycle { (self.rtt, self.rtts) } else { (0, 0) };
        let numbers: [u64; NUMBERS] = self.numbers.unpack();
        let [opened, closed, reset, retransmits, syn_retransmits, sent, received, ref rest @ ..] = numbers;
        let (failed, connect) = rest.split_at(Failure::ALL.len());
        let at = |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or_default();
        Counts {
            opened,
            closed,
            reset,
            retransmits,
            syn_retransmits,
            sent,
            received,
            failed: std::array::from_fn(|index| at(failed, index)),
            connect: std::array::from_fn(|index| at(connect, index)),
            connecting: self.connecting,
            since: self.since,
            open: self.open,
            rtt,
            rtts,
        }
    }

    fn set(&mut self, counts: &Counts, cycle: u32) {
        let Counts { opened, closed, reset, retransmits, syn_retransmits, sent, received, .. } = *counts;
        let first = [opened, closed, reset, retransmits, syn_retransmits, sent, received];
        self.numbers =
            Packed::new(&[first.as_slice(), counts.failed.as_slice(), counts.connect.as_slice()].concat());
        (self.connecting, self.open) = (counts.connecting, counts.open);
        (self.rtt, self.rtts, self.cycle) = (counts.rtt, counts.rtts, cycle);
    }

    /// Adds what the kernel or the agent counted.
    pub(super) fn add(&mut self, more: &Totals, touched: u64, cycle: u32) {
        let mut counts = self.counts(cycle);
        counts.add(more);
        self.set(&counts, cycle);
        self.touched = touched;
    }

    /// Adds another's numbers.
    pub(super) fn merge(&mut self, other: &Self, cycle: u32) {
        let mut counts = self.counts(cycle);
        counts.merge(&other.counts(cycle));
        self.set(&counts, cycle);
        self.touched = self.touched.max(other.touched);
    }
}
