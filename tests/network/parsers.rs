//! Recorded texts, datagrams and statistics of drivers, every prefix of them, and bytes that nobody wrote.

use connscope::metric::Value;
use connscope::netlink::Progress;
use connscope::reading::Readings;
use connscope::source::network::counters::{COUNTERS, Counters, Malformed, orphans};
use connscope::source::network::drivers::{DRIVERS, StatisticKind, known, sums, text};
use connscope::source::network::labels::{ErrorKind, Limit, Verdict};
use connscope::source::network::machine::Machine;
use connscope::source::network::rtnetlink::parse_qdiscs;
use connscope::source::network::rule_totals::RuleTotals;
use connscope::source::network::rules::{Rule, Rules, parse as parse_rules};
use connscope::source::network::softnet;
use connscope::source::network::unwrap::Unwrapper;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/network").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recorded(name: &str) -> String {
    String::from_utf8(bytes(&format!("linux-6.18-{name}"))).unwrap()
}

/// Counters by metric and labels.
fn observed(counters: &Counters) -> BTreeMap<String, f64> {
    let mut readings = Readings::default();
    counters.observe(&[], &mut readings);
    let named = readings.iter().map(|reading| {
        let labels: Vec<String> = reading.labels.iter().map(|(_, value)| value.to_string()).collect();
        let value = match reading.value {
            Value::U64(value) => f64::from(u32::try_from(value).unwrap()),
            Value::F64(value) => value,
            _ => panic!("only counters"),
        };
        (format!("{} {}", reading.metric.name, labels.join(" ")).trim_end().to_owned(), value)
    });
    named.collect()
}

#[test]
fn every_counter_of_a_recorded_kernel_is_found_by_its_name() {
    let mut counters = Counters::default();
    counters.take_pairs(&recorded("netstat")).unwrap();
    counters.take_pairs(&recorded("snmp")).unwrap();
    counters.take_lines(&recorded("snmp6")).unwrap();
    assert_eq!(counters.count(), COUNTERS);
    let found = observed(&counters);
    let value = |name: &str| found.get(name).copied().unwrap_or_else(|| panic!("{name}: {found:?}"));
    assert_eq!(value("tcp.syncookies.sent"), 5.0);
    assert_eq!(value("tcp.syncookies.received"), 5.0);
    assert_eq!(value("tcp.syncookies.failed"), 0.0);
    assert_eq!(value("icmp.errors.received destination_unreachable ipv4"), 3.0);
    assert_eq!(value("icmp.errors.received destination_unreachable ipv6"), 3.0);
    assert_eq!(value("icmp.errors.received packet_too_big ipv6"), 0.0);
    assert_eq!(found.len(), COUNTERS, "each is a series of its own");
}

