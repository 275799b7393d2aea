//! Why connections are not established, and segments that are retransmitted.

use super::kernel::{CONNECTIONS, LONG, server};
use super::lab::{Lab, sum, tcp};
use crate::support::Namespace;

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
