//! Time-outs, ages, packets and bytes of the entries of a namespace that counts them.

use super::entries::{label, number, of, read, settings};
use super::traffic::{self, Traffic};
use crate::support::Namespace;
use connscope::metric::{Label, Value};
use connscope::reading::Readings;

/// Prints, for each protocol, entries, the sum of their time-outs, and packets and bytes of both directions.
const SCRIPT: &str = r#"{
    n[$1]++; t[$1] += $3; second = 0
    for (i = 4; i <= NF; i++) {
        split($i, p, "=")
        if (p[1] == "packets") { packets[$1, second] += p[2] }
        if (p[1] == "bytes") { bytes[$1, second] += p[2]; second = 1 }
    }
}
END { for (k in n) print k, n[k], t[k], packets[k, 0] + 0, packets[k, 1] + 0, bytes[k, 0] + 0, bytes[k, 1] + 0 }"#;

fn listed(namespace: &Namespace) -> Vec<(String, [f64; 6])> {
    let command = format!("(conntrack -L -f ipv4; conntrack -L -f ipv6) 2>/dev/null | awk '{SCRIPT}'");
    let lines = namespace.run("sh", &["-c", &command]);
    let parsed = lines.lines().map(|line| {
        let (protocol, numbers) = line.split_once(' ').unwrap();
        let numbers: Vec<f64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
        (protocol.replace("unknown", "~other"), numbers.try_into().unwrap())
    });
    parsed.collect()
}

/// Number and sum of the values of a distribution of a protocol.
fn distribution(readings: &Readings, metric: &str, protocol: &str) -> (f64, f64) {
    let found = of(readings, metric).into_iter().find(|reading| label(reading, Label::Transport) == protocol);
    match found.map(|reading| (&reading.value, number(reading))) {
        Some((Value::Distribution(values), count)) => (count, values.sum()),
        _ => panic!("no {metric} of {protocol}"),
    }
}

/// The value of one direction of a protocol.
fn sum(readings: &Readings, metric: &str, protocol: &str, direction: &str) -> f64 {
    let of_it = |reading: &&connscope::reading::Reading| {
        label(reading, Label::Transport) == protocol && label(reading, Label::Direction) == direction
    };
    number(of(readings, metric).into_iter().find(of_it).unwrap())
}

#[test]
fn time_outs_ages_packets_and_bytes_are_those_that_conntrack_lists() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        for sysctl in ["acct", "timestamp"] {
            std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{sysctl}"), "1").unwrap();
        }
    });
    traffic::rules(&namespace);
    let kept = Traffic::everything(&namespace);
    let readings = read(&namespace, &settings(|_| {}));
    let listed = listed(&namespace);
    assert!(listed.len() >= 7, "{listed:?}");
    for (protocol, [entries, timeouts, packets, reply_packets, bytes, reply_bytes]) in listed {
        let (count, seconds) = distribution(&readings, "conntrack.entries.timeout", &protocol);
        assert_eq!(count, entries, "{protocol}");
        assert!((seconds - timeouts).abs() <= 5.0 * entries, "{protocol}: {seconds} and {timeouts}");
        let (count, age) = distribution(&readings, "conntrack.entries.age", &protocol);
        assert_eq!(count, entries, "{protocol}");
        assert!(age >= 0.0 && age < 60.0 * entries, "{protocol}: {age}");
        for (metric, direction, expected) in [
            ("conntrack.entries.packets", "original", packets),
            ("conntrack.entries.packets", "reply", reply_packets),
            ("conntrack.entries.io", "original", bytes),
            ("conntrack.entries.io", "reply", reply_bytes),
        ] {
            assert_eq!(
                sum(&readings, metric, &protocol, direction),
                expected,
                "{protocol} {metric} {direction}"
            );
        }
    }
    drop(kept);
}

#[test]
fn a_kernel_that_does_not_count_has_no_packets_and_no_ages() {
    let Some(namespace) = Namespace::new() else { return };
    traffic::udp_flows(&namespace, 5);
    let readings = read(&namespace, &settings(|_| {}));
    assert_eq!(distribution(&readings, "conntrack.entries.timeout", "udp").0, 5.0);
    for metric in ["conntrack.entries.age", "conntrack.entries.packets", "conntrack.entries.io"] {
        assert!(of(&readings, metric).is_empty(), "{metric}");
    }
}
