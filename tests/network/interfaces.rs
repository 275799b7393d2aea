//! What is reported of interfaces: limits of the cloud from the statistics of a driver, which interfaces come first, and
//! which statistics a card has whose driver is not known.

use super::parsers::read as statistics_of;
use connscope::metric::{Label, Value};
use connscope::netlink::{Link, LinkStatistics};
use connscope::reading::Readings;
use connscope::source::network::ask::{Interface, reported};
use connscope::source::network::drivers::{StatisticKind, of_unknown};
use connscope::source::network::interfaces::Interfaces;
use connscope::source::network::labels::{ErrorKind, INTERFACES};
use connscope::source::network::rtnetlink::Qdisc;
use std::collections::BTreeMap;
use std::sync::Arc;

fn interface(numbers: Vec<(StatisticKind, u64)>) -> Interface {
    Interface { index: 2, name: "eth0".into(), driver: Some("ena".to_owned()), numbers, qdiscs: Vec::new() }
}

/// One cycle with this interface: values by metric and the labels beside the interface's name.
fn observed(interfaces: &mut Interfaces, netns: &str, interface: Interface) -> BTreeMap<String, u64> {
    let mut readings = Readings::default();
    interfaces.observe(interface, &netns.into(), &[], &mut readings);
    interfaces.end_cycle();
    let named = readings.iter().map(|reading| {
        let Value::U64(value) = reading.value else { panic!("{:?}", reading.value) };
        let name = |(label, text): &(Label, Arc<str>)| {
            if *label == Label::InterfaceName {
                assert_eq!(&**text, "eth0");
                return None;
            }
            Some(format!(" {}={text}", label.key()))
        };
        let labels: String = reading.labels.iter().filter_map(name).collect();
        (format!("{}{labels}", reading.metric.name), value)
    });
    named.collect()
}

/// The statistics of `ena` with 0 for every limit, as when the driver could not ask the card.
fn failed() -> Vec<(StatisticKind, u64)> {
    let numbers = statistics_of("ena", "ena.txt");
    numbers.into_iter().map(|(kind, number)| (kind, if is_limit(kind) { 0 } else { number })).collect()
}

fn is_limit(kind: StatisticKind) -> bool {
    !matches!(kind, StatisticKind::Error(_))
}

