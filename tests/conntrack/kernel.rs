//! The real kernel, in network namespaces of the tests' own: they make the traffic and know what to expect.

use crate::support::{Namespace, Script, connscope, eventually, skipped};
use connscope::catalog::Config;
use connscope::metric::Value;
use connscope::metric::label::Reason;
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::conntrack::Conntrack;
use connscope::source::conntrack::config::{Conntrack as Settings, Via};
use connscope::stop::Stop;
use rustix::net::{AddressFamily, SendFlags, SocketType, sendto, socket_with};
use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// What `nf_conntrack_max` limits is in every namespace, and it can be set in the first one only; so the test that
/// lowers it is alone while it does.
static LIMIT: Mutex<()> = Mutex::new(());

const WAYS: [Via; 3] = [Via::Command, Via::Netlink, Via::Procfs];

pub(super) fn settings(via: Via, netns: &[String]) -> Settings {
    Settings { via, netns: netns.to_vec(), ..Config::default().sources.conntrack }
}

pub(super) fn source(via: Via, netns: &[String]) -> Conntrack {
    Conntrack::new(&settings(via, netns), &Stop::new().unwrap())
}

/// Numbers by name and labels.
pub(super) type Numbers = BTreeMap<String, f64>;

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(super) fn numbers(readings: &Readings) -> Numbers {
    readings
        .iter()
        .map(|reading| {
            let labels: Vec<String> =
                reading.labels.iter().map(|(label, value)| format!("{}={value}", label.key())).collect();
            let value = match reading.value {
                Value::U64(value) => value as f64,
                Value::I64(value) => value as f64,
                Value::F64(value) => value,
                Value::Distribution(_) => panic!("conntrack has no distributions"),
            };
            (format!("{}{{{}}}", reading.metric.name, labels.join(",")), value)
        })
        .collect()
}

pub(super) fn read(source: &mut Conntrack) -> Numbers {
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    numbers(&readings)
}

/// The sum of a metric over its CPUs.
fn sum(numbers: &Numbers, metric: &str) -> f64 {
    numbers.iter().filter(|(name, _)| name.starts_with(&format!("{metric}{{"))).map(|(_, value)| value).sum()
}

/// The sum of a counter over the CPUs as `conntrack -S` prints it in a namespace.
fn printed(namespace: &Namespace, word: &str) -> f64 {
    let output = namespace.run("conntrack", &["-S"]);
    let key = format!("{word}=");
    output.split_ascii_whitespace().filter_map(|pair| pair.strip_prefix(&key)?.parse::<f64>().ok()).sum()
}

/// Datagrams to as many ports, each a connection of its own.
pub(super) fn udp_flows(namespace: &Namespace, count: u16) {
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in 0..count {
            // Refused or dropped: the table has or has not made an entry before either.
            let _whatever = socket.send_to(b"x", ("127.0.0.1", 20_000 + port));
        }
    });
}

fn insert_entries(namespace: &Namespace, count: usize) {
    for port in 1..=count {
        let port = port.to_string();
        namespace.run(
            "conntrack",
            &[
                "-I",
                "-s",
                "192.0.2.1",
                "-d",
                "192.0.2.2",
                "-p",
                "udp",
                "--sport",
                &port,
                "--dport",
                "53",
                "-t",
                "100",
            ],
        );
    }
}

#[test]
fn connections_are_counted_in_the_table() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    udp_flows(&namespace, 40);
    let expected: f64 = namespace.run("conntrack", &["-C"]).trim().parse().unwrap();
    assert!(expected >= 40.0, "{expected}");
    for via in WAYS {
        let numbers = namespace.inside(|| read(&mut source(via, &[])));
        assert_eq!(numbers["conntrack.table.usage{}"], expected, "{via:?}");
        let limit = numbers["conntrack.table.limit{}"];
        assert_eq!(numbers["conntrack.table.utilization{}"], expected / limit, "{via:?}");
        assert!(numbers["conntrack.table.buckets{}"] > 0.0);
    }
}

#[test]
fn entries_put_in_by_hand_are_counted_as_inserts() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    insert_entries(&namespace, 3);
    for via in WAYS {
        let numbers = namespace.inside(|| read(&mut source(via, &[])));
        assert_eq!(sum(&numbers, "conntrack.insert"), 3.0, "{via:?}");
    }
}

