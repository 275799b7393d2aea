//! The probes, in network namespaces of the tests' own: every kind, every way to fail made on purpose, and what becomes
//! of it. The peers are threads of the test; the name server is one of them.

use crate::support::{Namespace, eventually};
use connscope::config::Config;
use connscope::metric::Value;
use connscope::reading::{Reading, Readings};
use connscope::source::Source;
use connscope::source::probes::Probes;
use connscope::stop::Stop;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod blackbox;
mod capture;
mod certificates;
mod clocks;
mod discovery;
mod files;
mod foreign;
pub(crate) mod lenient;
pub(crate) mod names;
mod pages;
mod registry;
mod schedule;
mod shortage;
mod talk;
mod tls;
mod validity;

/// A configuration of the probes.
pub(crate) fn settings(probes: &str) -> connscope::source::probes::config::Probes {
    let text = format!("sources:\n  probes:\n{}", indented(probes));
    let config = Config::parse(&text, Path::new("test.yaml"));
    config.unwrap_or_else(|error| panic!("{error}\n{text}")).sources.probes
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["    ", line, "\n"]).collect()
}

/// What every target said to its first probe, by a source that runs inside the namespace.
pub(crate) fn first(namespace: &Namespace, probes: &str) -> Vec<Reading> {
    let settings = settings(probes);
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::once(&settings, &stop)).unwrap();
    read(&mut source)
}

/// One reading of a source.
pub(crate) fn read(source: &mut Probes) -> Vec<Reading> {
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    let (readings, failures) = readings.into_parts();
    assert!(failures.is_empty(), "{failures:?}");
    readings
}

/// The value of a series of a target; `None` where there is none with these labels.
pub(crate) fn value(readings: &[Reading], metric: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |reading: &Reading, key: &str, value: &str| {
        reading.labels.iter().any(|(label, found)| label.key() == key && found.as_ref() == value)
    };
    let key = if metric == "probe.connection_status" { "name" } else { "probe.name" };
    let found = readings.iter().find(|reading| {
        reading.metric.name == metric
            && has(reading, key, name)
            && labels.iter().all(|(key, value)| has(reading, key, value))
    })?;
    Some(match &found.value {
        Value::U64(value) => f64::from(u32::try_from(*value).unwrap()),
        Value::I64(value) => f64::from(i32::try_from(*value).unwrap()),
        Value::F64(value) => *value,
        Value::Distribution(distribution) => f64::from(u32::try_from(distribution.count()).unwrap()),
    })
}

/// Whether a target is up, and why its probe failed.
pub(crate) fn verdict(readings: &[Reading], name: &str) -> (Option<bool>, Option<String>) {
    let up = value(readings, "probe.up", name, &[]).map(|up| up == 1.0);
    let error = readings
        .iter()
        .filter(|reading| reading.metric.name == "probe.duration")
        .filter(|reading| {
            reading.labels.iter().any(|(label, value)| label.key() == "probe.name" && value.as_ref() == name)
        })
        .find_map(|reading| {
            let error = reading.labels.iter().find(|(label, _)| label.key() == "error.type")?;
            Some(error.1.to_string())
        });
    (up, error)
}

#[track_caller]
pub(crate) fn is_up(readings: &[Reading], name: &str) {
    assert_eq!(verdict(readings, name), (Some(true), None), "{name}");
}

#[track_caller]
pub(crate) fn fails(readings: &[Reading], name: &str, error: &str) {
    assert_eq!(verdict(readings, name), (Some(false), Some(error.to_owned())), "{name}");
}

/// A listener inside, whose connections are handed to `serve`, each on a thread of its own.
pub(crate) fn listen(
    namespace: &Namespace,
    address: &str,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = namespace.inside(|| TcpListener::bind(address)).unwrap();
    let place = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    place
}

/// A UDP socket inside that answers with what `answer` makes of a datagram.
pub(crate) fn answer(
    namespace: &Namespace,
    address: &str,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    let socket = namespace.inside(|| UdpSocket::bind(address)).unwrap();
    let place = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..length]) {
                let _peer_gone = socket.send_to(&answer, peer);
            }
        }
    });
    place
}

fn nft(namespace: &Namespace, rule: &str) {
    namespace.run(
        "nft",
        &[&format!("add table inet p; add chain inet p i {{ type filter hook input priority 0; }}; {rule}")],
    );
}

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

#[test]
fn a_probe_comes_from_where_it_is_told_to() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
    let (sender, peers) = std::sync::mpsc::channel();
    let port = listen(&there, "127.0.0.1:0", move |stream| {
        let _ended = sender.send(stream.peer_addr().map(|peer| peer.ip()));
    })
    .port();
    let readings = first(
        &here,
        &format!(
            "targets:
- {{name: there, host: 127.0.0.1, port: {port}, netns: {}, source: 127.0.0.7, interface: lo}}
- {{name: here, host: 127.0.0.1, port: {port}}}
",
            there.path()
        ),
    );
    is_up(&readings, "there");
    fails(&readings, "here", "connection_refused");
    assert_eq!(peers.recv().unwrap().unwrap(), IpAddr::from([127, 0, 0, 7]));
}

