//! The TCP connections of each container by destination: what the kernel counted, added up.
//!
//! The kernel's numbers are of one control group and one destination, and begin again at 0 where an entry was left idle
//! and came again; what is kept here is of a container and a destination as it is shown, and only grows. Pure.

use super::destinations::{DestinationShares, Folding, ReportedDestination};
use super::failure::Failure;
use super::kernel::records::{BUCKETS, Destination, Totals};
use crate::metric::distribution::Distribution;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bucket bounds of connect times in seconds; `bucket` in `bpf/tcp.bpf.c` has them too.
pub const CONNECT_TIMES: &[f64; BUCKETS - 1] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Eighths of a microsecond in a second: the unit of `srtt_us`.
const EIGHTHS: f64 = 8_000_000.0;

/// The place in [`CONNECT_TIMES`] of a handshake of so many nanoseconds.
pub fn bucket(nanoseconds: u64) -> usize {
    let seconds = Duration::from_nanos(nanoseconds / 1000 * 1000).as_secs_f64();
    CONNECT_TIMES.partition_point(|bound| *bound < seconds)
}

/// What happened with a destination of a container.
#[derive(Debug)]
pub struct Counts {
    /// Connections established.
    pub opened: u64,
    /// Connections that ended in order.
    pub closed: u64,
    /// Connections that ended with a reset.
    pub reset: u64,
    /// Connections that were not established, by [`Failure`].
    pub failed: [u64; Failure::ALL.len()],
    /// Segments retransmitted.
    pub retransmits: u64,
    /// Payload sent, bytes.
    pub sent: u64,
    /// Payload received, bytes.
    pub received: u64,
    /// Handshakes, seconds.
    pub connect: Arc<Distribution>,
    open: i64,
    rtt: u64,
    rtts: u32,
    touched: Instant,
}

impl Counts {
    fn new(now: Instant) -> Self {
        Self {
            opened: 0,
            closed: 0,
            reset: 0,
            failed: [0; Failure::ALL.len()],
            retransmits: 0,
            sent: 0,
            received: 0,
            connect: Arc::new(Distribution::new(Arc::from(CONNECT_TIMES.as_slice()))),
            open: 0,
            rtt: 0,
            rtts: 0,
            touched: now,
        }
    }

    fn add(&mut self, more: &Totals) {
        self.opened += u64::from(more.opened);
        self.closed += u64::from(more.closed);
        self.reset += u64::from(more.reset);
        self.open += i64::from(more.open.cast_signed());
        for (sum, failed) in self.failed.iter_mut().zip(more.failed) {
            *sum += u64::from(failed);
        }
        self.retransmits += u64::from(more.retransmits);
        self.sent += more.sent;
        self.received += more.received;
        self.rtt += more.rtt;
        self.rtts += more.rtts;
        if more.connect.iter().any(|count| *count > 0) {
            let seconds = Duration::from_nanos(more.connecting).as_secs_f64();
            Arc::make_mut(&mut self.connect).add(more.connect.map(u64::from).as_slice(), seconds);
        }
    }

    /// Another's numbers, which turned out to be of the same container.
    fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.reset += other.reset;
        self.open += other.open;
        for (sum, failed) in self.failed.iter_mut().zip(other.failed) {
            *sum += failed;
        }
        self.retransmits += other.retransmits;
        self.sent += other.sent;
        self.received += other.received;
        self.rtt += other.rtt;
        self.rtts += other.rtts;
        Arc::make_mut(&mut self.connect).add(other.connect.counts(), other.connect.sum());
        self.touched = self.touched.max(other.touched);
    }

    /// Open connections.
    pub fn open(&self) -> u64 {
        u64::try_from(self.open).unwrap_or_default()
    }

    /// Mean smoothed round trip of the connections that were open or ended since the last cycle, seconds.
    #[expect(clippy::cast_precision_loss, reason = "a sum of round trips in a cycle is far from 2^53")]
    pub fn rtt(&self) -> Option<f64> {
        (self.rtts > 0).then(|| self.rtt as f64 / f64::from(self.rtts) / EIGHTHS)
    }
}

/// Connections that were established or failed.
fn connections(more: &Totals) -> u64 {
    u64::from(more.opened) + more.failed.iter().map(|count| u64::from(*count)).sum::<u64>()
}

/// An entry of the kernel.
#[derive(Debug)]
struct KernelEntry {
    who: u64,
    last: Totals,
    open: i64,
    touched: Instant,
    place: ReportedDestination,
}

