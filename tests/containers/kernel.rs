//! What the programs in the kernel count, and what is left of it in their maps.

use super::lab::{Lab, Series, alone, float, sum, tcp};
use super::races::totals_at;
use crate::support::Namespace;
use crate::support::maps::{self, Map};
use connscope::source::containers::config::tcp::Tcp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub(super) const LONG: Duration = Duration::from_mins(5);

/// Accepts and keeps what connects, until the other end closes it.
pub(super) fn server(namespace: Option<&Namespace>, at: &str) -> u16 {
    let bind = || TcpListener::bind(at).unwrap();
    let listener = namespace.map_or_else(bind, |namespace| namespace.inside(bind));
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drain(stream));
        }
    });
    port
}

fn drain(mut stream: TcpStream) {
    let _ended = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Accepts, and closes at once.
pub(super) fn closing(at: &str) -> u16 {
    let listener = TcpListener::bind(at).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    port
}

pub(super) const CONNECTIONS: &str = "container.tcp.connections{";
pub(super) const OPEN: &str = "container.tcp.open_connections{";

fn opened(series: &[Series], name: &str) -> f64 {
    sum(series, &[CONNECTIONS, name, "event=opened"]).unwrap_or_default()
}

#[test]
fn a_connection_stays_with_the_one_that_opened_it_however_and_by_whomever_it_is_closed() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let (mut a, b) = (lab.container("opener", None), lab.container("closer", None));
    for name in ["ordinary", "reset", "given", "held"] {
        a.ok(&format!("connect {name} 127.0.0.1 {port}"));
    }
    let at = format!("server.port={port}");
    let of = |what, event| [CONNECTIONS, "name=opener", what, event];
    lab.sees(&[(&of(&at, "event=opened"), 4.0), (&[OPEN, "name=opener", &at], 4.0)]);
    a.ok("send held 1000");
    a.ok("close ordinary");
    a.ok("reset reset");
    a.ok(&format!("give given {}", b.directory.display()));
    let series = lab.sees(&[
        (&of(&at, "event=closed"), 2.0),
        (&of(&at, "event=reset"), 1.0),
        (&[OPEN, "name=opener", &at], 1.0),
        (&["container.tcp.io{", "name=opener", &at, "transmit"], 1000.0),
    ]);
    assert_eq!(sum(&series, &[CONNECTIONS, "name=closer"]), None, "{series:#?}");
}

#[test]
fn ipv6_and_ipv4_over_a_socket_of_ipv6_are_counted_under_their_addresses() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let (six, four) = (server(None, "[::1]:0"), server(None, "127.0.0.1:0"));
    let mut container = lab.container("six", None);
    container.ok(&format!("connect a ::1 {six}"));
    container.ok(&format!("connect b ::ffff:127.0.0.1 {four}"));
    let classic = format!("destination=[::1]:{six}");
    let (six, four) = (format!("server.port={six}"), format!("server.port={four}"));
    lab.sees(&[
        (&[CONNECTIONS, "server.address=::1,", &six, "event=opened"], 1.0),
        (&[CONNECTIONS, "server.address=127.0.0.1,", &four, "event=opened"], 1.0),
        (&["container.classic.connects{", &classic], 1.0),
    ]);
}

#[test]
fn a_scan_leaves_the_others_their_destinations_and_its_sum_is_exact() {
    let settings = Tcp { destinations: 10_000, total: 2000, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 500) else { return };
    let (mut scan, mut other) = (lab.container("scan", None), lab.container("other", None));
    // Nobody listens: each is refused.
    scan.ok("scan 127.1.0.0 65536 9");
    other.ok("scan 127.3.0.0 50 9");
    let refused = "error.type=connection_refused";
    let series = lab.sees(&[(&[CONNECTIONS, "name=scan", refused], 65_536.0)]);
    let of_other: Vec<_> = series
        .iter()
        .filter(|one| one.text.starts_with(CONNECTIONS) && one.text.contains("name=other"))
        .collect();
    assert!(of_other.len() == 50 && of_other.iter().all(|one| one.value == 1.0), "{of_other:#?}");
    assert!(sum(&series, &["left_out{key=destination}"]).unwrap() > 60_000.0);
    // Of what finds no room each connection is left out once; other tests have containers too.
    lab.until("each is left out once", |series| {
        let other = |event| sum(series, &[CONNECTIONS, "address=~other", event]).unwrap_or_default();
        sum(series, &["left_out{key=destination}"]) == Some(other("event=opened") + other("event=failed"))
    });
}

