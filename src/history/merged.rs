//! Percentiles of what all distributions of a metric have got since a cycle (pure).

use crate::metric::Value;
use crate::metric::buckets::quantile;
use crate::reading::Reading;
use std::mem::size_of;

/// Counts by bucket of all distributions of each metric.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// Counts up to the last cycle that is kept, by row.
    before: Vec<(u16, Box<[u64]>)>,
    /// Counts of the newest cycle.
    newest: Vec<(u16, Box<[u64]>)>,
}

impl Merged {
    /// Begins the next cycle. `keep`: what follows is counted from the newest cycle on.
    pub(super) fn begin(&mut self, keep: bool) {
        let newest = std::mem::take(&mut self.newest);
        if keep {
            self.before = newest;
        }
    }

    /// Adds the distributions of a metric. Returns the three percentiles of what they have got, and of how many values
    /// they are; NaN if they have got none.
    pub(super) fn add(&mut self, row: u16, readings: &[Reading]) -> [f64; 3] {
        let mut distributions = readings.iter().filter_map(|reading| match &reading.value {
            Value::Distribution(distribution) => Some(distribution),
            _ => None,
        });
        let Some(first) = distributions.next() else { return [f64::NAN; 3] };
        let mut counts: Box<[u64]> = first.counts().into();
        for other in distributions.filter(|other| other.bounds() == first.bounds()) {
            for (sum, count) in counts.iter_mut().zip(other.counts()) {
                *sum += count;
            }
        }
        let before = self.before.iter().find(|(known, _)| *known == row);
        // Where a series has ended, its values are missing from the sum: less is counted, never less than nothing.
        let percentiles = before.map_or([f64::NAN; 3], |(_, before)| {
            let got: Vec<u64> =
                counts.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect();
            [0.5, 0.95, 0.99].map(|part| percentile(first.bounds(), &got, part))
        });
        self.newest.push((row, counts));
        percentiles
    }

    /// Heap that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        let all = self.before.iter().chain(&self.newest);
        let counts: usize = all.map(|(_, counts)| size_of_val::<[u64]>(counts)).sum();
        (self.before.capacity() + self.newest.capacity()) * size_of::<(u16, Box<[u64]>)>() + counts
    }
}

/// The value below which this part of the counted values is. NaN without values.
#[expect(clippy::cast_precision_loss, reason = "counts of one cycle")]
fn percentile(bounds: &[f64], counts: &[u64], part: f64) -> f64 {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets = bounds.zip(counts).scan(0, |sum, (bound, count)| {
        *sum += count;
        Some((bound, *sum as f64))
    });
    quantile(&buckets.collect::<Vec<_>>(), part).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_interpolated_within_their_bucket() {
        let bounds = [0.01, 0.1, 1.0];
        let of = |counts: [u64; 4], part| percentile(&bounds, &counts, part);
        assert!((of([10, 0, 0, 0], 0.5) - 0.005).abs() < 1e-12);
        assert!((of([50, 45, 5, 0], 0.95) - 0.1).abs() < 1e-12);
        assert!((of([0, 100, 0, 0], 0.99) - 0.0991).abs() < 1e-12);
        assert!((of([0, 0, 0, 7], 0.5) - 1.0).abs() < 1e-12, "no bound above: the last that there is");
        assert!(of([0; 4], 0.5).is_nan());
    }
}
