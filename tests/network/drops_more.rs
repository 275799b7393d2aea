//! Resets, errors of ICMP, sampling, and what is left without a privilege.

use super::drops::{alone, expected, series, source};
use crate::support::agent::Public;
use crate::support::{Agent, Namespace, eventually, get, skipped};
use connscope::host::bpf::enumerations;
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::network::drops::Drops;
use connscope::source::network::drops::kernel::Limits;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Whether this kernel gives a reason for resets.
fn resets_have_reasons() -> bool {
    let [resets] = enumerations(["sk_rst_reason"]).unwrap();
    !resets.is_empty()
}

/// Whether this kernel has a tracepoint.
pub(super) fn has_tracepoint(name: &str) -> bool {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let name = format!("\0btf_trace_{name}\0");
    types.windows(name.len()).any(|text| text == name.as_bytes())
}

#[test]
fn resets_say_by_whom_and_why_a_connection_was_refused_or_closed() {
    let Some(namespace) = Namespace::new() else { return };
    let all = [&namespace];
    let mut source = source(&all);
    namespace.inside(|| {
        for _ in 0..200 {
            TcpStream::connect("127.0.0.1:9").unwrap_err();
        }
        // It is closed with unread data.
        let listener = TcpListener::bind("127.0.0.1:7777").unwrap();
        for _ in 0..20 {
            let mut client = TcpStream::connect("127.0.0.1:7777").unwrap();
            let (server, _) = listener.accept().unwrap();
            client.write_all(b"request").unwrap();
            while server.peek(&mut [0; 16]).unwrap() == 0 {}
            drop(server);
        }
    });
    let mut found = series(&mut source, &all, "tcp.resets");
    let (nobody, unread) =
        if resets_have_reasons() { ("reason=NO_SOCKET,", "reason=TCP_ABORT_ON_CLOSE,") } else { ("", "") };
    let sent =
        |reason: &str, port: u16| format!("netns=0,network.io.direction=transmit,{reason}server.port={port}");
    let (refused, closed) = (sent(nobody, 9), sent(unread, 7777));
    // Before Linux 6.10 a reset without a socket is not reported.
    let refusals = if resets_have_reasons() { 200 } else { 0 };
    found.entry(refused.clone()).or_insert(0);
    assert_eq!(
        found,
        expected(&[
            (&refused, refusals),
            (&closed, 20),
            ("netns=0,network.io.direction=receive,server.port=9", 200),
            ("netns=0,network.io.direction=receive,server.port=7777", 20),
        ])
    );
}

#[test]
fn errors_of_icmp_that_are_sent_have_their_code() {
    let Some(namespace) = Namespace::new() else { return };
    if !has_tracepoint("icmp_send") {
        skipped("needs the tracepoint icmp_send, Linux 6.10");
        return;
    }
    let all = [&namespace];
    namespace.run(
        "nft",
        &["add chain inet t i { type filter hook input priority 0; }; \
           add rule inet t i udp dport 1002 reject with icmp type admin-prohibited"],
    );
    let mut source = source(&all);
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (port, count) in [(4444, 300), (1002, 5)] {
            for _ in 0..count {
                while socket.send_to(b"x", ("127.0.0.1", port)).is_err() {}
            }
        }
    });
    let found = series(&mut source, &all, "icmp.errors.sent");
    let unreachable = [
        ("icmp.code=13,icmp.type=destination_unreachable,netns=0", 5),
        ("icmp.code=3,icmp.type=destination_unreachable,netns=0", 300),
    ];
    assert_eq!(found, expected(&unreachable));
}

/// The number of the series with all of these values.
pub(super) fn number(readings: &Readings, metric: &str, values: &[&str]) -> u64 {
    let found = readings.iter().filter(|reading| reading.metric.name == metric);
    let mut found = found.filter(|reading| {
        values.iter().all(|value| reading.labels.iter().any(|(_, label)| &**label == *value))
    });
    found.next().map_or(0, |reading| match reading.value {
        Value::U64(value) => value,
        _ => unreachable!("a counter"),
    })
}

/// Datagrams to a closed port.
const SENT: u64 = 20_000;

