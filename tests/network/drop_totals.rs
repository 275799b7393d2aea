//! What is pure of drops by reason: keys, names, ports and totals.

use connscope::host::bpf::enums::Enumeration;
use connscope::host::ephemeral::EphemeralPorts;
use connscope::reading::Readers;
use connscope::source::network::drops::ports::Ports;
use connscope::source::network::drops::record::{Key, Kind, Transport};
use connscope::source::network::drops::totals::{Counted, SERIES, Totals};
use connscope::source::network::drops::words::ReasonNames;
use std::sync::Arc;

/// Keys with a port that may stay in the kernel.
const ROOM: usize = 1536;

fn key(netns: u32, port: u16) -> Key {
    Key { netns, reason: 5, port, kind: Kind::Drop, transport: Transport::Tcp, icmp_type: 0, icmp_code: 0 }
}

fn take(totals: &mut Totals, key: Key, packets: u64, netns: Option<&Arc<str>>) {
    totals.take([Counted { key, packets, netns: netns.cloned() }]);
}

fn totals_of(totals: &mut Totals) -> Vec<(Option<String>, u16, u64)> {
    // Every series has told its first point.
    totals.series(Readers::default()).for_each(drop);
    let series = totals
        .series(Readers::default())
        .map(|(series, packets)| (series.netns.as_ref().map(ToString::to_string), series.port, packets));
    let mut all: Vec<_> = series.collect();
    all.sort();
    all
}

#[test]
fn a_key_is_what_the_program_writes() {
    let bytes = [1, 0, 0, 0xf0, 3, 0x80, 0x38, 0x15, 0, 17, 3, 4];
    let key = Key::parse(&bytes).unwrap();
    let expected = Key {
        netns: 0xf000_0001,
        reason: 0x8003,
        port: 5432,
        kind: Kind::Drop,
        transport: Transport::Udp,
        icmp_type: 3,
        icmp_code: 4,
    };
    assert_eq!((key, key.bytes()), (expected, bytes));
    assert_eq!(Key::parse(&[0xff; 12]), None);
}

#[test]
fn reasons_have_the_kernels_names_without_their_prefix() {
    let values = |values: &[(u32, &str)]| -> Enumeration {
        values.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    };
    let drops = values(&[
        (0, "SKB_NOT_DROPPED_YET"),
        (2, "SKB_DROP_REASON_NOT_SPECIFIED"),
        (3, "SKB_DROP_REASON_NO_SOCKET"),
        (0x000f_ffff, "SKB_DROP_REASON_SUBSYS_MASK"),
    ]);
    let subsystems = values(&[(3, "SKB_DROP_REASON_SUBSYS_OPENVSWITCH")]);
    let words = ReasonNames::new(&drops, &subsystems, &Enumeration::new());
    assert_eq!(words.not_specified(), Some(2));
    assert_eq!(&*words.drop(3), "NO_SOCKET");
    assert_eq!(&*words.drop(0x8003), "OPENVSWITCH");
    assert_eq!(&*words.drop(999), "999", "a number that the kernel does not name");
    assert_eq!(words.reset(0), None);
    assert_eq!(ReasonNames::default().not_specified(), None);
}

#[test]
fn ports_that_are_not_ephemeral_or_are_listened_on_are_told_apart() {
    let range = EphemeralPorts::parse("32768 60999").unwrap();
    let ports = Ports::new(range, [40_000]);
    let told =
        [0, 1, 32_767, 32_768, 40_000, 40_001, 60_999, 61_000, 65_535].map(|port| ports.contains(port));
    assert_eq!(told, [false, true, true, false, true, false, false, true, true]);
    let more = Ports::new(range, [40_000, 40_001]);
    assert_eq!(more.changed(&ports).collect::<Vec<_>>(), [(625, 3)]);
    assert_eq!(ports.changed(&ports).count(), 0);
}

#[test]
fn what_is_new_goes_to_the_name_that_the_namespace_has_now() {
    let mut totals = Totals::default();
    let (shop, cart) = (Arc::from("shop"), Arc::from("cart"));
    take(&mut totals, key(7, 80), 10, Some(&shop));
    totals.end_cycle(ROOM);
    // Another namespace has got the inode.
    take(&mut totals, key(7, 80), 13, Some(&cart));
    assert_eq!(totals.news(key(7, 80), 20), 7);
    let expected = [(Some("cart".to_owned()), 80, 3), (Some("shop".to_owned()), 80, 10)];
    assert_eq!(totals_of(&mut totals), expected);
    take(&mut totals, key(8, 80), 5, Some(&cart));
    assert_eq!(totals_of(&mut totals)[0].2, 8, "two namespaces of one name are one series");
}

