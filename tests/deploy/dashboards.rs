//! The dashboards.

use super::{asked, assert_reported, dashboards, deploy, expressions, panels, read, reported, text, yaml};
use crate::support::table::rows as table_rows;
use connscope::metric::naming::{Profile, label};
use std::collections::BTreeSet;
use std::process::Command;

/// Metrics without a panel, and why: a panel without data is taken for trouble.
const ON_NO_PANEL: &[(&str, &str)] = &[
    ("conntrack.ignore", "not counted since Linux 5.10"),
    ("conntrack.searched", "not counted since Linux 4.9"),
    ("conntrack.new", "not counted since Linux 4.9"),
    ("conntrack.delete", "not counted since Linux 4.9"),
    ("conntrack.delete_list", "not counted since Linux 4.9"),
    ("conntrack.unknown", "only on kernels newer than the table"),
    ("conntrack.table.sysctl", "settings, and of any unit"),
    ("conntrack.table.entry.size", "the same until the next boot, and part of conntrack.table.memory.limit"),
    ("conntrack.helper", "only while a helper waits for a connection"),
    ("connscope.netns.open", "a limit of the agent, seen when sources.*.netns is set up"),
    ("connscope.log.dropped", "counts only while nobody reads the log, which then says so itself"),
];

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
                    table_rows().filter(|metric| asked.names.iter().any(|name| rows[name] == metric.name))
                {
                    known.extend(metric.labels().iter().map(|each| label(each.key())));
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
            assert!(titles.insert(title.clone()), "{file}: {title} is repeated");
        }
    }
}

/// Why packets are lost.
const WHY_LOST: &str = "why-lost";

#[test]
fn every_panel_about_lost_packets_says_what_to_do() {
    let dashboards = dashboards();
    for panel in panels(&dashboards[WHY_LOST]) {
        let description = text(&panel, "description");
        assert!(description.to_lowercase().contains("do: "), "{}: {description}", text(&panel, "title"));
    }
}

#[test]
fn every_cause_of_lost_packets_has_its_rows_in_the_order_of_the_page() {
    let dashboards = dashboards();
    let all = dashboards[WHY_LOST]["panels"].as_array().unwrap();
    let rows: Vec<&str> =
        all.iter().filter(|panel| panel["type"] == "row").map(|row| text(row, "title")).collect();
    let page = read(&deploy("docs/packet-loss.md"));
    let mut named = vec!["The kernel drops, and says why"];
    let causes =
        page.split("\n## ").skip(1).filter(|part| part.starts_with(|first: char| first.is_ascii_digit()));
    // The first point says what is no loss.
    for cause in causes.skip(1) {
        let line = cause.lines().nth(2).unwrap();
        assert!(line.starts_with("Row"), "a cause without a row: {cause}");
        named.extend(line.split('"').skip(1).step_by(2));
    }
    assert_eq!(rows, named);
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
    for metric in table_rows().filter(|metric| !metric.only_classic) {
        let reason = ON_NO_PANEL.iter().find(|(name, _)| *name == metric.name);
        match (shown.contains(metric.name), reason) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("{} is on no panel", metric.name),
            (true, Some((_, reason))) => panic!("{} is on a panel, though: {reason}", metric.name),
        }
    }
    for (name, _) in ON_NO_PANEL {
        assert!(table_rows().any(|metric| metric.name == *name), "there is no {name}");
    }
}
