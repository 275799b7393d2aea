//! What is ranked: ports of source NAT, filled for real, and the sources, destinations, ports and pairs with the most entries.

use super::entries::{label, number, of, read, settings};
use super::traffic::{self, RANGE, Traffic};
use crate::support::Namespace;
use connscope::metric::Label;
use connscope::reading::Readings;
use connscope::source::conntrack::entries::config::TopBy;
use connscope::source::conntrack::entries::dump::read_ranges;
use connscope::source::conntrack::entries::ranges::{Range, Ranges};
use connscope::source::conntrack::entries::sketch::Sketch;
use connscope::stop::Stop;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::UdpSocket;

/// Datagrams to a port, each from a port of its own; how many the kernel refused.
fn fill(namespace: &Namespace, port: u16, count: usize) -> usize {
    namespace.inside(|| {
        let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let refused = |socket: &&UdpSocket| {
            let sent = socket.send_to(b"x", ("127.0.0.66", port));
            sent.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
        };
        sockets.iter().filter(refused).count()
    })
}

/// The ports of source NAT: `protocol source destination port`, with usage and limit.
fn ports(readings: &Readings) -> BTreeMap<String, (f64, f64)> {
    let keys = [Label::Transport, Label::SourceAddress, Label::DestinationAddress, Label::DestinationPort];
    let values = |metric| {
        of(readings, metric)
            .into_iter()
            .map(|reading| (keys.map(|key| label(reading, key)).join(" "), number(reading)))
            .collect::<BTreeMap<_, _>>()
    };
    let limits = values("conntrack.snat.ports.limit");
    let usage = values("conntrack.snat.ports.usage");
    assert!(usage.keys().eq(limits.keys()), "{usage:?} {limits:?}");
    usage.into_iter().map(|(key, usage)| (key.clone(), (usage, limits[&key]))).collect()
}

#[test]
fn the_ports_of_a_translated_address_run_out_and_it_is_seen() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let range = usize::from(RANGE.1 - RANGE.0 + 1);
    let key = "udp 127.0.0.9 127.0.0.66 9000";
    assert_eq!(fill(&namespace, 9000, range / 2), 0);
    assert_eq!(ports(&read(&namespace, &settings(|_| {})))[key], (32.0, 64.0));
    // More than there are ports: the kernel tries, and drops what finds none. A few may have the port of a socket before.
    assert!(fill(&namespace, 9000, 2 * range) >= range / 2);
    let readings = read(&namespace, &settings(|_| {}));
    assert_eq!(ports(&readings)[key], (64.0, 64.0));
    let listed = namespace.run("conntrack", &["-L", "-p", "udp", "--reply-dst", "127.0.0.9"]);
    assert_eq!(listed.lines().count(), 64, "{listed}");
    let snat = of(&readings, "conntrack.entries.top.error");
    assert_eq!(snat.len(), 1);
    assert_eq!((label(snat[0], Label::Kind), number(snat[0])), ("snat", 0.0));
}

#[test]
fn each_destination_has_the_ports_for_itself_and_the_worst_is_reported() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    namespace.run("nft", &["add rule ip nat post udp dport { 9010, 9011 } snat to 127.0.0.9"]);
    namespace.run("nft", &["add rule ip nat post udp dport 9012 snat to 127.0.0.10"]);
    for (port, count) in [(9000, 10), (9010, 30), (9011, 20), (9012, 1)] {
        assert_eq!(fill(&namespace, port, count), 0);
    }
    // 10 of 64 ports are a larger part than 30 of 64512.
    let all = ports(&read(&namespace, &settings(|_| {})));
    let expected = [
        ("udp 127.0.0.10 127.0.0.66 9012".to_owned(), (1.0, 64_512.0)),
        ("udp 127.0.0.9 127.0.0.66 9000".to_owned(), (10.0, 64.0)),
    ];
    assert_eq!(all, expected.clone().into());
    let worst = ports(&read(&namespace, &settings(|entries| entries.top = 1)));
    assert_eq!(worst, [expected[1].clone()].into());
}

