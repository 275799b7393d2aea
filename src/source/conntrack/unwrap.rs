//! From the kernel's 32-bit counters to 64 bits.
//!
//! The kernel counts in `unsigned int`, one a CPU and network namespace, so each of them starts again at 0 after
//! 4294967295. Summed over CPUs a wrap could no longer be seen, so every counter is unwrapped alone, before any sum.
//! A counter that goes back has either wrapped or been reset (the namespace was made again, the module loaded again);
//! the difference is told by what all counters of the namespace did.

use super::fields::{Field, Row};
use crate::sys::namespace::Identity;
use std::collections::BTreeMap;

/// One counter: what it last was, and what it has come to.
#[derive(Debug, Clone, Copy)]
struct Counter {
    last: u64,
    total: u64,
}

/// The counters of one network namespace, by CPU, in the order the rows have them.
#[derive(Debug, Default)]
struct Counters {
    cpus: BTreeMap<u32, Vec<(Field, Counter)>>,
    /// Number of the cycle that read the counter last.
    seen: u64,
}

/// What the kernel's width can hold.
const WIDTH: u64 = 1 << 32;

/// A step further than this in one interval is none: 2^31 events on one CPU are more than a minute of nothing else.
const PLAUSIBLE: u64 = 1 << 31;

/// A counter from here on is about to wrap. Two that wrap in the same interval (`drop` and `insert_failed` may count the
/// same packets) are both here; counters that are reset together are as a rule not.
const ABOUT_TO_WRAP: u64 = WIDTH - (1 << 30);

/// Readings after which a namespace that was not among them is forgotten: it may only have failed for a while.
const PATIENCE: u64 = 60;

/// Most namespaces that are remembered, those that are gone included.
const MOST: usize = 2 * crate::host::netns::NAMESPACES;

/// Everything that was unwrapped, by network namespace.
#[derive(Debug, Default)]
pub struct Unwrapper {
    namespaces: BTreeMap<Identity, Counters>,
    now: u64,
}

impl Unwrapper {
    /// Replaces the values of `rows` by 64-bit totals.
    ///
    /// A counter that was not there before begins with its value. All counters of the namespace begin again with
    /// their values if one went back too far to have wrapped, or if two or more went back and not all of them were
    /// about to wrap, or none had a value that did not go back.
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

    /// One reading is over: forgets the namespaces that have not been there for long, and the longest gone of too many.
    pub fn forget_unseen(&mut self) {
        self.now += 1;
        let now = self.now;
        self.namespaces.retain(|_, counters| counters.seen + PATIENCE >= now);
        while self.namespaces.len() > MOST {
            let oldest = self.namespaces.iter().min_by_key(|(_, counters)| counters.seen);
            let Some(oldest) = oldest.map(|(namespace, _)| *namespace) else { break };
            self.namespaces.remove(&oldest);
        }
    }
}

/// Where the counter of a field is: as a rule at the position it has in the row.
fn find(known: &[(Field, Counter)], position: usize, field: &Field) -> Option<usize> {
    if known.get(position).is_some_and(|(present, _)| present == field) {
        return Some(position);
    }
    known.iter().position(|(present, _)| present == field)
}

/// How far a counter went from `last` to `now`, a wrap included. A value wider than 32 bits cannot have wrapped.
fn step(last: u64, now: u64) -> u64 {
    if now >= last { now - last } else { (now + WIDTH).saturating_sub(last) }
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