#[test]
fn what_does_not_change_for_a_hundred_cycles_is_forgotten_and_begins_again() {
    let mut totals = Totals::default();
    for cycle in 0..150 {
        take(&mut totals, key(1, 80), 4, None);
        take(&mut totals, key(1, 81), cycle, None);
        let old = totals.end_cycle(ROOM);
        assert_eq!(old, if cycle < 100 { vec![] } else { vec![key(1, 80)] }, "{cycle}");
    }
    assert_eq!(totals_of(&mut totals), [(None, 81, 149)]);
    totals.forget(key(1, 80));
    take(&mut totals, key(1, 80), 2, None);
    assert_eq!(totals_of(&mut totals), [(None, 80, 2), (None, 81, 149)]);
}

#[test]
fn series_over_the_limit_lose_their_port_and_then_are_counted_as_missed() {
    let mut totals = Totals::default();
    for port in 1..=2000 {
        take(&mut totals, key(1, port), 1, None);
    }
    let with_port = SERIES / 4 * 3;
    let all = totals_of(&mut totals);
    assert_eq!(all.len(), with_port + 1);
    assert_eq!(all[0], (None, 0, 2000 - u64::try_from(with_port).unwrap()));
    for netns in 0..1000_u32 {
        take(&mut totals, key(netns + 2, 0), 3, Some(&netns.to_string().into()));
    }
    assert_eq!(totals_of(&mut totals).len(), SERIES);
    let left_out = 1000 - (SERIES - with_port - 1);
    assert_eq!(totals.left_out(), 3 * u64::try_from(left_out).unwrap());
    // Those that are known go on, and room is made when they end.
    take(&mut totals, key(1, 1), 5, None);
    assert_eq!(totals_of(&mut totals)[1], (None, 1, 5));
    for _ in 0..=100 {
        totals.end_cycle(ROOM);
    }
    take(&mut totals, key(1, 3000), 1, None);
    assert_eq!(totals_of(&mut totals), [(None, 3000, 1)]);
}

/// A scan: so many ports from here, each with this many packets.
fn scan(totals: &mut Totals, ports: std::ops::Range<u16>, packets: u64) {
    let counted = ports.map(|port| Counted { key: key(1, port), packets, netns: None });
    totals.take(counted.collect::<Vec<_>>());
}

fn of_port(totals: &mut Totals, port: u16) -> Option<u64> {
    totals_of(totals).into_iter().find(|(_, known, _)| *known == port).map(|(_, _, packets)| packets)
}

#[test]
fn a_scan_does_not_take_the_ports_from_what_comes_after_it_nor_from_what_was_there() {
    let mut totals = Totals::default();
    take(&mut totals, key(1, 5432), 100, None);
    totals.end_cycle(ROOM);
    scan(&mut totals, 10_000..13_000, 2);
    totals.end_cycle(ROOM);
    assert_eq!(of_port(&mut totals, 5432), Some(100));
    // It has stopped; a port with fewer packets takes no place, and counts where ports have none.
    let mut rest = 3000 * 2 - 767 * 2;
    take(&mut totals, key(1, 443), 1, None);
    totals.end_cycle(ROOM);
    rest += 1;
    assert_eq!((of_port(&mut totals, 443), of_port(&mut totals, 0)), (None, Some(rest)));
    // As soon as it has as many it has its own series, which has what came since.
    take(&mut totals, key(1, 443), 2, None);
    take(&mut totals, key(1, 444), 50, None);
    totals.end_cycle(ROOM);
    assert_eq!((of_port(&mut totals, 443), of_port(&mut totals, 444)), (Some(1), Some(50)));
    // Another scan takes the places of the one before, and not those of others that stopped.
    scan(&mut totals, 20_000..23_000, 2);
    totals.end_cycle(ROOM);
    let all = totals_of(&mut totals);
    assert_eq!([443, 444, 5432].map(|port| of_port(&mut totals, port)), [None, Some(50), Some(100)]);
    assert!(all.iter().all(|(_, port, _)| !(10_000..13_000).contains(port)), "{all:?}");
    assert_eq!(all.len(), 769);
    assert_eq!(totals.left_out(), 0);
}

