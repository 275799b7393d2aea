//! Which end opened a connection, and what else connections are grouped by: port, peer, family.

use super::{Ends, INCOMING, Numbers, OUTGOING, Probe, abort, aborted, close, connection, listener, send};
use crate::support::{Namespace, eventually};
use std::net::{TcpListener, TcpStream, UdpSocket};

/// Connections that are open by side, of one port.
fn open(numbers: &Numbers, port: u16) -> [f64; 2] {
    let port = format!("server.port={port}");
    [OUTGOING, INCOMING].map(|side| numbers.sum("tcp.open_connections", &[side, &port]))
}

#[test]
fn who_listens_says_which_end_opened_a_connection() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listeners = [
            listener("127.0.0.1:4000"),
            listener("0.0.0.0:4001"),
            listener("[::1]:4002"),
            listener("[::]:4003"),
            listener("[::ffff:127.0.0.1]:4004"),
        ];
        let to = [
            (0, "127.0.0.1:4000"),
            (1, "127.0.0.9:4001"),
            (2, "[::1]:4002"),
            (3, "127.0.0.1:4003"),
            (3, "[::1]:4003"),
            (4, "127.0.0.1:4004"),
        ];
        let pairs = to.map(|(listener, to)| connection(&listeners[listener], to));
        let numbers = Probe::new("group_by: [direction, service_port, family]").read();
        for (port, count) in [(4000, 1.0), (4001, 1.0), (4002, 1.0), (4003, 2.0), (4004, 1.0)] {
            assert_eq!(open(&numbers, port), [count; 2], "{port}");
        }
        let ports = numbers.values("tcp.open_connections", "server.port");
        assert_eq!(ports, ["4000", "4001", "4002", "4003", "4004"]);
        for side in [OUTGOING, INCOMING] {
            let of = |family| numbers.sum("tcp.open_connections", &[side, family, "server.port=4003"]);
            assert_eq!(["network.type=ipv4", "network.type=ipv6"].map(of), [1.0; 2]);
        }
        drop(pairs);
    });
}

#[test]
fn a_listener_that_has_gone_is_not_missed() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let pair = |to: &str| -> (TcpStream, TcpStream) { connection(&listener(to), to) };
        let idle = pair("127.0.0.1:4000");
        let mut busy = pair("[::1]:4001");
        send(&mut busy.0, &mut busy.1, 10_000);
        send(&mut busy.1, &mut busy.0, 1);
        std::thread::sleep(std::time::Duration::from_millis(300)); // the last byte is acknowledged
        let mut probe = Probe::at(&namespace, "group_by: [direction, service_port]");
        let numbers = probe.read();
        assert_eq!([4000, 4001].map(|port| open(&numbers, port)), [[1.0; 2]; 2]);
        // Nor one that comes and goes between two cycles, with what it was for.
        let mut short = pair("127.0.0.1:4005");
        send(&mut short.0, &mut short.1, 77);
        close(short);
        let numbers = probe.until("both ends have closed", |numbers| numbers.became("closed", &[]) == 2.0);
        assert_eq!(numbers.became("closed", &[OUTGOING, "server.port=4005"]), 1.0);
        assert_eq!(numbers.became("closed", &[INCOMING, "server.port=4005"]), 1.0);
        assert_eq!(numbers.io(&[OUTGOING, "server.port=4005"]), [77.0, 1.0]);
        assert_eq!(numbers.values("tcp.open_connections", "server.port"), ["4000", "4001", "4005"]);
        drop((idle, busy));
    });
}

/// What was reset from here has lost the counters that would tell, so only the listener does.
#[test]
fn a_listener_of_both_families_is_known_to_listen_for_both() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("[::]:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut ends = Ends::new();
        for to in ["127.0.0.1:4000", "[::1]:4000"] {
            let (client, server) = connection(&listener, to);
            abort(server);
            aborted(client);
        }
        ends.wait(4);
        let numbers = probe.until("both are over", |numbers| numbers.became("reset", &[]) == 4.0);
        for side in [OUTGOING, INCOMING] {
            assert_eq!(numbers.became("reset", &[side, "server.port=4000"]), 2.0, "{side}");
        }
    });
}

/// Listens on every address of the machine, and adds some.
fn on_every_address(namespace: &Namespace) -> TcpListener {
    for address in ["10.1.2.3/32", "192.0.2.7/32", "fd00::7/128", "2001:db8::7/128"] {
        namespace.run("ip", &["address", "add", address, "dev", "lo", "nodad"]);
    }
    // Addresses of IPv6 are there a little later.
    for address in ["[fd00::7]:1", "[2001:db8::7]:1"] {
        eventually("it has its addresses", || UdpSocket::bind("[::]:0").unwrap().connect(address).is_ok());
    }
    listener("[::]:4000")
}

