//! Consecutive readings: what has changed from one to the next (pure).

use super::exposition::{Behaviour, Buckets, Exposition, Series};
use crate::web::state::SourceStatus;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

#[cfg(test)]
pub(super) mod tests;

/// Shortest time over which slow rates and quantiles are taken, once that much has passed.
const SLOW: Duration = Duration::from_secs(10);

/// One reading of an agent, or of the sources.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// When it was complete.
    pub(super) at: Instant,
    /// The same by the clock of the machine.
    pub(super) clock: SystemTime,
    /// Version of the agent.
    pub(super) version: String,
    /// The metrics.
    pub(super) exposition: Exposition,
    /// State of every source.
    pub(super) sources: Vec<SourceStatus>,
    /// Warnings of the agent, each a sentence.
    pub(super) warnings: Vec<String>,
}

/// Values of an earlier reading.
#[derive(Debug, Clone, Default)]
struct EarlierReading {
    at: Option<Instant>,
    values: HashMap<String, EarlierValue>,
}

#[derive(Debug, Clone)]
struct EarlierValue {
    value: f64,
    buckets: Buckets,
    increased: u64,
}

/// The last reading, with rates.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last reading.
    pub(super) now: Option<Frame>,
    readings: u64,
    before: EarlierReading,
    /// Slow rates count from here.
    base: EarlierReading,
    next_base: EarlierReading,
}

impl History {
    /// Adds a reading.
    pub(super) fn push(&mut self, mut frame: Frame) {
        self.readings += 1;
        let at = frame.at;
        let mut values = HashMap::new();
        for (name, family) in &mut frame.exposition.families {
            if family.behaviour == Behaviour::Level {
                continue;
            }
            for series in &mut family.series {
                let key = key(name, series);
                let earlier = self.before.values.get(&key);
                series.rate =
                    earlier.and_then(|earlier| rate(series.value, earlier.value, self.before.at, at));
                series.increased = match earlier {
                    Some(earlier) if series.value > earlier.value => self.readings,
                    Some(earlier) => earlier.increased,
                    None => 0,
                };
                let base = self.base.values.get(&key);
                series.slow_rate = base.and_then(|base| rate(series.value, base.value, self.base.at, at));
                series.recent = base.map(|base| added(&series.buckets, &base.buckets)).unwrap_or_default();
                let buckets = series.buckets.clone();
                values
                    .insert(key, EarlierValue { value: series.value, buckets, increased: series.increased });
            }
        }
        let reading = EarlierReading { at: Some(at), values };
        self.remember(reading);
        self.now = Some(frame);
    }

    fn remember(&mut self, reading: EarlierReading) {
        let due =
            |kept: &EarlierReading, at: Instant| kept.at.is_none_or(|since| at.duration_since(since) >= SLOW);
        let Some(at) = reading.at else { return };
        if self.base.at.is_none() {
            self.base = reading.clone();
            self.next_base = reading.clone();
        } else if due(&self.next_base, at) {
            self.base = std::mem::replace(&mut self.next_base, reading.clone());
        }
        self.before = reading;
    }
}

fn key(name: &str, series: &Series) -> String {
    let mut key = name.to_owned();
    for (label, value) in &series.labels {
        key.push('\0');
        key.push_str(label);
        key.push('\0');
        key.push_str(value);
    }
    key
}

/// Increase per second; `None` if the counter was reset.
fn rate(now: f64, before: f64, since: Option<Instant>, at: Instant) -> Option<f64> {
    let seconds = at.duration_since(since?).as_secs_f64();
    (seconds > 0.0 && now >= before).then(|| (now - before) / seconds)
}

/// What was added to cumulative buckets; empty if they were reset, or are others.
fn added(now: &Buckets, before: &Buckets) -> Buckets {
    if now.len() != before.len() {
        return Vec::new();
    }
    let differences = now.iter().zip(before).map(|((bound, now), (other, before))| {
        #[expect(clippy::float_cmp, reason = "both are the same text of the same agent")]
        let same = bound == other;
        (same && now >= before).then_some((*bound, now - before))
    });
    differences.collect::<Option<_>>().unwrap_or_default()
}

/// Adds the buckets of another series; buckets with other bounds are left out.
pub(super) fn add(sum: &mut Buckets, more: &Buckets) {
    if sum.is_empty() {
        sum.clone_from(more);
    } else if sum.len() == more.len() {
        for ((_, sum), (_, more)) in sum.iter_mut().zip(more) {
            *sum += more;
        }
    }
}
