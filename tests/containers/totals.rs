//! What becomes of destinations: shown, put together, left out, renamed, forgotten.

use connscope::source::containers::destinations::{
    DestinationShares, Folding, ReportedDestination, ReportedEndpoint,
};
use connscope::source::containers::kernel::records::{Destination, Totals};
use connscope::source::containers::listen::{Listening, expand};
use connscope::source::containers::tcp::{CONNECT_TIMES, Tcp, bucket};
use connscope::source::containers::translate::Rule;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn folding() -> Folding {
    Folding { public: true, networks: vec!["203.0.113.0/24".parse().unwrap()], ports: Some(32_768..=60_999) }
}

fn one(number: u8) -> Destination {
    let requested = SocketAddr::from(([10, 0, 0, number], 80));
    Destination { group: 7, requested, actual: requested }
}

fn opened(count: u32) -> Totals {
    Totals { opened: count, open: count, ..Totals::default() }
}

#[test]
fn public_addresses_are_one_destination_unless_their_network_is_listed() {
    let shown = |text: &str| folding().fold(at(text), at(text)).requested;
    assert_eq!(shown("8.8.8.8:53"), ReportedEndpoint::Public);
    assert_eq!(shown("[2001:db8::1]:53"), ReportedEndpoint::Public);
    assert_eq!(shown("203.0.113.9:443"), ReportedEndpoint::At(at("203.0.113.9:443")));
    assert_eq!(shown("10.0.0.1:80"), ReportedEndpoint::At(at("10.0.0.1:80")));
    assert_eq!(shown("100.64.0.1:80"), ReportedEndpoint::At(at("100.64.0.1:80")));
    assert_eq!(shown("[fd00::1]:80"), ReportedEndpoint::At(at("[fd00::1]:80")));
    assert_eq!(shown("10.0.0.1:40000"), ReportedEndpoint::Ephemeral(at("10.0.0.1:0").ip()));
    let each = Folding { public: false, networks: Vec::new(), ports: None };
    assert_eq!(
        each.fold(at("8.8.8.8:53"), at("8.8.8.8:40000")).actual,
        ReportedEndpoint::At(at("8.8.8.8:40000"))
    );
}

#[test]
fn destinations_are_written_as_coroot_node_agent_writes_them() {
    let text = |shown: ReportedEndpoint| shown.text().to_string();
    assert_eq!(text(ReportedEndpoint::At(at("[fd00::1]:80"))), "[fd00::1]:80");
    assert_eq!(text(ReportedEndpoint::At(at("1.2.3.4:80"))), "1.2.3.4:80");
    assert_eq!(text(ReportedEndpoint::Ephemeral("fd00::1".parse().unwrap())), "[fd00::1]:~ephemeral");
    assert_eq!(text(ReportedEndpoint::Other), "~other");
}

#[test]
fn one_that_goes_over_a_network_leaves_room_for_the_others() {
    let mut shares = DestinationShares::new(1000, 1000);
    let scan = (0..20_000).filter(|_| shares.admit(1)).count();
    assert_eq!(scan, 500, "half of the room");
    assert_eq!((0..50).filter(|_| shares.admit(2)).count(), 50);
    let mut few = DestinationShares::new(100, 1000);
    assert_eq!((0..500).filter(|_| few.admit(1)).count(), 100);
    few.leave(1);
    assert!(few.admit(1) && !few.admit(1));
    assert_eq!(few.used(), 100);
}

#[test]
fn what_finds_no_room_is_counted_as_other_and_nothing_is_lost() {
    let now = Instant::now();
    let mut tcp = Tcp::new(folding(), DestinationShares::new(2, 100));
    for number in 0..5 {
        tcp.take(1, &one(number), &opened(3), now);
        tcp.take(1, &one(number), &opened(4), now);
    }
    assert_eq!(tcp.iter().map(|(_, _, counts)| counts.opened).sum::<u64>(), 20);
    let other = tcp.iter().find(|(_, place, _)| *place == ReportedDestination::OTHER).unwrap();
    assert_eq!((other.2.opened, other.2.open()), (12, 12));
    assert_eq!((tcp.destinations(), tcp.left_out), (2, 12));
    tcp.take_rest(1, 7, &opened(5), now);
    assert_eq!(tcp.iter().map(|(_, _, counts)| counts.opened).sum::<u64>(), 25);
}

