//! The TCP connections of each container by destination: what the kernel counted, added up.
//!
//! The kernel's numbers are of one control group and one destination, and begin again at 0 where an entry was left idle
//! and came again; what is kept here is of a container and a destination as it is shown, and only grows. Pure.

use super::destinations::{DestinationShares, Folding, ReportedDestination};
use super::kernel::records::{BUCKETS, DESTINATION, Destination, TOTALS, Totals};
use super::packed::Packed;
use counts::StoredCounts;
use entry::{KernelEntry, fingerprint};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod counts;
mod entry;

pub use counts::Counts;

/// Bucket bounds of connect times in seconds; `bucket` in `bpf/tcp.bpf.c` has them too.
pub const CONNECT_TIMES: &[f64; BUCKETS - 1] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// The index in [`CONNECT_TIMES`] of a handshake of so many nanoseconds.
pub fn bucket(nanoseconds: u64) -> usize {
    let seconds = Duration::from_nanos(nanoseconds / 1000 * 1000).as_secs_f64();
    CONNECT_TIMES.partition_point(|bound| *bound < seconds)
}

/// A destination of a container as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct WorkloadDestination {
    workload: u64,
    reported: ReportedDestination,
}

/// The connection counts of all containers by destination.
///
/// There may be many, so that numbers are packed, and what tables hold is behind a pointer: a table is half empty as a rule.
#[derive(Debug)]
pub struct Tcp {
    folding: Folding,
    shares: DestinationShares,
    /// By the key of the kernel.
    kept: HashMap<[u8; DESTINATION], Box<KernelEntry>>,
    rest: HashMap<u64, Totals>,
    series: HashMap<Arc<WorkloadDestination>, Box<StoredCounts>>,
    begun: Option<Instant>,
    /// Number of the cycle.
    cycle: u32,
    /// Nothing without an open connection was touched before.
    oldest: u64,
    /// How often series were removed.
    removals: u32,
    /// Connections of destinations over the limit.
    pub left_out: u64,
}

impl Tcp {
    /// Nothing so far.
    pub fn new(folding: Folding, shares: DestinationShares) -> Self {
        Self {
            folding,
            shares,
            kept: HashMap::new(),
            rest: HashMap::new(),
            series: HashMap::new(),
            begun: None,
            cycle: 0,
            oldest: 0,
            removals: 0,
            left_out: 0,
        }
    }