#[test]
fn peers_are_grouped_by_the_longest_prefix() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = on_every_address(&namespace);
        let to = [
            "127.0.0.1:4000",
            "127.1.0.1:4000",
            "127.1.2.3:4000",
            "[::1]:4000",
            "10.1.2.3:4000",
            "192.0.2.7:4000",
            "[fd00::7]:4000",
            "[2001:db8::7]:4000",
        ];
        let pairs = to.map(|to| connection(&listener, to));
        let numbers = Probe::new("group_by: [direction, peer_group]").read();
        for (group, count) in [("loopback", 4.0), ("private", 2.0), ("public", 2.0)] {
            let group = format!("peer_group={group}");
            assert_eq!(numbers.sum("tcp.open_connections", &[OUTGOING, &group]), count, "{group}");
        }
        let yaml = "peer_groups: {wide: [127.1.0.0/16, 'fd00::/16'], narrow: [127.1.2.0/24], private: [192.0.2.0/24]}";
        let numbers = Probe::new(&format!("group_by: [direction, peer_group]\n{yaml}")).read();
        for (group, count) in
            [("loopback", 2.0), ("wide", 2.0), ("narrow", 1.0), ("private", 1.0), ("public", 2.0)]
        {
            let group = format!("peer_group={group}");
            let found = numbers.sum("tcp.open_connections", &[OUTGOING, &group]);
            // 10.0.0.0/8 is public where `private` was given other networks.
            assert_eq!(found, count, "{group}");
        }
        drop(pairs);
    });
}

/// Sends to a socket until it has no room, and more.
fn overflow(from: &UdpSocket, to: &UdpSocket) {
    rustix::net::sockopt::set_socket_recv_buffer_size(to, 4096).unwrap();
    for _ in 0..50 {
        from.send_to(&[0; 500], to.local_addr().unwrap()).unwrap();
    }
}

#[test]
fn the_port_of_a_client_of_udp_has_no_group() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "group_by: [service_port]");
        let bind = |address: &str| UdpSocket::bind(address).unwrap();
        let connect = |one: &UdpSocket, other: &UdpSocket| one.connect(other.local_addr().unwrap()).unwrap();
        // A service that connects to its client, as those of DTLS do, and a client of it; one that is not connected; a service.
        let (client, server) = (bind("127.0.0.1:0"), bind("127.0.0.1:53"));
        overflow(&client, &server);
        overflow(&server, &client);
        connect(&server, &client);
        connect(&client, &server);
        let (high, loose, plain) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"), bind("127.0.0.1:4000"));
        for one in [&high, &loose, &plain] {
            overflow(&UdpSocket::bind("127.0.0.1:0").unwrap(), one);
        }
        connect(&high, &loose);
        let numbers = probe.read();
        assert_eq!(numbers.values("udp.drops", "server.port"), ["4000", "53", "~unknown"]);
        assert!(numbers.sum("udp.drops", &["server.port=53"]) >= 40.0);
    });
}

#[test]
fn the_port_that_a_server_of_udp_chose_has_a_group_in_any_range() {
    let Some(namespace) = Namespace::new() else { return };
    for range in ["32768 60999", "1024 65535"] {
        namespace.inside(|| {
            std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
            let mut probe = Probe::at(&namespace, "group_by: [service_port]");
            let bind = |port: u16| UdpSocket::bind(("127.0.0.1", port)).unwrap();
            let (servers, client) = ([51_820, 8125].map(bind), bind(0));
            // One that was there before the first dump counts from there, as it would without the question.
            overflow(&client, &servers[0]);
            let before = probe.read();
            assert_eq!(before.values("udp.drops", "server.port"), ["51820"], "{range}");
            overflow(&client, &servers[0]);
            overflow(&client, &servers[1]);
            overflow(&servers[0], &client);
            // A client of a server in the range, with drops of its own.
            let connected = bind(0);
            overflow(&servers[1], &connected);
            connected.connect(servers[1].local_addr().unwrap()).unwrap();
            let numbers = probe.read();
            assert_eq!(numbers.values("udp.drops", "server.port"), ["51820", "8125", "~unknown"], "{range}");
            let dropped = |port| numbers.sum("udp.drops", &[port]) - before.sum("udp.drops", &[port]);
            assert!(dropped("server.port=51820") >= 40.0, "{range}: {numbers:#?}");
            assert!(dropped("server.port=8125") >= 40.0, "{range}: {numbers:#?}");
        });
    }
}
