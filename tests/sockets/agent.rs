//! The agent as a process with its sockets: what it prints, and what it can do without privileges.

use super::{Pair, close, connection, listener, send};
use crate::support::agent::Public;
use crate::support::{Agent, Namespace, eventually, get, sample};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;

/// Panics where a text is not what the format of Prometheus asks for.
pub(super) fn valid(text: &str) {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut last_family = "";
    let mut families = BTreeSet::new();
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name, kind), None, "two types: {line}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(seen.insert(series), "twice: {series}");
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_count", "_sum"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|base| kinds.get(base) == Some(&"histogram"))
            .unwrap_or(name);
        let kind = kinds.get(family).unwrap_or_else(|| panic!("no type before {series}"));
        if family != last_family {
            assert!(families.insert(family), "{family} is in two places");
            last_family = family;
        }
        if *kind == "histogram" {
            let labels = series.strip_prefix(name).unwrap().trim_matches(['{', '}']);
            let (bounds, others): (Vec<&str>, Vec<&str>) = labels
                .split(',')
                .filter(|label| !label.is_empty())
                .partition(|label| label.starts_with("le=\""));
            let key = format!("{family}{{{}}}", others.join(","));
            if name.ends_with("_bucket") {
                let bound = bounds[0].trim_start_matches("le=").trim_matches('"');
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                buckets.entry(key).or_default().push((bound, value));
            } else if name.ends_with("_count") {
                counts.insert(key, value);
            }
        }
    }
    assert_eq!(buckets.keys().collect::<Vec<_>>(), counts.keys().collect::<Vec<_>>());
    for (key, buckets) in &buckets {
        assert!(
            buckets.is_sorted_by(|before, after| before.0 < after.0 && before.1 <= after.1),
            "{key}: {buckets:?}"
        );
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, counts[key])), "{key}");
    }
}

const SOCKETS: &str = "sources: {conntrack: {enabled: false}, sockets: {}}\n";

#[test]
fn without_any_privilege_sockets_are_read_and_their_ends_seen() {
    let Some(namespace) = Namespace::new() else { return };
    let public = Public::new(SOCKETS);
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut agent =
            Agent::start(public.nobody(&[], &["--listen", "127.0.0.1:0", "--otlp-protocol", "none"]));
        let address = agent.address();
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
        assert!(status.contains("CapEff:\t0000000000000000") && status.contains("Uid:\t65534"), "{status}");
        assert_eq!(get(address, "/metrics").0, 200);
        let mut pairs: Vec<Pair> = (0..3).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        for pair in &mut pairs {
            send(&mut pair.0, &mut pair.1, 1000);
        }
        close(pairs.pop().unwrap());
        let labels = |more: &str| {
            format!("{{direction=\"outgoing\",{more}peer_group=\"loopback\",server_port=\"4000\"}}")
        };
        let became = |text: &str, event: &str| {
            sample(text, &format!("tcp_connections_total{}", labels(&format!("event=\"{event}\","))))
        };
        let mut text = String::new();
        eventually("the end is seen", || {
            text = get(address, "/metrics").1;
            became(&text, "closed") == Some(1.0)
        });
        assert_eq!(became(&text, "opened"), Some(3.0));
        assert_eq!(sample(&text, &format!("tcp_open_connections{}", labels(""))), Some(2.0));
        let sent = format!("tcp_io_bytes_total{}", labels("network_io_direction=\"transmit\","));
        assert_eq!(sample(&text, &sent), Some(3000.0), "{text}");
        for _ in 0..3 {
            valid(&get(address, "/metrics").1);
        }
        agent.signal(rustix::process::Signal::TERM);
        assert!(agent.wait().0.success());
        let log = agent.log.all();
        let loud: Vec<_> = log.iter().filter(|line| !line.contains("\"INFO\"")).collect();
        assert!(loud.is_empty(), "{loud:#?}");
    });
}

/// What `connscope check` says of the sockets, by the way.
fn checked(output: &Output) -> BTreeMap<String, (String, String)> {
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    checks
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["source"] == "sockets")
        .map(|check| (text(&check["via"]), (text(&check["status"]), text(&check["capability"]))))
        .collect()
}

#[test]
fn check_says_what_each_capability_would_add() {
    let Some(namespace) = Namespace::new() else { return };
    let public = Public::new(SOCKETS);
    let check = |capabilities: &[&str]| {
        let output = namespace
            .inside(|| public.nobody(capabilities, &["check", "--format", "json"]).output().unwrap());
        assert_eq!(output.status.code(), Some(0), "what is asked for works: {output:?}");
        checked(&output)
    };
    let works = |capability: &str| ("works".to_owned(), capability.to_owned());
    let denied = |capability: &str| ("denied".to_owned(), capability.to_owned());
    let nothing = check(&[]);
    assert_eq!((&nothing["sock_diag"], &nothing["destroy"]), (&works(""), &works("")));
    assert_eq!(nothing["fwmark"], denied("CAP_NET_ADMIN"));
    assert_eq!(nothing["process"], denied("CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"));
    assert_eq!(check(&["net_admin"])["fwmark"], works(""));
    assert_eq!(check(&["sys_ptrace"])["process"], denied("CAP_DAC_READ_SEARCH"));
    assert_eq!(check(&["dac_read_search"])["process"], denied("CAP_SYS_PTRACE"));
    assert_eq!(check(&["dac_read_search", "sys_ptrace"])["process"], works(""));
}
