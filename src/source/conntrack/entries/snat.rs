//! How many ports of a translated source address are in use towards one destination (pure).
//!
//! What distinguishes two entries is the reply: source NAT needs a port that no other entry has towards the same address and port
//! (`nf_nat_used_tuple` in `net/netfilter/nf_nat_core.c`). So the ports of an address run out for each destination by itself.

use super::message::{Entry, status};
use super::protocol;
use super::ranges::Ranges;
use super::sketch::Sketch;
use std::collections::HashMap;
use std::net::IpAddr;

/// Weight of a port of the smallest range: so that a small range that is full counts as much as a large one, each port weighs
/// this divided by the size of its range.
const WEIGHT: u64 = 1 << 20;

/// What competes for the same ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Number of the protocol.
    pub protocol: u8,
    /// Translated source address.
    pub source: IpAddr,
    /// Address of the destination, after its translation.
    pub address: IpAddr,
    /// Port of the destination, after its translation; 0 for ICMP.
    pub port: u16,
    zone: u16,
    /// First and last port that the source may get.
    range: (u16, u16),
}

/// The destination of a translated address with the fewest free ports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The address and the destination.
    pub destination: Destination,
    /// Ports in use.
    pub used: u64,
    /// Ports that there are.
    pub limit: u64,
}

impl Usage {
    /// Compares by the fraction in use, then by the ports.
    fn rank(&self) -> (u64, u64, Destination) {
        (self.used.saturating_mul(WEIGHT) / self.limit.max(1), self.used, self.destination)
    }
}

/// Ports of source NAT in one dump.
#[derive(Debug, Clone)]
pub struct Ports {
    ranges: Ranges,
    sketch: Sketch<Destination>,
}

/// Whether the source of an entry is translated, and its protocol has ports or identifiers to choose from.
pub fn is_translated(entry: &Entry) -> bool {
    let with_ports = [
        protocol::TCP,
        protocol::UDP,
        protocol::UDPLITE,
        protocol::SCTP,
        protocol::DCCP,
        protocol::ICMP,
        protocol::ICMPV6,
    ];
    entry.status & status::SRC_NAT != 0 && with_ports.contains(&entry.reply.protocol)
}

impl Ports {
    /// None in use; `ranges` are those of the rules.
    pub fn new(ranges: Ranges) -> Self {
        Self { ranges, sketch: Sketch::default() }
    }

    /// Counts an entry whose source [is translated](is_translated).
    pub fn add(&mut self, entry: &Entry) {
        let reply = entry.reply;
        let (Some(source), Some(address)) = (reply.destination, reply.source) else { return };
        // The identifier of ICMP is the same in both directions.
        let icmp = [protocol::ICMP, protocol::ICMPV6].contains(&reply.protocol);
        let (mine, port) =
            if icmp { (reply.source_port, 0) } else { (reply.destination_port, reply.source_port) };
        let range = self.ranges.of(source, mine, reply.protocol);
        let destination =
            Destination { protocol: reply.protocol, source, address, port, zone: entry.zone, range };
        self.sketch.add(destination, (WEIGHT / size(range)).max(1));
    }

    /// The worst `most`: for each translated address and protocol the destination with the fewest free ports.
    pub fn worst(&self, most: usize) -> Vec<Usage> {
        let mut worst: HashMap<(IpAddr, u8), Usage> = HashMap::new();
        for (destination, count) in self.sketch.counts() {
            let usage = Usage { destination, used: count.times, limit: size(destination.range) };
            let key = (destination.source, destination.protocol);
            let known = worst.entry(key).or_insert(usage);
            if usage.rank() > known.rank() {
                *known = usage;
            }
        }
        worst_of(worst.into_values().map(|usage| ((), usage)).collect(), most)
            .into_iter()
            .map(|((), usage)| usage)
            .collect()
    }

    /// By how many ports of a range of 65536 a number may be too low; of a smaller range by fewer, in proportion.
    pub fn error(&self) -> u64 {
        self.sketch.error() / (WEIGHT >> 16)
    }
}

/// The worst `most` of these, each with something else.
pub fn worst_of<T>(mut all: Vec<(T, Usage)>, most: usize) -> Vec<(T, Usage)> {
    all.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.rank()));
    all.truncate(most);
    all
}

fn size((first, last): (u16, u16)) -> u64 {
    u64::from(last.saturating_sub(first)) + 1
}
