//! Files of control groups, as kernels wrote them, and what no kernel writes.

use connscope::source::containers::resources::pressure::{self, Stalled};
use connscope::source::containers::resources::sample::{CpuUse, DiskUse, MemoryUse, Sample, Throttled};
use connscope::source::containers::resources::usage::{CarriedCounter, DISKS, Usage};
use connscope::source::containers::resources::{v1, v2};
use std::path::Path;
use std::sync::Arc;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers/cgroup").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Feeds every beginning of a text to a parser: each number that it finds is that of the whole, or none.
fn every_prefix<T: std::fmt::Debug>(
    text: &str,
    parse: impl Fn(&str) -> T,
    numbers: impl Fn(&T) -> Vec<Option<u64>>,
) {
    let whole = numbers(&parse(text));
    for (end, _) in text.char_indices() {
        let beginning = text.get(..end).unwrap();
        let part = parse(beginning);
        for (part_number, number) in numbers(&part).iter().zip(&whole) {
            assert!(part_number.is_none() || part_number == number, "{beginning:?}: {part:?}");
        }
    }
}

fn of_throttled(throttled: Option<Throttled>) -> Vec<Option<u64>> {
    [throttled.map(|all| all.nanoseconds), throttled.map(|all| all.periods), throttled.map(|all| all.of)]
        .to_vec()
}

fn of_memory(memory: &MemoryUse) -> Vec<Option<u64>> {
    vec![memory.usage, memory.working_set, memory.rss, memory.cache]
}

fn of_disks(disks: &[((u32, u32), DiskUse)]) -> Vec<Option<u64>> {
    let used = disks.first().map(|(_, used)| *used).unwrap_or_default();
    vec![used.read_bytes, used.written_bytes, used.reads, used.writes]
}

fn bits(limit: Option<f64>) -> Vec<Option<u64>> {
    vec![limit.map(f64::to_bits)]
}

#[test]
fn version_2_counts_microseconds_and_says_max_where_there_is_no_limit() {
    let text = fixture("linux-6.1-v2-cpu.stat");
    let throttled = Throttled { nanoseconds: 15_813_635_000, periods: 201, of: 205 };
    assert_eq!(v2::cpu_stat(&text), CpuUse { nanoseconds: Some(4_043_047_000), throttled: Some(throttled) });
    every_prefix(&text, v2::cpu_stat, |cpu| [vec![cpu.nanoseconds], of_throttled(cpu.throttled)].concat());
    let without = v2::cpu_stat(&fixture("linux-6.18-v2-without-controllers-cpu.stat"));
    assert_eq!(without, CpuUse { nanoseconds: Some(257_845_000), throttled: None });
    let limit = fixture("linux-6.1-v2-cpu.max");
    assert_eq!(v2::cpu_max(&limit), Some(0.2));
    every_prefix(&limit, v2::cpu_max, |limit| bits(*limit));
    let limit = fixture("linux-6.1-v2-memory.max");
    assert_eq!(v2::memory_max(&limit), Some(67_108_864));
    every_prefix(&limit, v2::memory_max, |limit| vec![*limit]);
    assert_eq!((v2::cpu_max("max 100000\n"), v2::memory_max("max\n")), (None, None));
}

#[test]
fn version_2_says_memory_and_disks_on_every_kernel() {
    let (current, stat) = (fixture("linux-6.1-v2-memory.current"), fixture("linux-6.1-v2-memory.stat"));
    let memory = MemoryUse {
        usage: Some(4_349_952),
        working_set: Some(4_349_952),
        rss: Some(0),
        cache: Some(4_194_304),
    };
    assert_eq!(v2::memory(Some(&current), Some(&stat)), memory);
    every_prefix(&stat, |text| v2::memory(Some(&current), Some(text)), of_memory);
    every_prefix(&current, |text| v2::memory(Some(text), Some(&stat)), of_memory);
    assert_eq!(v2::memory(None, None), MemoryUse::default());
    let stat = fixture("linux-6.12-v2-memory.stat");
    assert!(of_memory(&v2::memory(Some("8388608\n"), Some(&stat))).iter().all(Option::is_some), "{stat}");
    for kernel in ["6.1", "6.12"] {
        let io = fixture(&format!("linux-{kernel}-v2-io.stat"));
        let used = DiskUse {
            read_bytes: Some(1_048_576),
            written_bytes: Some(4_194_304),
            reads: Some(16),
            writes: Some(64),
        };
        assert_eq!(v2::io_stat(&io), [((7, 0), used)], "{kernel}");
        every_prefix(&io, v2::io_stat, |disks| of_disks(disks));
    }
}

