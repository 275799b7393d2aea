//! Which series have room in the history (pure).
//!
//! As long as there is room, every series has it. If not, those that have ended go first. If that is not enough, the room is
//! dealt out: to the metrics that the page lists, up to three quarters of it, then to all others, and what is left to those
//! of the page again, each time a few series of each metric in turn, so that no metric takes the room of another. Of a metric
//! those come first that are bad: probes that are down, and series with an `error.type`; then the worst, then those that have
//! room already.

use super::OF_A_METRIC;
use super::index::{Index, MAX_LABELS, MAX_POSITIONS, Stat, heap};
use crate::metric::{Label, Labels, Metric, Value};
use crate::reading::Reading;
use std::cmp::Reverse;
use std::collections::HashSet;

/// Series of a metric that get room in turn.
const TURN: usize = 8;
/// Series of a metric that come before those that have room already, by their values alone.
const WORST: usize = 64;

/// The readings of a metric in one cycle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) row: u16,
    pub(super) metric: &'static Metric,
    pub(super) readings: &'a [Reading],
}

/// Where a reading is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// At these positions.
    Kept(Positions),
    /// Nowhere. `before` is its value in the cycle before, if it had room until now.
    LeftOut { before: Option<f64> },
}

/// The positions of a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positions {
    /// Of its value; of a distribution of the number of values.
    pub(super) value: usize,
    /// Of the sum of a distribution.
    pub(super) sum: Option<usize>,
    /// Whether it has them from this cycle on.
    pub(super) new: bool,
}

type Found = Vec<Vec<Option<Positions>>>;

