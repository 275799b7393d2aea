//! What is shipped for operators beside the agent: alerts, rules for old names, dashboards and runbooks. Every name in
//! them is one that the agent reports, and what belongs together is there together. Needs no network; `.ci/rules` has
//! promtool check and run the rules.

use crate::support::table::rows as table_rows;
use connscope::metric::Kind;
use connscope::metric::naming::{Profile, prometheus};
use promql_parser::label::METRIC_NAME;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

mod alerts;
mod commands;
pub(crate) mod confined;
mod dashboards;
mod forbidden;
mod image;
mod kubernetes;
mod packages;
mod reasons;
mod recording;
mod requirements;
mod service;

/// What Prometheus itself makes of a scrape.
const OF_PROMETHEUS: &[&str] = &["up"];

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
    connscope::settings::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules of a file, of all its groups.
fn rules(path: &Path) -> Vec<Value> {
    let groups = yaml(path)["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The alerts, those included that nobody loads who does not ask for them.
fn alerts() -> Vec<Value> {
    let of_alerts = |path: &PathBuf| stem(path).ends_with("-alerts");
    let loaded = files("deploy/prometheus/rules", "yml").into_iter().filter(of_alerts);
    loaded.chain(files("deploy/prometheus/optional", "yml")).flat_map(|path| rules(&path)).collect()
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
    for metric in table_rows() {
        let Some(name) = prometheus(metric, profile) else { continue };
        if matches!(metric.kind, Kind::Histogram | Kind::RecordedHistogram) {
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
