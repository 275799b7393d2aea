//! A file of `/proc`, or a datagram of rtnetlink, read as each that the source `node` reads.
#![no_main]

use connscope::netlink::parse_links;
use connscope::source::node::{addresses, diskstats, meminfo, stat};
use libfuzzer_sys::fuzz_target;
use std::hint::black_box;

fuzz_target!(|bytes: &[u8]| {
    let sequence = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    let _ = black_box(parse_links(bytes, sequence, &mut Vec::new()));
    let _ = black_box(addresses::parse(bytes, sequence, &mut Vec::new()));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = black_box(stat::parse(text));
    let _ = black_box(stat::uptime(text));
    if let Ok(memory) = meminfo::parse(text) {
        assert!(memory.used() <= memory.total);
    }
    if let Ok(mut disks) = diskstats::parse(text) {
        let mut totals = diskstats::DiskTotals::default();
        for disk in &mut disks {
            totals.unwrap(disk);
        }
        black_box(disks);
    }
});
