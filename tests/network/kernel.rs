//! The real kernel, in network namespaces of the tests' own: they make the traffic and know what to expect.

use crate::support::{Namespace, command, connscope, skipped};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::network::Network;
use connscope::source::network::config::Network as Settings;
use connscope::source::network::labels::{INTERFACES, RULES};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

pub(super) type Numbers = BTreeMap<String, u64>;

pub(super) fn source(netns: &[String]) -> Network {
    Network::new(&Settings { netns: netns.to_vec(), ..Settings::default() })
}

pub(super) fn read(source: &mut Network) -> Numbers {
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    let number = |value: &Value| match value {
        Value::U64(value) => *value,
        Value::I64(value) => u64::try_from(*value).unwrap(),
        Value::F64(_) | Value::Distribution(_) => 0,
    };
    let named = readings.iter().map(|reading| {
        let labels: Vec<String> =
            reading.labels.iter().map(|(label, value)| format!("{}={value}", label.key())).collect();
        (format!("{}{{{}}}", reading.metric.name, labels.join(",")), number(&reading.value))
    });
    let numbers = named.collect();
    let (_, failures) = readings.into_parts();
    assert!(failures.is_empty(), "{failures:?}");
    numbers
}

/// What a counter is now, as `nstat` prints it in a namespace.
pub(super) fn nstat(namespace: &Namespace, name: &str) -> u64 {
    let printed = namespace.run("nstat", &["-asz", name]);
    let line =
        printed.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{printed}"));
    line.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// Writes a sysctl of the namespace, which is gone with it.
pub(super) fn sysctl(namespace: &Namespace, path: &str, value: &str) {
    namespace.inside(|| std::fs::write(format!("/proc/sys/{path}"), value)).unwrap();
}

/// A veth pair with an address and a neighbour that is not there, so that what is sent goes through the queue and is gone.
fn veth(namespace: &Namespace) {
    namespace.run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    namespace.run("ip", &["address", "add", "192.0.2.1/24", "dev", "left"]);
    namespace.run("ip", &["link", "set", "left", "up"]);
    namespace.run("ip", &["link", "set", "right", "up"]);
    namespace.run("ip", &["neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:02", "dev", "left"]);
}

fn datagrams(namespace: &Namespace, to: &str, count: usize) {
    namespace.inside(|| {
        let from = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(from).unwrap();
        for _ in 0..count {
            // Refused, or dropped in the queue: counted either way.
            let _whatever = socket.send_to(&[0; 1000], to);
        }
    });
}

#[test]
fn a_queue_that_overflows_drops_exactly_what_tc_says() {
    let Some(namespace) = Namespace::new() else { return };
    veth(&namespace);
    let tbf =
        ["qdisc", "add", "dev", "left", "root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "3000"];
    namespace.run("tc", &tbf);
    let mut source = source(&[]);
    let before = namespace.inside(|| read(&mut source));
    assert_eq!(before["qdisc.drops{network.interface.name=left,qdisc=tbf}"], 0);
    datagrams(&namespace, "192.0.2.2:9", 200);
    let printed = namespace.run("tc", &["-s", "-j", "qdisc", "show", "dev", "left", "root"]);
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let expected = printed[0]["drops"].as_u64().unwrap();
    assert!(expected > 150, "{printed}");
    let after = namespace.inside(|| read(&mut source));
    assert_eq!(after["qdisc.drops{network.interface.name=left,qdisc=tbf}"], expected);
    assert!(!after.keys().any(|name| name.contains("qdisc=noqueue")), "{after:?}");
    assert!(!after.keys().any(|name| name.starts_with("interface.errors{")), "a veth is no card: {after:?}");
    // A queue of one packet on the other end, which is the default discipline of no card.
    namespace.run("tc", &["qdisc", "replace", "dev", "left", "root", "pfifo", "limit", "1"]);
    let replaced = namespace.inside(|| read(&mut source));
    assert_eq!(replaced.get("qdisc.drops{network.interface.name=left,qdisc=tbf}"), None);
    assert_eq!(replaced["qdisc.drops{network.interface.name=left,qdisc=pfifo}"], 0);
}

/// A segment with ACK alone, which belongs to no connection and has a correct checksum: a cookie that the kernel did not make.
fn forged(from: u16, to: u16) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.to_be_bytes());
    segment.extend(to.to_be_bytes());
    segment.extend(1u32.to_be_bytes());
    segment.extend(2u32.to_be_bytes());
    segment.extend([0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [127, 0, 0, 1, 127, 0, 0, 1, 0, 6, 0, 20];
    let words = pseudo.iter().chain(&segment).copied().collect::<Vec<u8>>();
    let sum: u32 = words.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

#[test]
fn syn_cookies_sent_received_and_failed_are_counted() {
    let Some(namespace) = Namespace::new() else { return };
    sysctl(&namespace, "net/ipv4/tcp_syncookies", "2");
    let connections = namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(to).unwrap()).collect();
        let accepted: Vec<_> = (0..20).map(|_| listener.accept().unwrap()).collect();
        let tcp = Some(rustix::net::ipproto::TCP);
        let raw = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, tcp).unwrap();
        let address: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
        for from in 1..=7 {
            sendto(&raw, &forged(from, to.port()), SendFlags::empty(), &address).unwrap();
        }
        (listener, clients, accepted)
    });
    let numbers = namespace.inside(|| read(&mut source(&[])));
    let three = ["sent", "received", "failed"].map(|what| numbers[&format!("tcp.syncookies.{what}{{}}")]);
    assert_eq!(three, [20, 20, 7]);
    drop(connections);
}

