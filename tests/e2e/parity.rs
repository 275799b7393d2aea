//! Push and pull: what Prometheus holds is what the kernel and the probed peers say, whichever way it came, under the same
//! names.

use crate::peers::Peers;
use crate::readings::{Numbers, difference, has_helper, kernel, sum, traffic};
use crate::stack::{Collector, Prometheus, Sample, agent_with, end, quiet_namespace, until};
use std::collections::BTreeSet;

pub(crate) const PUSHED: &str = "{job=\"connscope\"}";
pub(crate) const PULLED: &str = "{job=\"connscope-pull\"}";

/// What a round of traffic moves, and at least how far.
const MOVED: &[(&str, f64)] = &[
    ("conntrack_invalid_total", 50.0),
    ("conntrack_error_total", 20.0),
    // Eight times four ports are taken.
    ("conntrack_found_total", 32.0),
    ("conntrack_insert_failed_total", 8.0),
    ("conntrack_drop_total", 8.0),
];

/// The same of what only the helper moves.
const EXPECTATIONS: &[(&str, f64)] = &[
    ("conntrack_expect_new_total", 1.0),
    ("conntrack_expect_create_total", 1.0),
    ("conntrack_expect_delete_total", 1.0),
];

/// What only one of the ways has: who is asked, and what the receiver was told to copy from the resource.
pub(crate) fn own_labels(prometheus: &Prometheus) -> BTreeSet<String> {
    let mut labels = prometheus.resource_labels().unwrap();
    labels.extend(["job".to_owned(), "instance".to_owned()]);
    labels
}

/// Whether a number is reckoned by the agent from several cycles or from the machine's memory; tests/conntrack hold those
/// against the kernel.
fn is_derived(sample: &Sample) -> bool {
    const NAMES: [&str; 4] = [
        "conntrack_events_estimate_total",
        "conntrack_table_memory_limit_bytes",
        "conntrack_table_memory_share_ratio",
        "conntrack_table_time_to_full_seconds",
    ];
    NAMES.contains(&sample.label("__name__"))
}

fn conntrack(samples: &[Sample], without: &BTreeSet<String>) -> Numbers {
    samples
        .iter()
        .filter(|sample| sample.label("__name__").starts_with("conntrack_") && !is_derived(sample))
        .map(|sample| (sample.series(without), sample.value))
        .collect()
}

/// Waits until what a query selects of the agent's connection tracking numbers is what the kernel says.
pub(crate) fn equal_to_kernel(
    prometheus: &Prometheus,
    namespace: &crate::support::Namespace,
    queries: &[&str],
) -> Numbers {
    let without = own_labels(prometheus);
    until("Prometheus holds what the kernel says", || {
        let expected = kernel(namespace);
        for query in queries {
            difference(query, &conntrack(&prometheus.query(query)?, &without), &expected)?;
        }
        Ok(expected)
    })
}

#[test]
fn prometheus_holds_what_the_kernel_and_the_peers_say_by_both_ways_and_under_the_same_names() {
    let Some(namespace) = quiet_namespace() else { return };
    let Some(mut peers) = Peers::new() else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    let configuration = peers.configuration();
    let agent = agent_with(&namespace, configuration.path(), &["--interval", "1s"], &[]);

    let mut moved = MOVED.to_vec();
    if has_helper(&namespace) {
        moved.extend(EXPECTATIONS);
    } else {
        println!("this kernel has no TFTP helper: expectations have not been tested");
    }
    let mut before = equal_to_kernel(&prometheus, &namespace, &[PUSHED, PULLED]);
    for round in 1..=2 {
        traffic(&namespace, round);
        let now = equal_to_kernel(&prometheus, &namespace, &[PUSHED, PULLED]);
        let grown = |name| sum(&now, name) - sum(&before, name);
        assert_eq!(grown("conntrack_insert_total"), 5.0);
        // At least: what goes over loopback is looked at on its way out and again on its way in.
        for (name, least) in &moved {
            assert!(grown(name) >= *least, "{name} has grown by {}, not {least}", grown(name));
        }
        before = now;
    }
    let ways = [PUSHED, PULLED];
    peers.told(&prometheus, ways);
    peers.alerted(&prometheus, ways);
    peers.close();
    peers.told(&prometheus, ways);
    peers.alerted(&prometheus, ways);
    same_series(&prometheus);
    same_resource(&prometheus);
    let log = end(agent);
    let loud: Vec<_> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

/// Every series of the agent's, not just those of connection tracking, is repeated, with the same labels.
fn same_series(prometheus: &Prometheus) {
    let without = own_labels(prometheus);
    // Prometheus' own account of a scrape.
    let of_the_scrape = |name: &str| name == "up" || name.starts_with("scrape_");
    let series = |query: &str| -> Result<BTreeSet<String>, String> {
        let samples = prometheus.query(query)?;
        let kept = samples.iter().filter(|sample| {
            !of_the_scrape(sample.label("__name__")) && sample.label("__name__") != "target_info"
        });
        Ok(kept.map(|sample| sample.with_plain_bounds().series(&without)).collect())
    };
    let pushed = until("both ways give the same series", || {
        let (pushed, pulled) = (series(PUSHED)?, series(PULLED)?);
        let (only_pushed, only_pulled) = (&pushed - &pulled, &pulled - &pushed);
        if only_pushed.is_empty() && only_pulled.is_empty() {
            return Ok(pushed);
        }
        Err(format!("only pushed: {only_pushed:#?}, only pulled: {only_pulled:#?}"))
    });
    let names: BTreeSet<&str> = pushed.iter().filter_map(|series| series.split('{').next()).collect();
    println!("both ways: {} series of {} names, the same", pushed.len(), names.len());
    let needed = [
        "conntrack_drop_total",
        "connscope_probes_targets",
        "connscope_source_duration_seconds",
        "probe_availability_ratio",
        "probe_icmp_rtt_seconds_bucket",
        "process_memory_usage_bytes",
    ];
    for name in needed {
        assert!(names.contains(name), "{name} is missing: {names:#?}");
    }
}

/// `target_info` says the same of the agent by both ways.
fn same_resource(prometheus: &Prometheus) {
    let without = BTreeSet::from(["job".to_owned(), "instance".to_owned()]);
    let resource = |query: &str| -> Result<String, String> {
        match prometheus.query(&format!("target_info{query}"))?.as_slice() {
            [one] => Ok(one.series(&without)),
            other => Err(format!("target_info{query}: {other:?}")),
        }
    };
    until("both ways give the same target_info", || {
        let (pushed, pulled) = (resource(PUSHED)?, resource(PULLED)?);
        if pushed == pulled { Ok(()) } else { Err(format!("pushed: {pushed}, pulled: {pulled}")) }
    });
    let pushed = prometheus.query(&format!("conntrack_table_usage{PUSHED}")).unwrap();
    let [pushed] = pushed.as_slice() else { panic!("one series: {pushed:?}") };
    assert_eq!(pushed.label("service_name"), "connscope");
    assert_eq!(pushed.label("instance"), pushed.label("service_instance_id"));
}
