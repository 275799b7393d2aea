//! From our name to a Prometheus name, per naming profile.
//!
//! The `otel` profile follows the translation that Prometheus' OTLP receiver and the Collector share
//! (`github.com/prometheus/otlptranslator`, strategy `UnderscoreEscapingWithSuffixes`), as far as the units of
//! the table go. The bridge that prints the exposition has a translation of its own; a test holds the two together.

use super::{Kind, Metric};
use serde::{Deserialize, Serialize};

/// Which names the Prometheus endpoint prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The OTLP names as the Collector and Prometheus translate them: `conntrack_drop_total`.
    Otel,
    /// The names of the exporters that connscope replaces: `conntrack_drop`.
    Classic,
}

/// Name of the metric's family in an exposition; `None` where the profile does not have it.
pub fn prometheus(metric: &Metric, profile: Profile) -> Option<String> {
    match profile {
        Profile::Classic => metric.classic.map(|classic| classic.name.to_owned()),
        Profile::Otel if metric.only_classic => None,
        Profile::Otel => {
            let mut name = metric.name.replace('.', "_");
            match metric.unit {
                "s" => name.push_str("_seconds"),
                "By" => name.push_str("_bytes"),
                "By/s" => name.push_str("_bytes_per_second"),
                "1" if metric.kind == Kind::Gauge => name.push_str("_ratio"),
                // Annotations in braces and the empty unit leave no trace in the name.
                _ => {}
            }
            if metric.kind == Kind::Counter {
                name.push_str("_total");
            }
            Some(name)
        }
    }
}

/// Prometheus label of an attribute key.
pub fn label(key: &str) -> String {
    key.replace('.', "_")
}