#[test]
fn each_counter_is_reported_as_what_it_is() {
    let counters = [
        ("TcpExt", "SyncookiesSent", "tcp.syncookies.sent"),
        ("TcpExt", "SyncookiesRecv", "tcp.syncookies.received"),
        ("TcpExt", "SyncookiesFailed", "tcp.syncookies.failed"),
        ("TcpExt", "TCPReqQFullDrop", "tcp.syn_queue.drops"),
        ("TcpExt", "ListenOverflows", "tcp.listen.overflows"),
        ("TcpExt", "ListenDrops", "tcp.listen.drops"),
        ("TcpExt", "TCPTimeWaitOverflow", "tcp.time_wait.overflows"),
        ("TcpExt", "TCPAbortOnMemory", "tcp.aborts_on_memory"),
        ("TcpExt", "TCPMemoryPressures", "tcp.memory_pressures"),
        ("TcpExt", "TCPMemoryPressuresChrono", "tcp.memory_pressure.time"),
        ("TcpExt", "TCPMTUPFail", "tcp.mtu_probes.failed"),
        ("Ip", "FragFails", "ip.fragmentation.failures ipv4"),
        ("", "Ip6FragFails", "ip.fragmentation.failures ipv6"),
        ("Icmp", "InDestUnreachs", "icmp.errors.received destination_unreachable ipv4"),
        ("Icmp", "InTimeExcds", "icmp.errors.received time_exceeded ipv4"),
        ("Icmp", "InParmProbs", "icmp.errors.received parameter_problem ipv4"),
        ("", "Icmp6InDestUnreachs", "icmp.errors.received destination_unreachable ipv6"),
        ("", "Icmp6InPktTooBigs", "icmp.errors.received packet_too_big ipv6"),
        ("", "Icmp6InTimeExcds", "icmp.errors.received time_exceeded ipv6"),
        ("", "Icmp6InParmProblems", "icmp.errors.received parameter_problem ipv6"),
    ];
    assert_eq!(counters.len(), COUNTERS);
    let (mut read, mut expected) = (Counters::default(), BTreeMap::new());
    for (number, (section, name, metric)) in (1u32..).zip(counters) {
        match section {
            "" => read.take_lines(&format!("{name} {number}\n")).unwrap(),
            _ => read.take_pairs(&format!("{section}: {name}\n{section}: {number}\n")).unwrap(),
        }
        let unit = if metric == "tcp.memory_pressure.time" { 1e3 } else { 1.0 };
        expected.insert(metric.to_owned(), f64::from(number) / unit);
    }
    assert_eq!(observed(&read), expected);
}

#[test]
fn milliseconds_are_reported_as_seconds_and_unknown_words_are_left_alone() {
    let mut counters = Counters::default();
    counters
        .take_pairs(
            "TcpExt: New TCPMemoryPressuresChrono\nTcpExt: -1 2500\nMpExt: SyncookiesSent\nMpExt: 9\n",
        )
        .unwrap();
    assert_eq!(observed(&counters), BTreeMap::from([("tcp.memory_pressure.time".to_owned(), 2.5)]));
}

