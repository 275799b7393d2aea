//! From the table to METRICS.md and to `connscope metrics`.

use super::naming::{self, Profile};
use super::table::METRICS;
use super::{Bound, Label, Metric};
use std::fmt::Write;

/// METRICS.md, whole.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Written from `src/metric/table.rs`; a test keeps this page equal to it. `connscope metrics` prints the same.\n\n\
         The Prometheus name is that of the `otel` profile, which is also what the OpenTelemetry Collector and\n\
         Prometheus make of the OTLP name. A metric without a classic name is left out of the `classic` profile.\n\
         The attribute `netns` is there only where `netns` is configured; `cpu` only with `cpu: each`. What has\n\
         `probe.name` also has the labels that the configuration gives to its target.\n",
    );
    for metric in METRICS {
        let _infallible = entry(&mut page, metric);
    }
    page.push_str("\n## Bounds of the labels\n\n| label | at most |\n|---|---|\n");
    let mut seen: Vec<Label> = Vec::new();
    for label in METRICS.iter().flat_map(|metric| metric.labels) {
        if !seen.contains(label) {
            seen.push(*label);
            let _infallible = writeln!(page, "| `{}` | {} |", label.key(), bound(*label));
        }
    }
    page
}

fn entry(page: &mut String, metric: &Metric) -> std::fmt::Result {
    writeln!(page, "\n## {}\n\n{}\n", metric.name, metric.description)?;
    let unit = if metric.unit.is_empty() { "none".to_owned() } else { format!("`{}`", metric.unit) };
    writeln!(page, "- {}, unit {unit}", metric.kind.word())?;
    if let Some(name) = naming::prometheus(metric, Profile::Otel) {
        writeln!(page, "- Prometheus: `{name}`")?;
    }
    if let Some(name) = naming::prometheus(metric, Profile::Classic) {
        writeln!(page, "- classic: `{name}`")?;
    }
    if !metric.labels.is_empty() {
        let keys: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.key())).collect();
        writeln!(page, "- labels: {}", keys.join(", "))?;
    }
    Ok(())
}

fn bound(label: Label) -> String {
    match label.bound() {
        Bound::Cpus => "possible CPUs of the machine".to_owned(),
        Bound::Namespaces => {
            format!("network namespaces read at once, {} with `all`", super::label::NAMESPACES)
        }
        Bound::Sources => crate::source::SOURCES.len().to_string(),
        Bound::Groups => {
            "`sources.sockets.limit` and one for `~other`, all the labels of a group together".to_owned()
        }
        Bound::Flows => "`sources.sockets.classic.limit`".to_owned(),
        Bound::Top => "`sources.sockets.top.count`, all the labels of a flow together".to_owned(),
        Bound::Targets => {
            "targets of `sources.probes`, `sources.probes.limit` with files or names, all the labels of a target together"
                .to_owned()
        }
        Bound::Values(values) => values.to_string(),
    }
}

/// The reference as JSON: an array of objects, one a row.
pub fn json() -> serde_json::Value {
    METRICS
        .iter()
        .map(|metric| {
            serde_json::json!({
                "name": metric.name,
                "kind": metric.kind.word(),
                "unit": metric.unit,
                "description": metric.description,
                "labels": metric.labels.iter().map(|label| label.key()).collect::<Vec<_>>(),
                "prometheus": naming::prometheus(metric, Profile::Otel),
                "classic": naming::prometheus(metric, Profile::Classic),
            })
        })
        .collect()
}
