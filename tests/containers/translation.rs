//! What connections have got behind NAT, and what destinations are shown as.

use super::kernel::{CONNECTIONS, LONG, OPEN, server};
use super::lab::{Lab, sum, tcp};
use crate::support::Namespace;
use connscope::source::containers::config::tcp::{FoldPorts, Public, Tcp};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// A namespace in which the port 80 of 10.9.0.9 is spread over three backends.
fn balanced() -> Option<(Namespace, u16)> {
    let namespace = Namespace::new()?;
    for address in ["10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24", "10.9.0.9/24"] {
        namespace.run("ip", &["addr", "add", address, "dev", "lo"]);
    }
    let port = server(Some(&namespace), "0.0.0.0:8080");
    namespace.run(
        "nft",
        &["add table ip n; add chain ip n o { type nat hook output priority -100; }; \
           add rule ip n o ip daddr 10.9.0.9 tcp dport 80 \
           dnat to numgen inc mod 3 map { 0 : 10.9.0.1, 1 : 10.9.0.2, 2 : 10.9.0.3 }:8080; \
           add table ip r; add chain ip r o { type filter hook output priority -300; }; \
           add rule ip r o tcp dport 81 notrack"],
    );
    // Questions are answered without events.
    let events = "/proc/sys/net/netfilter/nf_conntrack_events";
    namespace.inside(|| std::fs::write(events, "0")).unwrap();
    Some((namespace, port))
}

#[test]
fn connections_spread_over_three_backends_are_counted_at_each_and_untracked_ones_at_what_was_asked_for() {
    let Some((namespace, _)) = balanced() else { return };
    let untracked = server(Some(&namespace), "0.0.0.0:81");
    // The threads that ask conntrack are in the namespace of whoever starts the source.
    let settings = Tcp { translate: true, ..tcp() };
    let Some(mut lab) = namespace.inside(|| Lab::new(settings, LONG, 500)) else { return };
    let mut container = lab.container("client", Some(&namespace));
    for name in ["a", "b", "c"] {
        container.ok(&format!("connect {name} 10.9.0.9 80"));
    }
    container.ok("many 10.9.0.9 80 297");
    container.ok(&format!("many 10.9.0.2 {untracked} 10"));
    let asked = "server.address=10.9.0.9,server.port=80";
    let peers = [1, 2, 3].map(|last| format!("peer.address=10.9.0.{last},network.peer.port=8080"));
    let event = |peer, event| ["name=client", CONNECTIONS, asked, peer, event];
    let [a, b, c] = &peers;
    lab.sees(&[
        (&event(a, "event=opened"), 100.0),
        (&event(b, "event=opened"), 100.0),
        (&event(c, "event=opened"), 100.0),
        (&event(a, "event=reset"), 99.0),
        (&["name=client", OPEN, asked, a], 1.0),
        (&["name=client", OPEN, asked, c], 1.0),
        (&["name=client", CONNECTIONS, "server.port=81", "event=opened"], 10.0),
        (&["name=client", CONNECTIONS, "peer.address=10.9.0.2,network.peer.port=81", "event=opened"], 10.0),
        (&["name=client", "container.tcp.connect.time", asked], 300.0),
    ]);
    for name in ["a", "b", "c"] {
        container.ok(&format!("close {name}"));
    }
    lab.sees(&[
        (&["name=client", OPEN, asked], 0.0),
        (&event(b, "event=closed"), 1.0),
        (&["name=client", CONNECTIONS, asked, "event=closed"], 3.0),
    ]);
}

#[test]
fn connections_that_were_open_before_are_shown_with_the_backend_that_they_have_got() {
    let Some((namespace, _)) = balanced() else { return };
    // Whoever has the connection is there before the source.
    let Some(first) = Lab::new(tcp(), LONG, 500) else { return };
    let mut container = first.container("before", Some(&namespace));
    container.ok("connect a 10.9.0.9 80");
    let settings = Tcp { translate: true, ..tcp() };
    let Some(mut lab) = namespace.inside(|| Lab::new(settings, LONG, 500)) else { return };
    let at = ["server.address=10.9.0.9,server.port=80", "peer.address=10.9.0.1,network.peer.port=8080"];
    let [asked, got] = at;
    lab.sees(&[(&[OPEN, asked, got], 1.0), (&[CONNECTIONS, asked, got, "event=opened"], 0.0)]);
    container.ok("close a");
    lab.sees(&[(&[OPEN, asked, got], 0.0), (&[CONNECTIONS, asked, got, "event=closed"], 1.0)]);
}

