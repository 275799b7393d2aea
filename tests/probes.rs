//! The probes, in network namespaces of the tests' own: every kind, every way to fail made on purpose, and what becomes
//! of it. The peers are threads of the test; the name server is one of them.

use crate::support::{Namespace, eventually};
use connscope::catalog::Config;
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
mod getent;
mod kinds;
pub(crate) mod lenient;
mod name_server;
pub(crate) mod names;
mod pages;
mod registry;
mod renewal;
mod schedule;
mod search;
mod shortage;
mod talk;
mod tls;
mod trust;
mod validity;
mod written;

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