#[test]
fn a_hundred_thousand_destinations_of_one_are_counted_and_leave_when_they_are_idle_and_what_is_open_stays() {
    let settings = Tcp { destinations: 10_000, total: 2000, ..tcp() };
    let Some(mut lab) = Lab::new(settings, Duration::from_secs(8), 500) else { return };
    let port = server(None, "0.0.0.0:0");
    let (mut scan, mut other) = (lab.container("wide", None), lab.container("narrow", None));
    scan.ok("scan 127.16.0.0 100000 9");
    other.ok("scan 127.18.0.0 50 9");
    other.ok(&format!("connect held 127.18.1.0 {port}"));
    let refused = "error.type=connection_refused";
    let series = lab.sees(&[
        (&[CONNECTIONS, "name=wide", refused], 100_000.0),
        (&[CONNECTIONS, "name=narrow", refused], 50.0),
    ]);
    let of = |name: &str| {
        let found = series.iter().filter(|one| one.text.starts_with(CONNECTIONS) && one.text.contains(name));
        found.filter(|one| !one.text.contains("~other")).count()
    };
    // Of one no more than half of what is free, of the other each by itself, and the three events of the one that is open.
    assert!((500..=1000).contains(&of("name=wide")), "{}", of("name=wide"));
    assert_eq!(of("name=narrow"), 50 + 3);
    assert!(lab.entries("destinations") > 1000);
    lab.until("what is idle has left", |series| {
        sum(series, &[CONNECTIONS, "name=wide"]).is_none() && sum(series, &["name=narrow", refused]).is_none()
    });
    assert_eq!(opened(&lab.cycle(), "name=narrow"), 1.0);
    lab.sees(&[(&[OPEN, "name=narrow"], 1.0)]);
    // Other tests connect too, some of them to many addresses.
    assert!(lab.entries("destinations") < 4000, "{}", lab.entries("destinations"));
    other.ok("close held");
}

#[test]
fn an_open_connection_ends_where_it_was_counted_also_when_there_is_room_by_then() {
    let settings = Tcp { destinations: 1, total: 1, ..tcp() };
    let Some(mut lab) = Lab::new(settings, Duration::from_secs(1), 500) else { return };
    let port = server(None, "0.0.0.0:0");
    let (mut first, mut second) = (lab.container("first", None), lab.container("second", None));
    // The kernel keeps 1024 entries; half of them are one's.
    first.ok("scan 127.1.0.0 2000 9");
    lab.cycle();
    second.ok("scan 127.1.0.0 2000 9");
    first.ok(&format!("connect held 127.2.0.1 {port}"));
    let other = [OPEN, "name=first", "address=~other"];
    lab.sees(&[(&other, 1.0)]);
    // What failed is forgotten after the retention.
    lab.until("there is room", |_| true);
    std::thread::sleep(Duration::from_millis(1100));
    lab.cycle();
    assert!(lab.entries("destinations") < 600, "{}", lab.entries("destinations"));
    first.ok("close held");
    let series = lab.sees(&[(&[CONNECTIONS, "name=first", "event=closed"], 1.0), (&other, 0.0)]);
    let below = series
        .iter()
        .find(|one| one.text.starts_with(OPEN) && one.text.contains("name=first") && one.value != 0.0);
    assert!(below.is_none(), "{below:?}");
}

#[test]
fn what_the_ring_has_no_room_for_is_counted_by_the_kernel_and_no_connection_stays_open() {
    // Nobody reads the ring: this is the kernel's half alone.
    use connscope::source::containers::kernel::{Kernel, Limits, ProgramSelection};
    if !rustix::process::geteuid().is_root() {
        crate::support::skipped("needs root to load programs");
        return;
    }
    let limits =
        Limits { destinations: 8000, connections: 65_536, loopback: true, translate: true, netns: 0 };
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let (mut kernel, _answers, mut ring) = {
        let _alone = alone();
        Kernel::load(&ProgramSelection {
            tcp: Some(limits),
            immediate_failures: false,
            delay: false,
            oom: false,
        })
        .unwrap()
    };
    let port = closing("127.0.0.1:0");
    let mut container = lab.container("many", None);
    container.ok(&format!("many 127.0.0.1 {port} 4000"));
    kernel.look_at_open().unwrap();
    let counted = totals_at(&kernel, port);
    let mut told = 0;
    while let Some(event) = ring.take() {
        use connscope::source::containers::kernel::records::Event;
        told += u32::from(matches!(event, Event::Ended(ended) if ended.requested.port() == port));
    }
    assert!(told > 100 && counted.opened > 100 && kernel.numbers().lost > 0, "{told} {counted:?}");
    // Ends that are told are counted by whoever reads the ring; what is lost is counted by the kernel.
    let ended = counted.closed + counted.reset;
    assert_eq!((counted.opened + told, ended + told, counted.open), (4000, 4000, 0));
}

