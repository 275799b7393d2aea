//! The classic profile: one series a flow, as prometheus_ss_exporter has them.

use super::{Numbers, Pair, Probe, close, connection, listener, send};
use crate::support::{Agent, Namespace, command, get, sample};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::Source;
use std::io::Write;

/// The values of the label `flow` that a metric has.
fn flows(numbers: &Numbers, metric: &str) -> Vec<String> {
    numbers.values(metric, "flow")
}

fn raw(pair: &Pair) -> [String; 2] {
    let flow = |stream: &std::net::TcpStream| {
        let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        format!(
            "(SRC#{}|{})(DST#{}|{})",
            local.ip().to_canonical(),
            local.port(),
            peer.ip().to_canonical(),
            peer.port()
        )
    };
    [flow(&pair.0), flow(&pair.1)]
}

#[test]
fn flows_have_both_labels_as_they_were_and_end_with_the_flow() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("[::]:4000");
        let mut pairs = ["127.0.0.1:4000", "[::1]:4000"].map(|to| connection(&listener, to));
        for pair in &mut pairs {
            send(&mut pair.0, &mut pair.1, 10);
        }
        let mut probe = Probe::new("classic: {enabled: true}");
        let numbers = probe.read();
        let mut expected: Vec<String> = pairs.iter().flat_map(raw).collect();
        expected.sort_unstable();
        for metric in ["rtt", "cwnd", "data_segs_in", "data_segs_out"] {
            assert_eq!(flows(&numbers, &format!("tcp.flow.{metric}")), expected, "{metric}");
        }
        assert_eq!(numbers.sum("tcp.flows", &[]), 4.0);
        let label = format!("flow={}", raw(&pairs[0])[0]);
        let out = |numbers: &Numbers| numbers.sum("tcp.flow.data_segs_out", &[&label]);
        assert_eq!(out(&numbers), 1.0);
        let (client, server) = &mut pairs[0];
        send(client, server, 10);
        assert_eq!(out(&probe.read()), 2.0);
        let pid = std::process::id();
        let numbers =
            Probe::new("{classic: {enabled: true, flow: pid_condensed}, process_budget: 10s}").read();
        let mut expected: Vec<String> = pairs
            .iter()
            .flat_map(|(client, server)| [client, server])
            .map(|stream| {
                let peer = stream.peer_addr().unwrap();
                format!("({pid})(DST#{}|{})", peer.ip().to_canonical(), peer.port())
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(flows(&numbers, "tcp.flow.rtt"), expected);
        let [first, second] = pairs;
        close(first);
        let mut left = raw(&second).to_vec();
        left.sort_unstable();
        let numbers = probe.read();
        assert_eq!(flows(&numbers, "tcp.flow.data_segs_out"), left);
        assert_eq!(numbers.sum("tcp.flows", &[]), 2.0);
    });
}

#[test]
fn several_flows_of_a_process_to_one_service_are_one_series() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut pairs: Vec<Pair> = (0..3).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        for pair in &mut pairs {
            send(&mut pair.0, &mut pair.1, 10);
        }
        let yaml =
            "{classic: {enabled: true, flow: pid_condensed, include: {ports: [4000]}}, process_budget: 10s}";
        // That no series is repeated is looked at in every cycle.
        let numbers = Probe::new(yaml).read();
        let label = format!("({})(DST#127.0.0.1|4000)", std::process::id());
        assert_eq!(flows(&numbers, "tcp.flow.rtt"), [label]);
        assert_eq!(numbers.sum("tcp.flow.data_segs_out", &[]), 3.0);
        assert_eq!(numbers.sum("tcp.flows", &[]), 3.0);
    });
}

#[test]
fn more_flows_than_the_limit_are_left_out_and_counted() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let pairs: Vec<Pair> = (0..5).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        let mut probe = Probe::new("classic: {enabled: true, limit: 3}");
        let first = probe.read();
        let second = probe.read();
        for (numbers, left_out) in [(&first, 7.0), (&second, 14.0)] {
            assert_eq!(flows(numbers, "tcp.flow.cwnd").len(), 3);
            assert_eq!(numbers.sum("tcp.flows", &[]), 10.0, "those over the limit too");
            assert_eq!(numbers.sum("tcp.flows.left_out", &[]), left_out);
        }
        let names = |numbers| flows(numbers, "tcp.flow.cwnd");
        assert_eq!(names(&first), names(&second), "they do not come and go");
        drop(pairs);
    });
}

