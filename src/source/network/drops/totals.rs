//! Totals by series of what the kernel counted by key (pure).
//!
//! A key of the kernel has the inode of a network namespace, which another namespace gets when it is gone; a series has a label. What
//! is new of a key goes to the series that its namespace has now. What did not change for 100 cycles is forgotten.
//!
//! A scan of ports makes thousands of keys with a packet or two each. It does not take the ports from others: where the limit of series
//! with a port is reached, one that counts more takes the place of the least one that has stopped, and keys that have stopped leave the
//! kernel at once while it has more than half of those with a port for which it has room.

use super::record::{Key, Kind, Transport};
use crate::reading::{FirstPoint, Readers};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Cycles for which a key or a series is kept that does not change.
const KEPT: u64 = 100;

/// Series of a kind, at most.
pub const SERIES: usize = 1024;
/// Of these, those with a port of their own.
const WITH_PORT: usize = SERIES / 4 * 3;

/// The attributes of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Series {
    /// What happened.
    pub kind: Kind,
    /// Value of the attribute `netns`; `None` for the agent's own, where it has no name.
    pub netns: Option<Arc<str>>,
    /// The kernel's number of the reason.
    pub reason: u16,
    /// Protocol.
    pub transport: Transport,
    /// Port of the server; 0 for those that are not told apart.
    pub port: u16,
    /// Type and code of an ICMP message.
    pub icmp: (u8, u8),
}

impl Series {
    fn of(key: Key, netns: Option<Arc<str>>) -> Self {
        let Key { reason, port, kind, transport, icmp_type, icmp_code, .. } = key;
        Self { kind, netns, reason, transport, port, icmp: (icmp_type, icmp_code) }
    }
}

/// A number of the kernel in a cycle, with the label of its network namespace.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The reason, port, protocol and network namespace of the packets.
    pub key: Key,
    /// Packets since the kernel has the key.
    pub packets: u64,
    /// Value of the attribute `netns`.
    pub netns: Option<Arc<str>>,
}

#[derive(Debug)]
struct LastNumber {
    packets: u64,
    /// Cycle in which it changed last.
    changed: u64,
}

#[derive(Debug)]
struct Total {
    packets: u64,
    changed: u64,
    first: FirstPoint,
}

/// How many series of a kind there are.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    all: usize,
    with_port: usize,
}

impl Sizes {
    /// One has ended.
    fn end(&mut self, had_port: bool) {
        self.all = self.all.saturating_sub(1);
        self.with_port = self.with_port.saturating_sub(usize::from(had_port));
    }
}

/// A series that has not begun, and what it begins with.
struct Newcomer {
    series: Series,
    news: u64,
    /// Packets of its key, those included that were counted elsewhere.
    packets: u64,
}

/// The totals.
#[derive(Debug, Default)]
pub struct Totals {
    keys: HashMap<Key, LastNumber>,
    series: HashMap<Series, Total>,
    sizes: HashMap<Kind, Sizes>,
    cycle: u64,
    left_out: u64,
}

impl Totals {
    /// The increase of a key since the last cycle.
    pub fn news(&self, key: Key, packets: u64) -> u64 {
        // A key that was forgotten began again.
        let last = self.keys.get(&key).map_or(0, |last| last.packets);
        packets.checked_sub(last).unwrap_or(packets)
    }

    /// Takes numbers of the kernel.
    pub fn take(&mut self, counted: impl IntoIterator<Item = Counted>) {
        let mut newcomers = Vec::new();
        for Counted { key, packets, netns } in counted {
            let news = self.news(key, packets);
            let cycle = self.cycle;
            let last = self.keys.entry(key).or_insert(LastNumber { packets, changed: cycle });
            last.packets = packets;
            if news == 0 {
                continue;
            }
            last.changed = cycle;
            let series = Series::of(key, netns);
            if !self.add(&series, news) {
                newcomers.push(Newcomer { series, news, packets });
            }
        }
        // Those with most packets get what room there is.
        newcomers.sort_by_key(|newcomer| Reverse(newcomer.packets));
        let mut stopped = HashMap::new();
        for newcomer in newcomers {
            self.begin(newcomer, &mut stopped);
        }
    }

