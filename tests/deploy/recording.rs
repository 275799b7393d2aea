//! The recording rules, from and to the names of other tools.

use super::{asked, assert_reported, deploy, files, read, reported, rules, stem, text};
use crate::support::table::rows as table_rows;
use connscope::metric::naming::Profile;
use std::collections::BTreeSet;

/// What `node_exporter`'s collectors conntrack and tcpstat print.
const NODE_EXPORTER: &[&str] = &[
    "node_nf_conntrack_entries",
    "node_nf_conntrack_entries_limit",
    "node_nf_conntrack_stat_drop",
    "node_nf_conntrack_stat_early_drop",
    "node_nf_conntrack_stat_found",
    "node_nf_conntrack_stat_ignore",
    "node_nf_conntrack_stat_insert",
    "node_nf_conntrack_stat_insert_failed",
    "node_nf_conntrack_stat_invalid",
    "node_nf_conntrack_stat_search_restart",
    "node_tcp_connection_states",
];

/// What conntrack-stats-exporter prints, with `-fix-metric-names` and without.
const CONNTRACK_STATS: &[&str] = &[
    "conntrack_stats_count",
    "conntrack_stats_count_current",
    "conntrack_stats_drop",
    "conntrack_stats_drop_total",
    "conntrack_stats_early_drop",
    "conntrack_stats_early_drop_total",
    "conntrack_stats_error",
    "conntrack_stats_error_total",
    "conntrack_stats_found",
    "conntrack_stats_found_total",
    "conntrack_stats_ignore",
    "conntrack_stats_ignore_total",
    "conntrack_stats_insert",
    "conntrack_stats_insert_failed",
    "conntrack_stats_insert_failed_total",
    "conntrack_stats_insert_total",
    "conntrack_stats_invalid",
    "conntrack_stats_invalid_total",
    "conntrack_stats_scrape_error",
    "conntrack_stats_scrape_error_total",
    "conntrack_stats_search_restart",
    "conntrack_stats_search_restart_total",
];

/// What Telegraf's Prometheus output makes of the fields of its input conntrack.
const TELEGRAF: &[&str] = &[
    "conntrack_delete",
    "conntrack_delete_list",
    "conntrack_drop",
    "conntrack_early_drop",
    "conntrack_entries",
    "conntrack_expect_create",
    "conntrack_expect_delete",
    "conntrack_expect_new",
    "conntrack_found",
    "conntrack_icmp_error",
    "conntrack_ignore",
    "conntrack_insert",
    "conntrack_insert_failed",
    "conntrack_invalid",
    "conntrack_ip_conntrack_buckets",
    "conntrack_ip_conntrack_count",
    "conntrack_ip_conntrack_max",
    "conntrack_new",
    "conntrack_search_restart",
    "conntrack_searched",
];

/// What `prometheus_ss_exporter` prints, version 2 or 3.
const SS_EXPORTER: &[&str] = &[
    "tcp_cwnd",
    "tcp_data_segs_in",
    "tcp_data_segs_out",
    "tcp_delivery_rate",
    "tcp_delivery_rate_bytes",
    "tcp_flows_total",
    "tcp_rtt",
    "tcp_rtt_hist_ms_bucket",
    "tcp_rtt_hist_ms_count",
    "tcp_rtt_hist_ms_sum",
];

/// What connection-status-exporter prints.
const CONNECTION_STATUS: &[&str] = &["connection_status_up"];

/// Series of the classic profile that no rule leads to or from, and why.
const NOT_LED: &[(&str, &str)] = &[
    ("tcp_cwnd", "of single flows connscope has it in the classic profile only"),
    ("tcp_delivery_rate", "of single flows connscope has it in the classic profile only"),
    ("tcp_data_segs_in", "of single flows connscope has it in the classic profile only"),
    ("tcp_data_segs_out", "of single flows connscope has it in the classic profile only"),
    ("tcp_flows_left_out", "the exporter has no limit"),
    ("tcp_rtt_hist_ms_bucket", "the bounds are in another unit, and no rule can reckon with a label"),
    ("tcp_rtt_hist_ms_sum", "a sum over groups that come and go falls, and rate() takes that for a restart"),
    (
        "tcp_rtt_hist_ms_count",
        "a sum over groups that come and go falls, and rate() takes that for a restart",
    ),
];

#[test]
fn recording_rules_ask_for_what_the_agent_reports() {
    let ours = reported(Profile::Otel);
    for rule in rules(&deploy("deploy/prometheus/rules/connscope-recording.yml")) {
        let name = text(&rule, "record");
        assert_reported(name, text(&rule, "expr"), &[]);
        assert!(!ours.contains_key(name), "{name} is a series of the agent's");
    }
}

