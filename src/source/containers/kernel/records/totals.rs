//! What the programs count of a destination, as `bpf/tcp.bpf.c` has it. Pure.

use super::Fields;
use crate::source::containers::failure::Failure;

/// Length of a value of the maps `destinations` and `rest`.
pub const TOTALS: usize = 160;
/// Buckets of connect times.
pub const BUCKETS: usize = 16;
/// Numbers of a value of the maps `destinations` and `rest`.
pub const NUMBERS: usize = 11 + Failure::ALL.len() + BUCKETS;

/// Totals of a destination since its entry was created. Counters of 32 bits wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections established.
    pub opened: u32,
    /// Connections that ended in order.
    pub closed: u32,
    /// Connections that ended with a reset.
    pub reset: u32,
    /// Open connections.
    pub open: u32,
    /// Connections that were not established, by [`Failure`].
    pub failed: [u32; Failure::ALL.len()],
    /// Segments retransmitted, SYNs included.
    pub retransmits: u32,
    /// SYNs retransmitted.
    pub syn_retransmits: u32,
    /// Number of round-trip times in `rtt`.
    pub rtts: u32,
    /// Payload sent, bytes.
    pub sent: u64,
    /// Payload received, bytes.
    pub received: u64,
    /// Sum of the smoothed round-trip times of open and ended connections, eighths of a microsecond.
    pub rtt: u64,
    /// Sum of the durations of handshakes, nanoseconds.
    pub connecting: u64,
    /// Handshakes by bucket of their duration.
    pub connect: [u32; BUCKETS],
}

impl Totals {
    /// Reads a value.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let mut totals = Self {
            opened: fields.u32()?,
            closed: fields.u32()?,
            reset: fields.u32()?,
            open: fields.u32()?,
            ..Self::default()
        };
        for failed in &mut totals.failed {
            *failed = fields.u32()?;
        }
        totals.retransmits = fields.u32()?;
        (totals.rtts, totals.syn_retransmits) = (fields.u32()?, fields.u32()?);
        (totals.sent, totals.received) = (fields.u64()?, fields.u64()?);
        (totals.rtt, totals.connecting) = (fields.u64()?, fields.u64()?);
        for bucket in &mut totals.connect {
            *bucket = fields.u32()?;
        }
        Some(totals)
    }

    /// All numbers in a row.
    pub fn numbers(&self) -> [u64; NUMBERS] {
        let Self { opened, closed, reset, open, failed, retransmits, syn_retransmits, rtts, .. } = *self;
        let first = [opened, closed, reset, open, retransmits, syn_retransmits, rtts].map(u64::from);
        let wide = [self.sent, self.received, self.rtt, self.connecting];
        let rest = failed.into_iter().chain(self.connect).map(u64::from);
        let mut all = first.into_iter().chain(wide).chain(rest);
        std::array::from_fn(|_| all.next().unwrap_or_default())
    }

    /// The totals with these numbers, in the order of [`Self::numbers`]; one that 32 bits do not hold is the largest.
    pub fn of_numbers(numbers: &[u64; NUMBERS]) -> Self {
        let mut all = numbers.iter().copied();
        let mut wide = || all.next().unwrap_or_default();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let [opened, closed, reset, open, retransmits, syn_retransmits, rtts] =
            std::array::from_fn(|_| narrow(wide()));
        let [sent, received, rtt, connecting] = std::array::from_fn(|_| wide());
        let failed = std::array::from_fn(|_| narrow(wide()));
        let connect = std::array::from_fn(|_| narrow(wide()));
        let first = Self { opened, closed, reset, open, failed, connect, ..Self::default() };
        Self { retransmits, syn_retransmits, rtts, sent, received, rtt, connecting, ..first }
    }

    /// The difference to `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.with(before, u32::wrapping_sub, u64::wrapping_sub)
    }

    /// Connections that were opened, and those that failed.
    pub fn attempts(&self) -> u64 {
        self.failed.iter().fold(u64::from(self.opened), |sum, failed| sum + u64::from(*failed))
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        self.with(more, u32::wrapping_add, u64::wrapping_add)
    }

    fn with(&self, other: &Self, narrow: fn(u32, u32) -> u32, wide: fn(u64, u64) -> u64) -> Self {
        let at = |numbers: &[u32], index: usize| numbers.get(index).copied().unwrap_or_default();
        Self {
            opened: narrow(self.opened, other.opened),
            closed: narrow(self.closed, other.closed),
            reset: narrow(self.reset, other.reset),
            open: narrow(self.open, other.open),
            failed: std::array::from_fn(|index| narrow(at(&self.failed, index), at(&other.failed, index))),
            retransmits: narrow(self.retransmits, other.retransmits),
            syn_retransmits: narrow(self.syn_retransmits, other.syn_retransmits),
            rtts: narrow(self.rtts, other.rtts),
            sent: wide(self.sent, other.sent),
            received: wide(self.received, other.received),
            rtt: wide(self.rtt, other.rtt),
            connecting: wide(self.connecting, other.connecting),
            connect: std::array::from_fn(|index| narrow(at(&self.connect, index), at(&other.connect, index))),
        }
    }
}
