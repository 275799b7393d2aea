//! The limit of the table: when it is reached, the memory that it allows, time-outs and helpers.

use super::kernel::{Numbers, numbers, read, source, udp_flows};
use crate::support::{Namespace, connscope, eventually};
use connscope::netlink::Progress;
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::conntrack::config::Via;
use connscope::source::conntrack::growth::{Growth, MAX_TIME_TO_FULL, MIN_SPAN, WINDOW};
use connscope::source::conntrack::netlink::helpers::{Helpers, parse};
use connscope::source::conntrack::{slab, sysctls};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Samples every so many seconds, by a function of the seconds.
fn grown(every: u64, until: Duration, usage: impl Fn(u64) -> u64) -> Growth {
    let begin = Instant::now();
    let mut growth = Growth::default();
    for second in (0..=until.as_secs()).step_by(usize::try_from(every).unwrap()) {
        growth.note(begin + Duration::from_secs(second), usage(second));
    }
    growth
}

#[track_caller]
fn about(left: Option<f64>, right: f64) {
    let left = left.expect("a number");
    assert!((left - right).abs() <= right.abs() * 1e-6, "{left} is not {right}");
}

#[test]
fn a_table_that_grows_evenly_is_full_when_the_line_says_so() {
    for every in [1, 5, 15, 60] {
        let growth = grown(every, WINDOW, |second| 1000 + 10 * second);
        about(growth.slope(), 10.0);
        about(growth.time_to_full(19_000), 900.0);
    }
}

#[test]
fn a_table_that_does_not_grow_is_never_full() {
    let constant = grown(15, WINDOW, |_| 700);
    let shrinks = grown(15, WINDOW, |second| 10_000 - second);
    let grown = grown(15, WINDOW, |second| second);
    assert_eq!(constant.time_to_full(1000), None);
    assert_eq!(shrinks.time_to_full(10_000), None);
    assert_eq!(grown.time_to_full(0), None, "0 is no limit");
    about(grown.time_to_full(1000), 100.0);
    about(grown.time_to_full(500).map(|seconds| seconds + 1.0), 1.0);
    assert_eq!(grown.time_to_full(900 + MAX_TIME_TO_FULL.as_secs() + 1), None, "longer than a week");
}

#[test]
fn few_minutes_say_nothing_and_older_ones_are_forgotten() {
    let short = grown(15, Duration::from_secs(MIN_SPAN.as_secs() - 15), |second| second);
    assert_eq!(short.slope(), None);
    let enough = grown(15, MIN_SPAN, |second| second);
    about(enough.slope(), 1.0);
    // Level for an hour, then five a second for fifteen minutes.
    let later = grown(15, WINDOW * 5, |second| 100 + 5 * second.saturating_sub(WINDOW.as_secs() * 4));
    about(later.slope(), 5.0);
    assert!(later.samples() <= 92);
    let often = grown(1, WINDOW * 2, |second| second);
    assert!(often.samples() <= 92, "{}", often.samples());
    about(often.slope(), 1.0);
}

#[test]
fn one_burst_weighs_less_than_fifteen_minutes() {
    let growth = grown(15, WINDOW, |second| if second == 900 { 2000 } else { 1000 });
    let last_two = 1000.0 / 15.0;
    assert!(growth.slope().unwrap() < last_two / 20.0, "{:?}", growth.slope());
}

#[test]
fn the_size_of_an_entry_is_that_of_its_cache() {
    let header = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab>\n";
    let expect = "nf_conntrack_expect      0      0    208   19    1 : tunables 0 0 0\n";
    let own =
        "nf_conntrack         160    224    256   16    1 : tunables    0    0    0 : slabdata 14 14 0\n";
    let old = "nf_conntrack_ffffffff81ce1a40  160    224    304   16    1 : tunables 0 0 0\n";
    assert_eq!(slab::parse(&format!("{header}{expect}{own}")), Some(256));
    assert_eq!(slab::parse(&format!("{header}{expect}{old}")), Some(304));
    assert_eq!(slab::parse(&format!("{header}{expect}")), None);
    assert_eq!(slab::parse("nf_conntrack 1 2\n"), None);
    for length in 0..own.len() {
        let _whatever = slab::parse(own.get(..length).unwrap());
    }
    assert!(slab::entry_size(Path::new("/nowhere/slabinfo")).is_err());
}