#[test]
fn a_record_is_counted_when_it_has_changed_and_looked_at_again_for_another_container_or_a_removed_series() {
    let (now, retention) = (Instant::now(), Duration::from_mins(5));
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    let key = one(1).bytes();
    let value = |opened: u8| std::array::from_fn(|place| if place == 0 { opened } else { 0 });
    let counts = |tcp: &Tcp| {
        let mut all: Vec<_> = tcp.iter().map(|(who, _, counts)| (who, counts.opened)).collect();
        all.sort_unstable();
        all
    };
    for (opened, counted) in [(3, 3), (3, 3), (5, 5), (5, 5), (4, 4_294_967_300)] {
        tcp.take_record(1, &key, &value(opened), now);
        assert_eq!(counts(&tcp), [(1, counted)], "{opened}");
    }
    tcp.take_record(2, &key, &value(4), now);
    assert_eq!(counts(&tcp).len(), 2, "it is another container's");
    tcp.idle(retention, now + retention);
    assert_eq!(counts(&tcp), []);
    tcp.take_record(2, &key, &value(4), now + retention);
    assert_eq!(counts(&tcp), [(2, 0)], "its series begins again");
}

#[test]
fn connections_counted_on_both_sides_add_up() {
    let now = Instant::now();
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    // The agent counts the opening, and the kernel the end.
    tcp.add(1, &one(1), &opened(1), now);
    tcp.take(1, &one(1), &Totals { closed: 1, open: u32::MAX, ..Totals::default() }, now);
    let (_, _, counts) = tcp.iter().next().unwrap();
    assert_eq!((counts.opened, counts.closed, counts.open()), (1, 1, 0));
}

#[test]
fn idle_destinations_are_forgotten_and_open_ones_are_not() {
    let (now, retention) = (Instant::now(), Duration::from_mins(5));
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    tcp.take(1, &one(1), &opened(1), now);
    tcp.take(1, &one(2), &Totals { opened: 1, closed: 1, ..Totals::default() }, now);
    assert_eq!(tcp.idle(retention, now), Vec::new());
    let later = now + retention;
    tcp.take(1, &one(1), &opened(1), later);
    tcp.take(1, &one(2), &Totals { opened: 1, closed: 1, ..Totals::default() }, later);
    assert_eq!(tcp.idle(retention, later), [one(2)]);
    assert_eq!((tcp.iter().count(), tcp.destinations()), (1, 1));
}

#[test]
fn what_happens_while_an_idle_destination_is_forgotten_is_counted() {
    let (now, retention) = (Instant::now(), Duration::from_mins(5));
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    let one_ended = Totals { opened: 1, closed: 1, ..Totals::default() };
    tcp.take(1, &one(1), &one_ended, now);
    let later = now + retention;
    assert_eq!(tcp.idle(retention, later), [one(1)]);
    // Another was opened since it was read; the next entry of the kernel begins at 0, and has its end.
    tcp.forget(&one(1), Some(Totals { opened: 2, closed: 1, open: 1, ..Totals::default() }), later);
    tcp.take(1, &one(1), &Totals { closed: 1, open: u32::MAX, ..Totals::default() }, later);
    let (_, _, counts) = tcp.iter().next().unwrap();
    assert_eq!((counts.opened, counts.closed, counts.open()), (1, 1, 0), "its series began again");
}

#[test]
fn what_the_agent_counts_by_itself_is_kept_for_no_more_destinations_than_the_kernel_has() {
    let (now, retention) = (Instant::now(), Duration::from_mins(5));
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    let ended = Totals { opened: 1, closed: 1, ..Totals::default() };
    for number in 0..2000_u32 {
        let requested = SocketAddr::from(((0x0800_0000 + number).to_be_bytes(), 80));
        tcp.add(1, &Destination { group: 7, requested, actual: requested }, &ended, now);
    }
    let opened =
        |place| tcp.iter().find(|(_, at, _)| (*at == ReportedDestination::OTHER) == place).unwrap().2.opened;
    assert_eq!((opened(false), opened(true), tcp.left_out), (1024, 976, 976));
    assert_eq!(tcp.idle(retention, now + retention).len(), 1024);
}

#[test]
fn a_group_is_used_while_it_has_destinations_or_open_connections() {
    let (now, retention) = (Instant::now(), Duration::from_mins(5));
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    tcp.take(1, &one(1), &Totals { opened: 1, closed: 1, ..Totals::default() }, now);
    tcp.take_rest(1, 8, &opened(1), now);
    tcp.take_rest(1, 9, &Totals { opened: 1, closed: 1, ..Totals::default() }, now);
    assert_eq!(tcp.groups(), HashSet::from([7, 8]));
    assert_eq!(tcp.idle(retention, now + retention), [one(1)]);
    tcp.forget(&one(1), None, now);
    assert_eq!(tcp.groups(), HashSet::from([8]));
    tcp.forget_group(8);
    assert_eq!(tcp.groups(), HashSet::new());
}

