//! From counters of 32 bits to 64 bits (pure).

use std::collections::HashMap;
use std::hash::Hash;

/// A counter that goes back further than this was reset: nothing counts 2^31 packets between two cycles.
const PLAUSIBLE: u32 = 1 << 31;

/// Cycles for which a counter is kept that is not seen: a dump that fails takes it away for a while.
const KEPT: u64 = 10;

/// The totals of 32-bit counters, by what each counts. A counter that was not seen for 10 cycles begins again with its value.
#[derive(Debug)]
pub struct Unwrapper<K> {
    counters: HashMap<K, Counter>,
    cycle: u64,
}

#[derive(Debug)]
struct Counter {
    last: u32,
    total: u64,
    seen: u64,
}

impl<K> Default for Unwrapper<K> {
    fn default() -> Self {
        Self { counters: HashMap::new(), cycle: 0 }
    }
}

impl<K: Eq + Hash> Unwrapper<K> {
    /// The total of a counter whose value in the kernel is `now`.
    pub fn total(&mut self, key: K, now: u32) -> u64 {
        let counter =
            self.counters.entry(key).or_insert(Counter { last: now, total: u64::from(now), seen: 0 });
        let step = now.wrapping_sub(counter.last);
        counter.total =
            if step <= PLAUSIBLE { counter.total.saturating_add(u64::from(step)) } else { u64::from(now) };
        (counter.last, counter.seen) = (now, self.cycle);
        counter.total
    }

    /// Ends a cycle: forgets what was not seen for 10 cycles.
    pub fn end_cycle(&mut self) {
        let cycle = self.cycle;
        self.counters.retain(|_, counter| counter.seen + KEPT > cycle);
        self.cycle += 1;
    }
}
