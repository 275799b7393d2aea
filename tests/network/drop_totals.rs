//! What is pure of drops by reason: keys, names, ports and totals.

use connscope::host::bpf::enums::Enumeration;
use connscope::host::ephemeral::EphemeralPorts;
use connscope::source::network::drops::ports::Ports;
use connscope::source::network::drops::record::{Key, Kind, Transport};
use connscope::source::network::drops::totals::{SERIES, Totals};
use connscope::source::network::drops::words::ReasonNames;
use std::sync::Arc;

fn key(netns: u32, port: u16) -> Key {
    Key { netns, reason: 5, port, kind: Kind::Drop, transport: Transport::Tcp, icmp_type: 0, icmp_code: 0 }
}

fn totals_of(totals: &Totals) -> Vec<(Option<String>, u16, u64)> {
    let series = totals
        .series()
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
    totals.take(key(7, 80), 10, Some(&shop));
    totals.end_cycle();
    // Another namespace has got the inode.
    totals.take(key(7, 80), 13, Some(&cart));
    assert_eq!(totals.news(key(7, 80), 20), 7);
    let expected = [(Some("cart".to_owned()), 80, 3), (Some("shop".to_owned()), 80, 10)];
    assert_eq!(totals_of(&totals), expected);
    totals.take(key(8, 80), 5, Some(&cart));
    assert_eq!(totals_of(&totals)[0].2, 8, "two namespaces of one name are one series");
}

#[test]
fn what_does_not_change_for_a_hundred_cycles_is_forgotten_and_begins_again() {
    let mut totals = Totals::default();
    for cycle in 0..150 {
        totals.take(key(1, 80), 4, None);
        totals.take(key(1, 81), cycle, None);
        let old = totals.end_cycle();
        assert_eq!(old, if cycle < 100 { vec![] } else { vec![key(1, 80)] }, "{cycle}");
    }
    assert_eq!(totals_of(&totals), [(None, 81, 149)]);
    totals.forget(key(1, 80));
    totals.take(key(1, 80), 2, None);
    assert_eq!(totals_of(&totals), [(None, 80, 2), (None, 81, 149)]);
}

#[test]
fn series_over_the_limit_lose_their_port_and_then_are_counted_as_missed() {
    let mut totals = Totals::default();
    for port in 1..=2000 {
        totals.take(key(1, port), 1, None);
    }
    let with_port = SERIES / 4 * 3;
    let all = totals_of(&totals);
    assert_eq!(all.len(), with_port + 1);
    assert_eq!(all[0], (None, 0, 2000 - u64::try_from(with_port).unwrap()));
    for netns in 0..1000_u32 {
        totals.take(key(netns + 2, 0), 3, Some(&netns.to_string().into()));
    }
    assert_eq!(totals_of(&totals).len(), SERIES);
    let left_out = 1000 - (SERIES - with_port - 1);
    assert_eq!(totals.left_out(), 3 * u64::try_from(left_out).unwrap());
    // Those that are known go on, and room is made when they end.
    totals.take(key(1, 1), 5, None);
    assert_eq!(totals_of(&totals)[1], (None, 1, 5));
    for _ in 0..=100 {
        totals.end_cycle();
    }
    totals.take(key(1, 3000), 1, None);
    assert_eq!(totals_of(&totals), [(None, 3000, 1)]);
}