/// The place of every reading. `newest` are the values of the cycle before, `cycle` is the number of this one.
pub(super) fn places(index: &mut Index, newest: &[f64], asked: &[Asked<'_>], cycle: u32) -> Vec<Vec<Place>> {
    let mut found: Found = asked
        .iter()
        .map(|asked| asked.readings.iter().map(|reading| known(index, asked.row, reading, cycle)).collect())
        .collect();
    let few = asked.iter().all(|asked| asked.readings.len() <= usize::from(OF_A_METRIC));
    let mut evicted: Vec<(usize, usize, Option<f64>)> = Vec::new();
    if !few || !add(index, asked, &mut found, cycle, |_, _| true) {
        index.forget(cycle);
        if !few || !add(index, asked, &mut found, cycle, |_, _| true) {
            let admitted = deal(asked, &found);
            let is_admitted = |row: usize, at: usize| admitted.get(row).is_some_and(|row| row.contains(&at));
            for (row, positions) in found.iter_mut().enumerate() {
                for (at, place) in positions.iter_mut().enumerate().filter(|(at, _)| !is_admitted(row, *at)) {
                    if let Some(Positions { value, sum, new }) = place.take() {
                        let before = newest.get(value).copied().filter(|value| !new && !value.is_nan());
                        evicted.push((row, at, before));
                        std::iter::once(value).chain(sum).for_each(|at| index.remove(at));
                    }
                }
            }
            // What was dealt out fits.
            let _all = add(index, asked, &mut found, cycle, is_admitted);
        }
    }
    let mut places: Vec<Vec<Place>> = found
        .into_iter()
        .map(|row| {
            row.into_iter().map(|found| found.map_or(Place::LeftOut { before: None }, Place::Kept)).collect()
        })
        .collect();
    for (row, at, before) in evicted {
        if let Some(place @ Place::LeftOut { .. }) = places.get_mut(row).and_then(|row| row.get_mut(at)) {
            *place = Place::LeftOut { before };
        }
    }
    places
}

/// The numbers that are kept of a reading.
fn stats(reading: &Reading) -> (Stat, Option<Stat>) {
    match reading.value {
        Value::Distribution(_) => (Stat::Count, Some(Stat::Sum)),
        _ => (Stat::Value, None),
    }
}

fn known(index: &mut Index, row: u16, reading: &Reading, cycle: u32) -> Option<Positions> {
    let (value, sum) = stats(reading);
    let value = index.find(row, value, &reading.labels, cycle)?;
    let sum = sum.and_then(|sum| index.find(row, sum, &reading.labels, cycle));
    Some(Positions { value, sum, new: false })
}

/// Gives positions to the readings that have none and are wanted. Returns whether there was room for all.
fn add(
    index: &mut Index,
    asked: &[Asked<'_>],
    found: &mut Found,
    cycle: u32,
    wanted: impl Fn(usize, usize) -> bool,
) -> bool {
    for (row, (asked, found)) in asked.iter().zip(found).enumerate() {
        for (at, (reading, found)) in asked.readings.iter().zip(found).enumerate() {
            if found.is_some() || !wanted(row, at) {
                continue;
            }
            let (value, sum) = stats(reading);
            let Some(value) = index.add(asked.row, value, &reading.labels, cycle) else { return false };
            let sum = sum.map(|sum| index.add(asked.row, sum, &reading.labels, cycle));
            if sum == Some(None) {
                index.remove(value);
                return false;
            }
            *found = Some(Positions { value, sum: sum.flatten(), new: true });
        }
    }
    true
}

/// The readings that get room, of each metric.
fn deal(asked: &[Asked<'_>], found: &Found) -> Vec<HashSet<usize>> {
    let queue = |(asked, found): (&Asked<'_>, &Vec<_>)| ranked(asked, found).into_iter();
    let mut queues: Vec<_> = asked.iter().zip(found).map(queue).collect();
    let mut dealt = Dealt { admitted: vec![HashSet::new(); asked.len()], ..Dealt::default() };
    for (listed, part) in [(true, 3), (false, 4), (true, 4)] {
        let (positions, bytes) = (MAX_POSITIONS * part / 4, MAX_LABELS * part / 4);
        let mut open: Vec<usize> = (0..asked.len())
            .filter(|row| asked.get(*row).is_some_and(|asked| asked.metric.recording.listed == listed))
            .collect();
        while !open.is_empty() {
            open.retain(|row| {
                let (Some(asked), Some(queue)) = (asked.get(*row), queues.get_mut(*row)) else {
                    return false;
                };
                (0..TURN).all(|_| {
                    let next = queue.as_slice().first().copied();
                    let fits = next.is_some_and(|at| dealt.take(asked, *row, at, positions, bytes));
                    if fits {
                        queue.next();
                    }
                    fits
                })
            });
        }
    }
    dealt.admitted
}

/// The room that has been dealt out: readings, positions and bytes of labels.
#[derive(Default)]
struct Dealt<'a> {
    admitted: Vec<HashSet<usize>>,
    positions: usize,
    labels: HashSet<&'a Labels>,
    bytes: usize,
}

impl<'a> Dealt<'a> {
    /// Gives room to a reading, if it fits.
    fn take(&mut self, asked: &Asked<'a>, row: usize, at: usize, positions: usize, bytes: usize) -> bool {
        let Some(reading) = asked.readings.get(at) else { return false };
        let needs = 1 + usize::from(stats(reading).1.is_some());
        let more = if self.labels.contains(&reading.labels) { 0 } else { heap(&reading.labels) };
        if self.positions + needs > positions || self.bytes + more > bytes {
            return false;
        }
        self.positions += needs;
        self.bytes += more;
        self.labels.insert(&reading.labels);
        self.admitted.get_mut(row).is_some_and(|row| row.insert(at))
    }
}

/// Positions of the readings of a metric in the order in which they get room: at most [`OF_A_METRIC`].
fn ranked(asked: &Asked<'_>, found: &[Option<Positions>]) -> Vec<usize> {
    let low = asked.metric.recording.low_is_bad;
    let rank = |(at, reading): (usize, &Reading)| {
        let value = size(&reading.value);
        let error = reading.labels.iter().any(|(label, _)| *label == Label::ErrorType);
        (error || (low && value < 1.0), if low { -value } else { value }, at)
    };
    let mut order: Vec<(bool, f64, usize)> = asked.readings.iter().enumerate().map(rank).collect();
    // Of equals those that have been read first, as in every cycle.
    order.sort_by(|left, right| right.0.cmp(&left.0).then(right.1.total_cmp(&left.1)));
    let worst = WORST.min(order.len());
    let (_, rest) = order.split_at_mut(worst);
    let kept = |at: usize| found.get(at).is_some_and(|found| found.is_some_and(|found| !found.new));
    rest.sort_by_key(|(bad, _, at)| (Reverse(*bad), Reverse(kept(*at))));
    order.into_iter().map(|(.., at)| at).take(usize::from(OF_A_METRIC)).collect()
}

/// How large a value is.
#[expect(clippy::cast_precision_loss, reason = "it is compared")]
fn size(value: &Value) -> f64 {
    match value {
        Value::Distribution(distribution) => distribution.count() as f64,
        value => value.number().unwrap_or_default(),
    }
}
