//! A datagram of a dump of the connection tracking table, or of the rules of nftables.
#![no_main]

use connscope::source::conntrack::entries::message::parse;
use connscope::source::conntrack::entries::ranges::{self, Ranges};
use connscope::source::conntrack::entries::snat::Ports;
use connscope::source::conntrack::entries::tally::Tally;
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|datagram: &[u8]| {
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    let mut tally = Tally::default();
    let mut ranges = Ranges::default();
    let _ = black_box(ranges::parse(datagram, sequence, &mut ranges));
    let mut ports = Ports::new(ranges);
    let _ = black_box(parse(datagram, sequence, |entry| {
        tally.add(entry, 0);
        ports.add(entry);
    }));
    black_box((&tally, ports.worst(10)));
});
