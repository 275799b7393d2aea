//! What is shipped for operators beside the agent: alerts, rules for old names, dashboards and runbooks. Every name in
//! them is one that the agent reports, and what belongs together is there together. Needs no network; `.ci/rules` has
//! promtool check and run the rules.

use connscope::metric::Kind;
use connscope::metric::naming::{Profile, label, prometheus};
use connscope::metric::table::METRICS;
use promql_parser::label::METRIC_NAME;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;

mod service;

/// What Prometheus itself makes of a scrape.
const OF_PROMETHEUS: &[&str] = &["up"];

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

/// Metrics without a panel, and why: a panel without data is taken for trouble.
const ON_NO_PANEL: &[(&str, &str)] = &[
    ("conntrack.ignore", "not counted since Linux 5.10"),
    ("conntrack.searched", "not counted since Linux 4.9"),
    ("conntrack.new", "not counted since Linux 4.9"),
    ("conntrack.delete", "not counted since Linux 4.9"),
    ("conntrack.delete_list", "not counted since Linux 4.9"),
    ("conntrack.unknown", "only on kernels newer than the table"),
    ("conntrack.table.sysctl", "only where table.files names further sysctls, and of any unit"),
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder with this ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(deploy(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has no *.{ending}");
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules of a file, of all its groups.
fn rules(path: &Path) -> Vec<Value> {
    let groups = yaml(path)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Value> {
    rules(&deploy("deploy/prometheus/rules/connscope-alerts.yml"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// The names of the series that an expression asks for, and the labels it chooses by.
#[derive(Default)]
struct Asked {
    names: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Asked {
    fn note(&mut self, selector: &VectorSelector) {
        let matchers = &selector.matchers;
        let by_label = matchers.find_matchers(METRIC_NAME).into_iter().map(|matcher| matcher.value);
        let names: Vec<String> = selector.name.clone().into_iter().chain(by_label).collect();
        assert!(!names.is_empty(), "a selector without a name: {selector}");
        self.names.extend(names);
        self.labels.extend(matchers.matchers.iter().map(|matcher| matcher.name.clone()));
    }
}

impl ExprVisitor for Asked {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        match expr {
            Expr::VectorSelector(selector) => self.note(selector),
            Expr::MatrixSelector(selector) => self.note(&selector.vs),
            _ => {}
        }
        Ok(true)
    }
}

/// Parses an expression as Grafana would send it.
fn asked(expr: &str) -> Asked {
    let mut sent = String::new();
    // A variable that stands for labels to group by; any label will do.
    let mut rest = expr.replace("$__rate_interval", "5m").replace("${by:csv}", "instance");
    while let Some((before, variable)) = rest.clone().split_once('$') {
        sent.push_str(before);
        // A reference of label_replace ("$1") is not a variable.
        if variable.starts_with(|first: char| first.is_ascii_digit()) {
            sent.push('$');
            variable.clone_into(&mut rest);
        } else {
            sent.push_str(".*");
            variable
                .trim_start_matches(|each: char| each.is_alphanumeric() || each == '_')
                .clone_into(&mut rest);
        }
    }
    sent.push_str(&rest);
    let parsed = parser::parse(&sent).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let mut asked = Asked::default();
    let Ok(_) = walk_expr(&mut asked, &parsed);
    asked
}

/// Every series the agent reports under a profile, with the name of its row.
fn reported(profile: Profile) -> BTreeMap<String, &'static str> {
    let mut series = BTreeMap::new();
    for metric in METRICS {
        let Some(name) = prometheus(metric, profile) else { continue };
        if matches!(metric.kind, Kind::Histogram | Kind::Recorded) {
            for part in ["bucket", "sum", "count"] {
                series.insert(format!("{name}_{part}"), metric.name);
            }
        } else {
            series.insert(name, metric.name);
        }
    }
    series
}

fn assert_reported(place: &str, expr: &str, further: &[&str]) -> BTreeSet<String> {
    let ours = reported(Profile::Otel);
    let asked = asked(expr);
    for name in &asked.names {
        let known = ours.contains_key(name) || further.contains(&name.as_str());
        assert!(known, "{place} asks for {name}, which nobody reports: {expr}");
    }
    asked.names
}

#[test]
fn alerts_ask_for_what_the_agent_reports() {
    for alert in alerts() {
        assert_reported(text(&alert, "alert"), text(&alert, "expr"), OF_PROMETHEUS);
    }
}

#[test]
fn alerts_say_how_bad_it_is_what_it_is_and_where_to_read_on() {
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert").to_owned();
        assert!(["info", "warning", "critical"].contains(&text(&alert["labels"], "severity")), "{name}");
        assert!(alert["for"].is_string(), "{name} fires at once");
        let annotations = &alert["annotations"];
        // Where there is no series, there is neither value nor label to tell.
        let tells =
            text(annotations, "description").contains("{{ $") || text(&alert, "expr").contains("absent(");
        assert!(tells, "the description of {name} has no value and no label");
        assert!(!text(annotations, "summary").is_empty(), "{name}");
        assert_eq!(text(annotations, "runbook_url"), format!("docs/runbooks/{name}.md"));
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: BTreeSet<String> = alerts().iter().map(|alert| text(alert, "alert").to_owned()).collect();
    let mut pages: BTreeSet<String> = files("docs/runbooks", "md").iter().map(|path| stem(path)).collect();
    assert!(pages.remove("README"));
    assert_eq!(alerts, pages);
    let index = read(&deploy("docs/runbooks/README.md"));
    for name in &alerts {
        assert!(index.contains(&format!("[{name}]({name}.md)")), "the index has no {name}");
        let page = read(&deploy(&format!("docs/runbooks/{name}.md")));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}");
        for part in ["## What it means", "## Confirm", "## Do", "## Do not"] {
            assert!(page.lines().any(|line| line == part), "{name} has no `{part}`");
        }
    }
}

/// Words that look like the name of an alert.
fn alert_words(text: &str) -> BTreeSet<&str> {
    text.split(|each: char| !each.is_ascii_alphanumeric())
        .filter(|word| {
            let named = |rest: &str| rest.starts_with(|first: char| first.is_ascii_uppercase());
            ["Conntrack", "Connscope", "Probe", "Sockets"]
                .iter()
                .any(|root| word.strip_prefix(root).is_some_and(named))
        })
        .collect()
}

#[test]
fn runbooks_and_dashboards_refer_to_alerts_that_exist() {
    let alerts = alerts();
    let alerts: BTreeSet<&str> = alerts.iter().map(|alert| text(alert, "alert")).collect();
    for path in files("docs/runbooks", "md").into_iter().chain(files("deploy/grafana/dashboards", "json")) {
        for word in alert_words(&read(&path)) {
            assert!(alerts.contains(word), "{} names {word}, which is no alert", path.display());
        }
    }
}

#[test]
fn runbooks_ask_for_what_the_agent_reports() {
    for path in files("docs/runbooks", "md") {
        for block in read(&path).split("```promql\n").skip(1) {
            // Queries stand one a line, and a line that is drawn in belongs to the one before.
            let block = block.split("```").next().unwrap().replace("\n  ", " ");
            for expr in block.lines() {
                assert_reported(&path.display().to_string(), expr, &[]);
            }
        }
    }
}

#[test]
fn the_page_of_the_probes_has_their_dashboard_and_every_alert_about_them() {
    let path = deploy("docs/probes.md");
    let page = read(&path);
    assert!(page.contains("](../deploy/grafana/dashboards/probes.json)"));
    for alert in alerts() {
        let name = text(&alert, "alert");
        let link = format!("[{name}](runbooks/{name}.md)");
        assert_eq!(page.contains(&link), name.starts_with("Probe"), "{name}");
    }
    for expr in page.split("```promql\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines()) {
        assert_reported(&path.display().to_string(), expr, &[]);
    }
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let tests = yaml(&deploy("deploy/prometheus/tests/alerts_test.yml"));
    let cases: Vec<Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap().clone())
        .collect();
    for alert in alerts() {
        let name = text(&alert, "alert");
        let of: Vec<bool> = cases
            .iter()
            .filter(|case| text(case, "alertname") == name)
            .map(|case| !case["exp_alerts"].as_array().unwrap().is_empty())
            .collect();
        assert!(of.contains(&true), "{name} never fires in the tests");
        assert!(of.contains(&false), "{name} always fires in the tests");
    }
}

#[test]
fn recording_rules_ask_for_what_the_agent_reports() {
    let ours = reported(Profile::Otel);
    for rule in rules(&deploy("deploy/prometheus/rules/connscope-recording.yml")) {
        let name = text(&rule, "record");
        assert_reported(name, text(&rule, "expr"), &[]);
        assert!(!ours.contains_key(name), "{name} is a series of the agent's");
    }
}

/// The names of a tool, by the name of its file of rules.
fn names_of(tool: &str) -> BTreeSet<String> {
    let listed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match tool {
        "classic" => reported(Profile::Classic).into_keys().collect(),
        "connection-status" => listed(CONNECTION_STATUS),
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
            for rule in rules(&path) {
                let name = text(&rule, "record");
                assert!(to.contains(name), "{} makes {name}, which nobody asks for", path.display());
                for read in asked(text(&rule, "expr")).names {
                    assert!(from.contains(&read), "{} reads {read}, which nobody reports", path.display());
                }
            }
        }
    }
}

#[test]
fn every_classic_name_is_led_to_and_from_or_has_a_reason_not_to_be() {
    let (mut there, mut flows, mut targets) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (series, row) in reported(Profile::Classic) {
        let metric = METRICS.iter().find(|metric| metric.name == row).unwrap();
        if !metric.only_classic {
            there.insert(series);
        } else if row.starts_with("probe.") {
            targets.insert(series);
        } else {
            flows.insert(series);
        }
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

/// The dashboards, by the name of their file.
fn dashboards() -> BTreeMap<String, Value> {
    files("deploy/grafana/dashboards", "json")
        .iter()
        .map(|path| (stem(path), serde_json::from_str(&read(path)).unwrap()))
        .collect()
}

fn panels(dashboard: &Value) -> Vec<Value> {
    let panels = dashboard["panels"].as_array().unwrap();
    panels.iter().filter(|panel| text(panel, "type") != "row").cloned().collect()
}

fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().unwrap();
    targets.iter().map(|target| text(target, "expr").to_owned()).collect()
}

#[test]
fn dashboards_are_what_their_source_makes() {
    let output = Command::new("python3")
        .arg(deploy("deploy/grafana/generate.py"))
        .arg("--check")
        .output()
        .unwrap_or_else(|error| panic!("python3 is needed: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn panels_ask_for_what_the_agent_reports() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let place = format!("{file}: {}", text(&panel, "title"));
            for expr in expressions(&panel) {
                assert_reported(&place, &expr, &[]);
                for range in expr.split("rate(").skip(1) {
                    let range = range.split_once('[').unwrap().1;
                    assert!(
                        range.starts_with("$__rate_interval]"),
                        "{place}: a rate over a fixed range: {expr}"
                    );
                }
            }
        }
    }
}

#[test]
fn panels_choose_by_labels_their_series_have() {
    let own = ["job", "instance", "le"].map(str::to_owned);
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for expr in expressions(&panel) {
                let asked = asked(&expr);
                let mut known: BTreeSet<String> = own.iter().cloned().collect();
                let rows = reported(Profile::Otel);
                for metric in
                    METRICS.iter().filter(|metric| asked.names.iter().any(|name| rows[name] == metric.name))
                {
                    known.extend(metric.labels.iter().map(|each| label(each.key())));
                }
                let unknown: Vec<_> = asked.labels.difference(&known).collect();
                assert!(
                    unknown.is_empty(),
                    "{file}: {}: no label {unknown:?}: {expr}",
                    text(&panel, "title")
                );
                for chosen in ["job", "instance"] {
                    assert!(asked.labels.contains(chosen), "{file}: {expr} does not choose by {chosen}");
                }
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_what_to_do_and_in_which_unit() {
    for (file, dashboard) in dashboards() {
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = text(&panel, "title").to_owned();
            assert!(!title.is_empty(), "{file}: a panel without a title");
            assert!(text(&panel, "description").len() > 40, "{file}: {title}: what is an operator to do?");
            assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{file}: {title}");
            assert!(!expressions(&panel).is_empty(), "{file}: {title}");
            assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{file}: {title}");
            assert!(titles.insert(title.clone()), "{file}: {title} is there twice");
        }
    }
}

#[test]
fn thresholds_colour_everything_but_lines() {
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let defaults = &panel["fieldConfig"]["defaults"];
            if defaults["thresholds"].is_null() {
                continue;
            }
            // What is not said is the panel's own choice; a state timeline's goes from green, 0, to red, 1.
            let mode = if text(&panel, "type") == "timeseries" { "palette-classic" } else { "thresholds" };
            assert_eq!(defaults["color"]["mode"], mode, "{file}: {}", text(&panel, "title"));
        }
    }
}

#[test]
fn dashboards_can_be_provisioned_as_they_are() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let uid = text(&dashboard, "uid");
        assert!(uid.len() <= 40 && uids.insert(uid.to_owned()), "{file}: {uid}");
        assert!(dashboard.get("id").is_none(), "{file} carries the id of some database");
        assert_eq!(dashboard["editable"], false, "{file}");
        assert!(dashboard["schemaVersion"].is_u64(), "{file}");
        let ids: BTreeSet<u64> = dashboard["panels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|panel| panel["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len(), "{file}: panels share an id");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        assert!(names.is_superset(&["datasource", "job", "instance"].into()), "{file}: {names:?}");
        let job = variables.iter().find(|variable| text(variable, "name") == "job").unwrap();
        let one_job = job["multi"] == false && job["includeAll"] == false;
        assert!(one_job, "{file}: an agent that pushes and is scraped would count twice");
        for variable in variables.iter().filter(|variable| text(variable, "type") == "query") {
            let query = text(&variable["query"], "query");
            let selector = query.strip_prefix("label_values(").unwrap().rsplit_once(", ").unwrap().0;
            assert_reported(&file, selector, &[]);
        }
    }
}

#[test]
fn the_source_of_the_dashboards_is_the_one_that_is_provisioned() {
    let datasources = yaml(&deploy("deploy/grafana/provisioning/datasources/prometheus.yaml"));
    let uid = text(&datasources["datasources"][0], "uid").to_owned();
    for (file, dashboard) in dashboards() {
        let current = &dashboard["templating"]["list"][0]["current"]["value"];
        assert_eq!(current, uid.as_str(), "{file}");
    }
    assert!(yaml(&deploy("deploy/grafana/provisioning/dashboards/connscope.yaml"))["providers"].is_array());
}

#[test]
fn every_metric_is_on_a_panel_or_has_a_reason_not_to_be() {
    let rows = reported(Profile::Otel);
    let shown: BTreeSet<&str> = dashboards()
        .values()
        .flat_map(panels)
        .flat_map(|panel| expressions(&panel))
        .flat_map(|expr| asked(&expr).names)
        .map(|name| rows[&name])
        .collect();
    // What only the classic profile has, Prometheus and the dashboards never have beside the rest.
    for metric in METRICS.iter().filter(|metric| !metric.only_classic) {
        let reason = ON_NO_PANEL.iter().find(|(name, _)| *name == metric.name);
        match (shown.contains(metric.name), reason) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("{} is on no panel", metric.name),
            (true, Some((_, reason))) => panic!("{} is on a panel, though: {reason}", metric.name),
        }
    }
    for (name, _) in ON_NO_PANEL {
        assert!(METRICS.iter().any(|metric| metric.name == *name), "there is no {name}");
    }
}