    /// Nanoseconds since the first time that was told.
    fn age(&mut self, now: Instant) -> u64 {
        let begun = *self.begun.get_or_insert(now);
        u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sets the range of ports that are folded.
    pub fn fold_ports(&mut self, ports: Option<std::ops::RangeInclusive<u16>>) {
        self.folding.ports = ports;
    }

    /// Begins a cycle: resets the round trips of the last one.
    pub fn begin(&mut self) {
        self.cycle = self.cycle.wrapping_add(1);
    }

    /// Takes a record of the kernel. Most are as they were in the last cycle.
    pub fn take_record(
        &mut self,
        workload: u64,
        key: &[u8; DESTINATION],
        value: &[u8; TOTALS],
        now: Instant,
    ) {
        let (fingerprint, removals) = (fingerprint(value), self.removals);
        let same = |kept: &KernelEntry| {
            kept.fingerprint == fingerprint && kept.removals == removals && kept.workload == workload
        };
        if self.kept.get(key).is_some_and(|kept| same(kept)) {
            return;
        }
        if let (Some(destination), Some(totals)) = (Destination::parse(key), Totals::parse(value)) {
            self.take(workload, &destination, &totals, now);
            if let Some(kept) = self.kept.get_mut(key) {
                (kept.fingerprint, kept.removals) = (fingerprint, removals);
            }
        }
    }

    /// Takes the kernel's current totals of a destination.
    pub fn take(&mut self, workload: u64, key: &Destination, totals: &Totals, now: Instant) {
        let bytes = key.bytes();
        let last = match self.kept.get(&bytes) {
            Some(kept) => {
                let last = kept.last();
                if *totals == last
                    && kept.destination.workload == workload
                    && self.series.contains_key(&kept.destination)
                {
                    return;
                }
                last
            }
            None => Totals::default(),
        };
        let kept = self.count(workload, key, bytes, &totals.since(&last), now);
        kept.last = Packed::new(&totals.numbers());
    }

    /// What happened with a destination, as it was counted outside of the kernel. If as many are kept as the kernel
    /// can hold, a further one is over the limit.
    pub fn add(&mut self, workload: u64, key: &Destination, more: &Totals, now: Instant) {
        let bytes = key.bytes();
        if self.kept.len() >= self.shares.entries() && !self.kept.contains_key(&bytes) {
            self.left_out += more.attempts();
            self.add_other(workload, more, now);
        } else {
            self.count(workload, key, bytes, more, now);
        }
    }

    fn count(
        &mut self,
        workload: u64,
        key: &Destination,
        bytes: [u8; DESTINATION],
        more: &Totals,
        now: Instant,
    ) -> &mut KernelEntry {
        let touched = self.age(now);
        let known = self.kept.get(&bytes).map(|kept| kept.destination.reported);
        let known = known.and_then(|reported| {
            Some(Arc::clone(self.series.get_key_value(&WorkloadDestination { workload, reported })?.0))
        });
        let destination = known.unwrap_or_else(|| self.destination(workload, key, touched));
        self.carry_open(&bytes, &destination, touched);
        if *more != Totals::default() {
            if destination.reported == ReportedDestination::OTHER {
                self.left_out += more.attempts();
            }
            if let Some(counts) = self.series.get_mut(&destination) {
                counts.add(more, touched, self.cycle);
            }
        }
        let kept = self.kept.entry(bytes).or_insert_with(|| {
            Box::new(KernelEntry {
                last: Packed::default(),
                fingerprint: 0,
                removals: 0,
                open: 0,
                touched,
                workload,
                destination: Arc::clone(&destination),
            })
        });
        (kept.workload, kept.destination) = (workload, destination);
        if *more != Totals::default() {
            kept.open += i64::from(more.open.cast_signed());
            kept.touched = touched;
        }
        kept
    }

    /// What is open of an entry goes with it where it is another container's or destination's from now on.
    fn carry_open(&mut self, entry: &[u8; DESTINATION], to: &Arc<WorkloadDestination>, touched: u64) {
        let Some(kept) = self.kept.get(entry).filter(|kept| kept.open != 0 && kept.destination != *to) else {
            return;
        };
        let open = kept.open;
        // It is not there any more where the series of the one went on as those of the other.
        let Some(before) = self.series.get_mut(&kept.destination) else { return };
        (before.open, before.touched) = (before.open - open, touched);
        if let Some(counts) = self.series.get_mut(to) {
            counts.open += open;
        }
    }

    /// Counts of one control group for destinations that did not fit into the kernel's map.
    pub fn take_rest(&mut self, workload: u64, group: u64, totals: &Totals, now: Instant) {
        let last = self.rest.insert(group, *totals).unwrap_or_default();
        self.add_other(workload, &totals.since(&last), now);
    }

    fn add_other(&mut self, workload: u64, more: &Totals, now: Instant) {
        if *more != Totals::default() {
            let touched = self.age(now);
            let destination = self.show(workload, ReportedDestination::OTHER, touched);
            if let Some(counts) = self.series.get_mut(&destination) {
                counts.add(more, touched, self.cycle);
            }
        }
    }

    fn destination(&mut self, workload: u64, key: &Destination, touched: u64) -> Arc<WorkloadDestination> {
        let reported = self.folding.fold(key.requested, key.actual);
        if let Some((destination, _)) = self.series.get_key_value(&WorkloadDestination { workload, reported })
        {
            return Arc::clone(destination);
        }
        let reported = if self.shares.admit(workload) { reported } else { ReportedDestination::OTHER };
        self.show(workload, reported, touched)
    }

    /// Adds a reported destination, if it is not there yet.
    fn show(
        &mut self,
        workload: u64,
        reported: ReportedDestination,
        touched: u64,
    ) -> Arc<WorkloadDestination> {
        let destination = WorkloadDestination { workload, reported };
        if let Some((destination, _)) = self.series.get_key_value(&destination) {
            return Arc::clone(destination);
        }
        let destination = Arc::new(destination);
        self.series.insert(Arc::clone(&destination), Box::new(StoredCounts::new(touched)));
        destination
    }

    /// Entries of the kernel without any change for `retention`: to be removed there, and then here
    /// ([`Self::forget`]).
    pub fn idle(&mut self, retention: Duration, now: Instant) -> Vec<Destination> {
        let now = self.age(now);
        let retention = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
        let idle = |touched: u64| now.saturating_sub(touched) >= retention;
        if !idle(self.oldest) {
            return Vec::new();
        }
        let mut oldest = now;
        let mut is_idle = |open: i64, touched: u64| {
            let is_over = open <= 0 && idle(touched);
            if open <= 0 && !is_over {
                oldest = oldest.min(touched);
            }
            is_over
        };
        let gone = self.kept.iter().filter(|(_, kept)| is_idle(kept.open, kept.touched));
        let gone = gone.filter_map(|(key, _)| Destination::parse(key)).collect();
        let Self { shares, removals, .. } = self;
        self.series.retain(|destination, counts| {
            let stays = !is_idle(counts.open, counts.touched);
            *removals = removals.wrapping_add(u32::from(!stays));
            if !stays && destination.reported != ReportedDestination::OTHER {
                shares.leave(destination.workload);
            }
            stays
        });
        self.oldest = oldest;
        gone
    }

    /// An entry is no longer in the kernel; `latest` is what it had, where it was there. What happened since it was last
    /// read is counted.
    pub fn forget(&mut self, key: &Destination, latest: Option<Totals>, now: Instant) {
        let bytes = key.bytes();
        let Some(kept) = self.kept.get_mut(&bytes) else { return };
        let more = latest.map(|latest| latest.since(&kept.last())).unwrap_or_default();
        // The next entry of this destination begins at 0.
        kept.last = Packed::default();
        kept.fingerprint = 0;
        if more == Totals::default() {
            self.kept.remove(&bytes);
        } else {
            let workload = kept.destination.workload;
            self.count(workload, key, bytes, &more, now);
        }
    }

    /// The control groups of the entries, as often as they have one.
    fn entry_groups(&self) -> impl Iterator<Item = u64> {
        self.kept.keys().filter_map(|key| Some(u64::from_ne_bytes(*key.first_chunk()?)))
    }

    /// Counts the kernel's entries of each of these control groups.
    pub fn count_by_group(&self, groups: &mut HashMap<u64, u32>) {
        for group in self.entry_groups() {
            if let Some(count) = groups.get_mut(&group) {
                *count += 1;
            }
        }
    }

    /// Control groups that have destinations, or open connections that did not fit into the kernel's map.
    pub fn groups(&self) -> HashSet<u64> {
        let open = |totals: &Totals| totals.open.cast_signed() > 0;
        let rest = self.rest.iter().filter(|(_, totals)| open(totals)).map(|(group, _)| *group);
        self.entry_groups().chain(rest).collect()
    }

    /// A control group is gone.
    pub fn forget_group(&mut self, group: u64) {
        self.rest.remove(&group);
        self.kept.retain(|key, _| !key.starts_with(&group.to_ne_bytes()));
    }

    /// Follows renamed containers. `current` returns the present number of a number; `None`: its counts are dropped.
    pub fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<Arc<WorkloadDestination>> = self
            .series
            .keys()
            .filter(|destination| current(destination.workload) != Some(destination.workload))
            .cloned()
            .collect();
        for destination in moved {
            self.removals = self.removals.wrapping_add(1);
            let Some(counts) = self.series.remove(&destination) else { continue };
            if destination.reported != ReportedDestination::OTHER {
                self.shares.leave(destination.workload);
            }
            let Some(now) = current(destination.workload) else { continue };
            if let Some(there) =
                self.series.get_mut(&WorkloadDestination { workload: now, reported: destination.reported })
            {
                there.merge(&counts, self.cycle);
            } else if destination.reported == ReportedDestination::OTHER || self.shares.admit(now) {
                self.series.insert(
                    Arc::new(WorkloadDestination { workload: now, reported: destination.reported }),
                    counts,
                );
            } else {
                let rest = self.show(now, ReportedDestination::OTHER, counts.touched);
                if let Some(rest) = self.series.get_mut(&rest) {
                    rest.merge(&counts, self.cycle);
                }
            }
        }
    }

    /// Every destination that is shown.
    pub fn iter(&self) -> impl Iterator<Item = (u64, ReportedDestination, Counts)> {
        self.series.iter().map(|(destination, counts)| {
            (destination.workload, destination.reported, counts.counts(self.cycle))
        })
    }

    /// The address behind each destination that is reported as it is, with the number of its container; repeatedly if a container
    /// has several destinations there.
    pub fn addresses(&self) -> impl Iterator<Item = (u64, IpAddr)> {
        self.series
            .keys()
            .filter_map(|destination| Some((destination.workload, destination.reported.actual.ip()?)))
    }

    /// Number of reported destinations, without `~other`.
    pub fn destinations(&self) -> usize {
        self.shares.used()
    }
}