#[test]
fn the_memory_of_a_full_table_is_that_of_its_entries_and_buckets() {
    let Some(namespace) = Namespace::new() else { return };
    udp_flows(&namespace, 30);
    let numbers = namespace.inside(|| read(&mut source(Via::Netlink, &[])));
    let (usage, buckets) = (numbers["conntrack.table.usage{}"], numbers["conntrack.table.buckets{}"]);
    about(Some(numbers["conntrack.table.load{}"]), usage / buckets);
    assert!(!numbers.contains_key("conntrack.table.time_to_full{}"), "one sample has no slope");
    let Ok(slabinfo) = std::fs::read_to_string("/proc/slabinfo") else { return };
    let line = slabinfo.lines().find(|line| line.starts_with("nf_conntrack ")).unwrap();
    let size: f64 = line.split_ascii_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(numbers["conntrack.table.entry.size{}"], size);
    let full = numbers["conntrack.table.limit{}"] * size + buckets * 8.0;
    assert_eq!(numbers["conntrack.table.memory.limit{}"], full);
    let share = numbers["conntrack.table.memory.share{}"];
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = meminfo.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((share - full / (total * 1024.0)).abs() < 0.001, "{share}");
}

fn sysctl(numbers: &Numbers, name: &str) -> Option<f64> {
    numbers.get(&format!("conntrack.table.sysctl{{sysctl={name}}}")).copied()
}

#[test]
fn the_timeouts_of_a_namespace_are_reported() {
    let Some(namespace) = Namespace::new() else { return };
    let file = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
    namespace.inside(|| std::fs::write(file, "17")).unwrap();
    let numbers = namespace.inside(|| read(&mut source(Via::Netlink, &[])));
    assert_eq!(sysctl(&numbers, "conntrack_udp_timeout"), Some(17.0), "{numbers:?}");
    assert!(sysctl(&numbers, "conntrack_tcp_timeout_established").is_some());
    assert!(sysctl(&numbers, "conntrack_acct").is_some());
    assert_eq!(sysctl(&numbers, "conntrack_log_invalid"), None, "only what decides about entries");
    let with_name = read(&mut source(Via::Netlink, &[namespace.path()]));
    let label = format!("conntrack.table.sysctl{{netns={},sysctl=conntrack_udp_timeout}}", namespace.path());
    assert_eq!(with_name.get(&label), Some(&17.0), "{with_name:?}");
    let mut without = super::kernel::settings(Via::Netlink, &[]);
    without.table.timeouts = false;
    let stop = connscope::stop::Stop::new().unwrap();
    let mut without = connscope::source::conntrack::Conntrack::new(&without, &stop);
    let numbers = namespace.inside(|| read(&mut without));
    assert!(!numbers.keys().any(|name| name.starts_with("conntrack.table.sysctl")), "{numbers:?}");
}

#[test]
fn files_that_are_no_numbers_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("nf_conntrack_udp_timeout", "30\n"),
        ("nf_conntrack_tcp_timeout_close", "abc"),
        ("nf_conntrack_helper", "1"),
        ("nf_conntrack_max", "100"),
        ("other_timeout", "5"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let rows = sysctls::list(folder.path());
    let rows: Vec<(&str, f64)> = rows.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(rows, [("conntrack_helper", 1.0), ("conntrack_udp_timeout", 30.0)]);
    assert!(sysctls::list(Path::new("/nowhere")).is_empty());
}