#[test]
fn texts_that_do_not_hold_together_are_refused() {
    for (text, error) in [
        ("TcpExt: SyncookiesSent\nTcpExt: 1", Malformed::CutOff),
        ("TcpExt: SyncookiesSent\n", Malformed::CutOff),
        ("TcpExt: SyncookiesSent\nTcpExt: 1 2\n", Malformed::Columns(2)),
        ("TcpExt: SyncookiesSent A\nTcpExt: 1\n", Malformed::Columns(2)),
        ("TcpExt: SyncookiesSent\nIpExt: 1\n", Malformed::Columns(2)),
        ("TcpExt SyncookiesSent\nTcpExt 1\n", Malformed::Columns(2)),
        ("TcpExt: SyncookiesSent\nTcpExt: -1\n", Malformed::Number("SyncookiesSent")),
        ("", Malformed::CutOff),
    ] {
        assert_eq!(Counters::default().take_pairs(text), Err(error), "{text:?}");
    }
    for (text, error) in [
        ("Ip6FragFails 1", Malformed::CutOff),
        ("Ip6FragFails\n", Malformed::Columns(1)),
        ("A 1\nIp6FragFails 1 2\n", Malformed::Columns(2)),
        ("Ip6FragFails 0x1\n", Malformed::Number("Ip6FragFails")),
    ] {
        assert_eq!(Counters::default().take_lines(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_prefix_of_a_recorded_text_is_refused_or_ends_with_a_whole_line() {
    for name in ["netstat", "snmp", "snmp6", "softnet_stat"] {
        let text = recorded(name);
        for length in 0..text.len() {
            let prefix = text.get(..length).unwrap();
            let read = match name {
                "snmp6" => Counters::default().take_lines(prefix).is_ok(),
                "softnet_stat" => softnet::parse(prefix).is_ok(),
                _ => Counters::default().take_pairs(prefix).is_ok(),
            };
            assert!(!read || prefix.is_empty() || prefix.ends_with('\n'), "{name} up to byte {length}");
        }
    }
}

#[test]
fn the_backlogs_are_read_with_the_number_of_their_cpu() {
    let rows = softnet::parse(&recorded("softnet_stat")).unwrap();
    let read: Vec<_> = rows.iter().map(|row| (row.cpu, row.dropped, row.time_squeeze)).collect();
    assert_eq!(read, [(Some(0), 0, 9), (Some(1), 0, 18)]);
    // Before Linux 5.10.
    let old = softnet::parse(
        "0000272d 0000000a ffffffff 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n",
    );
    let old = old.unwrap();
    assert_eq!((old[0].cpu, old[0].dropped, old[0].time_squeeze), (None, 10, u32::MAX));
    assert_eq!(softnet::parse("1 2\n"), Err(softnet::Malformed::Row(0)));
    assert_eq!(softnet::parse("1 2 3\n1 2 x\n"), Err(softnet::Malformed::Row(1)));
    assert_eq!(softnet::parse("1 2 100000000\n"), Err(softnet::Malformed::Row(0)));
}

#[test]
fn the_backlogs_are_reported_by_cpu_and_go_on_where_the_kernel_wraps() {
    let mut machine = Machine::default();
    let mut observe = |rows: &[(u32, u32, u32)]| {
        let row =
            |(cpu, dropped, time_squeeze)| (cpu, softnet::Row { cpu: Some(cpu), dropped, time_squeeze });
        let mut readings = Readings::default();
        machine.observe_backlogs(rows.iter().copied().map(row).collect(), &mut readings);
        let named = readings.iter().map(|reading| {
            let Value::U64(value) = reading.value else { panic!("only counters") };
            (format!("{} {}", reading.metric.name, reading.labels.iter().next().unwrap().1), value)
        });
        named.collect::<BTreeMap<String, u64>>()
    };
    let four = |[a, b, c, d]: [u64; 4]| {
        let names =
            ["softnet.dropped 0", "softnet.time_squeeze 0", "softnet.dropped 3", "softnet.time_squeeze 3"];
        names.map(str::to_owned).into_iter().zip([a, b, c, d]).collect()
    };
    let expected: BTreeMap<String, u64> = four([1, 2, u64::from(u32::MAX), 4]);
    assert_eq!(observe(&[(0, 1, 2), (3, u32::MAX, 4)]), expected);
    let expected: BTreeMap<String, u64> = four([5, 7, u64::from(u32::MAX) + 3, 4]);
    assert_eq!(observe(&[(0, 5, 7), (3, 2, 4)]), expected);
}

#[test]
fn connections_without_an_owner_are_found_in_sockstat() {
    assert_eq!(orphans(&recorded("sockstat")), Some(0));
    assert_eq!(orphans("sockets: used 3\nTCP: inuse 1 orphan 27 tw 0\n"), Some(27));
    for text in ["", "TCP: inuse 1", "TCP: orphan", "TCP: orphan x", "UDP: orphan 1"] {
        assert_eq!(orphans(text), None, "{text}");
    }
}

#[test]
fn totals_go_on_where_the_kernel_wraps_and_begin_again_where_it_resets() {
    let mut totals = Unwrapper::default();
    let mut next = |now| {
        let total = totals.total("one", now);
        totals.end_cycle();
        total
    };
    assert_eq!(next(4_294_967_290), 4_294_967_290);
    assert_eq!(next(4), 4_294_967_300, "wrapped");
    assert_eq!(next(1_000), 4_294_968_296);
    assert_eq!(next(3), 3, "a new queueing discipline");
    (0..9).for_each(|_| totals.end_cycle());
    assert_eq!(totals.total("one", 5), 5, "a dump has failed for a while");
    (0..11).for_each(|_| totals.end_cycle());
    assert_eq!(totals.total("one", 2), 2, "it was gone for long");
}

/// The names and numbers of a driver's statistics, as text: `name number`.
fn statistics(file: &str) -> (Vec<[u8; 32]>, Vec<u64>) {
    let text = String::from_utf8(bytes(&format!("ethtool/{file}"))).unwrap();
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ').unwrap();
        let mut field = [0; 32];
        field[..name.len()].copy_from_slice(name.as_bytes());
        (field, number.parse::<u64>().unwrap())
    };
    text.lines().map(pair).unzip()
}

pub(super) fn read(driver: &str, file: &str) -> Vec<(StatisticKind, u64)> {
    let (names, numbers) = statistics(file);
    sums(known(driver.as_bytes()).unwrap(), &names, &numbers)
}

#[test]
fn the_statistics_of_each_known_driver_are_told_by_name() {
    use ErrorKind::{Missed, NoBuffer, NoMemory, Timeout};
    use StatisticKind::{Available, Error, Exceeded};
    assert_eq!(
        read("ena", "ena.txt"),
        [
            (Exceeded(Limit::Conntrack), 227),
            (Exceeded(Limit::Linklocal), 229),
            (Exceeded(Limit::Pps), 233),
            (Exceeded(Limit::BandwidthIn), 211),
            (Exceeded(Limit::BandwidthOut), 223),
            (Available(Limit::Conntrack), 136_812),
            (Error(NoMemory), 3 + 4 + 5 + 6),
            (Error(Timeout), 2),
        ]
    );
    assert_eq!(
        read("gve", "gve.txt"),
        [(Error(Missed), 66), (Error(NoBuffer), 77), (Error(NoMemory), 5), (Error(Timeout), 1)]
    );
    assert_eq!(read("hv_netvsc", "hv_netvsc.txt"), [(Error(NoBuffer), 3), (Error(NoMemory), 10)]);
    assert_eq!(read("mana", "mana.txt"), [(Error(NoBuffer), 6)]);
    assert_eq!(read("virtio_net", "virtio_net-5.15.txt"), [(Error(Timeout), 12)]);
    assert_eq!(read("mlx5_core", "mlx5_core.txt"), [(Error(Missed), 4), (Error(NoBuffer), 3)]);
    assert_eq!(
        read("ixgbe", "ixgbe.txt"),
        [(Error(Missed), 3), (Error(NoBuffer), 9), (Error(NoMemory), 11), (Error(Timeout), 4)]
    );
    assert_eq!(read("i40e", "i40e.txt"), [(Error(Missed), 4), (Error(Timeout), 6)]);
}

#[test]
fn the_recorded_names_of_virtio_have_one_timeout_and_those_of_veth_are_unknown() {
    let recorded = bytes("ethtool/linux-6.18-virtio_net.bin");
    let names = recorded.as_chunks().0;
    assert_eq!(names.len(), 20);
    assert_eq!(text(&names[9]), "tx_tx_timeouts");
    let numbers: Vec<u64> = (0..20).collect();
    // Not the queue's own as well, which is the last: it would count twice.
    let expected = [(StatisticKind::Error(ErrorKind::Timeout), 9)];
    assert_eq!(sums(known(b"virtio_net").unwrap(), names, &numbers), expected);
    assert!(known(b"veth").is_none());
    assert_eq!(bytes("ethtool/linux-6.18-veth.bin").len(), 10 * 32);
}

#[test]
fn the_table_of_drivers_has_each_once_and_every_name_fits_into_its_field() {
    for (place, driver) in DRIVERS.iter().enumerate() {
        assert!(!DRIVERS[..place].iter().any(|before| before.name == driver.name), "{}", driver.name);
        assert!(driver.file.starts_with("drivers/net/") && !driver.statistics.is_empty());
        for (name, _) in driver.statistics {
            assert!(name.len() < 32 && name.matches('*').count() <= 1, "{}: {name}", driver.name);
        }
    }
}

#[test]
fn queueing_disciplines_are_read_from_a_recorded_datagram() {
    let mut qdiscs = Vec::new();
    assert_eq!(parse_qdiscs(&bytes("linux-6.18-qdiscs.1.bin"), 1, &mut qdiscs), Ok(Progress::More));
    let read: Vec<_> =
        qdiscs.iter().map(|qdisc| (String::from_utf8_lossy(&qdisc.kind).into_owned(), qdisc.drops)).collect();
    assert_eq!(read, [("tbf".to_owned(), 17), ("clsact".to_owned(), 0)]);
    assert_eq!(qdiscs[0].interface, qdiscs[1].interface);
}

#[test]
fn the_packets_of_rules_that_are_alike_never_fall() {
    let rule = Rule {
        family: "ip",
        table: "filter".to_owned(),
        chain: "f2b".to_owned(),
        comment: String::new(),
        verdict: Verdict::Reject,
    };
    let (mut totals, here) = (RuleTotals::default(), Arc::from(""));
    let mut next = |counters: &[(u64, u64)]| {
        let total = totals.total(&here, &rule, counters);
        totals.end_cycle();
        total
    };
    assert_eq!(next(&[(1, 1000), (2, 3), (3, 2)]), 1005, "it begins with what the kernel says");
    assert_eq!(next(&[(1, 1000), (2, 4)]), 1006, "a rule was deleted");
    assert_eq!(next(&[(1, 1000), (2, 4), (7, 5)]), 1011, "one was added");
    assert_eq!(next(&[(1, 2), (2, 4), (7, 5)]), 1013, "one was reset");
    assert_eq!(next(&[]), 1013);
    (0..120).for_each(|_| totals.end_cycle());
    assert_eq!(totals.total(&here, &rule, &[(1, 2)]), 2, "it was gone for long");
}

#[test]
fn rules_that_drop_behind_a_counter_are_read_from_a_recorded_datagram() {
    let mut rules = Rules::default();
    assert_eq!(parse_rules(&bytes("linux-6.18-rules.1.bin"), 1, &mut rules), Ok(Progress::More));
    assert_eq!(rules.left_out, 0);
    let said = |(rule, counters): (&Rule, &Vec<(u64, u64)>)| {
        let Rule { family, table, chain, comment, verdict } = rule;
        let packets: u64 = counters.iter().map(|(_, packets)| packets).sum();
        format!("{family} {table} {chain} {comment:?} {} {packets}", verdict.word())
    };
    assert_eq!(
        rules.packets.iter().map(said).collect::<Vec<_>>(),
        [
            "inet shop in \"\" reject 2",
            "inet shop in \"no games\" drop 1",
            "ip filter INPUT \"by hand\" drop 6",
            "ip filter INPUT \"by hand\" reject 7",
        ]
    );
}

#[test]
fn every_prefix_of_the_datagrams_is_refused_or_read() {
    let datagram = bytes("linux-6.18-qdiscs.1.bin");
    for length in 0..datagram.len() {
        let _whatever = parse_qdiscs(&datagram[..length], 1, &mut Vec::new());
    }
    let datagram = bytes("linux-6.18-rules.1.bin");
    for length in 0..datagram.len() {
        let _whatever = parse_rules(&datagram[..length], 1, &mut Rules::default());
    }
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let said = String::from_utf8_lossy(&noise);
        let _whatever = Counters::default().take_pairs(&said);
        let _whatever = Counters::default().take_lines(&said);
        let _whatever = softnet::parse(&said);
        let _whatever = orphans(&said);
        for driver in DRIVERS {
            sums(driver, noise.as_chunks().0, &[1; 20]);
        }
        for name in ["linux-6.18-qdiscs.1.bin", "linux-6.18-rules.1.bin"] {
            let mut datagram = bytes(name);
            for (place, byte) in &changes {
                let place = place.index(datagram.len());
                datagram[place] = *byte;
            }
            let _whatever = parse_qdiscs(&datagram, 1, &mut Vec::new());
            let _whatever = parse_rules(&datagram, 1, &mut Rules::default());
        }
    }
}
