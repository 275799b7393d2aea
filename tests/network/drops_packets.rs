//! Headers of packets that are dropped: answers, options, fragments, extension headers.

use super::drops::{drops, expected, of_reason, pair, series, source};
use super::kernel::{Numbers, nstat, sysctl};
use crate::support::{Namespace, eventually, skipped};
use connscope::host::bpf::enumerations;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

#[test]
fn an_answer_that_is_dropped_has_the_port_of_the_service_where_it_is_dropped() {
    let Some((client, server)) = pair() else { return };
    let all = [&client, &server];
    client.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
    client.run("nft", &["add rule inet t i tcp flags & (syn|ack) == syn|ack drop"]);
    let listener = server.inside(|| TcpListener::bind("192.0.2.2:5432").unwrap());
    let mut source = source(&all);
    client.inside(|| {
        let to = "192.0.2.2:5432".parse().unwrap();
        TcpStream::connect_timeout(&to, Duration::from_millis(300)).unwrap_err();
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    assert_eq!(
        found,
        expected(&[("netns=0,network.transport=tcp,reason=NETFILTER_DROP,server.port=5432", 1)])
    );
    drop(listener);
}

/// An IP packet of version 4 or 6 by hand, over loopback.
fn send_raw(six: bool, packet: &[u8]) {
    let family = if six { AddressFamily::INET6 } else { AddressFamily::INET };
    let raw = Some(rustix::net::ipproto::RAW);
    let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, raw).unwrap();
    // What is dropped on its way out is an error.
    let _dropped = if six {
        let to: SocketAddrV6 = "[::1]:0".parse().unwrap();
        sendto(&socket, packet, SendFlags::empty(), &to)
    } else {
        let to: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
        sendto(&socket, packet, SendFlags::empty(), &to)
    };
}

/// A datagram of UDP to a port, of one byte and without a checksum, which IPv4 allows.
fn udp(port: u16) -> Vec<u8> {
    [&4000_u16.to_be_bytes()[..], &port.to_be_bytes(), &9_u16.to_be_bytes(), &[0, 0, b'x']].concat()
}

/// An IPv4 packet of UDP from loopback to loopback; the kernel fills in length and checksum.
fn ipv4(options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let mut packet = vec![0x40 | words, 0, 0, 0, 0, 1];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(options);
    packet.extend(payload);
    packet
}

#[test]
fn ports_are_found_behind_the_options_of_ipv4_and_a_later_fragment_has_none() {
    let Some(namespace) = Namespace::new() else { return };
    let all = [&namespace];
    // Before fragments are put together again.
    namespace.run("nft", &["add chain inet t early { type filter hook output priority -500; }"]);
    namespace.run("nft", &["add rule inet t early udp dport 5433 drop"]);
    namespace.run("nft", &["add rule inet t early ip frag-off & 0x1fff != 0 drop"]);
    let mut source = source(&all);
    namespace.inside(|| {
        // Four that do nothing.
        for _ in 0..3 {
            send_raw(false, &ipv4(&[1, 1, 1, 1], 0, &udp(5433)));
        }
        // What begins at byte 8 is no header, though it looks like one.
        for _ in 0..2 {
            send_raw(false, &ipv4(&[], 1, &udp(5433)));
        }
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    let packets = expected(&[
        ("netns=0,network.transport=udp,reason=NETFILTER_DROP,server.port=5433", 3),
        ("netns=0,network.transport=udp,reason=NETFILTER_DROP,server.port=~other", 2),
    ]);
    assert_eq!(found, packets);
}

#[test]
fn what_is_behind_extension_headers_of_ipv6_is_counted_without_protocol_and_port() {
    let Some(namespace) = Namespace::new() else { return };
    let all = [&namespace];
    namespace.run("nft", &["add chain inet t early { type filter hook prerouting priority -500; }"]);
    namespace.run("nft", &["add rule inet t early udp dport 5434 drop"]);
    let mut source = source(&all);
    let loopback = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let packet = |next: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[0x60, 0, 0, 0], &length[..], &[next, 64], &loopback, &loopback, payload].concat()
    };
    namespace.inside(|| {
        // Options for the destination (60): UDP follows, 8 bytes, a padding of 4.
        let behind = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(5434)].concat();
        for _ in 0..4 {
            send_raw(true, &packet(60, &behind));
        }
        send_raw(true, &packet(17, &udp(5434)));
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    let packets = expected(&[
        ("netns=0,network.transport=udp,reason=NETFILTER_DROP,server.port=5434", 1),
        ("netns=0,network.transport=~other,reason=NETFILTER_DROP", 4),
    ]);
    assert_eq!(found, packets);
}

#[test]
fn connection_tracking_that_refuses_an_entry_drops_with_the_reason_of_a_rule() {
    let Some((client, server)) = pair() else { return };
    let all = [&client, &server];
    // Two connections to one destination, translated to one port: there is no entry for the second.
    client.run("nft", &["add chain inet t nat { type nat hook postrouting priority srcnat; }"]);
    client.run("nft", &["add rule inet t nat udp dport 5435 snat ip to 192.0.2.1:7000"]);
    let mut source = source(&all);
    client.inside(|| {
        for _ in 0..2 {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            let _refused = socket.send_to(b"x", "192.0.2.2:5435");
        }
    });
    let found = of_reason(series(&mut source, &all, "network.packet.drops"), "NETFILTER_DROP");
    assert_eq!(
        found,
        expected(&[("netns=0,network.transport=udp,reason=NETFILTER_DROP,server.port=5435", 1)])
    );
}

#[test]
fn the_end_of_a_handshake_with_a_full_accept_queue_has_its_reason_and_a_dropped_syn_has_none() {
    let Some(namespace) = Namespace::new() else { return };
    let [reasons] = enumerations(["skb_drop_reason"]).unwrap();
    if !reasons.values().any(|name| name == "SKB_DROP_REASON_TCP_LISTEN_OVERFLOW") {
        skipped("needs a kernel that has the reason TCP_LISTEN_OVERFLOW");
        return;
    }
    let all = [&namespace];
    sysctl(&namespace, "net/core/somaxconn", "4");
    namespace.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
    // Handshakes from this address do not end.
    namespace.run("nft", &["add rule inet t i ip saddr 127.0.0.2 tcp flags & (syn|ack) == ack drop"]);
    let mut source = source(&all);
    let kept = namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:5436").unwrap();
        let connect = |from: &str| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            rustix::net::bind(&socket, &format!("{from}:0").parse::<SocketAddrV4>().unwrap()).unwrap();
            let _in_progress =
                rustix::net::connect(&socket, &"127.0.0.1:5436".parse::<SocketAddrV4>().unwrap());
            std::thread::sleep(Duration::from_millis(10));
            socket
        };
        let late: Vec<_> = (0..2).map(|_| connect("127.0.0.2")).collect();
        // Five fill the queue; the SYNs of the others are dropped, and retransmitted.
        let early: Vec<_> = (0..8).map(|_| connect("127.0.0.1")).collect();
        (listener, late, early)
    });
    namespace.run("nft", &["flush chain inet t i"]);
    let overflow = "netns=0,network.transport=tcp,reason=TCP_LISTEN_OVERFLOW,server.port=5436";
    let mut found = Numbers::new();
    eventually("the kernel sends its SYN-ACKs again, and drops the answers", || {
        found = drops(&mut source, &all);
        found.get(overflow).is_some_and(|count| *count >= 2)
    });
    let of_port: Vec<_> = found.keys().filter(|labels| labels.contains("LISTEN")).collect();
    assert_eq!(of_port, [overflow], "{found:?}");
    // The kernel counts the SYNs of the other three too.
    let listen_drops = nstat(&namespace, "TcpExtListenDrops");
    assert!(listen_drops >= found[overflow] + 3, "{listen_drops}, {found:?}");
    drop(kept);
}

