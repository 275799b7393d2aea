//! Totals of the events of one network namespace: new and destroyed entries, and what the destroyed ones were like.

use super::message::{Ended, Event};
use crate::metric::distribution::Distribution;
use crate::metric::{Handle, Histogram, Label, Labels};
use crate::reading::Readings;
use crate::source::conntrack::entries::protocol;
use crate::source::conntrack::metrics;
use std::sync::Arc;

/// The totals; they only grow.
#[derive(Debug, Default)]
pub struct Totals {
    new: u64,
    destroyed: u64,
    lost: u64,
    protocols: [Option<Box<Distributions>>; protocol::NAMED.len() + 1],
}

#[derive(Debug)]
struct Distributions {
    lifetime: Distribution,
    bytes: Distribution,
    packets: Distribution,
}

impl Default for Distributions {
    fn default() -> Self {
        let of = |histogram: Histogram| Distribution::new(histogram.metric().boundaries.into());
        Self {
            lifetime: of(metrics::CONNTRACK_DESTROYED_LIFETIME),
            bytes: of(metrics::CONNTRACK_DESTROYED_SIZE),
            packets: of(metrics::CONNTRACK_DESTROYED_PACKETS),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a distribution has buckets much wider than the error")]
fn float(number: u64) -> f64 {
    number as f64
}

impl Totals {
    /// Counts an event.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::New => self.new += 1,
            Event::Destroyed(ended) => {
                self.destroyed += 1;
                self.record(ended);
            }
        }
    }

    fn record(&mut self, ended: Ended) {
        if ended.lifetime.is_none() && ended.counters.is_none() {
            return;
        }
        if let Some(distributions) = self.protocols.get_mut(protocol::index(ended.protocol)) {
            let distributions = distributions.get_or_insert_default();
            if let Some(nanoseconds) = ended.lifetime {
                distributions.lifetime.record(float(nanoseconds) / 1e9);
            }
            if let Some((packets, bytes)) = ended.counters {
                distributions.packets.record(float(packets));
                distributions.bytes.record(float(bytes));
            }
        }
    }

    /// Counts events that were lost.
    pub fn lose(&mut self, events: u64) {
        self.lost += events;
    }

    /// Observes the totals.
    pub fn observe(&self, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        for (kind, total) in [("new", self.new), ("destroyed", self.destroyed)] {
            let mut labels = labels.to_vec();
            labels.push((Label::Kind, kind.into()));
            out.observe(metrics::CONNTRACK_EVENTS, &labels, total);
        }
        out.observe(metrics::CONNSCOPE_CONNTRACK_EVENTS_LOST, labels, self.lost);
        for (index, distributions) in self.protocols.iter().enumerate() {
            let Some(distributions) = distributions else { continue };
            let mut labels = labels.to_vec();
            labels.push((Label::Transport, protocol::name_at(index).into()));
            let labels = Labels::from(&labels);
            for (metric, distribution) in [
                (metrics::CONNTRACK_DESTROYED_LIFETIME, &distributions.lifetime),
                (metrics::CONNTRACK_DESTROYED_SIZE, &distributions.bytes),
                (metrics::CONNTRACK_DESTROYED_PACKETS, &distributions.packets),
            ] {
                if distribution.count() > 0 {
                    out.observe(metric, &labels, Arc::new(distribution.clone()));
                }
            }
        }
    }
}
