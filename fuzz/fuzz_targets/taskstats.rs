//! A datagram of taskstats, read as the exit of a task and as the answer to a question.
#![no_main]

use connscope::source::containers::delay::taskstats::{parse_exits, parse_family, parse_process};
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|datagram: &[u8]| {
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    let _ = parse_exits(datagram, |exit| drop(black_box(exit)));
    let mut waited = None;
    let _ = black_box(parse_process(datagram, sequence, &mut waited));
    black_box(&waited);
    let _ = black_box(parse_family(datagram, sequence, &mut None));
});