/// Whether a row is about containers or the node, whose classic names are those of coroot-node-agent.
fn is_coroots(row: &str) -> bool {
    row.starts_with("container.") || row.starts_with("node.")
}

/// What coroot-node-agent prints and connscope has in the classic profile.
fn coroot_node_agent() -> BTreeSet<String> {
    let ours = reported(Profile::Classic).into_iter();
    ours.filter(|(_, row)| is_coroots(row)).map(|(series, _)| series).collect()
}

/// A series that a file of rules makes for its own rules further down.
fn is_helper(name: &str) -> bool {
    name.starts_with("compat:")
}

/// The names of a tool, by the name of its file of rules.
fn names_of(tool: &str) -> BTreeSet<String> {
    let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match tool {
        "classic" => reported(Profile::Classic).into_keys().collect(),
        "connection-status" => listed(CONNECTION_STATUS),
        "coroot-node-agent" => coroot_node_agent(),
        "conntrack-stats" => listed(CONNTRACK_STATS),
        "node-exporter" => listed(NODE_EXPORTER),
        "ss-exporter" => listed(SS_EXPORTER),
        "telegraf" => listed(TELEGRAF),
        _ => panic!("rules for {tool}, whose names nobody has listed"),
    }
}

#[test]
fn compatibility_rules_lead_from_names_that_exist_to_names_that_exist() {
    let ours: BTreeSet<String> = reported(Profile::Otel).into_keys().collect();
    for (direction, from_ours) in [("old-to-new", false), ("new-to-old", true)] {
        for path in files(&format!("deploy/prometheus/compat/{direction}"), "yml") {
            let theirs = names_of(&stem(&path));
            let (from, to) = if from_ours { (&ours, &theirs) } else { (&theirs, &ours) };
            let mut made = BTreeSet::new();
            for rule in rules(&path) {
                let name = text(&rule, "record");
                let wanted = to.contains(name) || is_helper(name);
                assert!(wanted, "{} makes {name}, which nobody asks for", path.display());
                for read in asked(text(&rule, "expr")).names {
                    let there = from.contains(&read) || made.remove(&read) || is_helper(&read);
                    assert!(there, "{} reads {read}, which nobody reports", path.display());
                }
                if is_helper(name) {
                    made.insert(name.to_owned());
                }
            }
            assert!(made.is_empty(), "{} makes {made:?} and does not read it", path.display());
        }
    }
}

#[test]
fn every_classic_name_is_led_to_and_from_or_has_a_reason_not_to_be() {
    let (mut there, mut flows, mut targets) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (series, row) in reported(Profile::Classic) {
        let metric = table_rows().find(|metric| metric.name == row).unwrap();
        if !metric.only_classic {
            there.insert(series);
        } else if row.starts_with("probe.") {
            targets.insert(series);
        } else if !is_coroots(row) {
            flows.insert(series);
        }
    }
    let made = rules(&deploy("deploy/prometheus/compat/new-to-old/coroot-node-agent.yml"));
    let made: BTreeSet<&str> = made.iter().map(|rule| text(rule, "record")).collect();
    let theirs = coroot_node_agent();
    for name in theirs.iter().filter(|name| !made.contains(name.as_str())) {
        let has_reason = name.starts_with("container_resources_")
            || ["container_application_type", "node_info", "node_cloud_info"].contains(&name.as_str());
        assert!(
            has_reason,
            "new-to-old/coroot-node-agent.yml does not make {name}, and its README.md does not say why"
        );
    }
    for (name, reason) in NOT_LED {
        assert!(flows.remove(*name), "{name} is not led anywhere, though there is no such name: {reason}");
    }
    for (file, names) in [("classic", there), ("connection-status", targets), ("ss-exporter", flows)] {
        let made: BTreeSet<String> =
            rules(&deploy(&format!("deploy/prometheus/compat/new-to-old/{file}.yml")))
                .iter()
                .map(|rule| text(rule, "record").to_owned())
                .collect();
        assert_eq!(made, names, "new-to-old/{file}.yml");
        let read: BTreeSet<String> =
            rules(&deploy(&format!("deploy/prometheus/compat/old-to-new/{file}.yml")))
                .iter()
                .flat_map(|rule| asked(text(rule, "expr")).names)
                .collect();
        assert_eq!(read, names, "old-to-new/{file}.yml");
    }
}

#[test]
fn every_compatibility_file_is_tested() {
    let tests: String = files("deploy/prometheus/tests", "yml").iter().map(|path| read(path)).collect();
    for direction in ["old-to-new", "new-to-old"] {
        for path in files(&format!("deploy/prometheus/compat/{direction}"), "yml") {
            let file = format!("../compat/{direction}/{}.yml", stem(&path));
            assert!(tests.contains(&file), "no test loads {file}");
        }
    }
}
