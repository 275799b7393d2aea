//! A distribution that a source keeps: how many values fell into which bucket, and their sum.
//!
//! The SDK has no histogram that is observed, and the series of one that is recorded never end. What a source says of
//! things that come and go (groups of sockets) is therefore counted here and leaves the agent beside what the SDK
//! collected (`export/distributions.rs`).

#![expect(clippy::disallowed_methods, reason = "a series begins when its distribution is made")]

use std::sync::Arc;
use std::time::SystemTime;

/// Counts by bucket, cumulative over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bounds: Arc<[f64]>,
    counts: Box<[u64]>,
    sum: f64,
    since: SystemTime,
}

impl Distribution {
    /// One with nothing in it. `bounds` are the upper bounds of the buckets, ascending and inclusive; a last bucket
    /// without a bound is added.
    pub fn new(bounds: Arc<[f64]>) -> Self {
        let counts = vec![0; bounds.len() + 1].into_boxed_slice();
        Self { bounds, counts, sum: 0.0, since: SystemTime::now() }
    }

    /// A distribution from stored values: counts by bucket, one more than there are bounds, their sum, and the start of its series.
    pub fn restored(bounds: Arc<[f64]>, counts: Box<[u64]>, sum: f64, since: SystemTime) -> Self {
        Self { bounds, counts, sum, since }
    }

    /// Counts one value; NaN is not counted.
    pub fn record(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.sum += value;
        }
    }

    /// Upper bounds of all buckets but the last.
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Values by bucket, one more than there are bounds; not cumulative.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of the observed values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// When the first value could have been recorded: the start time of its series.
    pub fn since(&self) -> SystemTime {
        self.since
    }
}
