//! The TCP connections of each container by destination: what the kernel counted, added up.
//!
//! The kernel's numbers are of one control group and one destination, and begin again at 0 where an entry was left idle
//! and came again; what is kept here is of a container and a destination as it is shown, and only grows. Pure.

use super::destinations::{DestinationShares, Folding, ReportedDestination};
use super::kernel::records::{BUCKETS, DESTINATION, Destination, Totals};
use super::packed::Packed;
use counts::StoredCounts;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod counts;

pub use counts::Counts;

/// Bucket bounds of connect times in seconds; `bucket` in `bpf/tcp.bpf.c` has them too.
pub const CONNECT_TIMES: &[f64; BUCKETS - 1] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// The place in [`CONNECT_TIMES`] of a handshake of so many nanoseconds.
pub fn bucket(nanoseconds: u64) -> usize {
    let seconds = Duration::from_nanos(nanoseconds / 1000 * 1000).as_secs_f64();
    CONNECT_TIMES.partition_point(|bound| *bound < seconds)
}

/// A destination of a container as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    who: u64,
    at: ReportedDestination,
}

/// An entry of the kernel.
#[derive(Debug)]
struct KernelEntry {
    /// Its numbers when they were read last.
    last: Packed,
    open: i64,
    /// When something happened last.
    touched: u64,
    place: Arc<Place>,
}

impl KernelEntry {
    fn last(&self) -> Totals {
        Totals::of_numbers(&self.last.unpack())
    }
}

