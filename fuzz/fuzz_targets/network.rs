//! Names and numbers of a driver's statistics, and the texts and datagrams of the network source.
#![no_main]

use connscope::source::network::counters::{Counters, orphans};
use connscope::source::network::drivers::{DRIVERS, sums};
use connscope::source::network::rtnetlink::parse_qdiscs;
use connscope::source::network::rules::{Rules, parse};
use connscope::source::network::softnet;
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|bytes: &[u8]| {
    let names = bytes.as_chunks().0;
    let numbers: Vec<u64> = bytes.as_chunks().0.iter().map(|number| u64::from_ne_bytes(*number)).collect();
    for driver in DRIVERS {
        black_box(sums(driver, names, &numbers));
    }
    // The question that a datagram answers, so that what was found does not depend on guessing a number.
    let sequence = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    let _ = black_box(parse_qdiscs(bytes, sequence, &mut Vec::new()));
    let _ = black_box(parse(bytes, sequence, &mut Rules::default()));
    let text = String::from_utf8_lossy(bytes);
    let _ = black_box(Counters::default().take_pairs(&text));
    let _ = black_box(Counters::default().take_lines(&text));
    let _ = black_box(softnet::parse(&text));
    black_box(orphans(&text));
});