#[test]
fn packets_that_are_no_packets_are_counted_as_invalid() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let tcp = rustix::net::ipproto::TCP;
        let socket =
            socket_with(AddressFamily::INET, SocketType::RAW, rustix::net::SocketFlags::CLOEXEC, Some(tcp));
        let socket = socket.unwrap();
        // Ports 1 and 2, data offset 5, flags SYN, FIN and RST at once.
        let segment = [0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x07, 0, 0, 0, 0, 0, 0];
        let to: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
        for _ in 0..50 {
            sendto(&socket, &segment, SendFlags::empty(), &to).unwrap();
        }
    });
    let expected = printed(&namespace, "invalid");
    assert!(expected >= 50.0, "{expected}");
    for via in WAYS {
        let numbers = namespace.inside(|| read(&mut source(via, &[])));
        assert_eq!(sum(&numbers, "conntrack.invalid"), expected, "{via:?}");
    }
}

/// A sysctl that is put back however the test ends.
struct Sysctl {
    path: &'static str,
    before: String,
}

impl Sysctl {
    fn set(path: &'static str, value: &str) -> std::io::Result<Self> {
        let before = std::fs::read_to_string(path)?;
        std::fs::write(path, value)?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        std::fs::write(self.path, &self.before).unwrap();
    }
}

#[test]
fn a_full_table_drops_packets_and_entries() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    let lowered = match Sysctl::set("/proc/sys/net/netfilter/nf_conntrack_max", "100") {
        Ok(lowered) => lowered,
        Err(error) => {
            skipped(&format!("nf_conntrack_max can only be set by root in the first namespace: {error}"));
            return;
        }
    };
    udp_flows(&namespace, 400);
    let (drop_expected, early) = (printed(&namespace, "drop"), printed(&namespace, "early_drop"));
    assert!(drop_expected > 0.0, "the table of 100 took 400 connections");
    for via in WAYS {
        let numbers = namespace.inside(|| read(&mut source(via, &[])));
        assert_eq!(sum(&numbers, "conntrack.drop"), drop_expected, "{via:?}");
        assert_eq!(sum(&numbers, "conntrack.early_drop"), early, "{via:?}");
        assert_eq!(numbers["conntrack.table.limit{}"], 100.0);
        assert!(numbers["conntrack.table.utilization{}"] > 0.9);
    }
    drop(lowered);
}

#[test]
fn the_three_ways_give_the_same_numbers() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    insert_entries(&namespace, 5);
    udp_flows(&namespace, 30);
    let all: Vec<Numbers> = WAYS
        .iter()
        .map(|via| {
            let mut numbers = namespace.inside(|| read(&mut source(*via, &[])));
            let own: Vec<String> =
                numbers.keys().filter(|name| name.starts_with("connscope.")).cloned().collect();
            assert_eq!(own.len(), 1, "which way it was is said: {own:?}");
            numbers.retain(|name, _| !name.starts_with("connscope."));
            numbers
        })
        .collect();
    assert!(all[0].len() > 20, "{:?}", all[0]);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[1], all[2]);
}

#[test]
fn namespaces_are_read_at_once_and_each_for_itself() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    insert_entries(&first, 2);
    insert_entries(&second, 7);
    let paths = [first.path(), second.path(), "/nowhere/ns".to_owned()];
    for via in WAYS {
        let mut source = source(via, &paths);
        let mut readings = Readings::default();
        source.read(&mut readings).unwrap();
        let numbers = numbers(&readings);
        let inserted = |namespace: &Namespace| -> f64 {
            let netns = format!(",netns={}}}", namespace.path());
            numbers
                .iter()
                .filter(|(name, _)| name.starts_with("conntrack.insert{") && name.ends_with(&netns))
                .map(|(_, value)| value)
                .sum()
        };
        assert_eq!((inserted(&first), inserted(&second)), (2.0, 7.0), "{via:?}");
        assert_eq!(numbers[&format!("connscope.netns.up{{netns={},source=conntrack}}", first.path())], 1.0);
        assert_eq!(numbers["connscope.netns.up{netns=/nowhere/ns,source=conntrack}"], 0.0);
        let (_, failures) = readings.into_parts();
        let failed: Vec<_> =
            failures.iter().map(|failure| (failure.part.as_str(), failure.error.reason())).collect();
        assert_eq!(failed, [("/nowhere/ns", Reason::Absent)], "{via:?}");
    }
}

