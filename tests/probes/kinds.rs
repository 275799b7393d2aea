//! Every kind of probe, and every word that the network refuses with.

use super::{answer, fails, first, is_up, listen, names, nft, value};
use crate::support::Namespace;
use connscope::metric::Value;
use std::time::Duration;

#[test]
fn what_the_old_exporter_got_wrong_is_right() {
    let Some(namespace) = Namespace::new() else { return };
    let open = listen(&namespace, "127.0.0.1:0", drop).port();
    let open6 = listen(&namespace, "[::1]:0", drop).port();
    let echo = answer(&namespace, "127.0.0.1:0", |bytes| Some(bytes.to_vec())).port();
    let silent = answer(&namespace, "127.0.0.1:0", |_| None).port();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().display();
    let _stream = std::os::unix::net::UnixListener::bind(format!("{dir}/stream")).unwrap();
    let _old = std::os::unix::net::UnixListener::bind(format!("{dir}/old:2")).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(format!("{dir}/datagrams")).unwrap();
    let packets = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None).unwrap();
    packets.bind(&socket2::SockAddr::unix(format!("{dir}/packets")).unwrap()).unwrap();
    packets.listen(1).unwrap();
    // An abstract name belongs to the network namespace.
    let hidden = namespace.inside(|| {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix("\0hidden").unwrap()).unwrap();
        socket.listen(1).unwrap();
        socket
    });
    let server = names::server(&namespace);
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
nameservers: ['{server}']
targets:
- {{name: tcp open, host: 127.0.0.1, port: {open}}}
- {{name: tcp closed, host: 127.0.0.1, port: 1}}
- {{name: tcp6 bare, kind: tcp6, host: '::1', port: {open6}}}
- {{name: tcp6 brackets, kind: tcp6, host: '[::1]', port: {open6}}}
- {{name: udp echo, kind: udp, host: 127.0.0.1, port: {echo}}}
- {{name: udp silent, kind: udp, host: 127.0.0.1, port: {silent}}}
- {{name: udp closed, kind: udp, host: 127.0.0.1, port: 1}}
- {{name: udp unresolvable, kind: udp, host: missing.test, port: 1}}
- {{name: ip, kind: ip, host: 127.0.0.1}}
- {{name: ip4, kind: ip4, host: 127.0.0.1}}
- {{name: ip6, kind: ip6, host: '::1'}}
- {{name: unix, kind: unix, path: {dir}/stream}}
- {{name: unix as of old, kind: unix, host: {dir}/old, port: 2}}
- {{name: unix missing, kind: unix, path: {dir}/none}}
- {{name: unixgram, kind: unixgram, path: {dir}/datagrams}}
- {{name: unixpacket, kind: unixpacket, path: {dir}/packets}}
- {{name: unix of another type, kind: unix, path: {dir}/packets}}
- {{name: unix abstract, kind: unix, path: '@hidden'}}
- {{name: unix abstract missing, kind: unix, path: '@nobody'}}
"
        ),
    );
    drop(hidden);
    for name in
        ["tcp open", "tcp6 bare", "tcp6 brackets", "udp echo", "ip", "ip4", "ip6", "unix", "unix as of old"]
    {
        is_up(&readings, name);
        assert_eq!(value(&readings, "probe.connection_status", name, &[]), Some(1.0), "{name}");
    }
    for name in ["unixgram", "unixpacket", "unix abstract"] {
        is_up(&readings, name);
    }
    for (name, error) in [
        ("tcp closed", "connection_refused"),
        ("udp silent", "no_answer"),
        ("udp closed", "connection_refused"),
        ("udp unresolvable", "dns_not_found"),
        ("unix missing", "no_such_file"),
        ("unix of another type", "_OTHER"),
        ("unix abstract missing", "connection_refused"),
    ] {
        fails(&readings, name, error);
        assert_eq!(value(&readings, "probe.connection_status", name, &[]), Some(0.0), "{name}");
    }
    // Silence is neither.
    assert_eq!(value(&readings, "probe.runs", "udp silent", &[("outcome", "no_answer")]), Some(1.0));
    assert_eq!(value(&readings, "probe.runs", "udp silent", &[("outcome", "failure")]), Some(0.0));
    assert_eq!(value(&readings, "probe.runs", "udp closed", &[("outcome", "failure")]), Some(1.0));
    // As the old exporter prints it: host and port as they were written.
    let old = [("host", &*format!("{dir}/old")), ("port", "2"), ("protocol", "unix")];
    assert_eq!(value(&readings, "probe.connection_status", "unix as of old", &old), Some(1.0));
}