    /// Adds to a series; whether there is one.
    fn add(&mut self, series: &Series, news: u64) -> bool {
        let Some(total) = self.series.get_mut(series) else { return false };
        total.packets = total.packets.saturating_add(news);
        total.changed = self.cycle;
        true
    }

    fn begin(&mut self, newcomer: Newcomer, stopped: &mut HashMap<Kind, Vec<(u64, Series)>>) {
        let Newcomer { mut series, news, packets } = newcomer;
        // Another namespace of that name may have begun it.
        if self.add(&series, news) {
            return;
        }
        let size = self.sizes.get(&series.kind).copied().unwrap_or_default();
        if series.port != 0 && size.with_port >= WITH_PORT && !self.displace(series.kind, packets, stopped) {
            series.port = 0;
            if self.add(&series, news) {
                return;
            }
        }
        let size = self.sizes.entry(series.kind).or_default();
        if size.all >= SERIES {
            self.left_out = self.left_out.saturating_add(news);
            return;
        }
        size.all += 1;
        size.with_port += usize::from(series.port != 0);
        let total = Total { packets: news, changed: self.cycle, first: FirstPoint::default() };
        self.series.insert(series, total);
    }

    /// Ends the least series with a port that did not change in this cycle, if it has no more than so many packets; whether it did.
    /// `stopped` has these series by kind, the least at the end.
    fn displace(
        &mut self,
        kind: Kind,
        packets: u64,
        stopped: &mut HashMap<Kind, Vec<(u64, Series)>>,
    ) -> bool {
        let stopped = stopped.entry(kind).or_insert_with(|| {
            let has_stopped = |(series, total): &(&Series, &Total)| {
                series.kind == kind && series.port != 0 && total.changed < self.cycle
            };
            let stopped = self.series.iter().filter(has_stopped);
            let mut stopped: Vec<_> =
                stopped.map(|(series, total)| (total.packets, series.clone())).collect();
            stopped.sort_by_key(|(packets, _)| Reverse(*packets));
            stopped
        });
        let Some((_, least)) = stopped.pop_if(|(least, _)| *least <= packets) else { return false };
        self.series.remove(&least);
        self.sizes.entry(kind).or_default().end(true);
        true
    }

    /// Every series with its total for the reader that asks. A series begins with a point of 0: of what was counted before the first
    /// point, `increase()` would see nothing.
    pub fn series(&mut self, readers: Readers) -> impl Iterator<Item = (&Series, u64)> {
        self.series
            .iter_mut()
            .map(move |(series, total)| (series, if total.first.is_due(readers) { 0 } else { total.packets }))
    }

    /// Packets of series over the limit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Ends a cycle: forgets series that did not change for long; the keys that should be forgotten. `room` is how many keys with a port
    /// may stay that have stopped.
    pub fn end_cycle(&mut self, room: usize) -> Vec<Key> {
        let cycle = self.cycle;
        let is_old = |changed: u64| changed + KEPT <= cycle;
        let sizes = &mut self.sizes;
        self.series.retain(|series, total| {
            let keep = !is_old(total.changed);
            if let Some(size) = sizes.get_mut(&series.kind).filter(|_| !keep) {
                size.end(series.port != 0);
            }
            keep
        });
        self.cycle += 1;
        let (old, kept): (Vec<_>, Vec<_>) = self.keys.iter().partition(|(_, last)| is_old(last.changed));
        let with_port = kept.into_iter().filter(|(key, _)| key.port != 0);
        let (mut stopped, going): (Vec<_>, Vec<_>) = with_port.partition(|(_, last)| last.changed < cycle);
        let over = (stopped.len() + going.len()).saturating_sub(room);
        if over > 0 {
            stopped.sort_by_key(|(_, last)| last.packets);
        }
        old.into_iter().chain(stopped.into_iter().take(over)).map(|(key, _)| *key).collect()
    }

    /// Forgets a key that the kernel has forgotten.
    pub fn forget(&mut self, key: Key) {
        self.keys.remove(&key);
    }

    /// Forgets all keys: the kernel counts from 0 again.
    pub fn forget_keys(&mut self) {
        self.keys.clear();
    }
}
