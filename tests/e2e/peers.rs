//! The peers that are probed: in a network namespace of their own, so that no probe is in the numbers of the agent's. A
//! packet filter there counts what reaches each of them, and that is what Prometheus has to say of the probes.

use crate::parity::own_labels;
use crate::readings::{Numbers, difference};
use crate::stack::{Prometheus, Sample, repository, until};
use crate::support::Namespace;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::time::SystemTime;

/// Longer than it takes until both ways have told of a probe, the five seconds of a scrape included: between two probes
/// there is a moment in which they say the same.
const INTERVAL: &str = "10s";

/// What is probed.
struct Target {
    name: &'static str,
    /// Its keys, besides name and address.
    how: &'static str,
    /// What a probe of it is to a packet filter.
    packets: &'static str,
    /// Labels of its series, besides name, address and family.
    labels: &'static [(&'static str, &'static str)],
}

const TARGETS: [Target; 5] = [
    Target {
        name: "open",
        how: "kind: tcp, port: 1000",
        packets: "tcp dport 1000 tcp flags syn",
        labels: &[("network_transport", "tcp"), ("server_port", "1000")],
    },
    Target {
        name: "refused",
        how: "kind: tcp, port: 1001",
        packets: "tcp dport 1001 tcp flags syn",
        labels: &[("network_transport", "tcp"), ("server_port", "1001")],
    },
    Target {
        name: "silent",
        how: "kind: udp, port: 1002",
        packets: "udp dport 1002",
        labels: &[("network_transport", "udp"), ("server_port", "1002")],
    },
    Target { name: "echo", how: "kind: icmp", packets: "icmp type echo-request", labels: &[] },
    Target {
        name: "closing",
        how: "kind: tcp, port: 1003, labels: {site: north, rack.unit: 7}",
        packets: "tcp dport 1003 tcp flags syn",
        labels: &[
            ("network_transport", "tcp"),
            ("server_port", "1003"),
            ("site", "north"),
            ("rack_unit", "7"),
        ],
    },
];

/// The series that what reached the peers says all of.
const COUNTED: [&str; 3] = ["probe_up", "probe_runs_total", "probe_duration_seconds_count"];

/// Further series of each target that has ever been up.
const OF_SUCCESS: [&str; 6] = [
    "probe_duration_seconds_bucket",
    "probe_duration_seconds_sum",
    "probe_phase_duration_seconds_bucket",
    "probe_phase_duration_seconds_count",
    "probe_phase_duration_seconds_sum",
    "probe_last_success_time_seconds",
];

/// The peers.
pub(crate) struct Peers {
    namespace: Namespace,
    _open: TcpListener,
    /// Gone once it is closed; then with what had reached it by then.
    closing: Result<TcpListener, f64>,
    _silent: UdpSocket,
}