#[test]
fn flows_are_selected_by_process_address_network_and_port() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listeners = [listener("0.0.0.0:4000"), listener("127.0.0.1:4010"), listener("[::1]:4020")];
        let pairs = [
            connection(&listeners[0], "127.0.0.1:4000"),
            connection(&listeners[0], "127.7.0.1:4000"),
            connection(&listeners[1], "127.0.0.1:4010"),
            connection(&listeners[2], "[::1]:4020"),
        ];
        let pid = std::process::id();
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let comm = comm.trim();
        let clients = [0, 1, 2, 3];
        for (selection, expected) in [
            ("include: {ports: [4000]}".to_owned(), vec![0, 1]),
            ("include: {ports: [4005-4015, 4020]}".to_owned(), vec![2, 3]),
            ("include: {peers: {addresses: [127.7.0.1]}, ports: [4000-4020]}".to_owned(), vec![1]),
            (
                "include: {peers: {networks: [127.7.0.0/16, '::1/128']}, ports: [4000-4020]}".to_owned(),
                vec![1, 3],
            ),
            (
                "include: {ports: [4000-4020]}, exclude: {peers: {networks: [127.0.0.0/9]}}".to_owned(),
                vec![3],
            ),
            ("include: {ports: [4000-4020]}, exclude: {ports: [4010]}".to_owned(), vec![0, 1, 3]),
            ("include: {peers: {addresses: [127.7.0.1]}, ports: [4010]}".to_owned(), vec![]),
            (format!("include: {{processes: {{pids: [{pid}]}}, ports: [4000-4020]}}"), clients.to_vec()),
            ("include: {processes: {pids: [1]}, ports: [4000-4020]}".to_owned(), vec![]),
            (format!("include: {{processes: {{commands: ['{comm}']}}, ports: [4010]}}"), vec![2]),
            (
                format!("include: {{ports: [4000-4020]}}, exclude: {{processes: {{commands: ['{comm}']}}}}"),
                vec![],
            ),
        ] {
            let yaml = format!("{{classic: {{enabled: true, {selection}}}, process_budget: 10s}}");
            let numbers = Probe::new(&yaml).read();
            let mut expected: Vec<String> =
                expected.iter().map(|place: &usize| raw(&pairs[*place])[0].clone()).collect();
            expected.sort_unstable();
            assert_eq!(flows(&numbers, "tcp.flow.cwnd"), expected, "{selection}");
            assert_eq!(numbers.sum("tcp.flows", &[]), f64::from(u32::try_from(expected.len()).unwrap()));
        }
    });
}

#[test]
fn the_histogram_is_a_histogram() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let yaml = "classic: {enabled: true, include: {ports: [4000]}, buckets: [0.001, 10000]}";
        let mut probe = Probe::at(&namespace, yaml);
        let mut pairs: Vec<Pair> = (0..4).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        let mut histogram = || {
            let mut readings = Readings::default();
            probe.source.read(&mut readings).unwrap();
            let numbers = Numbers::of(&readings);
            let found = readings.iter().find_map(|reading| match &reading.value {
                Value::Distribution(distribution) if reading.metric.name == "tcp.flow.rtt.histogram" => {
                    Some(distribution.clone())
                }
                _ => None,
            });
            (found.unwrap(), numbers)
        };
        let (first, numbers) = histogram();
        assert_eq!(first.count(), 4, "the SYN of each was acknowledged");
        let sum = numbers.sum("tcp.flow.rtt", &[]);
        assert!((first.sum() - sum).abs() < 1e-9, "{} is not the sum {sum}", first.sum());
        assert_eq!(first.counts(), [0, 4, 0]);
        assert_eq!(histogram().0.count(), 4, "who sent nothing is not counted again");
        let (client, server) = &mut pairs[0];
        send(client, server, 10);
        assert_eq!(histogram().0.count(), 5);
        close(pairs.pop().unwrap());
        crate::support::eventually("the last round trip is counted, and nothing falls", || {
            histogram().0.count() == 6
        });
    });
}

#[test]
fn the_exposition_is_valid_in_three_scrapes() {
    let Some(namespace) = Namespace::new() else { return };
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(
        b"{export: {prometheus: {naming: classic}}, sources: {conntrack: {enabled: false}, sockets: \
          {timeout: 20s, process_budget: 10s, classic: {enabled: true, flow: pid_condensed}}}}",
    )
    .unwrap();
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut pairs: Vec<Pair> = (0..3).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        let arguments = ["--config", file.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let mut agent = Agent::start(command(&[&arguments[..], &["--otlp-protocol", "none"]].concat()));
        let address = agent.address();
        for scrape in 1..=3 {
            let (client, server) = &mut pairs[0];
            send(client, server, 10);
            let (status, text) = get(address, "/metrics");
            assert_eq!(status, 200);
            super::agent::valid(&text);
            let name = format!("tcp_rtt{{flow=\"({})(DST#127.0.0.1|4000)\"}}", std::process::id());
            assert!(sample(&text, &name).is_some_and(|rtt| rtt > 0.0), "{text}");
            for kind in [
                "# TYPE tcp_rtt gauge",
                "# TYPE tcp_data_segs_in counter",
                "# TYPE tcp_rtt_hist_ms histogram",
            ] {
                assert_eq!(text.matches(kind).count(), 1, "{kind}: {text}");
            }
            assert!(sample(&text, "tcp_flows_total").is_some_and(|flows| flows >= 6.0));
            pairs.truncate(4 - scrape);
        }
    });
}
