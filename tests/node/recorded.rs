//! Files and netlink messages as the kernel wrote them, whole and cut off at every byte.

use connscope::netlink::{Link, LinkStatistics, Malformed as NetlinkMalformed, Progress, parse_links};
use connscope::source::node::addresses::{self, Address};
use connscope::source::node::diskstats::{self, Direction, Disk, DiskTotals};
use connscope::source::node::meminfo::{self, Memory};
use connscope::source::node::stat::{self, CpuTotals, Stat};
use connscope::source::node::text::Malformed;
use std::fmt::Debug;
use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

/// No beginning of a file is taken for something else than it is: it is refused, or says what the beginning of lines says.
fn prefixes<T: Debug>(text: &str, parse: impl Fn(&str) -> Result<T, Malformed>) {
    for prefix in (0..text.len()).filter_map(|length| text.get(..length)) {
        let read = parse(prefix);
        assert!(read.is_err() || prefix.is_empty() || prefix.ends_with('\n'), "{read:?} of {prefix}");
    }
}

#[test]
fn cpu_time_is_that_of_all_cpus_and_the_cpus_online_are_counted() {
    let text = text("linux-6.18-stat.txt");
    let ticks = [2_511_743, 1_943_524, 961_633, 2_067_690, 14_715, 0, 38_318, 5481];
    assert_eq!(stat::parse(&text), Ok(Stat { ticks, cpus: 2 }));
    assert_eq!(stat::seconds(38_318).to_string(), "383.18");
    prefixes(&text, stat::parse);
}

#[test]
fn bad_cpu_lines_are_refused() {
    assert_eq!(stat::parse(""), Err(Malformed::Missing("cpu")));
    assert_eq!(stat::parse("intr 1\ncpu 1 2 3 4 5 6 7 8\n"), Err(Malformed::Missing("cpu")));
    assert_eq!(stat::parse("cpu 1 2 3\n"), Err(Malformed::Short { line: 1, words: 4 }));
    for word in ["-1", "+1", "1.5", "18446744073709551616", "1e3"] {
        let refused = stat::parse(&format!("cpu 1 2 3 4 5 6 7 {word}\n"));
        assert_eq!(refused, Err(Malformed::Number { line: 1, word: word.to_owned() }));
    }
}

#[test]
fn cpu_time_never_goes_back() {
    let mut totals = CpuTotals::default();
    assert_eq!(totals.take([1, 2, 3, 100, 50, 0, 0, 0]), [1, 2, 3, 100, 50, 0, 0, 0]);
    assert_eq!(totals.take([2, 2, 3, 99, 49, 0, 0, 0]), [2, 2, 3, 100, 50, 0, 0, 0]);
    assert_eq!(totals.take([3, 2, 3, 101, 51, 0, 0, 0])[3..5], [101, 51]);
}

#[test]
fn uptime_is_the_first_number() {
    let text = text("linux-6.18-uptime.txt");
    assert_eq!(stat::uptime(&text), Ok(37849.0));
    assert_eq!(stat::uptime("12.34 5.00\n"), Ok(12.34));
    prefixes(&text, stat::uptime);
}

#[test]
fn a_kilobyte_of_meminfo_is_1024_bytes() {
    let read = meminfo::parse("MemTotal: 1024 kB\nMemFree: 1 kB\n").unwrap();
    assert_eq!((read.total, read.free, read.available), (1_048_576, 1024, None));
    let text = text("linux-6.18-meminfo.txt");
    let memory = Memory {
        total: 24_684_092 * 1024,
        free: 6_703_952 * 1024,
        available: Some(23_100_848 * 1024),
        buffers: 150_920 * 1024,
        cached: 16_133_560 * 1024,
    };
    assert_eq!(meminfo::parse(&text), Ok(memory));
    assert_eq!(memory.used() + memory.free + memory.buffers + memory.cached, memory.total);
    prefixes(&text, meminfo::parse);
    for bad in ["MemTotal: 18014398509481984 kB\n", "MemTotal: -1 kB\n", "MemTotal:\n", "MemTotal: 1 kB\n"] {
        assert!(meminfo::parse(bad).is_err(), "{bad}");
    }
    // A machine whose numbers do not fit together has nothing in use, and not 2^64.
    assert_eq!(Memory { total: 1, free: 2, ..Memory::default() }.used(), 0);
}

