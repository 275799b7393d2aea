//! How values of the entries are distributed, and their sums, by protocol (pure).

use super::message::{Counters, Entry};
use super::protocol::{NAMED, index};
use crate::metric::distribution::Distribution;
use crate::source::conntrack::metrics::{AGES, TIMEOUTS};
use std::sync::Arc;
use std::time::SystemTime;

/// Protocols that are told apart: those with a name, and all others.
pub const PROTOCOLS: usize = NAMED.len() + 1;

/// Values by bucket, with their sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Spread {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn record(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.sum += value;
        }
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// As it is observed; `None` if there is no value.
    pub fn distribution(&self, since: SystemTime) -> Option<Arc<Distribution>> {
        let any = self.counts.iter().any(|count| *count > 0);
        let bounds: Arc<[f64]> = self.bounds.into();
        any.then(|| Arc::new(Distribution::restored(bounds, self.counts.clone().into(), self.sum, since)))
    }
}

/// What the entries of one protocol have.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Seconds until the entry ends if no packet comes.
    pub timeouts: Spread,
    /// Seconds since the entry was created.
    pub ages: Spread,
    /// Packets and bytes of both directions, if at least one entry counts them.
    pub counters: Option<[Counters; 2]>,
}

/// What the entries have, by the position of the protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct ByProtocol(pub Vec<Values>);

impl Default for ByProtocol {
    fn default() -> Self {
        let values = Values { timeouts: Spread::new(TIMEOUTS), ages: Spread::new(AGES), counters: None };
        Self(vec![values; PROTOCOLS])
    }
}

impl ByProtocol {
    /// Adds an entry; `now` is in nanoseconds since 1970.
    #[expect(clippy::cast_precision_loss, reason = "an age in seconds needs no more than 53 bits")]
    pub fn add(&mut self, entry: &Entry, now: u64) {
        let Some(values) = self.0.get_mut(index(entry.original.protocol)) else { return };
        if let Some(timeout) = entry.timeout {
            values.timeouts.record(f64::from(timeout));
        }
        if let Some(started) = entry.started {
            values.ages.record(now.saturating_sub(started) as f64 / 1e9);
        }
        if let Some(counters) = entry.counters {
            let sums = values.counters.get_or_insert_default();
            for (sum, more) in sums.iter_mut().zip(counters) {
                sum.packets = sum.packets.saturating_add(more.packets);
                sum.bytes = sum.bytes.saturating_add(more.bytes);
            }
        }
    }

    /// Adds the distributions of a later dump; its counters replace those before.
    pub fn merge(&mut self, later: &Self) {
        for (values, more) in self.0.iter_mut().zip(&later.0) {
            values.timeouts.merge(&more.timeouts);
            values.ages.merge(&more.ages);
            values.counters = more.counters;
        }
    }
}
