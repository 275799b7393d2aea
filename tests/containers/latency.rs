//! Round trips by ICMP echoes: from the network namespaces of containers, to those that answer and those that do not.

use super::connections::World;
use super::kernel::{LONG, server};
use super::lab::{Lab, Series, sum, tcp};
use super::{file, value};
use crate::support::{Namespace, PATIENCE, command, connscope, eventually};
use connscope::source::containers::config::tcp::{Latency, Tcp};
use connscope::source::containers::latency::schedule::{AGAIN, OF_ALL, OF_ONE, Schedule};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

fn icmp() -> Tcp {
    Tcp { latency: Latency::Icmp, ..tcp() }
}

const ECHO: &str = "container.icmp.rtt{";
const CLASSIC: &str = "container.classic.latency{";

/// The value for an address of a container.
fn to(series: &[Series], metric: &str, name: &str, address: &str) -> Option<f64> {
    let key = if metric == CLASSIC { "destination_ip" } else { "network.peer.address" };
    let address = format!("{key}={address}");
    let of_address = |one: &&Series| {
        let mut parts = one.text.split(['{', ',', '}']);
        one.text.starts_with(metric) && one.text.contains(name) && parts.any(|part| part == address)
    };
    series.iter().find(of_address).map(|one| one.value)
}

/// How many packets a named counter of the namespace has seen.
fn counted(namespace: &Namespace, name: &str) -> u64 {
    let text = namespace.run("nft", &["list", "counter", "inet", "t", name]);
    let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
    packets.unwrap().parse().unwrap()
}

#[test]
fn addresses_that_answer_have_the_round_trip_of_an_echo_and_others_that_of_their_connections() {
    let Some(namespace) = Namespace::new() else { return };
    for address in ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.3/32", "fd00::1/128", "fd00::2/128"] {
        let options: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        namespace.run("ip", &[&["address", "add", address, "dev", "lo"], options].concat());
    }
    // One is refused by a rule on the way out, the others disappear on the way in.
    namespace.run(
        "nft",
        &["add counter inet t out; add counter inet t in; add counter inet t six; \
           add chain inet t e { type filter hook output priority 1; }; \
           add chain inet t i { type filter hook input priority 0; }; \
           add rule inet t e ip daddr 10.1.0.2 icmp type echo-request counter name out drop; \
           add rule inet t i ip daddr 10.1.0.3 icmp type echo-request counter name in drop; \
           add rule inet t i ip6 daddr fd00::2 icmpv6 type echo-request counter name six drop"],
    );
    let Some(mut lab) = Lab::new(icmp(), LONG, 500) else { return };
    let (four, six) = (server(Some(&namespace), "0.0.0.0:0"), server(Some(&namespace), "[::]:0"));
    let mut container = lab.container("pings", Some(&namespace));
    for (name, address) in [("a", "10.1.0.1"), ("b", "10.1.0.2"), ("c", "10.1.0.3")] {
        container.ok(&format!("connect {name} {address} {four}"));
    }
    for (name, address) in [("d", "fd00::1"), ("e", "fd00::2")] {
        container.ok(&format!("connect {name} {address} {six}"));
    }
    lab.until("both families are answered", |series| {
        ["10.1.0.1", "fd00::1"].iter().all(|address| to(series, ECHO, "name=pings", address).is_some())
    });
    // A round waits a second for those that do not answer, and a cycle for none.
    let cycle = |lab: &mut Lab| {
        let begun = Instant::now();
        let series = lab.cycle();
        (begun.elapsed(), series)
    };
    let fastest = (0..8).map(|_| cycle(&mut lab).0).min().unwrap();
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
    eventually("each was asked three times", || {
        lab.cycle();
        ["out", "in", "six"].iter().all(|name| counted(&namespace, name) >= 3)
    });
    // Over loopback a round trip is shorter than the kernel's estimate of a connection that has just begun.
    let until = Instant::now() + Duration::from_millis(3500);
    while Instant::now() < until {
        let (_, series) = cycle(&mut lab);
        for address in ["10.1.0.1", "fd00::1"] {
            let echo = to(&series, ECHO, "name=pings", address).unwrap();
            assert!(echo > 0.0 && echo < 0.005, "{echo} s");
            assert_eq!(to(&series, CLASSIC, "/docker/pings", address), Some(echo));
        }
        for address in ["10.1.0.2", "10.1.0.3", "fd00::2"] {
            assert_eq!(to(&series, ECHO, "name=pings", address), None, "{address}");
            let passive = sum(&series, &["container.tcp.rtt{", "name=pings", &format!("={address},")]);
            assert!(passive.is_some(), "{address}: {series:#?}");
            assert_eq!(to(&series, CLASSIC, "/docker/pings", address), passive, "{address}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for name in ["out", "in", "six"] {
        assert_eq!(counted(&namespace, name), 3, "{name}: asked again after ten minutes only");
    }
    assert!(lab.failed.iter().all(|failed| !failed.starts_with("icmp")), "{:?}", lab.failed);
}

#[test]
fn without_latency_there_is_no_round_trip_of_connections_either() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mut lab) = Lab::new(Tcp { latency: Latency::Off, ..tcp() }, LONG, 500) else { return };
    let port = server(Some(&namespace), "127.0.0.1:0");
    let mut container = lab.container("off", Some(&namespace));
    container.ok(&format!("connect one 127.0.0.1 {port}"));
    let series = lab.sees(&[(&["container.tcp.open_connections{", "name=off"], 1.0)]);
    let told = series.iter().find(|one| {
        one.text.contains("off") && ["rtt", "latency"].iter().any(|word| one.text.contains(word))
    });
    assert!(told.is_none(), "{told:?}");
}