#[test]
fn ranges_are_read_from_the_rules_of_nftables_and_iptables() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    for rule in [
        "add rule ip nat post udp dport 1 masquerade to :41000-41999",
        "add rule ip nat post udp dport 2 snat to 192.0.2.1-192.0.2.9:100",
        "add rule ip nat post udp dport 3 snat to 192.0.2.1",
        "add rule ip nat out udp dport 4 dnat to 192.0.2.1:200-300",
        "add table ip6 nat",
        "add chain ip6 nat post { type nat hook postrouting priority 100; }",
        "add rule ip6 nat post udp dport 5 snat to [2001:db8::1]:2000-2999",
    ] {
        namespace.run("nft", &[rule]);
    }
    let add = |target: &str| {
        let arguments = format!("-t nat -A POSTROUTING -p udp --dport 6 -j {target}");
        namespace.run("iptables", &arguments.split(' ').collect::<Vec<_>>());
    };
    add("SNAT --to-source 192.0.2.7-192.0.2.8:50000-50009");
    add("MASQUERADE --to-ports 51000-51999");
    add("MASQUERADE");
    namespace.run("nft", &["add rule ip nat post tcp dport 7 masquerade to :42000-42009"]);
    namespace.run(
        "nft",
        &["add rule ip nat post udp dport 8 snat to ip saddr . udp sport map { 10.0.0.1 . 1 : 192.0.2.3 . 2000 }"],
    );
    let udp = |addresses: Option<(&str, &str)>, ports| Range {
        addresses: addresses.map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap())),
        ports,
        protocol: Some(17),
    };
    let expected = [
        udp(Some(("127.0.0.9", "127.0.0.9")), RANGE),
        udp(None, (41_000, 41_999)),
        udp(Some(("192.0.2.1", "192.0.2.9")), (100, 100)),
        udp(Some(("2001:db8::1", "2001:db8::1")), (2000, 2999)),
        udp(Some(("192.0.2.7", "192.0.2.8")), (50_000, 50_009)),
        udp(None, (51_000, 51_999)),
        Range { addresses: None, ports: (42_000, 42_009), protocol: Some(6) },
    ];
    let (found, why) = namespace.inside(read_ranges);
    assert_eq!(found.unknown(), 1, "that of the map: {found:#?}");
    assert!(why.as_deref().is_some_and(|why| why.contains("1 rules have theirs in a map")), "{why:?}");
    for range in &expected {
        assert!(found.all().contains(range), "{range:?} is not in {found:#?}");
    }
    assert_eq!(found.all().len(), expected.len(), "{found:#?}");
    let of = |address: &str, port| found.of(address.parse().unwrap(), port, 17);
    assert_eq!(of("192.0.2.8", 50_003), (50_000, 50_009));
    assert_eq!(of("192.0.2.9", 50_003), (1024, 65_535));
    assert_eq!(of("198.51.100.1", 41_500), (41_000, 41_999));
    assert_eq!(of("198.51.100.1", 42_005), (1024, 65_535), "the rule is for TCP");
    assert_eq!(found.of("198.51.100.1".parse().unwrap(), 42_005, 6), (42_000, 42_009));
}

#[test]
fn without_a_range_the_kernel_keeps_to_the_class_of_the_port() {
    let of = |port, protocol| Ranges::default().of("192.0.2.1".parse().unwrap(), port, protocol);
    assert_eq!([of(80, 6), of(700, 17), of(5000, 6)], [(1, 511), (600, 1023), (1024, 65_535)]);
    assert_eq!(of(80, 1), (0, 65_535));
}

