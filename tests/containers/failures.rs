//! Why connections are not established, and segments that are retransmitted.

use super::kernel::{CONNECTIONS, LONG, server};
use super::lab::{Lab, Series, sum, tcp};
use crate::support::{Namespace, PATIENCE};
use connscope::metric::distribution::Distribution;
use connscope::source::containers::config::tcp::Tcp;
use connscope::source::containers::tcp::{CONNECT_TIMES, bucket};
use std::time::{Duration, Instant};

/// Writes a sysctl of a network namespace.
fn set(namespace: &Namespace, name: &str, value: &str) {
    namespace.inside(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)).unwrap();
}

/// Packets to these ports are treated like this on their way in.
fn rule(namespace: &Namespace, rule: &str) {
    namespace.run("nft", &[&format!("add rule inet t f {rule}")]);
}

fn chain(namespace: &Namespace) {
    namespace.run("nft", &["add chain inet t f { type filter hook input priority 1; }"]);
}

#[test]
fn each_reason_for_which_a_connection_is_not_established_is_counted_as_itself() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    chain(&namespace);
    rule(&namespace, "tcp dport { 2, 4 } drop");
    rule(&namespace, "tcp dport 3 reject with icmp host-unreachable");
    // Gives up 3 s after the first SYN.
    set(&namespace, "tcp_syn_retries", "1");
    set(&namespace, "ip_local_port_range", "40000 40001");
    let mut container = lab.container("fails", Some(&namespace));
    namespace.run("ip", &["addr", "add", "10.9.0.1/24", "dev", "lo"]);
    container.ok("start timeout 10.9.0.1 2");
    assert_eq!(container.tell("connect refused 10.9.0.1 1"), libc::ECONNREFUSED.to_string());
    assert_eq!(container.tell("connect unreachable 10.9.0.1 3"), libc::EHOSTUNREACH.to_string());
    container.ok("start cancelled 10.9.0.1 4");
    container.ok("close cancelled");
    let port = server(Some(&namespace), "0.0.0.0:50000");
    for name in ["a", "b"] {
        container.ok(&format!("connect {name} 10.9.0.1 {port}"));
    }
    assert_eq!(container.tell(&format!("connect none 10.9.0.1 {port}")), libc::EADDRNOTAVAIL.to_string());
    let of =
        |port: &'static str, reason: &'static str| [CONNECTIONS, "name=fails", "event=failed", port, reason];
    let series = lab.sees(&[
        (&of("server.port=1}", "error.type=connection_refused"), 1.0),
        (&of("server.port=3}", "error.type=host_unreachable"), 1.0),
        (&of("server.port=4}", "error.type=cancelled"), 1.0),
        (&of("server.port=50000}", "error.type=address_not_available"), 1.0),
        (&of("server.port=2}", "error.type=timeout"), 1.0),
        (&["container.classic.failed_connects{", "destination=10.9.0.1:1", "id=/docker/fails"], 1.0),
    ]);
    let peers = series.iter().any(|one| one.text.contains("event=failed") && one.text.contains("peer"));
    assert!(!peers, "what failed has no peer");
}

#[test]
fn segments_that_are_sent_again_are_counted_at_their_destination() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    chain(&namespace);
    let port = server(Some(&namespace), "127.0.0.1:0");
    let mut container = lab.container("again", Some(&namespace));
    container.ok(&format!("connect one 127.0.0.1 {port}"));
    rule(&namespace, &format!("tcp dport {port} drop"));
    container.ok("send one 10");
    let at = format!("server.port={port}");
    let series = lab.until("three are retransmitted", |series| {
        sum(series, &["container.tcp.retransmits{", "name=again", &at]).is_some_and(|count| count >= 3.0)
    });
    // Each byte is sent once.
    assert_eq!(sum(&series, &["container.tcp.io{", "name=again", &at, "transmit"]), Some(10.0));
}

/// The distribution of the series whose text has all of these parts.
fn distribution(series: &[Series], parts: &[&str]) -> Distribution {
    let found = series.iter().find(|one| parts.iter().all(|part| one.text.contains(part)));
    found.and_then(|one| one.distribution.clone()).unwrap_or_else(|| panic!("{parts:?}: {series:#?}"))
}

/// The bucket that has the only value of a distribution, which its sum says too.
fn bucket_of_one(times: &Distribution) -> usize {
    let place = times.counts().iter().position(|count| *count == 1).unwrap();
    // The kernel sorts by whole microseconds.
    let nanoseconds = Duration::from_secs_f64(times.sum()).as_nanos();
    assert_eq!(place, bucket(u64::try_from(nanoseconds).unwrap()), "{times:?}");
    place
}