#[test]
fn what_exceeds_the_rate_of_questions_is_counted_as_it_was_asked_for_and_left_out() {
    let Some((namespace, port)) = balanced() else { return };
    let settings = Tcp { translate: true, translate_rate: 1, ..tcp() };
    let Some(mut lab) = namespace.inside(|| Lab::new(settings, LONG, 500)) else { return };
    let mut container = lab.container("many", Some(&namespace));
    container.ok(&format!("scan 127.5.0.0 50 {port}"));
    let series = lab.sees(&[(&[CONNECTIONS, "name=many", "event=opened"], 50.0)]);
    let left_out = sum(&series, &["left_out{key=translation}"]).unwrap();
    assert!((40.0..50.0).contains(&left_out) || left_out >= 50.0, "{left_out}");
}

#[test]
fn without_the_right_to_ask_every_connection_is_counted_and_each_cycle_says_why() {
    let Some((namespace, _)) = balanced() else { return };
    let settings = Tcp { translate: true, ..tcp() };
    let lab = namespace.inside(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        sets.permitted.remove(CapabilitySet::NET_ADMIN);
        sets.inheritable.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        Lab::new(settings, LONG, 500)
    });
    let Some(mut lab) = lab else { return };
    let mut container = lab.container("client", Some(&namespace));
    container.ok("many 10.9.0.9 80 20");
    let asked = "server.address=10.9.0.9,server.port=80";
    let same = "peer.address=10.9.0.9,network.peer.port=80";
    lab.sees(&[(&[CONNECTIONS, "name=client", asked, same, "event=opened"], 20.0)]);
    for _ in 0..3 {
        lab.cycle();
        assert!(lab.failed.iter().any(|why| why.starts_with("translate: ")), "{:?}", lab.failed);
    }
}

#[test]
fn destinations_are_put_together_as_the_configuration_says() {
    let Some(namespace) = Namespace::new() else { return };
    for address in ["8.8.8.8/32", "8.8.4.4/32", "203.0.113.5/32", "10.9.0.1/32"] {
        namespace.run("ip", &["addr", "add", address, "dev", "lo"]);
    }
    for port in [8080, 40_000] {
        server(Some(&namespace), &format!("0.0.0.0:{port}"));
    }
    let networks = vec!["203.0.113.0/24".parse().unwrap()];
    let folded = Tcp { public: Public::Fold, networks, fold_ports: FoldPorts::Ephemeral, ..tcp() };
    let each = Tcp { fold_ports: FoldPorts::Range(8000..=9000), loopback: false, ..tcp() };
    let Some(mut folded) = Lab::new(folded, LONG, 500) else { return };
    let Some(mut each) = Lab::new(each, LONG, 500) else { return };
    let mut container = folded.container("client", Some(&namespace));
    for (address, port) in [
        ("8.8.8.8", 8080),
        ("8.8.4.4", 8080),
        ("203.0.113.5", 8080),
        ("10.9.0.1", 40_000),
        ("127.0.0.1", 8080),
    ] {
        container.ok(&format!("many {address} {port} 1"));
    }
    let of = |address, port| [CONNECTIONS, "event=opened", address, port];
    folded.sees(&[
        (&[CONNECTIONS, "event=opened", "name=client", "server.address=~public"], 2.0),
        (&of("server.address=203.0.113.5,", "server.port=8080"), 1.0),
        (&of("server.address=10.9.0.1,", "server.port=~ephemeral"), 1.0),
        (&[CONNECTIONS, "name=client", "event=opened", "server.address=127.0.0.1,"], 1.0),
    ]);
    let id = container.directory.file_name().unwrap().to_str().unwrap().to_owned();
    let id = format!("container.id={id}");
    let series = each.sees(&[
        (&of("server.address=8.8.8.8,", "server.port=~ephemeral"), 1.0),
        (&of("server.address=8.8.4.4,", "server.port=~ephemeral"), 1.0),
        (&of("server.address=10.9.0.1,", "server.port=40000"), 1.0),
    ]);
    // Loopback of another network namespace.
    assert_eq!(sum(&series, &[CONNECTIONS, &id, "server.address=127.0.0.1"]), None);
}

#[test]
fn connections_beyond_the_limit_are_counted_as_opened_and_not_as_open() {
    let settings = Tcp { connections: 1024, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let mut container = lab.container("holds", None);
    for number in 0..1200 {
        container.ok(&format!("connect {number} 127.0.0.1 {port}"));
    }
    let at = format!("server.port={port}");
    let series = lab.sees(&[(&[CONNECTIONS, "name=holds", &at, "event=opened"], 1200.0)]);
    let open = sum(&series, &[OPEN, "name=holds", &at]).unwrap();
    assert!(open <= 1024.0, "{open}");
    assert!(sum(&series, &["left_out{key=connection}"]).unwrap() >= 1200.0 - open);
}