impl Peers {
    /// Peers that wait for probes.
    pub(crate) fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let mut rules = vec![
            "add table inet peers; add chain inet peers in { type filter hook input priority 0; }".to_owned(),
        ];
        rules.extend(TARGETS.iter().map(|Target { name, packets, .. }| {
            format!("add counter inet peers {name}; add rule inet peers in {packets} counter name {name}")
        }));
        namespace.run("nft", &[&rules.join("; ")]);
        // Nobody has to accept: the kernel makes the connections.
        let listen = |port| namespace.inside(|| TcpListener::bind(("127.0.0.1", port))).unwrap();
        let (open, closing) = (listen(1000), listen(1003));
        let silent = namespace.inside(|| UdpSocket::bind("127.0.0.1:1002")).unwrap();
        Some(Self { namespace, _open: open, closing: Ok(closing), _silent: silent })
    }

    /// `agent.yaml` with the probes of them.
    pub(crate) fn configuration(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let rest = std::fs::read_to_string(repository("tests/e2e/agent.yaml")).unwrap();
        write!(file, "{rest}  probes:\n    interval: {INTERVAL}\n    timeout: 500ms\n    targets:\n")
            .unwrap();
        for Target { name, how, .. } in TARGETS {
            let netns = self.namespace.path();
            writeln!(file, "      - {{name: {name}, host: 127.0.0.1, netns: {netns}, {how}}}").unwrap();
        }
        file
    }

    /// Closes one of them; from here on it refuses.
    pub(crate) fn close(&mut self) {
        self.closing = Err(self.reached()["closing"]);
    }

    /// The names of those that are down.
    pub(crate) fn down(&self) -> BTreeSet<&'static str> {
        let closed = self.closing.is_err().then_some("closing");
        ["refused", "silent"].into_iter().chain(closed).collect()
    }

    /// How often each was probed.
    fn reached(&self) -> BTreeMap<String, f64> {
        let printed = self.namespace.run("nft", &["--json", "list", "counters", "table", "inet", "peers"]);
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        let listed = printed["nftables"].as_array().unwrap();
        let counters = listed.iter().map(|one| &one["counter"]).filter(|counter| counter.is_object());
        counters
            .map(|counter| {
                (counter["name"].as_str().unwrap().to_owned(), counter["packets"].as_f64().unwrap())
            })
            .collect()
    }

    /// What Prometheus has to hold of [`COUNTED`]; not before each was probed, and the one that is closed once more.
    fn expected(&self) -> Result<Numbers, String> {
        let mut numbers = Numbers::new();
        let reached = self.reached();
        for Target { name, labels, .. } in TARGETS {
            let all = reached[name];
            let (successes, failures, error) = match (name, &self.closing) {
                ("refused", _) => (0.0, all, "connection_refused"),
                ("silent", _) => (0.0, all, "no_answer"),
                ("closing", Err(before)) => (*before, all - before, "connection_refused"),
                _ => (all, 0.0, ""),
            };
            let down = self.down().contains(name);
            if (down && failures == 0.0) || (!down && successes == 0.0) {
                return Err(format!("{name} was not probed yet: {reached:?}"));
            }
            let mut own = BTreeMap::from([
                ("network_type", "ipv4"),
                ("probe_name", name),
                ("server_address", "127.0.0.1"),
            ]);
            own.extend(labels.iter().copied());
            let mut note = |metric: &str, further: Option<(&'static str, &'static str)>, value: f64| {
                let mut labels = own.clone();
                labels.extend(further);
                let labels: Vec<String> =
                    labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
                numbers.insert(format!("{metric}{{{}}}", labels.join(",")), value);
            };
            note("probe_up", None, f64::from(u8::from(!down)));
            note("probe_runs_total", Some(("outcome", "success")), successes);
            let silence = if error == "no_answer" { failures } else { 0.0 };
            note("probe_runs_total", Some(("outcome", "failure")), failures - silence);
            if silence > 0.0 {
                note("probe_runs_total", Some(("outcome", "no_answer")), silence);
            }
            if successes > 0.0 {
                note("probe_duration_seconds_count", None, successes);
            }
            if failures > 0.0 {
                note("probe_duration_seconds_count", Some(("error_type", error)), failures);
            }
        }
        Ok(numbers)
    }

    /// Waits until Prometheus holds by both ways what reached the peers, and the same of everything else about them.
    pub(crate) fn told(&self, prometheus: &Prometheus, queries: [&str; 2]) {
        let without = own_labels(prometheus);
        let numbers = until("Prometheus holds what reached the peers", || {
            let expected = self.expected()?;
            let [pushed, pulled] = queries.map(|query| numbers(&prometheus.query(query)?, &without));
            let (pushed, pulled) = (pushed?, pulled?);
            let counted = |series: &str| COUNTED.iter().any(|name| series.starts_with(&format!("{name}{{")));
            for (query, numbers) in queries.iter().zip([&pushed, &pulled]) {
                let numbers = numbers.clone().into_iter().filter(|(series, _)| counted(series)).collect();
                difference(query, &numbers, &expected)?;
            }
            difference("pulled and not as pushed", &pulled, &pushed)?;
            Ok(pushed)
        });
        println!("both ways: {} series of the probes, with the same values", numbers.len());
        for Target { name, .. } in TARGETS {
            let of_target = format!("probe_name=\"{name}\"");
            let has = |metric: &str| {
                let start = format!("{metric}{{");
                numbers.iter().find(|(series, _)| series.starts_with(&start) && series.contains(&of_target))
            };
            let was_up = !["refused", "silent"].contains(&name);
            for metric in OF_SUCCESS {
                // Whatever failed has a duration, and no part of it that came to its end.
                if was_up || !metric.starts_with("probe_duration") {
                    assert_eq!(has(metric).is_some(), was_up, "{metric} of {name}");
                }
            }
            if let Some((_, at)) = has("probe_last_success_time_seconds") {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
                assert!((0.0..120.0).contains(&(now - at)), "{name}: {at}, and now is {now}");
            }
        }
    }

    /// Waits until the rule `ProbeDown` is true of those that are down, by both ways, and of nobody else: its
    /// expression, and what Prometheus itself makes of the rule.
    pub(crate) fn alerted(&self, prometheus: &Prometheus, queries: [&str; 2]) {
        let text = std::fs::read_to_string(repository("deploy/prometheus/rules/probes-alerts.yml")).unwrap();
        let rules: serde_json::Value = connscope::settings::from_str(&text).unwrap();
        let groups = rules["groups"].as_array().unwrap();
        let mut rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let rule = rules.find(|rule| rule["alert"] == "ProbeDown").unwrap();
        let expression = rule["expr"].as_str().unwrap();
        let jobs = queries.map(|query| query.split('"').nth(1).unwrap());
        for query in [expression, "ALERTS{alertname=\"ProbeDown\"}"] {
            until("ProbeDown is true of what is down", || {
                let samples = prometheus.query(query)?;
                for job in jobs {
                    let of_job: Vec<&Sample> =
                        samples.iter().filter(|sample| sample.label("job") == job).collect();
                    let down: BTreeSet<&str> =
                        of_job.iter().map(|sample| sample.label("probe_name")).collect();
                    let labelled = of_job.iter().all(|sample| {
                        sample.label("probe_name") != "closing" || sample.label("site") == "north"
                    });
                    if down != self.down() || !labelled {
                        return Err(format!("{query}: {samples:#?}"));
                    }
                }
                Ok(())
            });
        }
    }
}

/// All that is said of targets, but for the share of the time, which goes on between two probes.
fn numbers(samples: &[Sample], without: &BTreeSet<String>) -> Result<Numbers, String> {
    let of_targets = samples.iter().filter(|sample| {
        let name = sample.label("__name__");
        name.starts_with("probe_") && name != "probe_availability_ratio"
    });
    let numbers: Numbers =
        of_targets.map(|sample| (sample.with_plain_bounds().series(without), sample.value)).collect();
    if numbers.is_empty() { Err("no series of a target".to_owned()) } else { Ok(numbers) }
}