#[test]
fn while_a_scan_goes_on_the_port_with_most_packets_has_its_series() {
    let mut totals = Totals::default();
    scan(&mut totals, 10_000..13_000, 1);
    totals.end_cycle(ROOM);
    // All that came in one cycle, the scan first.
    let mut counted: Vec<Counted> =
        (13_000..16_000).map(|port| Counted { key: key(1, port), packets: 1, netns: None }).collect();
    counted.push(Counted { key: key(1, 5432), packets: 40, netns: None });
    totals.take(counted);
    assert_eq!(of_port(&mut totals, 5432), Some(40));
    // What grows keeps its place, however little it has.
    for turn in 0..20_u16 {
        totals.end_cycle(ROOM);
        let mut counted = vec![Counted { key: key(1, 5432), packets: 41 + u64::from(turn), netns: None }];
        let from = 16_000 + 2000 * turn;
        counted.extend((from..from + 2000).map(|port| Counted {
            key: key(1, port),
            packets: 99,
            netns: None,
        }));
        totals.take(counted);
    }
    assert_eq!(of_port(&mut totals, 5432), Some(60));
}

#[test]
fn counters_never_fall_and_no_packet_is_counted_twice_while_ports_come_and_go() {
    let mut totals = Totals::default();
    let (mut last, mut sent) = (std::collections::BTreeMap::new(), 0);
    let mut ended = 0;
    for turn in 0..200_u64 {
        let from = u16::try_from(turn % 7 * 900).unwrap();
        let counted: Vec<Counted> = (from..from + 900)
            .map(|port| Counted { key: key(1, port), packets: turn / 7 + 1, netns: None })
            .collect();
        sent += counted.iter().map(|one| totals.news(one.key, one.packets)).sum::<u64>();
        totals.take(counted);
        for key in totals.end_cycle(ROOM) {
            totals.forget(key);
        }
        let now: std::collections::BTreeMap<u16, u64> =
            totals_of(&mut totals).into_iter().map(|(_, port, packets)| (port, packets)).collect();
        // A series that ended took its packets with it.
        ended +=
            last.iter().filter(|(port, _)| !now.contains_key(port)).map(|(_, packets)| packets).sum::<u64>();
        for (port, packets) in &last {
            assert!(now.get(port).is_none_or(|more| more >= packets), "{port} in {turn}");
        }
        last = now;
        assert_eq!(last.values().sum::<u64>() + ended + totals.left_out(), sent, "{turn}");
    }
}

#[test]
fn keys_of_a_scan_leave_the_kernel_at_once_where_there_are_many() {
    let mut totals = Totals::default();
    take(&mut totals, key(1, 5432), 9, None);
    scan(&mut totals, 10_000..12_000, 1);
    assert_eq!(totals.end_cycle(ROOM), [], "all of them have just changed");
    take(&mut totals, key(1, 5432), 10, None);
    take(&mut totals, key(1, 443), 1, None);
    take(&mut totals, key(1, 0), 1, None);
    let left: Vec<Key> = totals.end_cycle(ROOM);
    assert_eq!(left.len(), 2002 - ROOM);
    assert!(left.iter().all(|key| key.port >= 10_000), "{left:?}");
    for key in left {
        totals.forget(key);
    }
    assert_eq!(totals.end_cycle(ROOM), []);
}

#[test]
fn a_series_begins_with_a_point_of_0_for_each_reader() {
    use connscope::reading::first::ReaderKind::{Otlp, Prometheus};
    let mut totals = Totals::default();
    let all = Readers::of([Otlp, Prometheus]);
    let told = |totals: &mut Totals, kind| {
        totals.series(all.asks(kind, false)).map(|(_, packets)| packets).collect::<Vec<u64>>()
    };
    take(&mut totals, key(1, 5432), 9, None);
    assert_eq!([Otlp, Otlp, Prometheus, Prometheus].map(|kind| told(&mut totals, kind)[0]), [0, 9, 0, 9]);
    take(&mut totals, key(1, 5432), 12, None);
    assert_eq!([Otlp, Prometheus].map(|kind| told(&mut totals, kind)[0]), [12, 12]);
}