#[test]
fn a_namespace_that_hangs_does_not_keep_the_others() {
    let Some(hanging) = Namespace::new() else { return };
    let well = Namespace::new().unwrap();
    let script = Script::new(&format!(
        "[ $(stat -Lc %i /proc/self/ns/net) = {} ] && sleep 100\nconntrack -S",
        hanging.inode()
    ));
    let mut settings = settings(Via::Command, &[hanging.path(), well.path()]);
    settings.command = script.path();
    settings.timeout = std::time::Duration::from_secs(3);
    let mut source = Conntrack::new(&settings, &Stop::new().unwrap());
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    let numbers = numbers(&readings);
    assert_eq!(numbers[&format!("connscope.netns.up{{netns={},source=conntrack}}", well.path())], 1.0);
    assert_eq!(numbers[&format!("connscope.netns.up{{netns={},source=conntrack}}", hanging.path())], 0.0);
    assert!(numbers.contains_key(&format!("conntrack.drop{{cpu=0,netns={}}}", well.path())));
    let (_, failures) = readings.into_parts();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].error.reason(), Reason::Timeout);
}

#[test]
fn a_program_that_hangs_everywhere_is_waited_for_once() {
    let Some(first) = Namespace::new() else { return };
    let others: Vec<Namespace> = (0..40).map(|_| Namespace::new().unwrap()).collect();
    let paths: Vec<String> = std::iter::once(&first).chain(&others).map(Namespace::path).collect();
    let script = Script::new("exec sleep 100");
    let mut settings = settings(Via::Auto, &paths);
    settings.command = script.path();
    settings.timeout = std::time::Duration::from_secs(1);
    let mut source = Conntrack::new(&settings, &Stop::new().unwrap());
    let started = std::time::Instant::now();
    let numbers = read(&mut source);
    // Forty-one time-outs one after the other, or eight at a time, would be five seconds and more.
    assert!(started.elapsed() < std::time::Duration::from_secs(4), "{:?}", started.elapsed());
    for path in &paths {
        assert_eq!(numbers[&format!("connscope.netns.up{{netns={path},source=conntrack}}")], 1.0);
    }
    assert_eq!(numbers["connscope.conntrack.source{via=netlink}"], 1.0);
}

#[test]
fn all_finds_namespaces_by_their_processes() {
    let Some(namespace) = Namespace::new() else { return };
    let mut sleeper = namespace.inside(|| std::process::Command::new("sleep").arg("100").spawn().unwrap());
    let label = format!("net:[{}]", namespace.inode());
    let by_pid = format!("pid:{}", sleeper.id());
    let all = read(&mut source(Via::Netlink, &["all".to_owned()]));
    let one = read(&mut source(Via::Netlink, std::slice::from_ref(&by_pid)));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(
        all.get(&format!("connscope.netns.up{{netns={label},source=conntrack}}")),
        Some(&1.0),
        "{all:?}"
    );
    assert_eq!(one[&format!("connscope.netns.up{{netns={by_pid},source=conntrack}}")], 1.0);
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let own = format!("connscope.netns.up{{netns={},source=conntrack}}", own.display());
    assert_eq!(all.get(&own), Some(&1.0), "the agent's own is among them");
    let later = read(&mut source(Via::Netlink, &["all".to_owned()]));
    assert!(
        !later.contains_key(&format!("connscope.netns.up{{netns={label},source=conntrack}}")),
        "what is gone has no series"
    );
}

#[test]
fn a_namespace_that_everybody_left_is_not_kept_alive() {
    let Some(namespace) = Namespace::new() else { return };
    let peer = Namespace::new().unwrap();
    // A veth pair ends with the namespace of either end, so the peer tells whether the other namespace is gone.
    let add = ["link", "add", "left", "type", "veth", "peer", "name", "right"];
    namespace.run("ip", &add);
    let target = format!("/proc/{}/fd/{}", std::process::id(), peer.path().rsplit('/').next().unwrap());
    namespace.run("ip", &["link", "set", "right", "netns", &target]);
    let mut source = source(Via::Netlink, &[namespace.path(), peer.path()]);
    read(&mut source);
    assert!(peer.run("ip", &["-o", "link"]).contains("right"));
    drop(namespace);
    eventually("the namespace is gone while the source lives on", || {
        !peer.run("ip", &["-o", "link"]).contains("right")
    });
    drop(source);
}

#[test]
fn a_program_in_a_namespace_prints_what_is_in_it() {
    let _limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(namespace) = Namespace::new() else { return };
    insert_entries(&namespace, 4);
    let output = namespace.inside(|| connscope(&["once", "--format", "prometheus"]));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let inserted: f64 = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("conntrack_insert_total{")?.rsplit(' ').next()?.parse::<f64>().ok()
        })
        .sum();
    assert_eq!(inserted, 4.0, "{text}");
}