#[test]
fn disks_are_read_in_bytes_and_milliseconds() {
    let text = text("linux-6.18-diskstats.txt");
    let disks = diskstats::parse(&text).unwrap();
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(
        names,
        ["loop0", "loop1", "loop2", "loop3", "loop4", "loop5", "loop6", "loop7", "vda", "zram0"]
    );
    let vda = Disk {
        device: (254, 0),
        name: "vda".to_owned(),
        read: Direction { operations: 11_087_468, bytes: 395_998_554 * 512, milliseconds: 18_461_171 },
        write: Direction { operations: 1_285_160, bytes: 1_114_360_288 * 512, milliseconds: 5_678_130 },
        busy: 826_756,
    };
    assert_eq!(disks[8], vda);
    prefixes(&text, diskstats::parse);
    // As far as the columns go that every kernel has; later kernels have more behind them.
    assert_eq!(diskstats::parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 11 new\n").unwrap()[0].busy, 10);
    let refused = diskstats::parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 1 sda1 1 2 3 4\n");
    assert_eq!(refused, Err(Malformed::Short { line: 2, words: 7 }));
    assert!(diskstats::parse("8 0 sda 1 2 -3 4 5 6 7 8 9 10 11\n").is_err());
}

#[test]
fn milliseconds_of_a_disk_go_on_where_the_kernels_begin_again() {
    let near = u64::from(u32::MAX) - 9;
    let disk = |operations, milliseconds| {
        let direction = Direction { operations, bytes: 512, milliseconds };
        Disk { device: (8, 0), name: "sda".to_owned(), read: direction, write: direction, busy: milliseconds }
    };
    let mut totals = DiskTotals::default();
    let mut unwrapped = |operations, milliseconds| {
        let mut disk = disk(operations, milliseconds);
        totals.unwrap(&mut disk);
        assert_eq!(disk.read.milliseconds, disk.busy);
        disk.busy
    };
    assert_eq!(unwrapped(100, near), near, "it begins with what the kernel says");
    assert_eq!(unwrapped(101, 5), near + 15, "it has wrapped");
    assert_eq!(unwrapped(102, 6), near + 16);
    assert_eq!(unwrapped(3, 7), 7, "another disk under the same name begins again");
}

type Parser<T> = fn(&[u8], u32, &mut Vec<T>) -> Result<Progress, NetlinkMalformed>;

/// What the datagrams of an answer say.
fn answer<T>(name: &str, datagrams: usize, parse: Parser<T>) -> Vec<T> {
    let mut found = Vec::new();
    for number in 1..=datagrams {
        let datagram = fixture(&format!("{name}.{number}.bin"));
        let progress = parse(&datagram, 1, &mut found).unwrap();
        assert_eq!(progress == Progress::Done, number == datagrams);
        for length in 0..datagram.len() {
            let _refused_or_not = parse(&datagram[..length], 1, &mut Vec::new());
        }
        let mut none = Vec::new();
        assert_eq!(parse(&datagram, 2, &mut none), Ok(Progress::More));
        assert!(none.is_empty(), "the answer to another question");
    }
    found
}

fn name(link: &Link) -> &str {
    std::str::from_utf8(&link.name).unwrap()
}

#[test]
fn interfaces_are_read_with_what_passed_them() {
    let links = answer("linux-6.18-links", 3, parse_links);
    let names: Vec<&str> = links.iter().map(name).collect();
    assert_eq!(names, ["lo", "v0", "d1", "d0", "p1", "p0"]);
    let passed = |packets: (u64, u64), bytes: (u64, u64)| LinkStatistics {
        rx_packets: packets.0,
        tx_packets: packets.1,
        rx_bytes: bytes.0,
        tx_bytes: bytes.1,
        rx_missed_errors: 0,
    };
    let lo = Link {
        index: 1,
        name: b"lo".to_vec(),
        loopback: true,
        running: true,
        software: false,
        other_netns: false,
        statistics: Some(passed((6, 6), (684, 684))),
    };
    assert_eq!(links[0], lo);
    let of = |wanted: fn(&Link) -> bool| -> Vec<&str> {
        links.iter().filter(|link| wanted(link)).map(name).collect()
    };
    assert_eq!(of(|link| link.other_netns), ["v0"]);
    assert_eq!(of(|link| link.running), ["lo", "d1", "d0"], "without a carrier an interface is down");
    assert_eq!(links[3].statistics, Some(passed((1, 2), (90, 200))));
    // Veth pairs and dummies are no cards, and neither is the loopback interface.
    assert_eq!(of(|link| link.software), ["v0", "d1", "d0", "p1", "p0"]);
    assert!(!links.iter().any(Link::is_card));
}

#[test]
fn addresses_are_those_of_this_end_and_no_link_local_ones() {
    let found = answer("linux-6.18-addresses", 2, addresses::parse);
    let expected = [(1, "127.0.0.1"), (5, "192.0.2.1"), (7, "192.0.2.9"), (1, "::1"), (5, "2001:db8::1")];
    let expected = expected.map(|(index, ip)| Address { index, ip: ip.parse().unwrap() });
    assert_eq!(found, expected);
}