/// All destinations of all containers.
///
/// There may be many, so that numbers are packed, and what tables hold is behind a pointer: a table is half empty as a rule.
#[derive(Debug)]
pub struct Tcp {
    folding: Folding,
    shares: DestinationShares,
    /// By the key of the kernel.
    kept: HashMap<[u8; DESTINATION], Box<KernelEntry>>,
    rest: HashMap<u64, Totals>,
    shown: HashMap<Arc<Place>, Box<StoredCounts>>,
    begun: Option<Instant>,
    /// Connections of destinations that found no room here.
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
            shown: HashMap::new(),
            begun: None,
            left_out: 0,
        }
    }

    /// Nanoseconds since the first time that was told.
    fn age(&mut self, now: Instant) -> u64 {
        let begun = *self.begun.get_or_insert(now);
        u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The ports that are put together from now on.
    pub fn fold_ports(&mut self, ports: Option<std::ops::RangeInclusive<u16>>) {
        self.folding.ports = ports;
    }

    /// A cycle begins: the round trips of the last one are no longer told.
    pub fn begin(&mut self) {
        for counts in self.shown.values_mut() {
            counts.forget_round_trips();
        }
    }

    /// The numbers that the kernel has of a destination now.
    pub fn take(&mut self, who: u64, key: &Destination, totals: &Totals, now: Instant) {
        let bytes = key.bytes();
        let last = match self.kept.get(&bytes) {
            Some(kept) => {
                let last = kept.last();
                if *totals == last && kept.place.who == who && self.shown.contains_key(&kept.place) {
                    return;
                }
                last
            }
            None => Totals::default(),
        };
        let kept = self.count(who, key, bytes, &totals.since(&last), now);
        kept.last = Packed::new(&totals.numbers());
    }

    /// What happened with a destination, as it was counted outside of the kernel. Where as many are kept as the kernel
    /// has room for, another one is counted as one that finds none.
    pub fn add(&mut self, who: u64, key: &Destination, more: &Totals, now: Instant) {
        let bytes = key.bytes();
        if self.kept.len() >= self.shares.entries() && !self.kept.contains_key(&bytes) {
            self.left_out += more.attempts();
            self.add_other(who, more, now);
        } else {
            self.count(who, key, bytes, more, now);
        }
    }

    fn count(
        &mut self,
        who: u64,
        key: &Destination,
        bytes: [u8; DESTINATION],
        more: &Totals,
        now: Instant,
    ) -> &mut KernelEntry {
        let touched = self.age(now);
        let known = self.kept.get(&bytes).map(|kept| kept.place.at);
        let known = known.and_then(|at| Some(Arc::clone(self.shown.get_key_value(&Place { who, at })?.0)));
        let place = known.unwrap_or_else(|| self.place(who, key, touched));
        if *more != Totals::default() {
            if place.at == ReportedDestination::OTHER {
                self.left_out += more.attempts();
            }
            if let Some(counts) = self.shown.get_mut(&place) {
                counts.add(more, touched);
            }
        }
        let kept = self.kept.entry(bytes).or_insert_with(|| {
            Box::new(KernelEntry { last: Packed::default(), open: 0, touched, place: Arc::clone(&place) })
        });
        kept.place = place;
        if *more != Totals::default() {
            kept.open += i64::from(more.open.cast_signed());
            kept.touched = touched;
        }
        kept
    }

    /// What found no room in the kernel, of one control group.
    pub fn take_rest(&mut self, who: u64, group: u64, totals: &Totals, now: Instant) {
        let last = self.rest.insert(group, *totals).unwrap_or_default();
        self.add_other(who, &totals.since(&last), now);
    }

    fn add_other(&mut self, who: u64, more: &Totals, now: Instant) {
        if *more != Totals::default() {
            let touched = self.age(now);
            let place = self.show(who, ReportedDestination::OTHER, touched);
            if let Some(counts) = self.shown.get_mut(&place) {
                counts.add(more, touched);
            }
        }
    }

    fn place(&mut self, who: u64, key: &Destination, touched: u64) -> Arc<Place> {
        let at = self.folding.fold(key.asked, key.got);
        if let Some((place, _)) = self.shown.get_key_value(&Place { who, at }) {
            return Arc::clone(place);
        }
        let at = if self.shares.admit(who) { at } else { ReportedDestination::OTHER };
        self.show(who, at, touched)
    }

    /// A destination that is shown from now on, if it is not already.
    fn show(&mut self, who: u64, at: ReportedDestination, touched: u64) -> Arc<Place> {
        let place = Place { who, at };
        if let Some((place, _)) = self.shown.get_key_value(&place) {
            return Arc::clone(place);
        }
        let place = Arc::new(place);
        self.shown.insert(Arc::clone(&place), Box::new(StoredCounts::new(touched)));
        place
    }

    /// Entries of the kernel with which nothing happened for so long: they are to be forgotten there, and then here
    /// ([`Self::forget`]).
    pub fn idle(&mut self, retention: Duration, now: Instant) -> Vec<Destination> {
        let now = self.age(now);
        let retention = u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX);
        let idle = |touched: u64| now.saturating_sub(touched) >= retention;
        let gone = self.kept.iter().filter(|(_, kept)| kept.open <= 0 && idle(kept.touched));
        let gone = gone.filter_map(|(key, _)| Destination::parse(key)).collect();
        let shares = &mut self.shares;
        self.shown.retain(|place, counts| {
            let stays = counts.open > 0 || !idle(counts.touched);
            if !stays && place.at != ReportedDestination::OTHER {
                shares.leave(place.who);
            }
            stays
        });
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
        if more == Totals::default() {
            self.kept.remove(&bytes);
        } else {
            let who = kept.place.who;
            self.count(who, key, bytes, &more, now);
        }
    }

    /// The control groups of the entries, as often as they have one.
    fn entry_groups(&self) -> impl Iterator<Item = u64> {
        self.kept.keys().filter_map(|key| Some(u64::from_ne_bytes(*key.first_chunk()?)))
    }

    /// How many entries of the kernel each of these control groups has.
    pub fn count_by_group(&self, groups: &mut HashMap<u64, u32>) {
        for group in self.entry_groups() {
            if let Some(count) = groups.get_mut(&group) {
                *count += 1;
            }
        }
    }

    /// Control groups that have destinations here, or open connections of what found no room in the kernel.
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

    /// `current` says who has a number now: nobody, whose counts then go, or another one, to whose they are added.
    pub fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<Arc<Place>> =
            self.shown.keys().filter(|place| current(place.who) != Some(place.who)).cloned().collect();
        for place in moved {
            let Some(counts) = self.shown.remove(&place) else { continue };
            if place.at != ReportedDestination::OTHER {
                self.shares.leave(place.who);
            }
            let Some(now) = current(place.who) else { continue };
            if let Some(there) = self.shown.get_mut(&Place { who: now, at: place.at }) {
                there.merge(&counts);
            } else if place.at == ReportedDestination::OTHER || self.shares.admit(now) {
                self.shown.insert(Arc::new(Place { who: now, at: place.at }), counts);
            } else {
                let rest = self.show(now, ReportedDestination::OTHER, counts.touched);
                if let Some(rest) = self.shown.get_mut(&rest) {
                    rest.merge(&counts);
                }
            }
        }
    }

    /// Every destination that is shown.
    pub fn iter(&self) -> impl Iterator<Item = (u64, ReportedDestination, Counts)> {
        self.shown.iter().map(|(place, counts)| (place.who, place.at, counts.counts()))
    }

    /// How many destinations are shown, those for what finds no room not included.
    pub fn destinations(&self) -> usize {
        self.shares.used()
    }
}