#[test]
fn a_connection_that_ftp_announces_is_expected_by_its_helper() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(
        "nft",
        &["add table inet h; add ct helper inet h files { type \"ftp\" protocol tcp; l3proto ip; }; \
           add chain inet h o { type filter hook output priority 0; }; \
           add rule inet h o tcp dport 21 ct helper set \"files\""],
    );
    let helper = |numbers: &Numbers| numbers.get("conntrack.helper{helper=ftp}").copied();
    let mut source = source(Via::Netlink, &[]);
    namespace.inside(|| {
        assert_eq!(helper(&read(&mut source)), None);
        let server = TcpListener::bind("127.0.0.1:21").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:21").unwrap();
        let (mut serving, _) = server.accept().unwrap();
        // The helper looks at a line once it has seen the end of the one before.
        serving.write_all(b"220 Ready\r\n").unwrap();
        client.read_exact(&mut [0; 11]).unwrap();
        let announced = b"227 Entering Passive Mode (127,0,0,1,200,21)\r\n";
        serving.write_all(announced).unwrap();
        client.read_exact(&mut [0; 46]).unwrap();
        eventually("the helper has announced a connection", || helper(&read(&mut source)) == Some(1.0));
        drop((client, serving));
    });
    namespace.run("conntrack", &["-F"]);
    namespace.inside(|| {
        eventually("its expectation is gone with it", || helper(&read(&mut source)).is_none());
    });
}

/// A message of an expectation with the name of its helper; sequence number 7.
fn expectation(helper: Option<&str>) -> Vec<u8> {
    let mut payload = vec![2, 0, 0, 0];
    if let Some(helper) = helper {
        let text: Vec<u8> = helper.bytes().chain([0]).collect();
        connscope::netlink::push_attribute(&mut payload, 6, &text).unwrap();
    }
    connscope::netlink::request(0x0200, 2, 7, &payload)
}

#[test]
fn helpers_beyond_the_bound_are_counted_together() {
    let mut helpers = Helpers::new();
    for number in 0..100 {
        let message = expectation(Some(&format!("h{number}")));
        assert_eq!(parse(&message, 7, &mut helpers).unwrap(), Progress::More);
    }
    parse(&expectation(None), 7, &mut helpers).unwrap();
    assert_eq!(helpers.len(), 32);
    assert_eq!(helpers["~other"], 100 - 31 + 1);
    assert_eq!(helpers.values().sum::<u64>(), 101);
    let message = expectation(Some("ftp"));
    for length in 0..message.len() {
        let _no_panic = parse(&message[..length], 7, &mut Helpers::new());
    }
}

#[test]
fn cilium_is_named_where_its_interface_or_its_table_is() {
    let Some(namespace) = Namespace::new() else { return };
    let maps = tempfile::tempdir().unwrap();
    let found = || namespace.inside(|| connscope::source::conntrack::cilium::found(maps.path()));
    assert!(found().is_empty(), "{:?}", found());
    let checked = || {
        let output = namespace.inside(|| connscope(&["check", "--format", "json"]));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!checked().contains("cilium"));
    namespace.run("ip", &["link", "add", "cilium_host", "type", "veth", "peer", "name", "cilium_net"]);
    assert!(checked().contains("cilium_bpf_map_pressure"), "{}", checked());
    for map in ["cilium_ct4_global", "cilium_ct_any4_global", "cilium_lxc"] {
        std::fs::write(maps.path().join(map), "").unwrap();
    }
    assert_eq!(found(), ["cilium_ct4_global", "cilium_host", "cilium_net"]);
}

#[test]
fn a_growing_table_has_a_time_until_it_is_full() {
    let Some(namespace) = Namespace::new() else { return };
    let mut growth = Growth::default();
    let begin = Instant::now();
    let (mut usage, mut limit) = (0.0, 0.0);
    for minute in 0..=10u16 {
        let mut readings = Readings::default();
        let numbers = namespace.inside(|| {
            source(Via::Netlink, &[]).read(&mut readings).unwrap();
            numbers(&readings)
        });
        usage = numbers["conntrack.table.usage{}"];
        growth.note(begin + Duration::from_mins(minute.into()), whole(usage));
        limit = numbers["conntrack.table.limit{}"];
        namespace.inside(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for port in 0..60 {
                let _refused = socket.send_to(b"x", ("127.0.0.1", 10_000 + 60 * minute + port));
            }
        });
    }
    let slope = growth.slope().unwrap();
    assert!((0.9..1.3).contains(&slope), "an entry a second: {slope}");
    about(growth.time_to_full(whole(limit)), (limit - usage) / slope);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of entries")]
fn whole(entries: f64) -> u64 {
    entries as u64
}