#[test]
fn a_socket_that_talks_to_itself_is_nobody() {
    let Some(namespace) = Namespace::new() else { return };
    for (port, target) in [
        (40_000, "host: 127.0.0.1, source: 127.0.0.1"),
        (40_001, "host: '::1'"),
        (40_002, "kind: udp, host: 127.0.0.1, send: hello"),
    ] {
        // The one port there is for this end is that of the target.
        namespace.run("sysctl", &["-q", "-w", &format!("net.ipv4.ip_local_port_range={port} {port}")]);
        let target = format!("{{name: x, port: {port}, {target}}}");
        let readings = first(&namespace, &format!("timeout: 2s\ntargets: [{target}]"));
        fails(&readings, "x", "connection_refused");
    }
}

#[test]
fn every_way_the_network_refuses_has_its_word() {
    let Some(namespace) = Namespace::new() else { return };
    nft(
        &namespace,
        "add rule inet p i tcp dport 1001 drop; \
         add rule inet p i tcp dport 1002 reject with icmpx host-unreachable; \
         add rule inet p i udp dport 1003 reject with icmpx host-unreachable; \
         add rule inet p i udp dport 1004 reject with icmp net-unreachable; \
         add rule inet p i icmp type echo-request ip daddr 127.0.0.9 drop; \
         add rule inet p i icmp type echo-request ip daddr 127.0.0.8 reject with icmp host-unreachable; \
         add chain inet p o { type filter hook output priority 1; }; \
         add rule inet p o udp dport 1005 drop",
    );
    let hangs_up = listen(&namespace, "127.0.0.1:0", |stream| {
        let socket = socket2::Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
targets:
- {{name: dropped, host: 127.0.0.1, port: 1001}}
- {{name: host unreachable, host: 127.0.0.1, port: 1002}}
- {{name: udp host unreachable, kind: udp, host: 127.0.0.1, port: 1003}}
- {{name: udp network unreachable, kind: udp, host: 127.0.0.1, port: 1004}}
- {{name: not permitted, kind: udp, host: 127.0.0.1, port: 1005}}
- {{name: no route, host: 192.0.2.1, port: 80}}
- {{name: no route for echoes, kind: icmp, host: 192.0.2.1}}
- {{name: echo dropped, kind: icmp, host: 127.0.0.9}}
- {{name: echo refused, kind: icmp, host: 127.0.0.8}}
- {{name: reset, host: 127.0.0.1, port: {}, expect: hello}}
- {{name: no such source, host: 127.0.0.1, port: 1, source: 203.0.113.9}}
- {{name: no such interface, host: 127.0.0.1, port: 1, interface: eth77}}
- {{name: no such namespace, host: 127.0.0.1, port: 1, netns: connscope-none}}
",
            hangs_up.port()
        ),
    );
    for (name, error) in [
        ("dropped", "timeout"),
        ("host unreachable", "host_unreachable"),
        ("udp host unreachable", "host_unreachable"),
        ("udp network unreachable", "network_unreachable"),
        ("not permitted", "permission_denied"),
        ("no route", "network_unreachable"),
        ("no route for echoes", "network_unreachable"),
        ("echo dropped", "timeout"),
        ("echo refused", "host_unreachable"),
        ("reset", "connection_reset"),
        ("no such source", "_OTHER"),
        ("no such interface", "_OTHER"),
        ("no such namespace", "_OTHER"),
    ] {
        fails(&readings, name, error);
    }
    assert_eq!(value(&readings, "probe.icmp.loss", "echo dropped", &[]), Some(1.0));
}

#[test]
fn echoes_are_counted_and_timed_over_either_socket() {
    let Some(namespace) = Namespace::new() else { return };
    // Both ways: what is allowed where the namespace is new is nobody, so raw; then everybody, so datagrams.
    for range in ["1 0", "0 2147483647"] {
        namespace.run("sysctl", &["-q", "-w", &format!("net.ipv4.ping_group_range={range}")]);
        let readings = first(
            &namespace,
            "timeout: 2s
targets:
- {name: three, kind: icmp4, host: 127.0.0.1, icmp: {count: 3, size: 1400}}
- {name: nothing inside, kind: icmp, host: 127.0.0.2, icmp: {size: 0, ttl: 1}}
- {name: six, kind: icmp6, host: '::1', icmp: {count: 2}}
",
        );
        for (name, count) in [("three", 3.0), ("nothing inside", 1.0), ("six", 2.0)] {
            is_up(&readings, name);
            assert_eq!(value(&readings, "probe.icmp.loss", name, &[]), Some(0.0), "{name} {range}");
            assert_eq!(value(&readings, "probe.icmp.rtt", name, &[]), Some(count), "{name} {range}");
        }
        let kernel = readings.iter().find(|reading| reading.metric.name == "probe.icmp.rtt").unwrap();
        let Value::Distribution(round_trips) = &kernel.value else { panic!("{kernel:?}") };
        assert!(round_trips.sum() > 0.0, "a round trip takes some time: {round_trips:?}");
    }
}