#[test]
fn the_limits_of_the_cloud_are_reported_under_their_names() {
    let all = observed(&mut Interfaces::default(), "", interface(statistics_of("ena", "ena.txt")));
    let expected = [
        ("interface.allowance.exceeded limit=conntrack", 227),
        ("interface.allowance.exceeded limit=linklocal", 229),
        ("interface.allowance.exceeded limit=pps", 233),
        ("interface.allowance.exceeded limit=bandwidth_in", 211),
        ("interface.allowance.exceeded limit=bandwidth_out", 223),
        ("interface.allowance.available limit=conntrack", 136_812),
        ("interface.errors kind=no_memory", 3 + 4 + 5 + 6),
        ("interface.errors kind=timeout", 2),
    ];
    assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn limits_that_the_driver_did_not_get_are_left_out_for_a_cycle() {
    let ena = || interface(statistics_of("ena", "ena.txt"));
    let mut interfaces = Interfaces::default();
    let whole = observed(&mut interfaces, "", ena());
    let mut errors = whole.clone();
    errors.retain(|name, _| name.starts_with("interface.errors"));
    for _ in 0..20 {
        assert_eq!(observed(&mut interfaces, "", interface(failed())), errors, "however often it fails");
    }
    assert_eq!(observed(&mut interfaces, "", ena()), whole);
    // So also at the start of the agent: at no connections left, some would have been exceeded.
    assert_eq!(observed(&mut Interfaces::default(), "", interface(failed())), errors);
}

#[test]
fn limits_that_were_never_exceeded_are_0_where_the_driver_does_not_say_what_is_left() {
    // Older drivers do not say it.
    let old = |numbers: Vec<(StatisticKind, u64)>| {
        let mut numbers = numbers;
        numbers.retain(|(kind, _)| !matches!(kind, StatisticKind::Available(_)));
        interface(numbers)
    };
    let mut interfaces = Interfaces::default();
    let limits = |all: &BTreeMap<String, u64>| {
        all.iter()
            .filter(|(name, _)| name.starts_with("interface.allowance"))
            .map(|(_, value)| *value)
            .collect()
    };
    let none: Vec<u64> = limits(&observed(&mut interfaces, "", old(failed())));
    assert_eq!(none, [0; 5]);
    let some: Vec<u64> = limits(&observed(&mut interfaces, "", old(statistics_of("ena", "ena.txt"))));
    assert_eq!(some, [211, 223, 227, 229, 233]);
    let gone: Vec<u64> = limits(&observed(&mut interfaces, "", old(failed())));
    assert!(gone.is_empty(), "{gone:?}");
    let elsewhere: Vec<u64> = limits(&observed(&mut interfaces, "blue", old(failed())));
    assert_eq!(elsewhere, [0; 5], "of another network namespace");
    // A card that was gone for long may be another one.
    (0..11).for_each(|_| interfaces.end_cycle());
    let other: Vec<u64> = limits(&observed(&mut interfaces, "", old(failed())));
    assert_eq!(other, [0; 5]);
}

#[test]
fn a_known_card_that_does_not_count_what_it_missed_does_not_say_0() {
    let missed = StatisticKind::Error(ErrorKind::Missed);
    for (driver, file) in [
        ("ena", "ena.txt"),
        ("hv_netvsc", "hv_netvsc.txt"),
        ("mana", "mana.txt"),
        ("virtio_net", "virtio_net-5.15.txt"),
    ] {
        let numbers = statistics_of(driver, file);
        assert!(!numbers.iter().any(|(kind, _)| *kind == missed), "{driver}: {numbers:?}");
    }
    assert_eq!(of_unknown(Some(5)), [(missed, 5)]);
    assert!(of_unknown(None).is_empty());
}

fn link(index: u32, software: bool) -> Link {
    let statistics = Some(LinkStatistics::default());
    Link { index, name: format!("l{index}").into_bytes(), software, statistics, ..Link::default() }
}

fn qdisc(interface: u32, kind: &str) -> Qdisc {
    Qdisc { interface, kind: kind.into(), parent: 0xffff_ffff, drops: 1 }
}

#[test]
fn over_the_limit_cards_come_first_and_the_rest_is_counted() {
    let veths = u32::try_from(INTERFACES).unwrap() + 20;
    let mut links: Vec<Link> = (1..=veths).map(|index| link(index, true)).collect();
    links.extend([link(1000, false), Link { loopback: true, ..link(1001, false) }, link(1002, false)]);
    // Every second has a queue, the loopback has none, and one has two.
    let mut qdiscs: Vec<Qdisc> =
        (1..=veths).filter(|index| index % 2 == 0).map(|index| qdisc(index, "tbf")).collect();
    qdiscs.extend([qdisc(2, "clsact"), qdisc(1002, "mq")]);
    let (few, left_out) = reported(links.clone(), qdiscs.clone());
    assert_eq!((few.len(), left_out), (2 + INTERFACES / 2 + 10, 0));
    let of: Vec<(u32, usize)> = few.iter().take(3).map(|(link, own)| (link.index, own.len())).collect();
    assert_eq!(of, [(1000, 0), (1002, 1), (2, 2)]);
    qdiscs.extend((1..=veths).filter(|index| index % 2 == 1).map(|index| qdisc(index, "tbf")));
    let (many, left_out) = reported(links, qdiscs);
    assert_eq!((many.len(), left_out), (INTERFACES, 22));
    assert!(many[..2].iter().all(|(link, _)| link.is_card()) && !many[2].0.is_card());
}