#[test]
fn a_peer_container_answers_within_5_ms() {
    let Some(mut world) = World::with("latency: icmp", "enabled: false") else { return };
    world.docker.run("web", &[], &["httpd", "-f", "-p", "8080", "-h", "/bin"]);
    world.watch();
    world.docker.run("client", &[], &["sh", "-c", "sleep 600 | nc 172.17.0.2 8080"]);
    let labels = ["container_name=\"client\"", "network_peer_address=\"172.17.0.2\""];
    let until = Instant::now() + PATIENCE;
    let round_trip = loop {
        let text = world.scrape();
        if let Some(seconds) = value(&text, "container_icmp_rtt_seconds", &labels) {
            break seconds;
        }
        assert!(Instant::now() < until, "{text}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(round_trip > 0.0 && round_trip < 0.005, "{round_trip} s");
}

#[test]
fn without_a_capability_one_line_names_it_and_the_rest_goes_on() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let _container = lab.container("asked", Some(&namespace));
    let file = file(&format!(
        "inventory: {{units: false, names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  network: {{enabled: false}}\n  \
         containers: {{enabled: true, tcp: {{latency: icmp}}}}\n",
        lab.names().display()
    ));
    let path = file.path().to_str().unwrap();
    let line = |without: &str| {
        let mut all = vec!["+bpf", "+perfmon", "+sys_ptrace", "+sys_admin", "+net_raw", "+dac_read_search"];
        all.retain(|capability| *capability != without);
        let set = format!("-all,{}", all.join(","));
        // A user other than root, since /proc of root's processes is open to root.
        let program = command(&[]).get_program().to_owned();
        let mut checked = std::process::Command::new("setpriv");
        checked.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        checked.args(["--inh-caps", &set, "--ambient-caps", &set]).arg(program);
        let output = checked.args(["check", "--config", path]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = text.lines().find(|line| line.contains("icmp"));
        found.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))).to_owned()
    };
    let works = line("");
    assert!(works.contains("a raw socket in each of"), "{works}");
    for (without, named) in
        [("+sys_admin", "CAP_SYS_ADMIN"), ("+sys_ptrace", "CAP_SYS_PTRACE"), ("+net_raw", "CAP_NET_RAW")]
    {
        let said = line(without);
        assert!(said.contains(named), "without {without}: {said}");
    }
    let output = connscope(&["check", "--config", path]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.lines().any(|line| line.contains("icmp") && line.contains("socket")), "{text}");
}

