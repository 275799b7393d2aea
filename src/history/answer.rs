//! The body of `/api/history`: the cycles and series of a query, as JSON, up to a number of values.

use super::index::Stat;
use super::query::{Of, Query};
use super::{Extent, History, LIMIT, State};
use crate::metric::{Kind, Labels, Metric};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most values in a response; above it there are fewer cycles.
const MOST_VALUES: usize = 100_000;
/// Most series in a response.
const MOST_SERIES: usize = 2000;

/// The body of a response.
#[derive(Debug, Serialize)]
struct ResponseBody<'a> {
    version: &'static str,
    /// `push`, or `scrapes` if nothing else drives cycles.
    driven_by: &'static str,
    interval_seconds: Option<f64>,
    of: &'static str,
    bytes: usize,
    bytes_limit: usize,
    cycles_kept: usize,
    left_out: usize,
    /// Series of the query that are not in this response.
    cut: usize,
    times: Vec<f64>,
    series: Vec<Series<'a>>,
}

#[derive(Debug, Serialize)]
struct Series<'a> {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    stat: &'static str,
    labels: LabelMap<'a>,
    values: Vec<Option<f64>>,
}

#[derive(Debug)]
struct LabelMap<'a>(&'a Labels);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (label, value) in self.0.iter() {
            map.serialize_entry(label.key(), &**value)?;
        }
        map.end()
    }
}

/// A series of a query, by its position.
struct Selected<'a> {
    at: usize,
    metric: &'static Metric,
    stat: Stat,
    labels: &'a Labels,
}

impl History {
    /// The response to a query, as JSON. `interval` is that of the push; `None` if only scrapes drive cycles.
    pub fn answer(
        &self,
        query: &Query,
        interval: Option<Duration>,
        now: Instant,
        wall: SystemTime,
    ) -> String {
        let extent = self.extent();
        let state = self.lock();
        let began = wall
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(now.saturating_duration_since(self.began));
        state.answer(query, interval, extent, began)
    }
}

impl State {
    /// `began`: the time since 1970 at which the history began, by the clock of now.
    fn answer(&self, query: &Query, interval: Option<Duration>, extent: Extent, began: Duration) -> String {
        let kept = match query.of {
            Of::All => &self.totals,
            Of::Series => &self.series,
        };
        let from = kept.ring.at().saturating_sub(Duration::from_secs(query.seconds));
        let mut first = Vec::new();
        let mut cycles = 0usize;
        kept.ring.each(|at, values| {
            if at >= from {
                cycles += 1;
                // A series may have begun later.
                first.resize(values.len().max(first.len()), f64::NAN);
                for (first, value) in first.iter_mut().zip(values) {
                    if first.is_nan() {
                        *first = *value;
                    }
                }
            }
        });
        let selected = self.selected(query);
        let all = selected.len();
        let selected = topmost(selected, query.top, |at| {
            let of = |values: &[f64]| values.get(at).copied().unwrap_or(f64::NAN);
            (of(&first), of(kept.ring.newest()))
        });
        let most = query.cycles.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let most = most.min(MOST_VALUES / selected.len().max(1)).clamp(2, cycles.max(2));
        let mut times = Vec::new();
        let mut values = vec![Vec::with_capacity(most); selected.len()];
        let mut number = 0;
        kept.ring.each(|at, cycle| {
            if at < from {
                return;
            }
            number += 1;
            // The first, the newest, and as many between them, at even distances.
            if number == cycles || times.len() * (cycles - 1) / (most - 1) == number - 1 {
                times.push(((began + at).as_secs_f64() * 1000.0).round() / 1000.0);
                for (own, series) in values.iter_mut().zip(&selected) {
                    let value = cycle.get(series.at).copied().filter(|value| value.is_finite());
                    own.push(value.map(shortest));
                }
            }
        });
        let series = selected.iter().zip(values).map(|(series, values)| Series {
            name: series.metric.name,
            kind: series.metric.kind.word(),
            unit: series.metric.unit,
            stat: series.stat.word(),
            labels: LabelMap(series.labels),
            values,
        });
        let answer = ResponseBody {
            version: env!("CARGO_PKG_VERSION"),
            driven_by: if interval.is_some() { "push" } else { "scrapes" },
            interval_seconds: interval.map(|interval| interval.as_secs_f64()),
            of: query.of.word(),
            bytes: extent.bytes,
            bytes_limit: LIMIT,
            cycles_kept: kept.ring.len(),
            left_out: extent.left_out,
            cut: all - selected.len(),
            times,
            series: series.collect(),
        };
        // Serialization of strings, numbers and lists cannot fail.
        serde_json::to_string(&answer).unwrap_or_default() + "\n"
    }

    fn selected(&self, query: &Query) -> Vec<Selected<'_>> {
        let kept = match query.of {
            Of::All => &self.totals,
            Of::Series => &self.series,
        };
        let wanted = |name: &str| {
            query.names.is_empty() || query.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
        };
        let selected = kept.index.iter().filter_map(|(at, row, stat, labels)| {
            let metric = self.rows.get(usize::from(row)).copied()?;
            wanted(metric.name).then_some((row, Selected { at, metric, stat, labels }))
        });
        let mut selected: Vec<_> = selected.collect();
        selected.sort_by_key(|(row, series)| (*row, series.at));
        selected.into_iter().map(|(_, series)| series).collect()
    }
}

/// At most [`MOST_SERIES`], and at most `top` of each number of each metric: those with the greatest value, or growth.
/// `values`: the first and the newest value of a series.
fn topmost(
    mut selected: Vec<Selected<'_>>,
    top: Option<u64>,
    values: impl Fn(usize) -> (f64, f64),
) -> Vec<Selected<'_>> {
    if let Some(top) = top {
        let rank = |series: &Selected<'_>| {
            let (first, newest) = values(series.at);
            let cumulative = series.metric.kind == Kind::Counter || series.stat.is_cumulative();
            let value = if cumulative { newest - first } else { newest };
            if value.is_nan() { f64::NEG_INFINITY } else { value }
        };
        // Stable: of equals those that were there first.
        selected.sort_by(|left, right| rank(right).total_cmp(&rank(left)));
        let mut taken: HashMap<(&'static str, Stat), u64> = HashMap::new();
        selected.retain(|series| {
            let taken = taken.entry((series.metric.name, series.stat)).or_default();
            *taken += 1;
            *taken <= top
        });
    }
    selected.truncate(MOST_SERIES);
    selected
}

/// A value that was rounded to 32 bits, with as few digits as tell it from others of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "only where nothing is lost")]
fn shortest(value: f64) -> f64 {
    let narrow = value as f32;
    if value.fract() != 0.0 && f64::from(narrow).to_bits() == value.to_bits() {
        return narrow.to_string().parse().unwrap_or(value);
    }
    value
}
