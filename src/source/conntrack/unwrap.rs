//! Unwraps the kernel's 32-bit counters to 64 bits.
//!
//! The kernel counts in `unsigned int`, separately for each CPU and network namespace, so each counter restarts at 0
//! after 4294967295. In a sum over CPUs a wrap could not be detected, so every counter is unwrapped before it is
//! summed. A counter that decreases has either wrapped or been reset (the namespace was recreated, the module was
//! reloaded); what all counters of the namespace did distinguishes the two.

use super::fields::{Field, Row};
use crate::host::counter::{WIDTH, step};
use crate::sys::namespace::Identity;
use std::collections::BTreeMap;

/// One counter: its last value, and its 64-bit total.
#[derive(Debug, Clone, Copy)]
struct Counter {
    last: u64,
    total: u64,
}

/// The counters of one network namespace, by CPU, in the order of the rows.
#[derive(Debug, Default)]
struct Counters {
    cpus: BTreeMap<u32, Vec<(Field, Counter)>>,
    /// Number of the cycle in which the namespace was last read.
    seen: u64,
}

/// Maximum plausible increase in one interval: 2^31 events on one CPU take more than a minute.
const PLAUSIBLE: u64 = 1 << 31;

/// A counter at or above this value may wrap next. Two counters that wrap in the same interval (`drop` and
/// `insert_failed` may count the same packets) are both above it; counters that are reset together usually are not.
const ABOUT_TO_WRAP: u64 = WIDTH - (1 << 30);

/// Number of cycles after which a namespace that was not read is forgotten: it may only have failed temporarily.
const FORGET_AFTER: u64 = 60;

/// Maximum number of namespaces that are remembered, including those that are gone.
const MAX_NAMESPACES: usize = 2 * crate::host::netns::NAMESPACES;

/// The totals of all network namespaces.
#[derive(Debug, Default)]
pub struct Unwrapper {
    namespaces: BTreeMap<Identity, Counters>,
    now: u64,
}

impl Unwrapper {
    /// Replaces the values of `rows` by 64-bit totals.
    ///
    /// A new counter begins with its value. All counters of the namespace restart from their values if one decreased
    /// too far to have wrapped, or if two or more decreased and not all of them were about to wrap, or none had a value
    /// that did not decrease.
    pub fn unwrap(&mut self, namespace: Identity, rows: &mut [Row]) {
        let counters = self.namespaces.entry(namespace).or_default();
        counters.seen = self.now;
        if counters.were_reset(rows) {
            counters.cpus.clear();
        }
        for row in rows {
            let known = counters.cpus.entry(row.cpu).or_default();
            for (position, (field, value)) in row.fields.iter_mut().enumerate() {
                match find(known, position, field) {
                    Some(position) => {
                        if let Some((_, counter)) = known.get_mut(position) {
                            counter.total = counter.total.saturating_add(step(counter.last, *value));
                            counter.last = *value;
                            *value = counter.total;
                        }
                    }
                    None => known.push((field.clone(), Counter { last: *value, total: *value })),
                }
            }
        }
    }

    /// Ends a cycle: forgets the namespaces that were not read for 60 cycles, and the oldest of too many.
    pub fn forget_unseen(&mut self) {
        self.now += 1;
        let now = self.now;
        self.namespaces.retain(|_, counters| counters.seen + FORGET_AFTER >= now);
        while self.namespaces.len() > MAX_NAMESPACES {
            let oldest = self.namespaces.iter().min_by_key(|(_, counters)| counters.seen);
            let Some(oldest) = oldest.map(|(namespace, _)| *namespace) else { break };
            self.namespaces.remove(&oldest);
        }
    }
}

/// Index of the counter of a field: usually its position in the row.
fn find(known: &[(Field, Counter)], position: usize, field: &Field) -> Option<usize> {
    if known.get(position).is_some_and(|(present, _)| present == field) {
        return Some(position);
    }
    known.iter().position(|(present, _)| present == field)
}

impl Counters {
    fn were_reset(&self, rows: &[Row]) -> bool {
        let (mut counted, mut back, mut about_to_wrap) = (0u32, 0u32, 0u32);
        for row in rows {
            let Some(known) = self.cpus.get(&row.cpu) else { continue };
            for (position, (field, now)) in row.fields.iter().enumerate() {
                let counter = find(known, position, field).and_then(|position| known.get(position));
                let Some((_, Counter { last, .. })) = counter else { continue };
                counted += u32::from(*last > 0);
                if now < last {
                    back += 1;
                    about_to_wrap += u32::from(*last >= ABOUT_TO_WRAP);
                    if *last >= WIDTH || step(*last, *now) > PLAUSIBLE {
                        return true;
                    }
                }
            }
        }
        back >= 2 && (back > about_to_wrap || back == counted)
    }
}
