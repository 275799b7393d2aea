//! How fast the table grows: a straight line through the entries of the last 15 minutes (pure).
//!
//! Least squares, as `deriv` of Prometheus does it, over the samples of the cycles. A cycle every few seconds would give
//! many samples, so those nearer than [`SPACING`] to each other are thinned; the latest is always kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back samples are used.
pub const WINDOW: Duration = Duration::from_mins(15);
/// Minimum time between the first and the last sample of a slope.
pub const MIN_SPAN: Duration = Duration::from_mins(5);
/// Minimum time between two samples that are kept; with [`WINDOW`] it bounds their number to 92.
pub const SPACING: Duration = Duration::from_secs(10);
/// Longest time that is reported: 15 minutes say nothing about more than a week.
pub const MAX_TIME_TO_FULL: Duration = Duration::from_hours(7 * 24);

/// The entries of one table over the last 15 minutes.
#[derive(Debug, Default)]
pub struct Growth {
    samples: VecDeque<(Instant, u64)>,
}

impl Growth {
    /// Adds a sample. Times must not go back.
    pub fn note(&mut self, now: Instant, usage: u64) {
        while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        let mut newest = self.samples.iter().rev();
        if let (Some((last, _)), Some((before, _))) = (newest.next(), newest.next())
            && last.saturating_duration_since(*before) < SPACING
        {
            self.samples.pop_back();
        }
        self.samples.push_back((now, usage));
    }

    /// Number of samples that are kept.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// Entries that the table gains per second; `None` until the samples cover [`MIN_SPAN`].
    #[expect(clippy::cast_precision_loss, reason = "entries stay far below 2^53")]
    pub fn slope(&self) -> Option<f64> {
        let ((first, _), (last, _)) = (self.samples.front()?, self.samples.back()?);
        if last.saturating_duration_since(*first) < MIN_SPAN {
            return None;
        }
        let point = |(at, usage): &(Instant, u64)| {
            (at.saturating_duration_since(*first).as_secs_f64(), *usage as f64)
        };
        let count = self.samples.len() as f64;
        let (times, usages) =
            self.samples.iter().map(point).fold((0.0, 0.0), |(x, y), (time, usage)| (x + time, y + usage));
        let (mean_time, mean_usage) = (times / count, usages / count);
        let (above, below) = self.samples.iter().map(point).fold((0.0, 0.0), |(above, below), (x, y)| {
            let from_mean = x - mean_time;
            (from_mean.mul_add(y - mean_usage, above), from_mean.mul_add(from_mean, below))
        });
        Some(above / below)
    }

    /// Seconds until the table has `limit` entries if it goes on growing as it did; `None` if it does not grow, has no
    /// limit, or would take longer than [`MAX_TIME_TO_FULL`]. A table that grows and is full takes 0 s.
    #[expect(clippy::cast_precision_loss, reason = "entries stay far below 2^53")]
    pub fn time_to_full(&self, limit: u64) -> Option<f64> {
        let (_, usage) = self.samples.back()?;
        let slope = self.slope().filter(|slope| *slope > 0.0)?;
        let free = limit.saturating_sub(*usage) as f64;
        Some(free / slope).filter(|seconds| limit > 0 && *seconds <= MAX_TIME_TO_FULL.as_secs_f64())
    }
}