#[test]
fn version_1_counts_nanoseconds_and_has_each_controller_apart() {
    assert_eq!(v1::cpu_usage(&fixture("linux-6.18-v1-cpuacct.usage")), Some(243_539_835));
    every_prefix(&fixture("linux-6.18-v1-cpuacct.usage"), v1::cpu_usage, |used| vec![*used]);
    let text = fixture("linux-6.18-v1-cpu.stat");
    assert_eq!(v1::cpu_stat(&text), Some(Throttled { nanoseconds: 790_518_695, periods: 10, of: 11 }));
    every_prefix(&text, v1::cpu_stat, |throttled| of_throttled(*throttled));
    let quota = fixture("linux-6.18-v1-cpu.cfs_quota_us");
    let period = fixture("linux-6.18-v1-cpu.cfs_period_us");
    assert_eq!(v1::cpu_limit(&quota, &period), Some(0.2));
    every_prefix(&period, |text| v1::cpu_limit(&quota, text), |limit| bits(*limit));
    assert_eq!(v1::cpu_limit("-1\n", &period), None, "no limit");
    assert!(v1::has_quota(&quota) && !v1::has_quota("-1\n") && !v1::has_quota(""));
    let usage = fixture("linux-6.18-v1-memory.usage_in_bytes");
    let stat = fixture("linux-6.18-v1-memory.stat");
    let memory = MemoryUse {
        usage: Some(17_776_640),
        working_set: Some(17_756_160),
        rss: Some(16_699_392),
        cache: Some(20_480),
    };
    assert_eq!(v1::memory(Some(&usage), Some(&stat)), memory);
    assert_eq!(v1::memory_limit(&stat), Some(67_108_864));
    every_prefix(&stat, |text| v1::memory(Some(&usage), Some(text)), of_memory);
    every_prefix(&stat, v1::memory_limit, |limit| vec![*limit]);
    let bytes = fixture("linux-6.18-v1-blkio.throttle.io_service_bytes_recursive");
    let operations = fixture("linux-6.18-v1-blkio.throttle.io_serviced_recursive");
    let used = DiskUse {
        read_bytes: Some(16_777_216),
        written_bytes: Some(16_777_216),
        reads: Some(256),
        writes: Some(32),
    };
    assert_eq!(v1::disks(&bytes, &operations), [((254, 0), used)]);
    every_prefix(&bytes, |text| v1::disks(text, &operations), |disks| of_disks(disks));
    every_prefix(&operations, |text| v1::disks(&bytes, text), |disks| of_disks(disks));
    assert_eq!(v1::disks("Total 0\n", "Total 0\n"), [], "nothing was read or written");
    assert!(v1::has_devices(&bytes) && v1::has_devices(&operations) && !v1::has_devices("Total 0\n"));
}

#[test]
fn pressure_is_the_total_of_some_and_full() {
    for (name, some, full) in [
        ("linux-6.1-v2-cpu.pressure", 15_051_789, 15_051_580),
        ("linux-6.1-v2-io.pressure", 94_166, 94_166),
        ("linux-6.18-v1-cpu.pressure", 844_697, 836_967),
        ("linux-6.18-v1-memory.pressure", 0, 0),
    ] {
        let text = fixture(name);
        assert_eq!(pressure::parse(&text), Stalled { some: Some(some), full: Some(full) }, "{name}");
        every_prefix(&text, pressure::parse, |stalled| vec![stalled.some, stalled.full]);
    }
    let before_5_13 = "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    assert_eq!(pressure::parse(before_5_13), Stalled { some: Some(7), full: None });
}

