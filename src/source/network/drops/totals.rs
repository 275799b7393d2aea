//! Totals by series of what the kernel counted by key (pure).
//!
//! A key of the kernel has the inode of a network namespace, which another namespace gets when it is gone; a series has a label. What
//! is new of a key goes to the series that its namespace has now. What did not change for 100 cycles is forgotten, so that ports that
//! somebody scanned do not stay.

use super::record::{Key, Kind, Transport};
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

#[derive(Debug)]
struct Counted {
    packets: u64,
    changed: u64,
}

/// The totals.
#[derive(Debug, Default)]
pub struct Totals {
    keys: HashMap<Key, Counted>,
    series: HashMap<Series, Counted>,
    /// Series of each kind, and how many of them have a port.
    sizes: HashMap<Kind, (usize, usize)>,
    cycle: u64,
    left_out: u64,
}

impl Totals {
    /// The increase of a key since the last cycle.
    pub fn news(&self, key: Key, packets: u64) -> u64 {
        // A key that was forgotten began again.
        let last = self.keys.get(&key).map_or(0, |counted| counted.packets);
        packets.checked_sub(last).unwrap_or(packets)
    }

    /// Takes the number of a key, in a network namespace with this label.
    pub fn take(&mut self, key: Key, packets: u64, netns: Option<&Arc<str>>) {
        let news = self.news(key, packets);
        let cycle = self.cycle;
        let counted = self.keys.entry(key).or_insert(Counted { packets, changed: cycle });
        counted.packets = packets;
        if news == 0 {
            return;
        }
        counted.changed = cycle;
        let mut series = Series {
            kind: key.kind,
            netns: netns.cloned(),
            reason: key.reason,
            transport: key.transport,
            port: key.port,
            icmp: (key.icmp_type, key.icmp_code),
        };
        let (all, with_port) = self.sizes.entry(series.kind).or_default();
        if series.port != 0 && *with_port >= WITH_PORT && !self.series.contains_key(&series) {
            series.port = 0;
        }
        if !self.series.contains_key(&series) {
            if *all >= SERIES {
                self.left_out = self.left_out.saturating_add(news);
                return;
            }
            *all += 1;
            *with_port += usize::from(series.port != 0);
        }
        let total = self.series.entry(series).or_insert(Counted { packets: 0, changed: cycle });
        total.packets = total.packets.saturating_add(news);
        total.changed = cycle;
    }

    /// Every series with its total.
    pub fn series(&self) -> impl Iterator<Item = (&Series, u64)> {
        self.series.iter().map(|(series, counted)| (series, counted.packets))
    }

    /// Packets of series over the limit.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Ends a cycle: forgets series that did not change for long; the keys that should be forgotten.
    pub fn end_cycle(&mut self) -> Vec<Key> {
        let cycle = self.cycle;
        let is_old = |counted: &Counted| counted.changed + KEPT <= cycle;
        let sizes = &mut self.sizes;
        self.series.retain(|series, counted| {
            let keep = !is_old(counted);
            if let Some((all, with_port)) = sizes.get_mut(&series.kind).filter(|_| !keep) {
                *all -= 1;
                *with_port -= usize::from(series.port != 0);
            }
            keep
        });
        self.cycle += 1;
        self.keys.iter().filter(|(_, counted)| is_old(counted)).map(|(key, _)| *key).collect()
    }

    /// Forgets a key that the kernel has forgotten.
    pub fn forget(&mut self, key: Key) {
        self.keys.remove(&key);
    }
}