#[test]
fn above_a_rate_some_are_looked_at_and_count_for_all() {
    let Some(namespace) = Namespace::new() else { return };
    let _alone = alone();
    let mut drops = Drops::new(Limits { window: 64, ..Limits::default() });
    let cycle = |drops: &mut Drops| {
        let mut readings = Readings::default();
        drops.observe([], None, Instant::now(), &mut readings).unwrap();
        readings
    };
    let first = cycle(&mut drops);
    let sampled = |readings: &Readings| number(readings, "connscope.network.sampled", &["drop"]);
    let before = sampled(&first);
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..SENT / 200 {
            for _ in 0..200 {
                while socket.send_to(b"x", "127.0.0.1:4446").is_err() {}
            }
            // Slow enough for the other tests' programs to count each.
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    // A series begins with a point of 0.
    cycle(&mut drops);
    let readings = cycle(&mut drops);
    let netns = format!("net:[{}]", namespace.inode());
    let counted = number(&readings, "network.packet.drops", &["NO_SOCKET", "udp", "4446", &netns]);
    assert!(counted.abs_diff(SENT) < SENT / 4, "{counted} of {SENT}");
    let left = sampled(&readings) - before;
    assert!(left > SENT / 4, "{left} of {SENT} were not looked at");
    assert_eq!(
        number(&readings, "connscope.network.sampled", &["icmp_sent"]) > 0,
        has_tracepoint("icmp_send")
    );
}

#[test]
fn without_its_capabilities_drops_are_one_line_and_the_rest_is_read() {
    let Some(namespace) = Namespace::new() else { return };
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to be nobody");
        return;
    }
    let public = Public::new("sources: {network: {drops: true}}\nresource: {cloud: {detect: off}}\n");
    let mut once = public.nobody(&[], &["once", "--format", "prometheus"]);
    let output = namespace.inside(|| once.output().unwrap());
    let (text, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(text.contains("\nconnscope_source_up{source=\"network\"} 1\n"), "{text}");
    assert!(text.contains("\ntcp_syncookies_failed_total 0\n"), "{text}");
    assert!(!text.contains("network_packet_drops"), "{text}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("drops")).collect();
    assert!(lines.len() == 1 && lines[0].contains("CAP_BPF and CAP_PERFMON"), "{log}");
    let mut check = public.nobody(&["bpf", "perfmon"], &["check"]);
    let output = namespace.inside(|| check.output().unwrap());
    let said = String::from_utf8(output.stdout).unwrap();
    let line_of = |part: &str| {
        let is_its = |line: &&str| line.split_ascii_whitespace().take(2).eq(["network", part]);
        said.lines().find(is_its).unwrap_or_else(|| panic!("no line of {part}: {said}"))
    };
    let line = line_of("drops");
    assert!(line.contains("the kernel names ") && line.contains(" works "), "{line}");
    let line = line_of("names");
    assert!(line.contains("needs CAP_SYS_PTRACE"), "{line}");
    assert!(output.status.success(), "drops are counted without the names: {said}");
}

#[test]
fn without_the_names_of_namespaces_it_says_so_once_and_counts_by_their_inodes() {
    let Some(namespace) = Namespace::new() else { return };
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to be nobody");
        return;
    }
    let public = Public::new(
        "sources: {network: {drops: true}, conntrack: {enabled: false}, sockets: {enabled: false}}\n\
         resource: {cloud: {detect: off}}\n",
    );
    let arguments = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none"];
    let _alone = alone();
    let mut agent = Agent::start(public.nobody(&["bpf", "perfmon"], &arguments));
    let address = agent.address();
    get(address, "/metrics");
    let series = "reason=\"NO_SOCKET\",server_port=\"9\"";
    let netns = format!("netns=\"net:[{}]\"", namespace.inode());
    for _ in 0..3 {
        namespace.inside(|| TcpStream::connect("127.0.0.1:9").unwrap_err());
        get(address, "/metrics");
    }
    eventually("they are counted under the inode", || {
        get(address, "/metrics").1.lines().any(|line| {
            line.starts_with("network_packet_drops_total{") && line.contains(series) && line.contains(&netns)
        })
    });
    let said = agent.log.all();
    let lines: Vec<_> = said.iter().filter(|line| line.contains("CAP_SYS_PTRACE")).collect();
    assert!(lines.len() == 1 && lines[0].contains("\"names\""), "{said:#?}");
    let (status, text) = get(address, "/metrics");
    assert!(status == 200 && text.contains("connscope_source_up{source=\"network\"} 1"), "{text}");
}

#[test]
fn without_its_capability_rules_are_one_line_and_the_rest_is_read() {
    let Some(namespace) = Namespace::new() else { return };
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to be nobody");
        return;
    }
    namespace.run(
        "nft",
        &["add chain inet t i { type filter hook input priority 0; }; add rule inet t i udp dport 9 counter drop"],
    );
    let public = Public::new("sources: {network: {rules: true}}\nresource: {cloud: {detect: off}}\n");
    let once = |capabilities: &[&str]| {
        let mut once = public.nobody(capabilities, &["once", "--format", "prometheus"]);
        let output = namespace.inside(|| once.output().unwrap());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (text, log) = once(&[]);
    assert!(text.contains("\nconnscope_source_up{source=\"network\"} 1\n"), "{text}");
    assert!(text.contains("\ntcp_syncookies_failed_total 0\n"), "{text}");
    assert!(!text.contains("netfilter_rule_packets"), "{text}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("rules")).collect();
    assert!(lines.len() == 1 && lines[0].contains("CAP_NET_ADMIN"), "{log}");
    let (text, log) = once(&["net_admin"]);
    assert!(text.contains("\nnetfilter_rule_packets_total{"), "{text}{log}");
}
