//! The most frequent of many things, in bounded memory (pure).
//!
//! Misra and Gries' algorithm, as in the frequent items sketch of Apache `DataSketches`: each thing has a counter; if there are too
//! many, the median of the counters is subtracted from all of them, and those that are not above 0 are removed. A counter is
//! never too high, and too low by at most the sum of what was subtracted ([`Sketch::error`]), which is at most the sum of all
//! weights divided by half the number of counters. A thing that is more frequent than that has a counter. If there are fewer
//! things than counters, the counters are exact.

use std::collections::HashMap;
use std::hash::Hash;

/// Counters of one sketch. With a million entries a counter is too low by 244 at most.
const COUNTERS: usize = 8192;

/// How often something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Count {
    /// Sum of its weights, which is what things are compared by.
    pub weight: u64,
    /// How often it was added, since its counter exists.
    pub times: u64,
}

/// Counters of the most frequent things.
#[derive(Debug, Clone)]
pub struct Sketch<K> {
    counters: HashMap<K, Count>,
    most: usize,
    error: u64,
}

impl<K: Hash + Ord + Copy> Default for Sketch<K> {
    fn default() -> Self {
        Self::with_counters(COUNTERS)
    }
}

impl<K: Hash + Ord + Copy> Sketch<K> {
    /// One with so many counters.
    pub fn with_counters(most: usize) -> Self {
        Self { counters: HashMap::new(), most, error: 0 }
    }

    /// Adds a thing with a weight.
    pub fn add(&mut self, thing: K, weight: u64) {
        if self.counters.len() >= self.most && !self.counters.contains_key(&thing) {
            self.subtract_median();
        }
        let count = self.counters.entry(thing).or_default();
        count.weight = count.weight.saturating_add(weight);
        count.times += 1;
    }

    fn subtract_median(&mut self) {
        let mut weights: Vec<u64> = self.counters.values().map(|count| count.weight).collect();
        let middle = weights.len() / 2;
        if weights.is_empty() {
            return;
        }
        let (_, median, _) = weights.select_nth_unstable(middle);
        let median = *median;
        self.error = self.error.saturating_add(median);
        self.counters.retain(|_, count| {
            count.weight = count.weight.saturating_sub(median);
            count.weight > 0
        });
    }

    /// By how much the weight of a counter may be too low, and the most that something without a counter can have.
    pub fn error(&self) -> u64 {
        self.error
    }

    /// Every counter, the largest weight first.
    pub fn counts(&self) -> Vec<(K, Count)> {
        let mut counts: Vec<(K, Count)> =
            self.counters.iter().map(|(thing, count)| (*thing, *count)).collect();
        counts.sort_unstable_by(|(left, one), (right, other)| other.cmp(one).then(left.cmp(right)));
        counts
    }
}
