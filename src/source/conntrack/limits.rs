//! What the limit of the table means: when it is reached, and the memory that it allows.

#![expect(clippy::disallowed_methods, reason = "a sample of the table has the time at which it was read")]

use super::events::Estimate;
use super::growth::Growth;
use super::metrics;
use super::slab::{self, SLABINFO};
use super::table::Table;
use crate::metric::Label;
use crate::reading::Readings;
use crate::sys::namespace::Identity;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of the head of a hash chain (`struct hlist_nulls_head`).
const BUCKET: u64 = size_of::<usize>() as u64;

/// What is remembered of the tables between cycles.
#[derive(Debug, Default)]
pub struct Limits {
    growth: HashMap<Identity, Tracked>,
    /// Labels of the network namespaces whose new and destroyed entries are counted, so that they need not be estimated; that of
    /// the agent's own is empty, if no others are read.
    pub counted: HashSet<Arc<str>>,
    /// Limit and buckets, which all network namespaces share.
    size: Option<(u64, u64)>,
    /// It does not change until the next boot; `None` where it cannot be read.
    entry_size: OnceCell<Option<u64>>,
}

#[derive(Debug, Default)]
struct Tracked {
    growth: Growth,
    estimate: Estimate,
    seen: bool,
}

impl Limits {
    /// Observes when the table of a network namespace is full.
    pub fn observe(
        &mut self,
        identity: Identity,
        table: &Table,
        labels: &[(Label, Arc<str>)],
        out: &mut Readings,
    ) {
        self.size = table.limit.zip(table.buckets).or(self.size);
        let Some(usage) = table.usage else { return };
        let tracked = self.growth.entry(identity).or_default();
        tracked.seen = true;
        tracked.growth.note(Instant::now(), usage);
        let label = labels.iter().find(|(label, _)| *label == Label::Netns);
        if !self.counted.contains(label.map_or("", |(_, label)| &**label)) {
            tracked.estimate.observe(usage, labels, out);
        }
        if let Some(seconds) = table.limit.and_then(|limit| tracked.growth.time_to_full(limit)) {
            out.observe(metrics::CONNTRACK_TABLE_TIME_TO_FULL, labels, seconds);
        }
    }

    /// Observes the memory of a full table, after the network namespaces of a cycle; forgets those that were not read.
    pub fn finish(&mut self, out: &mut Readings) {
        self.growth.retain(|_, tracked| std::mem::take(&mut tracked.seen));
        let Some((limit, buckets)) = self.size.take() else { return };
        let size = self.entry_size.get_or_init(|| slab::entry_size(Path::new(SLABINFO)).ok());
        let Some(size) = *size else { return };
        out.observe(metrics::CONNTRACK_TABLE_ENTRY_SIZE, &[], size);
        if limit > 0 {
            let memory = memory(limit, buckets, size);
            out.observe(metrics::CONNTRACK_TABLE_MEMORY_LIMIT, &[], memory);
            if let Some(share) = share_of_machine(memory) {
                out.observe(metrics::CONNTRACK_TABLE_MEMORY_SHARE, &[], share);
            }
        }
    }
}

/// Bytes that a table with this limit takes when it is full.
pub fn memory(limit: u64, buckets: u64, entry_size: u64) -> u64 {
    limit.saturating_mul(entry_size).saturating_add(buckets.saturating_mul(BUCKET))
}

/// Fraction of the machine's memory (`sysinfo(2)`).
#[expect(clippy::cast_precision_loss, reason = "a fraction of bytes")]
fn share_of_machine(bytes: u64) -> Option<f64> {
    let machine = rustix::system::sysinfo();
    let total = machine.totalram.saturating_mul(machine.mem_unit.into());
    (total > 0).then(|| bytes as f64 / total as f64)
}
