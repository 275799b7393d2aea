//! The body of `/api/history`: the cycles and series of a query, as JSON, up to a number of values.

use super::index::{Number, Stat};
use super::query::{Of, Query};
use super::ring::{Cycles, Stamp};
use super::{Extent, History, LIMIT, State};
use crate::metric::{Kind, Labels, Metric};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most values in a response; above it there are fewer cycles.
const MOST_VALUES: usize = 100_000;

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
    /// Number of series of the query that are not in this response, by name of the metric.
    cut_by_name: BTreeMap<&'static str, usize>,
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
    /// Whether it began after the first of these cycles, and was counted from 0.
    from_zero: bool,
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

/// A series of a query.
struct Selected {
    row: u16,
    at: usize,
    metric: &'static Metric,
    stat: Stat,
    labels: Labels,
    since: u32,
    from_zero: bool,
}

impl Selected {
    /// Its value in a cycle. Before the position was its own the series had none.
    fn value(&self, stamp: Stamp, values: &[f64]) -> f64 {
        if stamp.number < self.since { f64::NAN } else { values.get(self.at).copied().unwrap_or(f64::NAN) }
    }

    /// What it is ranked by: its growth from the first to the newest value, or its newest value.
    fn rank(&self, first: f64, newest: f64) -> f64 {
        let cumulative = self.metric.kind == Kind::Counter || self.stat.is_cumulative();
        let value = match cumulative {
            true if !self.from_zero => newest - first,
            false if self.metric.recording.low_is_bad => -newest,
            _ => newest,
        };
        if value.is_nan() { f64::NEG_INFINITY } else { value }
    }
}

/// What a response is made of: a copy, so that cycles are recorded while it is made.
struct Copied {
    selected: Vec<Selected>,
    cycles: Cycles,
    extent: Extent,
    /// Series of the query that have no room, by metric.
    without_room: BTreeMap<&'static str, usize>,
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
        let began = wall
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(now.saturating_duration_since(self.began));
        let copied = self.lock().copied(query);
        copied.answer(query, interval, began)
    }
}

impl State {
    /// What is needed for the response to a query: the labels of its series, and the cycles, which are shared.
    fn copied(&self, query: &Query) -> Copied {
        let kept = match query.of {
            Of::All => &self.totals,
            Of::Series => &self.series,
        };
        let wanted = |row: u16| {
            let metric = self.rows.get(usize::from(row)).copied()?;
            let asked = |known: &String| known.as_str().cmp(metric.name);
            (query.names.is_empty() || query.names.binary_search_by(asked).is_ok()).then_some(metric)
        };
        let selected = kept.index.iter().filter_map(|number| {
            let Number { at, row, stat, labels, since, from_zero } = number;
            Some(Selected { row, at, metric: wanted(row)?, stat, labels: labels.clone(), since, from_zero })
        });
        let without_room = self.left_out.iter().filter(|_| query.of == Of::Series);
        Copied {
            selected: selected.collect(),
            cycles: kept.ring.share(),
            extent: self.extent(),
            without_room: without_room
                .filter_map(|(row, series)| Some((wanted(*row)?.name, *series)))
                .collect(),
        }
    }
}

impl Copied {
    /// `began`: the time since 1970 at which the history began, by the clock of now.
    fn answer(self, query: &Query, interval: Option<Duration>, began: Duration) -> String {
        let Self { mut selected, cycles, extent, without_room: mut cut_by_name } = self;
        selected.sort_by_key(|series| (series.row, series.at));
        let from = cycles.at().saturating_sub(Duration::from_secs(query.seconds));
        let (mut count, mut first) = (0usize, u32::MAX);
        cycles.each(|stamp, _| {
            if stamp.at >= from {
                (count, first) = (count + 1, first.min(stamp.number));
            }
        });
        for series in &mut selected {
            series.from_zero &= series.since > first;
        }
        if let Some(top) = query.top {
            for series in topmost(&mut selected, top, &cycles, from) {
                *cut_by_name.entry(series.metric.name).or_default() += 1;
            }
        }
        let most = query.cycles.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let most = most.min(MOST_VALUES / selected.len().max(1)).clamp(2, count.max(2));
        let mut times = Vec::new();
        let mut values = vec![Vec::with_capacity(most); selected.len()];
        let mut number = 0;
        cycles.each(|stamp, cycle| {
            if stamp.at < from {
                return;
            }
            number += 1;
            // The first, the newest, and as many between them, at even distances.
            if number == count || times.len() * (count - 1) / (most - 1) == number - 1 {
                times.push(((began + stamp.at).as_secs_f64() * 1000.0).round() / 1000.0);
                for (own, series) in values.iter_mut().zip(&selected) {
                    let value = Some(series.value(stamp, cycle)).filter(|value| value.is_finite());
                    own.push(value.map(shortest));
                }
            }
        });
        let series = selected.iter().zip(values).map(|(series, values)| Series {
            name: series.metric.name,
            kind: series.metric.kind.word(),
            unit: series.metric.unit,
            stat: series.stat.word(),
            labels: LabelMap(&series.labels),
            from_zero: series.from_zero,
            values,
        });
        let answer = ResponseBody {
            version: env!("CARGO_PKG_VERSION"),
            driven_by: if interval.is_some() { "push" } else { "scrapes" },
            interval_seconds: interval.map(|interval| interval.as_secs_f64()),
            of: query.of.word(),
            bytes: extent.bytes,
            bytes_limit: LIMIT,
            cycles_kept: cycles.len(),
            left_out: extent.left_out,
            cut: cut_by_name.values().sum(),
            cut_by_name,
            times,
            series: series.collect(),
        };
        // Serialization of strings, numbers and lists cannot fail.
        serde_json::to_string(&answer).unwrap_or_default() + "\n"
    }
}

/// Keeps `top` of each number of each metric: those with the greatest growth, or the worst value. Returns the others.
fn topmost(selected: &mut Vec<Selected>, top: u64, cycles: &Cycles, from: Duration) -> Vec<Selected> {
    let mut ends = vec![(f64::NAN, f64::NAN); selected.len()];
    cycles.each(|stamp, values| {
        if stamp.at >= from {
            for ((first, newest), series) in ends.iter_mut().zip(&*selected) {
                *newest = series.value(stamp, values);
                *first = if first.is_nan() { *newest } else { *first };
            }
        }
    });
    let mut ranked: Vec<_> = std::mem::take(selected)
        .into_iter()
        .zip(ends)
        .map(|(series, (first, newest))| (series.rank(first, newest), series))
        .collect();
    // Stable: of equals those that were there first.
    ranked.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let mut taken: HashMap<(&'static str, Stat), u64> = HashMap::new();
    let mut others = Vec::new();
    for (_, series) in ranked {
        let taken = taken.entry((series.metric.name, series.stat)).or_default();
        *taken += 1;
        if *taken <= top { selected.push(series) } else { others.push(series) }
    }
    others
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
