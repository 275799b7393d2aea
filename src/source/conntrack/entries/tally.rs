//! Counts the entries of one dump by what they have in common (pure).
//!
//! Its memory does not depend on the number of entries: combinations of attributes have a limit.

use super::message::{Entry, Family, status};
use super::spread::ByProtocol;
use crate::metric::label::closed_set;
use std::collections::HashMap;

/// Combinations of attributes that one dump may have; entries with further ones are counted together.
const CLASSES: usize = 16_384;

closed_set! {
    /// How far an entry has come.
    Status {
        /// No reply was seen.
        Unreplied = "unreplied",
        /// A reply was seen, but the entry may still be evicted from a full table.
        Replied = "replied",
        /// The entry is not evicted from a full table.
        Assured = "assured",
        /// Its packets no longer pass connection tracking (flow table).
        Offloaded = "offloaded",
    }
}

closed_set! {
    /// What of an entry is translated.
    Nat {
        /// Nothing.
        None = "none",
        /// The source.
        Source = "source",
        /// The destination.
        Destination = "destination",
        /// Source and destination.
        Both = "both",
    }
}

impl Status {
    fn of(bits: u32) -> Self {
        if bits & (status::OFFLOAD | status::HW_OFFLOAD) != 0 {
            Self::Offloaded
        } else if bits & status::ASSURED != 0 {
            Self::Assured
        } else if bits & status::SEEN_REPLY != 0 {
            Self::Replied
        } else {
            Self::Unreplied
        }
    }
}

impl Nat {
    fn of(bits: u32) -> Self {
        match (bits & status::SRC_NAT != 0, bits & status::DST_NAT != 0) {
            (false, false) => Self::None,
            (true, false) => Self::Source,
            (false, true) => Self::Destination,
            (true, true) => Self::Both,
        }
    }
}

/// What entries are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Number of the protocol.
    pub protocol: u8,
    /// Number of the state of the protocol, if it has states.
    pub state: Option<u8>,
    /// How far the entry has come.
    pub status: Status,
    /// What is translated.
    pub nat: Nat,
    /// Zone.
    pub zone: u16,
    /// Address family.
    pub family: Family,
}

impl Class {
    /// The class of an entry.
    pub fn of(entry: &Entry) -> Self {
        Self {
            protocol: entry.original.protocol,
            state: entry.state,
            status: Status::of(entry.status),
            nat: Nat::of(entry.status),
            zone: entry.zone,
            family: entry.family,
        }
    }
}

/// The entries of one dump.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Entries in all.
    pub entries: u64,
    /// Entries by class.
    pub classes: HashMap<Class, u64>,
    /// Entries of further classes.
    pub other: u64,
    /// Time-outs, ages and counters by protocol.
    pub values: ByProtocol,
}

impl Tally {
    /// Counts an entry; `now` is in nanoseconds since 1970.
    pub fn add(&mut self, entry: &Entry, now: u64) {
        self.entries += 1;
        self.values.add(entry, now);
        let class = Class::of(entry);
        let full = self.classes.len() >= CLASSES;
        match self.classes.get_mut(&class) {
            Some(count) => *count += 1,
            None if full => self.other += 1,
            None => drop(self.classes.insert(class, 1)),
        }
    }
}