#[test]
fn what_no_kernel_writes_is_no_number() {
    for number in ["-1", "18446744073709551616", "1e3", "", "0x10", "twelve"] {
        let line = |word: &str| format!("{word} {number}\n");
        assert_eq!(v2::cpu_stat(&line("usage_usec")).nanoseconds, None, "{number}");
        assert_eq!(v1::cpu_usage(&format!("{number}\n")), None, "{number}");
        assert_eq!(v2::memory_max(&format!("{number}\n")), None, "{number}");
        assert_eq!(v2::cpu_max(&format!("{number} 100000\n")), None, "{number}");
        assert_eq!(v2::cpu_max(&format!("100000 {number}\n")), None, "{number}");
        assert_eq!(v1::memory_limit(&line("hierarchical_memory_limit")), None, "{number}");
        assert_eq!(v1::disks(&line("8:0 Read"), &line("8:0 Write")), [], "{number}");
        assert_eq!(v2::io_stat(&format!("8:0 rbytes={number}\n")), [], "{number}");
        assert_eq!(pressure::parse(&line("some avg10=0.00 total=")), Stalled::default(), "{number}");
    }
    assert_eq!(v2::cpu_max("100 0\n"), None, "a period of 0");
    assert_eq!(
        v2::cpu_stat("usage_usec 18446744073709551615\n").nanoseconds,
        None,
        "more nanoseconds than fit"
    );
    let io = "8:0 \n8:16\n(unknown)\nx:1 rbytes=5\n8:32 rbytes wbytes= rios=1 what=is\n";
    let used = DiskUse { reads: Some(1), ..DiskUse::default() };
    assert_eq!(v2::io_stat(io), [((8, 32), used)], "lines without values, and words that are new");
}

/// A sample with so much CPU time and bytes read from one device.
fn sample(cpu: Option<u64>, read: Option<u64>) -> Sample {
    let used = DiskUse { read_bytes: read, ..DiskUse::default() };
    Sample {
        cpu: CpuUse { nanoseconds: cpu, throttled: None },
        disks: read.map(|_| vec![((8, 0), used)]),
        ..Sample::default()
    }
}

fn name((major, minor): (u32, u32)) -> Arc<str> {
    format!("{major}:{minor}").into()
}

fn take(usage: &mut Usage, sample: &Sample, gone: bool) -> usize {
    usage.take(sample, || gone, usize::MAX, name)
}

fn read_of(usage: &Usage) -> Option<u64> {
    usage.disks.get("8:0").filter(|_| usage.counts_disks).and_then(|disk| disk.read_bytes.sum())
}

#[test]
fn a_container_that_is_started_again_goes_on_from_what_it_had_used() {
    let mut usage = Usage::default();
    take(&mut usage, &sample(Some(100), Some(10)), false);
    take(&mut usage, &sample(Some(150), Some(15)), false);
    usage.restart();
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(150), Some(15)));
    // More than before: the numbers alone do not say that it is another group.
    take(&mut usage, &sample(Some(170), Some(1)), false);
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(320), Some(16)));
    usage.restart();
    // The kernel has no line for a device that was not used yet.
    take(&mut usage, &Sample { disks: Some(Vec::new()), ..sample(Some(5), None) }, false);
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(325), Some(16)));
    usage.end();
    assert_eq!(
        (usage.cpu.sum(), usage.latest.is_none()),
        (Some(325), true),
        "what has ended keeps its counters"
    );
}

#[test]
fn a_counter_that_somebody_sets_back_goes_on() {
    let mut counter = CarriedCounter::default();
    for (now, sum) in [(5, 5), (7, 7), (0, 7), (2, 9), (2, 9)] {
        counter.take(Some(now));
        assert_eq!(counter.sum(), Some(sum));
    }
}

#[test]
fn a_controller_that_is_switched_off_takes_its_metric_away_and_a_group_that_goes_does_not() {
    let mut usage = Usage::default();
    take(&mut usage, &sample(Some(100), Some(10)), false);
    take(&mut usage, &sample(Some(100), None), false);
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(100), None));
    take(&mut usage, &sample(Some(100), Some(12)), false);
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(100), Some(12)));
    take(&mut usage, &sample(Some(101), None), true);
    assert_eq!((usage.cpu.sum(), read_of(&usage)), (Some(101), Some(12)), "it went while it was read");
}

#[test]
fn devices_over_the_limits_are_told_and_left_out() {
    let disks = |count: u32| {
        let used = DiskUse { reads: Some(1), ..DiskUse::default() };
        Sample { disks: Some((0..count).map(|minor| ((8, minor), used)).collect()), ..Sample::default() }
    };
    let mut usage = Usage::default();
    assert_eq!(usage.take(&disks(40), || false, 10, name), 30);
    assert_eq!(usage.disks.len(), 10);
    assert_eq!(usage.take(&disks(40), || false, usize::MAX, name), 40 - DISKS);
    assert_eq!(usage.disks.len(), DISKS);
}

#[test]
fn what_was_counted_before_a_name_was_known_is_added() {
    let (mut named, mut before) = (Usage::default(), Usage::default());
    take(&mut named, &sample(Some(100), Some(1)), false);
    take(&mut before, &sample(Some(30), Some(2)), false);
    named.absorb(before);
    assert_eq!((named.cpu.sum(), read_of(&named)), (Some(130), Some(3)));
}
