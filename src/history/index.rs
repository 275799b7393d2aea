//! Which number of which series has which position in the ring, up to limits (pure).
//!
//! A position that has had no value in any cycle that is kept is given to another series. Labels are kept once for all
//! the numbers that have the same.

use super::ring::ALLOCATION;
use crate::metric::{Label, Labels};
use std::collections::HashMap;
use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;

/// Most positions.
pub const MAX_POSITIONS: usize = 8192;

/// Most bytes of labels.
pub const MAX_LABELS: usize = 256 * 1024;

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
    /// When it last had a value, in seconds.
    seen: u32,
}

/// The position of a number, and whether it has just been given to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) at: usize,
    pub(super) new: bool,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    positions: HashMap<Key, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Number of positions of each row.
    of_row: Vec<u16>,
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

    /// The position of a number, a new one if it has none; `None` at a limit. `most` is the limit of its row.
    pub(super) fn position(
        &mut self,
        row: u16,
        stat: Stat,
        labels: &Labels,
        seen: u32,
        most: u16,
    ) -> Option<Position> {
        if let Some(known) = self.known.get(labels) {
            let key = Key { row, stat, labels: *known };
            if let Some(position) = self.positions.get(&key) {
                let at = *position as usize;
                if let Some(Some(entry)) = self.entries.get_mut(at) {
                    entry.seen = seen;
                }
                return Some(Position { at, new: false });
            }
        }
        let row_has = self.of_row.get(usize::from(row)).copied().unwrap_or_default();
        if row_has >= most || self.positions.len() >= MAX_POSITIONS {
            return None;
        }
        let key = Key { row, stat, labels: self.keep(labels)? };
        let entry = Some(Entry { key, seen });
        let at = place(&mut self.entries, &mut self.free, entry)?;
        self.positions.insert(key, at);
        let rows = self.of_row.len().max(usize::from(row) + 1);
        self.of_row.resize(rows, 0);
        self.count(row, 1);
        Some(Position { at: at as usize, new: true })
    }

    fn count(&mut self, row: u16, change: i16) {
        if let Some(count) = self.of_row.get_mut(usize::from(row)) {
            *count = count.saturating_add_signed(change);
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

    /// Frees the positions that have had no value since this time.
    pub(super) fn forget(&mut self, before: u32) {
        for at in 0..self.entries.len() {
            let Some(slot) = self.entries.get_mut(at) else { continue };
            let Some(Entry { key, .. }) = slot.take_if(|entry| entry.seen < before) else { continue };
            self.positions.remove(&key);
            self.free.extend(u32::try_from(at));
            self.count(key.row, -1);
            self.release(key.labels);
        }
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

    /// What is kept: position, row, number and labels.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u16, Stat, &Labels)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| {
            let Entry { key, .. } = entry.as_ref()?;
            let (labels, _) = self.labels.get(key.labels as usize)?.as_ref()?;
            Some((at, key.row, key.stat, labels))
        })
    }

    /// Heap that it takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        table(&self.positions)
            + table(&self.known)
            + self.entries.capacity() * size_of::<Option<Entry>>()
            + self.labels.capacity() * size_of::<Option<(Labels, u32)>>()
            + (self.free.capacity() + self.free_labels.capacity()) * size_of::<u32>()
            + self.of_row.capacity() * size_of::<u16>()
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
fn heap(labels: &Labels) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    let values = labels.iter().map(|(_, value)| (COUNTS + value.len()).next_multiple_of(8) + ALLOCATION);
    COUNTS + ALLOCATION + labels.len() * size_of::<(Label, Arc<str>)>() + values.sum::<usize>()
}
