//! A datagram of ctnetlink, read as each of its three answers.
#![no_main]

use connscope::source::conntrack::fields::{EXPECTATIONS, STATISTICS, Statistics};
use connscope::source::conntrack::netlink::{Global, parse_dump, parse_global};
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|datagram: &[u8]| {
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    for known in [STATISTICS, EXPECTATIONS] {
        let mut statistics = Statistics::default();
        let _ = black_box(parse_dump(datagram, sequence, known, &mut statistics));
        black_box(&statistics);
    }
    let mut global = Global::default();
    let _ = black_box(parse_global(datagram, sequence, &mut global));
    black_box(&global);
});
