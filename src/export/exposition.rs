//! Prometheus' text format 0.0.4: families of the client library, and gauges of a report.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use super::distributions::DeferredFamily;
use crate::source::report::Gauge;
use prometheus::TextEncoder;
use prometheus::proto::Metric;
use std::cmp::Ordering;
use std::fmt::Write;

/// Media type of Prometheus' text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders families in the order of their names, and the samples of each in the order of their labels, with numeric
/// values in numeric order. Only one family at a time is in memory as samples.
pub fn families(mut families: Vec<(String, DeferredFamily<'_>)>) -> prometheus::Result<String> {
    families.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut text = String::new();
    for (_, make) in families {
        let mut family = make();
        family.mut_metric().sort_by(by_labels);
        TextEncoder::new().encode_utf8(&[family], &mut text)?;
    }
    Ok(text)
}

/// Renders gauges in the given order.
pub fn gauges(gauges: &[Gauge]) -> String {
    let mut text = String::new();
    for Gauge { name, help, samples } in gauges {
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (label, value) in samples {
            let _infallible = match label {
                None => writeln!(text, "{name} {value}"),
                Some((key, word)) => {
                    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                    writeln!(text, "{name}{{{key}=\"{word}\"}} {value}")
                }
            };
        }
    }
    text
}

fn by_labels(left: &Metric, right: &Metric) -> Ordering {
    let (left, right) = (left.get_label(), right.get_label());
    left.iter()
        .zip(right)
        // Most labels of two samples are equal, and need not be parsed.
        .filter(|(left, right)| left != right)
        .map(|(left, right)| left.name().cmp(right.name()).then_with(|| natural(left.value(), right.value())))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| left.len().cmp(&right.len()))
}

/// Compares numbers by value and before words, and words by their characters.
fn natural(left: &str, right: &str) -> Ordering {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => left.cmp(right),
    }
}
