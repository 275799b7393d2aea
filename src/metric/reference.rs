//! From the table to METRICS.md and to `connscope metrics`.

use super::naming::{self, Profile};
use super::{LabelSet, Metric, Part};
use std::fmt::Write;

/// METRICS.md, whole.
pub fn markdown(parts: &[&'static Part]) -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Written from the parts of the table in the folders of the sources; a test keeps this page equal to it. `connscope metrics` prints the same.\n\n\
         The Prometheus name is that of the `otel` profile, which is also what the OpenTelemetry Collector and\n\
         Prometheus make of the OTLP name. A metric without a classic name is left out of the `classic` profile.\n\
         The attribute `netns` is there only where `netns` is configured; `cpu` only with `cpu: each`. What has\n\
         `probe.name` also has the labels that the configuration gives to its target.\n",
    );
    for metric in rows(parts) {
        let _infallible = entry(&mut page, metric);
    }
    page.push_str(
        "\n## Bounds of the labels\n\n\
         The series of a metric are at most the product of these. Labels in one line have one bound together. The last\n\
         column is the sum over all metrics with these labels outside of the classic profile, a histogram as one series;\n\
         where other labels depend on the configuration too, there is none.\n\n\
         | labels | at most | series of each |\n|---|---|---|\n",
    );
    let mut seen: Vec<String> = Vec::new();
    for set in rows(parts).flat_map(|metric| metric.sets) {
        let each = series_of_each(parts, set).map_or_else(String::new, |series| series.to_string());
        let line = format!("| {} | {} | {each} |", keys(set), set.meaning());
        if !seen.contains(&line) {
            let _infallible = writeln!(page, "{line}");
            seen.push(line);
        }
    }
    page
}

/// How many series one combination of the values of a set has at most: the sum over the metrics with the set, those of the
/// classic profile alone left out unless there are no others, a histogram as one. `None` for a set with a fixed bound, and
/// where another set of a metric depends on the configuration too.
pub fn series_of_each(parts: &[&'static Part], set: &LabelSet) -> Option<usize> {
    if set.bound.fixed().is_some() {
        return None;
    }
    let with: Vec<_> = rows(parts).filter(|metric| metric.sets.iter().any(|other| other.is(set))).collect();
    let classic = with.iter().all(|metric| metric.only_classic);
    let others = |metric: &Metric| {
        let others = metric.sets.iter().filter(|other| !other.is(set));
        others.map(|other| other.bound.fixed()).product::<Option<usize>>()
    };
    with.into_iter().filter(|metric| metric.only_classic == classic).map(others).sum()
}

fn rows(parts: &[&'static Part]) -> impl Iterator<Item = &'static Metric> {
    parts.iter().flat_map(|part| part.rows)
}

fn keys(set: &LabelSet) -> String {
    set.keys.iter().map(|label| format!("`{}`", label.key())).collect::<Vec<_>>().join(", ")
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
    if !metric.sets.is_empty() {
        let keys: Vec<String> = metric.labels().iter().map(|label| format!("`{}`", label.key())).collect();
        writeln!(page, "- labels: {}", keys.join(", "))?;
    }
    Ok(())
}

/// The reference as JSON: an array of objects, one a row.
pub fn json(parts: &[&'static Part]) -> serde_json::Value {
    rows(parts)
        .map(|metric| {
            serde_json::json!({
                "name": metric.name,
                "kind": metric.kind.word(),
                "unit": metric.unit,
                "description": metric.description,
                "labels": metric.labels().iter().map(|label| label.key()).collect::<Vec<_>>(),
                "prometheus": naming::prometheus(metric, Profile::Otel),
                "classic": naming::prometheus(metric, Profile::Classic),
            })
        })
        .collect()
}