#[test]
fn a_full_accept_queue_is_counted_as_nstat_counts_it() {
    let Some(namespace) = Namespace::new() else { return };
    sysctl(&namespace, "net/core/somaxconn", "1");
    let kept = namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to: SocketAddr = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        // Two fit into the queue; a SYN of the third is dropped, and retransmitted after a second.
        for _ in 0..3 {
            clients.extend(TcpStream::connect_timeout(&to, Duration::from_millis(300)).ok());
        }
        (listener, clients)
    });
    let numbers = namespace.inside(|| read(&mut source(&[])));
    let overflows = nstat(&namespace, "TcpExtListenOverflows");
    assert!(overflows >= 1, "the queue of 1 took three connections");
    assert_eq!(numbers["tcp.listen.overflows{}"], overflows);
    assert_eq!(numbers["tcp.listen.drops{}"], nstat(&namespace, "TcpExtListenDrops"));
    drop(kept);
}

#[test]
fn a_full_syn_queue_without_cookies_drops_syns() {
    let Some(namespace) = Namespace::new() else { return };
    sysctl(&namespace, "net/ipv4/tcp_syncookies", "0");
    sysctl(&namespace, "net/core/somaxconn", "2");
    let listener = namespace.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let to = listener.local_addr().unwrap().port();
    // SYN-ACKs are dropped, so that no handshake ends.
    namespace.run("nft", &["add rule inet t o tcp flags & (syn|ack) == syn|ack drop"]);
    namespace.inside(|| {
        let started: Vec<_> = (0..20)
            .map(|_| {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
                let address: SocketAddrV4 = format!("127.0.0.1:{to}").parse().unwrap();
                let _in_progress = rustix::net::connect(&socket, &address);
                socket
            })
            .collect();
        drop(started);
    });
    let numbers = namespace.inside(|| read(&mut source(&[])));
    let dropped = nstat(&namespace, "TcpExtTCPReqQFullDrop");
    assert!(dropped >= 1, "the queue took 20 SYNs");
    assert_eq!(numbers["tcp.syn_queue.drops{}"], dropped);
}

#[test]
fn icmp_errors_are_counted_by_family_and_namespace() {
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    datagrams(&first, "127.0.0.1:9", 5);
    datagrams(&first, "[::1]:9", 3);
    datagrams(&second, "127.0.0.1:9", 2);
    let paths = [first.path(), second.path()];
    let numbers = read(&mut source(&paths));
    let unreachable = |path: &str, family: &str| {
        numbers[&format!(
            "icmp.errors.received{{icmp.type=destination_unreachable,netns={path},network.type={family}}}"
        )]
    };
    assert_eq!((unreachable(&paths[0], "ipv4"), unreachable(&paths[0], "ipv6")), (5, 3));
    assert_eq!((unreachable(&paths[1], "ipv4"), unreachable(&paths[1], "ipv6")), (2, 0));
    for path in &paths {
        assert_eq!(numbers[&format!("connscope.netns.up{{netns={path},source=network}}")], 1);
    }
}

