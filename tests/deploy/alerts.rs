//! The alerts, their runbooks and their tests.

use super::{OF_PROMETHEUS, alerts, assert_reported, deploy, files, read, stem, text, yaml};
use serde_json::Value;
use std::collections::BTreeSet;

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
        assert!(names.insert(name.clone()), "{name} is repeated");
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
            [
                "Conntrack",
                "Connscope",
                "Container",
                "NetworkAllowance",
                "NetworkPackets",
                "NetworkSyn",
                "Probe",
                "Sockets",
            ]
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
    let cases: Vec<Value> = files("deploy/prometheus/tests", "yml")
        .iter()
        .filter(|path| stem(path).ends_with("alerts_test"))
        .flat_map(|path| yaml(path)["tests"].as_array().unwrap().clone())
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