#[test]
fn counts_go_to_whoever_a_container_turned_out_to_be() {
    let now = Instant::now();
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    tcp.take(1, &one(1), &opened(2), now);
    tcp.add(2, &one(1), &opened(3), now);
    tcp.rename(|number| (number == 1).then_some(2).or(Some(number)));
    let all: Vec<(u64, u64)> = tcp.iter().map(|(who, _, counts)| (who, counts.opened)).collect();
    assert_eq!(all, [(2, 5)]);
    tcp.rename(|_| None);
    assert_eq!((tcp.iter().count(), tcp.destinations()), (0, 0));
}

#[test]
fn what_is_open_goes_with_a_container_that_is_renamed() {
    let now = Instant::now();
    let mut tcp = Tcp::new(folding(), DestinationShares::new(10, 10));
    tcp.take(1, &one(1), &opened(3), now);
    let counts = |tcp: &Tcp| {
        let mut all: Vec<(u64, u64, u64)> =
            tcp.iter().map(|(who, _, counts)| (who, counts.opened, counts.open())).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(counts(&tcp), [(1, 3, 3)]);
    // The same control group is another container from now on.
    tcp.take(2, &one(1), &opened(4), now);
    assert_eq!(counts(&tcp), [(1, 3, 0), (2, 1, 4)]);
    tcp.take(2, &one(1), &Totals { closed: 4, open: 0, ..opened(4) }, now);
    assert_eq!(counts(&tcp), [(1, 3, 0), (2, 1, 0)]);
}

#[test]
fn handshakes_are_sorted_as_the_kernel_sorts_them() {
    assert_eq!(bucket(50_000), 0);
    assert_eq!(bucket(51_000), 1);
    assert_eq!(bucket(50_999), 0, "whole microseconds");
    assert_eq!(bucket(10_000_000_000), CONNECT_TIMES.len());
}

#[test]
fn the_program_sorts_handshakes_by_the_bounds_of_the_metric() {
    let program = include_str!("../../bpf/tcp.bpf.c");
    let bounds = program.split("bounds[BUCKETS - 1] = {").nth(1).unwrap().split('}').next().unwrap();
    let bounds: Vec<u64> = bounds.split(',').map(|bound| bound.trim().parse().unwrap()).collect();
    let of_metric =
        CONNECT_TIMES.map(|bound| u64::try_from(Duration::from_secs_f64(bound).as_micros()).unwrap());
    assert_eq!(bounds, of_metric);
}

#[test]
fn a_destination_that_is_not_translated_three_times_in_a_row_is_left_alone() {
    let (mut rule, now, requested) = (Rule::default(), Instant::now(), at("10.0.0.1:80"));
    let other = Some(at("10.0.0.2:8080"));
    assert!(!rule.settled(requested, None) && !rule.settled(requested, Some(requested)));
    assert!(!rule.settled(requested, other), "it is translated after all");
    assert!(
        !rule.settled(requested, None) && !rule.settled(requested, None) && rule.settled(requested, None)
    );
    assert!(rule.pause(requested, Duration::from_mins(1), now));
    assert_eq!(rule.expired(now), Vec::new());
    assert_eq!(rule.expired(now + Duration::from_mins(1)), [requested]);
    let allowed = (0..100).filter(|_| rule.allows(10, now)).count();
    assert_eq!(allowed, 10);
    assert!(rule.allows(10, now + Duration::from_secs(1)));
}

#[test]
fn an_address_that_is_not_specified_stands_for_those_of_the_namespace() {
    let addresses: Vec<IpAddr> = ["127.0.0.1", "172.17.0.2", "169.254.1.1", "::1", "fd00::2", "fe80::1"]
        .map(|text| text.parse().unwrap())
        .into();
    let expanded = |at: &str, only, host| {
        let listening = Listening { at: at.parse().unwrap(), only, host };
        expand(listening, &addresses).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(expanded("0.0.0.0:80", false, false), ["172.17.0.2:80"]);
    assert_eq!(expanded("[::]:80", false, false), ["172.17.0.2:80", "[fd00::2]:80"]);
    assert_eq!(expanded("[::]:80", true, false), ["[fd00::2]:80"]);
    assert_eq!(expanded("0.0.0.0:80", false, true), ["127.0.0.1:80", "172.17.0.2:80"]);
    assert_eq!(expanded("127.0.0.1:80", false, false), [""; 0]);
    assert_eq!(expanded("10.0.0.1:80", false, false), ["10.0.0.1:80"]);
}