#[test]
fn every_online_cpu_has_its_backlog_and_orphans_have_their_limit() {
    let numbers = read(&mut source(&[]));
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let rows = numbers.keys().filter(|name| name.starts_with("softnet.time_squeeze{")).count();
    assert_eq!(rows, text.lines().count());
    let limit = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_max_orphans").unwrap();
    assert_eq!(numbers["tcp.orphans.limit{}"], limit.trim().parse::<u64>().unwrap());
    assert!(numbers.contains_key("tcp.orphans.usage{}"));
}

#[test]
fn a_real_virtio_card_is_read_and_software_interfaces_are_not() {
    let is_virtio = |name: &std::ffi::OsStr| {
        let driver = std::path::Path::new("/sys/class/net").join(name).join("device/driver");
        std::fs::canonicalize(driver).is_ok_and(|driver| driver.ends_with("virtio_net"))
    };
    let names = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name());
    let cards: Vec<_> = names.filter(|name| is_virtio(name)).collect();
    let numbers = read(&mut source(&[]));
    let series = |kind: &str, name: &std::ffi::OsStr| {
        format!("interface.errors{{kind={kind},network.interface.name={}}}", name.display())
    };
    for name in &cards {
        assert!(numbers.contains_key(&series("timeout", name)), "{numbers:?}");
        assert!(!numbers.contains_key(&series("missed", name)), "it does not count them: {numbers:?}");
    }
    assert!(!numbers.keys().any(|name| name.contains("interface.name=lo")), "{numbers:?}");
    if cards.is_empty() {
        skipped("there is no card of virtio_net");
    }
}

#[test]
fn interfaces_over_the_limit_are_left_out_and_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let over = 10;
    let (mut links, mut queues) = (String::new(), String::new());
    for number in (0..INTERFACES + over).step_by(2) {
        let (left, right) = (number, number + 1);
        writeln!(links, "link add v{left} type veth peer name v{right}").unwrap();
        writeln!(queues, "qdisc add dev v{left} root pfifo limit 10").unwrap();
        writeln!(queues, "qdisc add dev v{right} root pfifo limit 10").unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    for (program, batch) in [("ip", links), ("tc", queues)] {
        let file = folder.path().join(program);
        std::fs::write(&file, batch).unwrap();
        namespace.run(program, &["-batch", file.to_str().unwrap()]);
    }
    let numbers = namespace.inside(|| read(&mut source(&[])));
    let reported = numbers.keys().filter(|name| name.starts_with("qdisc.drops{")).count();
    assert_eq!(reported, INTERFACES);
    assert_eq!(numbers["connscope.network.left_out{key=interface}"], over as u64);
}

/// What the source says of rules: packets by their labels.
fn rule_packets(namespace: &Namespace) -> Numbers {
    let settings = Settings { rules: true, ..Settings::default() };
    let mut numbers = namespace.inside(|| read(&mut Network::new(&settings)));
    numbers.retain(|name, _| name.starts_with("netfilter.rule.packets{"));
    numbers
}

