//! Totals of rules: what they dropped, also those that are gone (pure).
//!
//! Rules that are alike are one series. The kernel's counter goes with its rule, and a series must not fall when one of its rules
//! is deleted, as fail2ban does with every ban that ends.

use super::rules::Rule;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Cycles for which a series is kept that no rule has any more.
const KEPT: u64 = 100;

/// The totals by network namespace and rule.
#[derive(Debug, Default)]
pub struct RuleTotals {
    series: BTreeMap<(Arc<str>, Rule), Series>,
    cycle: u64,
}

#[derive(Debug, Default)]
struct Series {
    /// The counters of its rules in the last cycle, by handle.
    last: HashMap<u64, u64>,
    total: u64,
    seen: u64,
}

impl RuleTotals {
    /// Takes the counters of the rules that are alike, each with its handle; the total of their series. A counter that is lower than
    /// before was reset (`nft reset rules`) or is another rule's.
    pub fn total(&mut self, namespace: &Arc<str>, rule: &Rule, counters: &[(u64, u64)]) -> u64 {
        let series = self.series.entry((Arc::clone(namespace), rule.clone())).or_default();
        for (handle, now) in counters {
            let last = series.last.get(handle).copied().filter(|last| last <= now).unwrap_or_default();
            series.total = series.total.saturating_add(now - last);
        }
        series.last = counters.iter().copied().collect();
        series.seen = self.cycle;
        series.total
    }

    /// Ends a cycle: forgets the series that no rule had for 100 cycles.
    pub fn end_cycle(&mut self) {
        let cycle = self.cycle;
        self.series.retain(|_, series| series.seen + KEPT > cycle);
        self.cycle += 1;
    }
}