#[test]
fn a_handshake_that_is_answered_at_once_is_in_the_bucket_of_its_duration() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let mut container = lab.container("soon", Some(&namespace));
    let ports: Vec<u16> = (0..10).map(|_| server(Some(&namespace), "127.0.0.1:0")).collect();
    for port in &ports {
        container.ok(&format!("connect c{port} 127.0.0.1 {port}"));
    }
    let of = |port: u16| {
        ["container.tcp.connect.time{".to_owned(), "name=soon".to_owned(), format!("server.port={port}")]
    };
    let series = lab.until("all are established", |series| {
        ports.iter().all(|port| sum(series, &of(*port).each_ref().map(String::as_str)) == Some(1.0))
    });
    for port in ports {
        let times = distribution(&series, &of(port).each_ref().map(String::as_str));
        bucket_of_one(&times);
        assert!(times.sum() > 0.0, "{times:?}");
    }
}

/// `TcpExtTCPSynRetrans` of a network namespace.
fn syn_retransmits(namespace: &Namespace) -> f64 {
    let text = namespace.run("nstat", &["-asz", "TcpExtTCPSynRetrans"]);
    let line = text.lines().find(|line| line.starts_with("TcpExtTCPSynRetrans")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn retransmitted_syns_are_as_many_as_the_kernel_counts_in_the_namespace() {
    for translate in [false, true] {
        let Some(namespace) = Namespace::new() else { return };
        let Some(mut lab) = Lab::new(Tcp { translate, ..tcp() }, LONG, 500) else { return };
        chain(&namespace);
        set(&namespace, "tcp_syn_retries", "2");
        // What is sent to its neighbour goes to an address that nobody on the link has.
        namespace.run("ip", &["link", "add", "hole", "type", "veth", "peer", "name", "bottom"]);
        namespace.run("ip", &["addr", "add", "10.9.1.1/24", "dev", "hole"]);
        for end in ["hole", "bottom"] {
            namespace.run("ip", &["link", "set", end, "up"]);
        }
        let neighbour = ["neigh", "add", "10.9.1.2", "lladdr", "02:00:00:00:00:02", "dev", "hole"];
        namespace.run("ip", &neighbour);
        let mut container = lab.container("syns", Some(&namespace));
        container.ok("start never 10.9.1.2 9");
        let port = server(Some(&namespace), "127.0.0.1:0");
        rule(&namespace, &format!("tcp dport {port} drop"));
        container.ok(&format!("start late 127.0.0.1 {port}"));
        let (never, late) = ("server.port=9".to_owned(), format!("server.port={port}"));
        let of = |series: &[Series], metric: &str, at: &str| {
            sum(series, &[metric, "name=syns", at]).unwrap_or_default()
        };
        let syns = "container.tcp.syn_retransmits{";
        let begun = Instant::now();
        while syn_retransmits(&namespace) < 2.0 {
            assert!(begun.elapsed() < PATIENCE, "no SYN is retransmitted");
            std::thread::sleep(Duration::from_millis(10));
        }
        namespace.run("nft", &["flush chain inet t f"]);
        let series = lab.until("one is established, the other is given up", |series| {
            sum(series, &[CONNECTIONS, "event=opened", "name=syns", &late]) == Some(1.0)
                && sum(series, &[CONNECTIONS, "error.type=timeout", "name=syns", &never]) == Some(1.0)
        });
        // Since Linux 6.5 more than net.ipv4.tcp_syn_retries.
        assert!(of(&series, syns, &never) >= 2.0, "{translate}");
        assert!(of(&series, syns, &late) >= 1.0, "{translate}");
        let counted = of(&series, syns, &never) + of(&series, syns, &late);
        assert_eq!(counted, syn_retransmits(&namespace), "{translate}");
        let all = |series: &[Series]| {
            let retransmits = "container.tcp.retransmits{";
            of(series, retransmits, &never) + of(series, retransmits, &late)
        };
        assert_eq!(all(&series), counted, "both metrics have them");
        // The SYN that was answered was sent a second after the first one.
        let times = distribution(&series, &["container.tcp.connect.time{", "name=syns", &late]);
        let longest = CONNECT_TIMES.iter().position(|bound| *bound == 1.0).unwrap();
        assert_eq!(
            (times.count(), bucket_of_one(&times) > longest, times.sum() > 1.0),
            (1, true, true),
            "{times:?}"
        );
        assert_eq!(sum(&series, &["container.tcp.connect.time{", "name=syns", &never]), None);
        // Data is none.
        rule(&namespace, &format!("tcp dport {port} drop"));
        container.ok("send late 10");
        let series = lab.until("data is retransmitted", |series| all(series) >= counted + 2.0);
        assert_eq!(of(&series, syns, &never) + of(&series, syns, &late), counted);
    }
}