fn address(number: usize) -> IpAddr {
    Ipv4Addr::from(u32::try_from(0x0a00_0000 + number).unwrap()).into()
}

fn count(due: &BTreeMap<u64, Vec<IpAddr>>) -> usize {
    due.values().map(Vec::len).sum()
}

#[test]
fn many_addresses_of_a_container_and_many_containers_have_their_turn() {
    let mut schedule = Schedule::default();
    let start = Instant::now();
    let second = |number: u64| start + Duration::from_secs(number);
    // One container with more addresses than a cycle asks for.
    let addresses = || (0..OF_ONE * 2 + 10).map(|number| (7, address(number)));
    let mut turns: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for number in 0..11 {
        let due = schedule.due(addresses(), second(number));
        assert_eq!(count(&due), OF_ONE);
        for ip in &due[&7] {
            *turns.entry(*ip).or_default() += 1;
        }
    }
    assert!(turns.len() == addresses().count() && turns.values().all(|turns| *turns == 5), "{turns:?}");
    // Many containers.
    let many = || (0..60).flat_map(|container| (0..25).map(move |number| (container, address(number))));
    let mut turns: BTreeMap<(u64, IpAddr), usize> = BTreeMap::new();
    for number in 20..23 {
        let due = schedule.due(many(), second(number));
        assert_eq!(count(&due), OF_ALL);
        for (container, addresses) in due {
            for ip in addresses {
                *turns.entry((container, ip)).or_default() += 1;
            }
        }
    }
    assert!(turns.len() == many().count() && turns.values().all(|turns| *turns == 2), "{turns:?}");
    assert_eq!(count(&schedule.due(std::iter::empty(), second(30))), 0);
    assert_eq!(count(&schedule.due([(1, address(1))].into_iter(), second(30))), 1, "it was forgotten");
    let soon = second(30) + Duration::from_millis(999);
    assert_eq!(count(&schedule.due([(1, address(1))].into_iter(), soon)), 0, "a second lies between");
}

#[test]
fn an_address_that_misses_three_has_no_round_trip_and_is_asked_after_ten_minutes() {
    let mut schedule = Schedule::default();
    let there = || [(1, address(1))].into_iter();
    let mut now = Instant::now();
    let mut ask = |schedule: &mut Schedule, after: Duration, answer: Option<u64>| {
        now += after;
        let due = count(&schedule.due(there(), now));
        if due > 0 {
            schedule.take(1, address(1), answer.map(Duration::from_micros));
        }
        let told: Vec<u128> = schedule.round_trips().map(|(.., trip)| trip.as_micros()).collect();
        (due, told)
    };
    let second = Duration::from_secs(1);
    let short = AGAIN.checked_sub(second).unwrap();
    assert_eq!(ask(&mut schedule, second, Some(80)), (1, vec![80]));
    assert_eq!(ask(&mut schedule, second, None), (1, vec![80]));
    assert_eq!(ask(&mut schedule, second, None), (1, vec![80]));
    assert_eq!(ask(&mut schedule, second, Some(90)), (1, vec![90]), "the count begins again");
    for _ in 0..2 {
        assert_eq!(ask(&mut schedule, second, None), (1, vec![90]));
    }
    assert_eq!(ask(&mut schedule, second, None), (1, vec![]));
    assert_eq!(ask(&mut schedule, short, None), (0, vec![]));
    assert_eq!(ask(&mut schedule, second, None), (1, vec![]));
    assert_eq!(ask(&mut schedule, short, Some(70)), (0, vec![]), "one missed is enough by now");
    assert_eq!(ask(&mut schedule, second, Some(70)), (1, vec![70]));
    assert_eq!(ask(&mut schedule, second, Some(60)), (1, vec![60]), "it is asked in each cycle again");
    // What nobody asked for.
    schedule.take(2, address(1), Some(second));
    assert_eq!(schedule.round_trips().count(), 1);
}