#[test]
fn what_has_the_most_entries_is_ranked_as_conntrack_lists_it() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let kept = Traffic::everything(&namespace);
    assert_eq!(fill(&namespace, 9100, 40), 0);
    let by = vec![TopBy::Source, TopBy::Destination, TopBy::Port, TopBy::Pair];
    let all = settings(|entries| {
        entries.top_by = by;
        entries.top = 3;
    });
    let readings = read(&namespace, &all);
    let script = "{ for (i = 4; i <= NF; i++) { split($i, p, \"=\"); if (p[1] == k) { print p[2]; next } } }";
    let listed = |key: &str, value: &str| -> f64 {
        let command = format!(
            "(conntrack -L -f ipv4; conntrack -L -f ipv6) 2>/dev/null | awk -v k={key} '{script}' | grep -cx '{value}'"
        );
        namespace.run("sh", &["-c", &command]).trim().parse().unwrap()
    };
    for (metric, key, kind) in [
        ("conntrack.entries.top.sources", "src", Label::SourceAddress),
        ("conntrack.entries.top.destinations", "dst", Label::DestinationAddress),
        ("conntrack.entries.top.ports", "dport", Label::DestinationPort),
    ] {
        let ranked = of(&readings, metric);
        assert!((2..=3).contains(&ranked.len()), "{metric} {ranked:?}");
        assert!(ranked.windows(2).all(|pair| number(pair[0]) >= number(pair[1])), "{metric} {ranked:?}");
        for reading in ranked {
            assert_eq!(number(reading), listed(key, label(reading, kind)), "{metric} {reading:?}");
        }
    }
    let port = of(&readings, "conntrack.entries.top.ports")[0];
    assert_eq!((label(port, Label::Transport), label(port, Label::DestinationPort)), ("udp", "9100"));
    let pair = of(&readings, "conntrack.entries.top.pairs")[0];
    let ends = (label(pair, Label::SourceAddress), label(pair, Label::DestinationAddress));
    assert_eq!(ends, ("127.0.0.1", "127.0.0.66"));
    let none = read(&namespace, &settings(|_| {}));
    assert!(!none.iter().any(|reading| reading.metric.name.starts_with("conntrack.entries.top.s")));
    drop(kept);
}

proptest! {
    #[test]
    fn a_sketch_is_never_too_high_and_too_low_by_its_error_at_most(
        things in prop::collection::vec((0u16..300, 1u64..4), 0..3000),
        most in 2usize..80,
    ) {
        let mut sketch = Sketch::with_counters(most);
        let mut exact: BTreeMap<u16, u64> = BTreeMap::new();
        for (thing, weight) in &things {
            // Every second time one of a few, so that some are frequent.
            let thing = if weight % 2 == 0 { thing % 5 } else { *thing };
            sketch.add(thing, *weight);
            *exact.entry(thing).or_default() += weight;
        }
        let counts: BTreeMap<u16, u64> =
            sketch.counts().into_iter().map(|(thing, count)| (thing, count.weight)).collect();
        prop_assert!(counts.len() <= most);
        for (thing, exact) in &exact {
            let count = counts.get(thing).copied().unwrap_or_default();
            prop_assert!(count <= *exact && exact - count <= sketch.error());
        }
        let sum: u64 = exact.values().sum();
        prop_assert!(sketch.error() <= 2 * sum / most as u64, "{} of {sum} with {most}", sketch.error());
        prop_assert!(exact.len() > most || sketch.error() == 0);
    }
}

#[test]
fn ranges_that_are_not_known_are_said_by_the_check() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::rules(&namespace);
    let stop = Stop::new().unwrap();
    let detail = || {
        let settings = settings(|_| {});
        namespace.inside(|| connscope::source::conntrack::entries::check(&settings, &stop)).unwrap().detail
    };
    assert_eq!(fill(&namespace, 9000, 3), 0);
    assert!(!detail().contains("range"), "{}", detail());
    namespace.run(
        "nft",
        &["add rule ip nat post udp dport 8 snat to ip saddr . udp sport map { 10.0.0.1 . 1 : 192.0.2.3 . 2000 }"],
    );
    assert!(detail().contains("not every range of source NAT is known: 1 rules"), "{}", detail());
}