#[test]
fn a_connection_whose_end_was_missed_is_closed_by_the_next_cycle_and_left_answers_go() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let mut container = lab.container("missed", None);
    container.ok(&format!("connect one 127.0.0.1 {port}"));
    lab.sees(&[(&[OPEN, "name=missed"], 1.0)]);
    // The same connection under an address where there is no socket, as if its memory had become something else's.
    let connections = maps::named(&lab.maps, "connections").clone();
    let group = connections.keys().into_iter().find_map(|key| {
        let value = connections.read(&key)?;
        (value[40..42] == port.to_be_bytes()).then_some(value)
    });
    let value = group.unwrap();
    connections.write(&connections.key_of(8), &value);
    let series =
        lab.sees(&[(&[CONNECTIONS, "name=missed", "event=closed"], 1.0), (&[OPEN, "name=missed"], 0.0)]);
    assert_eq!(opened(&series, "name=missed"), 1.0);
    assert!(!connections.keys().contains(&connections.key_of(8)));
}

#[test]
fn groups_that_are_gone_and_their_destinations_leave_the_maps() {
    let Some(mut lab) = Lab::new(tcp(), Duration::from_secs(1), 500) else { return };
    let port = closing("127.0.0.1:0");
    let mut container = lab.container("short", None);
    container.ok(&format!("many 127.0.0.1 {port} 3"));
    lab.sees(&[(&[CONNECTIONS, "name=short", "event=opened"], 3.0)]);
    let key = |lab: &Lab| {
        let destinations = maps::named(&lab.maps, "destinations");
        destinations.keys().into_iter().find(|key| key[40..42] == port.to_be_bytes())
    };
    let group = key(&lab).unwrap()[..8].to_vec();
    drop(container);
    let groups = maps::named(&lab.maps, "groups").clone();
    lab.until("the group leaves the maps", |series| {
        sum(series, &["name=short"]).is_none() && !groups.keys().contains(&group)
    });
    assert_eq!(key(&lab), None);
    // What is in the map of the rest without a group goes as well.
    let rest = maps::named(&lab.maps, "rest").clone();
    rest.write(&rest.key_of(7), &vec![0; rest.value()]);
    lab.until("it goes", |_| !rest.keys().contains(&rest.key_of(7)));
}

#[test]
fn the_memory_of_the_programs_is_that_of_all_of_their_maps() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let ids: BTreeSet<u32> = lab.maps.iter().map(|map| map.memory().1).collect();
    lab.until("it is what the kernel tells of each", |series| {
        let now = maps::all();
        let maps: BTreeMap<u32, (String, u64)> = now
            .iter()
            .map(Map::memory)
            .filter(|(_, id, _)| ids.contains(id))
            .map(|(name, id, memory)| (id, (name, memory)))
            .collect();
        let names: BTreeSet<&str> = maps.values().map(|(name, _)| name.as_str()).collect();
        for name in
            ["answers", "connections", "destinations", "direct", "groups", "listeners", "rest", "ring"]
        {
            assert!(names.contains(name), "{names:?}");
        }
        let memory: u64 = maps.values().map(|(_, memory)| memory).sum();
        sum(series, &["kernel.memory.usage"]) == Some(float(memory))
    });
}

#[test]
fn a_container_without_room_in_the_inventory_takes_none_in_the_kernel() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 1) else { return };
    // The room is taken by this one, or by one of another test.
    let port = closing("127.0.0.1:0");
    let (mut a, mut b) = (lab.container("a", None), lab.container("b", None));
    a.ok(&format!("many 127.0.0.1 {port} 3"));
    b.ok(&format!("many 127.0.0.1 {port} 3"));
    let destinations = maps::named(&lab.maps, "destinations").clone();
    let ours = || destinations.keys().iter().filter(|key| key[40..42] == port.to_be_bytes()).count();
    lab.until("at most one is counted", |_| ours() <= 1);
}

#[test]
fn a_destination_with_all_that_can_happen_to_it_has_19_series_and_what_exceeds_the_limit_has_19_more() {
    let settings = Tcp { destinations: 100, total: 2000, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 500) else { return };
    let mut container = lab.container("busy", None);
    container.ok("scan 127.9.0.0 150 9");
    lab.sees(&[(&[CONNECTIONS, "name=busy", "connection_refused"], 150.0)]);
    let map = maps::named(&lab.maps, "destinations");
    for key in map.keys() {
        // Each number of 32 bits is 1, and those of 64 bits are not 0.
        map.write(&key, &1_u32.to_ne_bytes().repeat(map.value() / 4));
    }
    let series = lab.sees(&[(&[CONNECTIONS, "name=busy", "event=opened"], 150.0)]);
    let busy = |other| {
        let of_busy = series.iter().filter(|one| one.text.contains("name=busy"));
        let of_tcp = of_busy.filter(|one| one.text.starts_with("container.tcp."));
        of_tcp.filter(|one| one.text.contains("server.address=~other") == other).count()
    };
    assert_eq!((busy(false), busy(true)), (100 * 19, 19), "{series:#?}");
}
