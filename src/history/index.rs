//! Which number of which series has which position in the ring, up to limits (pure).
//!
//! A position that is free is given to another number; what the ring has of the cycles before is that of another then, and
//! is not read. Labels are kept once for all the numbers that have the same.

use super::ring::ALLOCATION;
use crate::metric::{Label, Labels};
use std::collections::HashMap;
use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;

/// Most positions. One takes some 70 bytes, and up to ten for each cycle.
pub const MAX_POSITIONS: usize = 3072;

/// Most bytes of labels.
pub const MAX_LABELS: usize = 192 * 1024;

/// What a number says about a series, or about all series of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stat {
    /// Value of the series.
    Value,
    /// How many values a distribution has, since it began.
    Count,
    /// Sum of the values: of a distribution since it began, or of all series.
    Sum,
    /// By how much the series of a counter have grown together, since the history began.
    Increase,
    /// The greatest value of all series.
    Max,
    /// Number of series.
    Series,
    /// Median of the values that all distributions of a metric have got since the cycle before.
    P50,
    /// 95th percentile of the same.
    P95,
    /// 99th percentile of the same.
    P99,
}

impl Stat {
    /// Its name in `/api/history`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Increase => "increase",
            Self::Max => "max",
            Self::Series => "series",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }

    /// Whether it only grows.
    pub fn is_cumulative(self) -> bool {
        matches!(self, Self::Count | Self::Increase)
    }
}

/// A number that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    row: u16,
    stat: Stat,
    /// Position of the labels.
    labels: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Key,
    /// Number of the first cycle in which it has the position; what the ring has of earlier ones is another's.
    since: u32,
    /// Number of the last cycle in which it had a value.
    seen: u32,
    /// Whether its first value was counted since the cycle before.
    from_zero: bool,
}

/// A number that is kept, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// Its position in the ring.
    pub(super) at: usize,
    pub(super) row: u16,
    pub(super) stat: Stat,
    pub(super) labels: &'a Labels,
    /// Number of the first cycle in which the position is its own.
    pub(super) since: u32,
    /// Whether its first value was counted since the cycle before.
    pub(super) from_zero: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    positions: HashMap<Key, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    known: HashMap<Labels, u32>,
    /// The labels by position, with the number of entries that have them.
    labels: Vec<Option<(Labels, u32)>>,
    free_labels: Vec<u32>,
    /// Heap of the labels, bytes.
    label_bytes: usize,
}

impl Index {
    /// Number of positions, free ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The position of a number that has a value in this cycle; `None` if it has no position.
    pub(super) fn find(&mut self, row: u16, stat: Stat, labels: &Labels, cycle: u32) -> Option<usize> {
        let key = Key { row, stat, labels: *self.known.get(labels)? };
        let at = *self.positions.get(&key)? as usize;
        if let Some(Some(entry)) = self.entries.get_mut(at) {
            entry.seen = cycle;
        }
        Some(at)
    }

    /// Gives a position to a number that has none, from this cycle on; `None` at a limit.
    pub(super) fn add(&mut self, row: u16, stat: Stat, labels: &Labels, cycle: u32) -> Option<usize> {
        if self.positions.len() >= MAX_POSITIONS {
            return None;
        }
        let key = Key { row, stat, labels: self.keep(labels)? };
        let entry = Some(Entry { key, since: cycle, seen: cycle, from_zero: false });
        let at = place(&mut self.entries, &mut self.free, entry)?;
        self.positions.insert(key, at);
        Some(at as usize)
    }

    /// Notes that the first value of this position was counted since the cycle before.
    pub(super) fn begins_at_zero(&mut self, at: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(at) {
            entry.from_zero = true;
        }
    }

    /// The position of labels, which another entry has from now on.
    fn keep(&mut self, labels: &Labels) -> Option<u32> {
        if let Some(known) = self.known.get(labels) {
            if let Some(Some((_, entries))) = self.labels.get_mut(*known as usize) {
                *entries += 1;
            }
            return Some(*known);
        }
        let bytes = heap(labels);
        if self.label_bytes + bytes > MAX_LABELS {
            return None;
        }
        let at = place(&mut self.labels, &mut self.free_labels, Some((labels.clone(), 1)))?;
        self.known.insert(labels.clone(), at);
        self.label_bytes += bytes;
        Some(at)
    }

    /// Frees the positions that have had no value since this cycle.
    pub(super) fn forget(&mut self, before: u32) {
        for at in 0..self.entries.len() {
            if self.entries.get(at).is_some_and(|entry| entry.is_some_and(|entry| entry.seen < before)) {
                self.remove(at);
            }
        }
    }

    /// Frees a position.
    pub(super) fn remove(&mut self, at: usize) {
        let Some(Entry { key, .. }) = self.entries.get_mut(at).and_then(Option::take) else { return };
        self.positions.remove(&key);
        self.free.extend(u32::try_from(at));
        self.release(key.labels);
    }

    fn release(&mut self, at: u32) {
        let Some(slot) = self.labels.get_mut(at as usize) else { return };
        let Some((_, entries)) = slot else { return };
        *entries -= 1;
        if *entries == 0
            && let Some((labels, _)) = slot.take()
        {
            self.known.remove(&labels);
            self.free_labels.push(at);
            self.label_bytes -= heap(&labels);
        }
    }

    /// The numbers that are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = Number<'_>> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| {
            let Entry { key, since, from_zero, .. } = (*entry)?;
            let (labels, _) = self.labels.get(key.labels as usize)?.as_ref()?;
            Some(Number { at, row: key.row, stat: key.stat, labels, since, from_zero })
        })
    }

    /// Heap that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        table(&self.positions)
            + table(&self.known)
            + self.entries.capacity() * size_of::<Option<Entry>>()
            + self.labels.capacity() * size_of::<Option<(Labels, u32)>>()
            + (self.free.capacity() + self.free_labels.capacity()) * size_of::<u32>()
            + self.label_bytes
    }
}

/// Puts a value where one is free, or at the end.
fn place<T>(values: &mut Vec<Option<T>>, free: &mut Vec<u32>, value: Option<T>) -> Option<u32> {
    let at = if let Some(at) = free.pop() {
        at
    } else {
        values.push(None);
        u32::try_from(values.len() - 1).ok()?
    };
    *values.get_mut(at as usize)? = value;
    Some(at)
}

/// Heap of a hash map: a byte for each bucket besides the entry, and at most seven of eight buckets are used.
fn table<K: Eq + Hash, V>(map: &HashMap<K, V>) -> usize {
    map.capacity() * 8 / 7 * (size_of::<(K, V)>() + 1)
}

/// Heap of labels: the list, and each value as if it were shared with no other.
pub(super) fn heap(labels: &Labels) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    let values = labels.iter().map(|(_, value)| (COUNTS + value.len()).next_multiple_of(8) + ALLOCATION);
    COUNTS + ALLOCATION + labels.len() * size_of::<(Label, Arc<str>)>() + values.sum::<usize>()
}
