//! Programs that cannot be loaded yet, names that are not looked for twice, and a map that is full.

use super::drops::alone;
use super::drops_more::number;
use crate::support::Namespace;
use crate::support::seccomp::failing_bpf;
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::network::drops::kernel::Limits;
use connscope::source::network::drops::{AGAIN, Drops};
use std::net::{TcpStream, UdpSocket};
use std::time::Instant;

/// `BPF_RAW_TRACEPOINT_OPEN` of `include/uapi/linux/bpf.h`: a program is attached.
const ATTACH: u32 = 17;
/// `BPF_MAP_CREATE`.
const MAKE_MAP: u32 = 0;

/// A cycle, and why it is incomplete.
fn cycle(drops: &mut Drops) -> (Readings, Option<String>) {
    let mut readings = Readings::default();
    let result = drops.observe([], None, Instant::now(), &mut readings);
    (readings, result.err().map(|error| connscope::reading::chain(&error)))
}

/// What is counted in a namespace now; a series begins with a point of 0.
fn counted(drops: &mut Drops, namespace: &Namespace, metric: &str, values: &[&str]) -> u64 {
    cycle(drops);
    let netns = format!("net:[{}]", namespace.inode());
    number(&cycle(drops).0, metric, &[values, &[netns.as_str()]].concat())
}

/// Connections that are refused.
fn refused(namespace: &Namespace, count: usize) {
    namespace.inside(|| {
        for _ in 0..count {
            TcpStream::connect("127.0.0.1:9").unwrap_err();
        }
    });
}

fn datagrams(namespace: &Namespace, ports: impl IntoIterator<Item = u16> + Send) {
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in ports {
            while socket.send_to(b"x", ("127.0.0.1", port)).is_err() {}
        }
    });
}

const DROPS: &str = "network.packet.drops";
const RESETS: &str = "tcp.resets";

#[test]
fn a_program_for_which_there_is_no_memory_is_loaded_later_and_the_others_count_meanwhile() {
    let Some(namespace) = Namespace::new() else { return };
    failing_bpf(ATTACH, 1, libc::ENOMEM, || {
        let _alone = alone();
        let mut drops = Drops::new(Limits::default());
        let (_, why) = cycle(&mut drops);
        assert!(why.as_ref().is_some_and(|why| why.contains("program drop ")), "{why:?}");
        refused(&namespace, 3);
        let received = ["receive", "9"];
        assert_eq!(counted(&mut drops, &namespace, RESETS, &received), 3);
        assert_eq!(counted(&mut drops, &namespace, DROPS, &["NO_SOCKET"]), 0);
        // The first cycle, and two for each number.
        for _ in 5..AGAIN {
            assert!(cycle(&mut drops).1.is_some());
        }
        assert_eq!(cycle(&mut drops).1, None);
        refused(&namespace, 4);
        assert_eq!(counted(&mut drops, &namespace, DROPS, &["NO_SOCKET", "9"]), 4);
        assert_eq!(counted(&mut drops, &namespace, RESETS, &received), 7, "its numbers went on");
    });
}

#[test]
fn maps_for_which_there_is_no_memory_are_made_later() {
    let Some(namespace) = Namespace::new() else { return };
    failing_bpf(MAKE_MAP, 1, libc::ENOMEM, || {
        let _alone = alone();
        let mut drops = Drops::new(Limits::default());
        for _ in 0..AGAIN {
            assert!(cycle(&mut drops).1.is_some());
        }
        assert_eq!(cycle(&mut drops).1, None);
        refused(&namespace, 3);
        assert_eq!(counted(&mut drops, &namespace, DROPS, &["NO_SOCKET", "9"]), 3);
    });
}

#[test]
fn a_second_cycle_does_not_search_for_the_names_of_namespaces_again() {
    let Some(namespace) = Namespace::new() else { return };
    let _alone = alone();
    let mut drops = Drops::new(Limits::default());
    cycle(&mut drops);
    let mut searches = Vec::new();
    for turn in 1..=5 {
        refused(&namespace, 1);
        let has = ["NO_SOCKET", "9"];
        assert_eq!(counted(&mut drops, &namespace, DROPS, &has), turn);
        searches.push(drops.searches());
    }
    // Other tests make namespaces of their own, each of which is searched for once.
    assert!(searches[0] >= 1, "{searches:?}");
    assert!(searches.windows(2).any(|pair| pair[0] == pair[1]), "a search in every cycle: {searches:?}");
}

/// Entries of the kernel with a port, at most.
const PORTS: u16 = 64;
/// Entries of the kernel.
const ENTRIES: u16 = 4096;
/// Series that begin elsewhere on the machine while a test runs, at most.
const ELSEWHERE: u64 = 200;
/// No packet is estimated, whatever other tests have dropped.
const ALL: u32 = u32::MAX;

/// All that was counted in a namespace.
fn sum(readings: &Readings, namespace: &Namespace, metric: &str) -> u64 {
    let netns = format!("net:[{}]", namespace.inode());
    let found = readings.iter().filter(|reading| {
        reading.metric.name == metric && reading.labels.iter().any(|(_, label)| **label == *netns)
    });
    found
        .map(|reading| match reading.value {
            Value::U64(value) => value,
            _ => unreachable!("a counter"),
        })
        .sum()
}

#[test]
fn a_scan_fills_the_ports_of_the_kernel_for_one_cycle_only() {
    let Some(namespace) = Namespace::new() else { return };
    let _alone = alone();
    let mut drops = Drops::new(Limits { ports: PORTS.into(), window: ALL });
    cycle(&mut drops);
    datagrams(&namespace, 1..=1000);
    let other = counted(&mut drops, &namespace, DROPS, &["NO_SOCKET", "udp", "~other"]);
    assert!((1000 - u64::from(PORTS)..=1000).contains(&other), "{other} of 1000 have no port");
    // The cycles of `counted` have made room.
    datagrams(&namespace, [2049; 7]);
    assert_eq!(counted(&mut drops, &namespace, DROPS, &["NO_SOCKET", "udp", "2049"]), 7);
    assert_eq!(sum(&cycle(&mut drops).0, &namespace, DROPS), 1007, "each packet is counted once");
}

#[test]
fn packets_for_which_the_kernel_has_no_room_are_counted_as_such_until_it_has() {
    let Some(namespace) = Namespace::new() else { return };
    let ports = ENTRIES + 900;
    let _alone = alone();
    let mut drops = Drops::new(Limits { ports: ports.into(), window: ALL });
    let uncounted = |readings: &Readings| number(readings, "connscope.network.uncounted", &[]);
    let before = uncounted(&cycle(&mut drops).0);
    datagrams(&namespace, 1..=ports);
    cycle(&mut drops);
    let (readings, _) = cycle(&mut drops);
    let missed = uncounted(&readings) - before;
    assert!(missed >= 900, "{missed} of {ports}");
    let counted_here = sum(&readings, &namespace, DROPS);
    // What other tests have dropped meanwhile found no room either.
    assert!(
        counted_here + missed >= ports.into() && counted_here <= ENTRIES.into(),
        "{counted_here} {missed}"
    );
    datagrams(&namespace, [20_049; 7]);
    assert_eq!(counted(&mut drops, &namespace, DROPS, &["NO_SOCKET", "udp", "20049"]), 7);
    // A series of a port with one packet has ended for it, and for each that begins elsewhere on the machine meanwhile.
    let now = sum(&cycle(&mut drops).0, &namespace, DROPS);
    assert!((counted_here + 7 - ELSEWHERE..=counted_here + 7).contains(&now), "{counted_here}, then {now}");
}