/// All destinations of all containers.
#[derive(Debug)]
pub struct Tcp {
    folding: Folding,
    shares: DestinationShares,
    kept: HashMap<Destination, KernelEntry>,
    rest: HashMap<u64, Totals>,
    shown: HashMap<(u64, ReportedDestination), Counts>,
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
            left_out: 0,
        }
    }

    /// The ports that are put together from now on.
    pub fn fold_ports(&mut self, ports: Option<std::ops::RangeInclusive<u16>>) {
        self.folding.ports = ports;
    }

    /// A cycle begins: the round trips of the last one are no longer told.
    pub fn begin(&mut self) {
        for counts in self.shown.values_mut() {
            (counts.rtt, counts.rtts) = (0, 0);
        }
    }

    /// The numbers that the kernel has of a destination now.
    pub fn take(&mut self, who: u64, key: &Destination, totals: &Totals, now: Instant) {
        let last = self.kept.get(key).map(|kept| kept.last).unwrap_or_default();
        self.count(who, key, &totals.since(&last), now);
        if let Some(kept) = self.kept.get_mut(key) {
            kept.last = *totals;
        }
    }

    /// What happened with a destination, as it was counted outside of the kernel. Where as many are kept as the kernel
    /// has room for, another one is counted as one that finds none.
    pub fn add(&mut self, who: u64, key: &Destination, more: &Totals, now: Instant) {
        if self.kept.len() >= self.shares.entries() && !self.kept.contains_key(key) {
            self.left_out += connections(more);
            self.add_other(who, more, now);
        } else {
            self.count(who, key, more, now);
        }
    }

    fn count(&mut self, who: u64, key: &Destination, more: &Totals, now: Instant) {
        let place =
            self.kept.get(key).map(|kept| kept.place).filter(|place| self.shown.contains_key(&(who, *place)));
        let place = place.unwrap_or_else(|| self.place(who, key, now));
        let kept = self.kept.entry(*key).or_insert_with(|| KernelEntry {
            who,
            last: Totals::default(),
            open: 0,
            touched: now,
            place,
        });
        (kept.who, kept.place) = (who, place);
        if *more == Totals::default() {
            return;
        }
        kept.open += i64::from(more.open.cast_signed());
        kept.touched = now;
        if place == ReportedDestination::OTHER {
            self.left_out += connections(more);
        }
        if let Some(counts) = self.shown.get_mut(&(who, place)) {
            counts.add(more);
            counts.touched = now;
        }
    }

    /// What found no room in the kernel, of one control group.
    pub fn take_rest(&mut self, who: u64, group: u64, totals: &Totals, now: Instant) {
        let last = self.rest.insert(group, *totals).unwrap_or_default();
        self.add_other(who, &totals.since(&last), now);
    }

    fn add_other(&mut self, who: u64, more: &Totals, now: Instant) {
        if *more != Totals::default() {
            let counts =
                self.shown.entry((who, ReportedDestination::OTHER)).or_insert_with(|| Counts::new(now));
            counts.add(more);
            counts.touched = now;
        }
    }

    fn place(&mut self, who: u64, key: &Destination, now: Instant) -> ReportedDestination {
        let place = self.folding.fold(key.asked, key.got);
        if self.shown.contains_key(&(who, place)) {
            return place;
        }
        let place = if self.shares.admit(who) { place } else { ReportedDestination::OTHER };
        self.shown.entry((who, place)).or_insert_with(|| Counts::new(now));
        place
    }

    /// Entries of the kernel with which nothing happened for so long: they are to be forgotten there, and then here
    /// ([`Self::forget`]).
    pub fn idle(&mut self, retention: Duration, now: Instant) -> Vec<Destination> {
        let idle = |touched: Instant| now.saturating_duration_since(touched) >= retention;
        let gone: Vec<Destination> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.open <= 0 && idle(kept.touched))
            .map(|(key, _)| *key)
            .collect();
        let shares = &mut self.shares;
        self.shown.retain(|(who, place), counts| {
            let stays = counts.open > 0 || !idle(counts.touched);
            if !stays && *place != ReportedDestination::OTHER {
                shares.leave(*who);
            }
            stays
        });
        gone
    }

    /// An entry is no longer in the kernel; `latest` is what it had, where it was there. What happened since it was last
    /// read is counted.
    pub fn forget(&mut self, key: &Destination, latest: Option<Totals>, now: Instant) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        let more = latest.map(|latest| latest.since(&kept.last)).unwrap_or_default();
        // The next entry of this destination begins at 0.
        kept.last = Totals::default();
        if more == Totals::default() {
            self.kept.remove(key);
        } else {
            let who = kept.who;
            self.count(who, key, &more, now);
        }
    }

    /// How many entries of the kernel each of these control groups has.
    pub fn count_by_group(&self, groups: &mut HashMap<u64, u32>) {
        for key in self.kept.keys() {
            if let Some(count) = groups.get_mut(&key.group) {
                *count += 1;
            }
        }
    }

    /// Control groups that have destinations here, or open connections of what found no room in the kernel.
    pub fn groups(&self) -> HashSet<u64> {
        let open = |totals: &Totals| totals.open.cast_signed() > 0;
        let rest = self.rest.iter().filter(|(_, totals)| open(totals)).map(|(group, _)| *group);
        self.kept.keys().map(|key| key.group).chain(rest).collect()
    }

    /// A control group is gone.
    pub fn forget_group(&mut self, group: u64) {
        self.rest.remove(&group);
        self.kept.retain(|key, _| key.group != group);
    }

    /// `current` says who has a number now: nobody, whose counts then go, or another one, to whose they are added.
    pub fn rename(&mut self, current: impl Fn(u64) -> Option<u64>) {
        let moved: Vec<(u64, ReportedDestination)> =
            self.shown.keys().filter(|(who, _)| current(*who) != Some(*who)).copied().collect();
        for (who, place) in moved {
            let Some(counts) = self.shown.remove(&(who, place)) else { continue };
            if place != ReportedDestination::OTHER {
                self.shares.leave(who);
            }
            let Some(now) = current(who) else { continue };
            match self.shown.entry((now, place)) {
                Entry::Occupied(mut there) => there.get_mut().merge(&counts),
                Entry::Vacant(free) if place == ReportedDestination::OTHER || self.shares.admit(now) => {
                    free.insert(counts);
                }
                Entry::Vacant(_) => {
                    let touched = counts.touched;
                    let rest = self
                        .shown
                        .entry((now, ReportedDestination::OTHER))
                        .or_insert_with(|| Counts::new(touched));
                    rest.merge(&counts);
                }
            }
        }
    }

    /// Every destination that is shown.
    pub fn iter(&self) -> impl Iterator<Item = (u64, ReportedDestination, &Counts)> {
        self.shown.iter().map(|((who, place), counts)| (*who, *place, counts))
    }

    /// How many destinations are shown, those for what finds no room not included.
    pub fn destinations(&self) -> usize {
        self.shares.used()
    }
}