#[test]
fn what_is_denied_while_it_is_forwarded_is_counted_in_the_namespace_that_forwards() {
    let Some(client) = Namespace::new() else { return };
    let (router, server) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    for (end, name, address, gateway) in
        [(&client, "left", "192.0.2.1", "192.0.2.254"), (&server, "right", "198.51.100.1", "198.51.100.254")]
    {
        let path = router.path();
        end.run("ip", &["link", "add", "near", "type", "veth", "peer", "name", name, "netns", &path]);
        router.run("ip", &["address", "add", &format!("{gateway}/24"), "dev", name]);
        router.run("ip", &["link", "set", name, "up"]);
        end.run("ip", &["address", "add", &format!("{address}/24"), "dev", "near"]);
        end.run("ip", &["link", "set", "near", "up"]);
        end.run("ip", &["route", "add", "default", "via", gateway]);
    }
    sysctl(&router, "net/ipv4/ip_forward", "1");
    router.run("nft", &["add chain inet t f { type filter hook forward priority 0; }"]);
    router.run("nft", &["add rule inet t f tcp dport 5437 drop"]);
    let all = [&client, &router, &server];
    let mut source = source(&all);
    client.inside(|| {
        let connect = |port| {
            TcpStream::connect_timeout(
                &SocketAddr::from(([198, 51, 100, 1], port)),
                Duration::from_millis(200),
            )
        };
        assert_eq!(connect(5438).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        connect(5437).unwrap_err();
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    assert_eq!(
        found,
        expected(&[("netns=1,network.transport=tcp,reason=NETFILTER_DROP,server.port=5437", 1)])
    );
}