#[test]
fn rules_of_nftables_and_iptables_that_drop_or_reject_say_how_many_packets() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(
        "nft",
        &["add table inet shop; add chain inet shop in { type filter hook input priority 0; }; \
           add rule inet shop in udp dport 1001 counter drop comment \"no games\"; \
           add rule inet shop in udp dport 1002 counter log reject; \
           add rule inet shop in udp dport 1003 drop; \
           add rule inet shop in counter udp dport 1004 drop; \
           add rule inet shop in udp dport 1005 counter accept"],
    );
    for target in ["DROP", "REJECT"] {
        let port = if target == "DROP" { "1006" } else { "1007" };
        let rule = [
            "-A",
            "OUTPUT",
            "-p",
            "udp",
            "--dport",
            port,
            "-m",
            "comment",
            "--comment",
            "by hand",
            "-j",
            target,
        ];
        namespace.run("iptables-nft", &rule);
    }
    for (port, count) in [(1001, 3), (1002, 5), (1003, 1), (1004, 1), (1005, 1), (1006, 7), (1007, 2)] {
        datagrams(&namespace, &format!("127.0.0.1:{port}"), count);
    }
    let expected = [
        ("no games,family=inet,table=shop,verdict=drop", "in", 3),
        (",family=inet,table=shop,verdict=reject", "in", 5),
        ("by hand,family=ip,table=filter,verdict=drop", "OUTPUT", 7),
        ("by hand,family=ip,table=filter,verdict=reject", "OUTPUT", 2),
    ];
    let expected: Numbers = expected
        .into_iter()
        .map(|(labels, chain, count)| {
            (format!("netfilter.rule.packets{{chain={chain},comment={labels}}}"), count)
        })
        .collect();
    assert_eq!(rule_packets(&namespace), expected);
}

#[test]
fn rules_over_the_limit_are_left_out_and_counted_and_rules_that_are_alike_are_one() {
    let Some(namespace) = Namespace::new() else { return };
    let mut rules = "add table inet many\nadd chain inet many in\n".to_owned();
    for number in 0..RULES + 10 {
        writeln!(rules, "add rule inet many in udp dport {number} counter drop comment \"{number}\"")
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, &rules).unwrap();
    namespace.run("nft", &["-f", file.to_str().unwrap()]);
    let settings = Settings { rules: true, ..Settings::default() };
    let numbers = namespace.inside(|| read(&mut Network::new(&settings)));
    assert_eq!(numbers.keys().filter(|name| name.starts_with("netfilter.rule.packets{")).count(), RULES);
    assert_eq!(numbers["connscope.network.left_out{key=rule}"], 10);
    let config = folder.path().join("agent.yaml");
    std::fs::write(&config, "sources: {network: {rules: true}}").unwrap();
    let said = namespace.inside(|| connscope(&["check", "--config", config.to_str().unwrap()]).stdout);
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("200 rules that drop or reject have a counter; 10 more are left out"), "{said}");
    std::fs::write(&file, rules.replace("comment", "#")).unwrap();
    namespace.run("nft", &["delete table inet many"]);
    namespace.run("nft", &["-f", file.to_str().unwrap()]);
    assert_eq!(rule_packets(&namespace).len(), 1, "without comments they have one name");
}

#[test]
fn check_says_what_each_part_found() {
    let Some(namespace) = Namespace::new() else { return };
    veth(&namespace);
    namespace.run("tc", &["qdisc", "add", "dev", "left", "root", "pfifo", "limit", "1"]);
    let output = namespace.inside(|| connscope(&["check"]));
    let said = String::from_utf8(output.stdout).unwrap();
    for (way, detail) in [
        ("ethtool", "no network card"),
        ("qdisc", "of 1 queueing discipline"),
        ("counters", "20 of 20"),
        ("softnet", "CPU"),
    ] {
        let words = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let begins = format!("network {way} works ");
        let line = said.lines().map(words).find(|line| line.starts_with(&begins)).expect(&said);
        assert!(line.contains(detail), "{way}: {said}");
    }
}

#[test]
fn nobody_may_read_all_of_it() {
    let Some(namespace) = Namespace::new() else { return };
    let mut once = command(&["once", "--format", "prometheus"]);
    let output = namespace.inside(|| {
        use std::os::unix::process::CommandExt;
        if rustix::process::geteuid().is_root() {
            once.uid(65_534).gid(65_534);
        }
        once.output().unwrap()
    });
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nconnscope_source_up{source=\"network\"} 1\n"), "{text}");
    assert!(text.contains("\nsoftnet_time_squeeze_total{cpu=\"0\"} "), "{text}");
    assert!(text.contains("\ntcp_syncookies_failed_total 0\n"), "{text}");
}