#[test]
fn a_connection_ends_as_it_is_told_to() {
    let Some(namespace) = Namespace::new() else { return };
    let (sender, ends) = std::sync::mpsc::channel();
    let port = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let end = stream.read(&mut [0; 8]).map_err(|error| error.kind());
        let _ended = sender.send(end);
    })
    .port();
    for (close, end) in [("fin", Ok(0)), ("reset", Err(std::io::ErrorKind::ConnectionReset))] {
        let readings = first(
            &namespace,
            &format!("targets: [{{name: x, host: 127.0.0.1, port: {port}, close: {close}}}]"),
        );
        is_up(&readings, "x");
        assert_eq!(ends.recv().unwrap(), end, "{close}");
    }
}

#[test]
fn a_flaky_link_is_down_after_so_many_failures_and_up_after_so_many_successes() {
    let Some(namespace) = Namespace::new() else { return };
    let place = listen(&namespace, "127.0.0.1:0", drop);
    let settings = settings(&format!(
        "interval: 100ms\nfailures_before_down: 3\nsuccesses_before_up: 2\n\
         targets: [{{name: modem, host: 127.0.0.1, port: {}, labels: {{site: north, line.type: gprs}}}}]",
        place.port()
    ));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let mut now = |metric: &str, labels: &[(&str, &str)]| value(&read(&mut source), metric, "modem", labels);
    let own =
        [("site", "north"), ("line.type", "gprs"), ("network.type", "ipv4"), ("network.transport", "tcp")];
    eventually("it is up", || now("probe.up", &own) == Some(1.0));
    assert_eq!(now("probe.state_changes", &own), Some(0.0), "that it is up is no change");
    assert!(now("probe.last_change.time", &own).is_none());
    let rule = format!("add rule inet p i tcp dport {} counter drop", place.port());
    nft(&namespace, &rule.replace("drop", "reject with tcp reset"));
    eventually("it is down", || now("probe.up", &own) == Some(0.0));
    let failures = now("probe.runs", &[("outcome", "failure")]).unwrap();
    assert!(failures >= 3.0, "down after {failures} failures");
    assert_eq!(now("probe.state_changes", &own), Some(1.0));
    let last_success = now("probe.last_success.time", &own).unwrap();
    assert!(last_success < now("probe.last_change.time", &own).unwrap());
    namespace.run("nft", &["flush chain inet p i"]);
    eventually("it is up again", || now("probe.up", &own) == Some(1.0));
    assert_eq!(now("probe.state_changes", &own), Some(2.0));
    assert!(now("probe.last_success.time", &own).unwrap() > last_success);
    let availability = now("probe.availability", &own).unwrap();
    assert!(availability > 0.0 && availability < 1.0, "{availability}");
}

#[test]
fn a_reading_never_waits_for_the_network() {
    let Some(namespace) = Namespace::new() else { return };
    nft(&namespace, "add rule inet p i tcp dport 1001 drop");
    let targets: String = (1..=50).fold(String::new(), |all, n| {
        all + &format!("- {{name: hole {n}, host: 127.0.0.{n}, port: 1001}}\n")
    });
    let settings = settings(&format!("timeout: 1m\ninterval: 1m\ntargets:\n{targets}"));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let began = Instant::now();
    eventually("all of them are under way", || {
        let readings = read(&mut source);
        readings.iter().any(|reading| {
            reading.metric.name == "connscope.probes.running" && reading.value == Value::I64(50)
        })
    });
    assert!(began.elapsed() < Duration::from_mins(1), "it waited for the probes");
    assert!(read(&mut source).iter().all(|reading| reading.metric.name != "probe.up"), "nobody knows yet");
}

#[test]
fn what_is_said_over_a_connection_is_as_long_as_its_phases() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", |mut stream| {
        let mut line = [0; 6];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(b"PONG\r\n").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    })
    .port();
    let server = names::server(&namespace);
    let readings = first(
        &namespace,
        &format!(
            "nameservers: ['{server}']
targets:
- {{name: x, host: four.test, port: {port}, send: 'PING\\r\\n', expect: '^PONG$'}}
- {{name: y, host: four.test, port: {port}, send_hex: 50494e470d0a, expect_hex: '504f 4e47'}}
- {{name: z, host: four.test, port: {port}, send: 'PING\\r\\n', expect: '^PING$'}}
"
        ),
    );
    for name in ["x", "y"] {
        is_up(&readings, name);
        for phase in ["resolve", "connect", "request"] {
            assert_eq!(
                value(&readings, "probe.phase.duration", name, &[("phase", phase)]),
                Some(1.0),
                "{phase}"
            );
        }
    }
    fails(&readings, "z", "unexpected_response");
}
