//! The configuration of `prometheus_ss_exporter`, versions 2 (Python) and 3 (Nim): what it says, and what that is here.
//!
//! Both versions refuse a file that lacks a key, and the README has files that both refuse. They are read all the same,
//! by one rule: a metric that is named is shown, one that is not named is not, and a group of metrics that is switched
//! on and names none shows all it has.

use super::{ConfigDraft, Input, Tool};
use crate::config::ConfigError;
use crate::config::load::document;
use crate::source::sockets::config::classic::{Classic, Family, FlowLabel};
use crate::source::sockets::metrics::CLASSIC_ROUND_TRIPS;
use keys::{Compression, File, Histograms, Logic, Metrics, Switch};
use selection::Selected;
use std::path::Path;

mod keys;
mod selection;

/// `prometheus_ss_exporter`.
pub const TOOL: Tool = Tool {
    name: "ss-exporter",
    about: "prometheus_ss_exporter, versions 2 and 3",
    input: Input::File(import),
};

/// Port that it listens on where its command line says nothing else.
const PORT: u16 = 8020;

fn import(text: &str, path: &Path) -> Result<ConfigDraft, ConfigError> {
    let file: Option<File> = document(text, path).map_err(teach)?;
    let Some(File { logic, selection }) = file else {
        return Err(refuse(path, "the file", "there is nothing in it".to_owned()));
    };
    let Logic { metrics, compression, selection: under_logic } = logic.unwrap_or_default();
    let selection = match (selection, under_logic) {
        (Some(_), Some(_)) => {
            return Err(refuse(
                path,
                "selection",
                "is there twice, under logic and at the top level".to_owned(),
            ));
        }
        (one, other) => one.or(other).unwrap_or_default(),
    };
    let selected = Selected::new(selection);
    if let Some((key, message)) = selected.too_long() {
        return Err(refuse(path, key, message));
    }

    let mut draft = ConfigDraft::pulled_at(PORT);
    draft.note("The exporter has no conntrack metrics. Without this line they are reported too.");
    draft.put("sources.conntrack.enabled", &false);
    draft.put("sources.sockets.enabled", &true);
    draft.put("sources.sockets.classic.enabled", &true);
    put_folding(&mut draft, compression);
    draft.note("The exporter has no limit. Flows over the limit are counted, not shown.");
    draft.put("sources.sockets.classic.limit", &Classic::default().limit);
    put_metrics(&mut draft, metrics);
    selected.put(&mut draft);
    Ok(draft)
}

/// What serde cannot know of a key that is where it does not belong.
fn teach(mut error: ConfigError) -> ConfigError {
    if let ConfigError::File { key, message, .. } = &mut error {
        let better = match key.as_str() {
            "cnfg" => {
                "the file has the layout of the exporter's version 1; versions 2 and 3 begin with `logic`"
            }
            "metrics" | "compression" => "belongs under `logic`",
            "histograms" | "gauges" | "counters" => "belongs under `logic`, `metrics`",
            "process" | "peering" | "portRanges" | "portranges" | "stack" => {
                "belongs under `logic`, `selection`"
            }
            _ => return error,
        };
        better.clone_into(message);
    }
    error
}

/// An error of the file as a whole.
fn refuse(path: &Path, key: &str, message: String) -> ConfigError {
    ConfigError::File { path: path.to_owned(), line: 1, column: 1, key: key.to_owned(), message }
}

fn put_folding(draft: &mut ConfigDraft, compression: Option<Compression>) {
    let folding = compression.and_then(|compression| compression.folding);
    if folding.is_none() {
        draft.note("logic.compression.labelFolding is missing; both ends of a flow are shown.");
    }
    draft.put("sources.sockets.classic.flow", &folding.map_or(FlowLabel::RawEndpoint, |folding| folding.0));
}

/// A group of metrics: its key, what its own `active` says, and each metric with its key and what is said of it.
struct Group<const N: usize> {
    key: &'static str,
    active: Option<bool>,
    metrics: [(Family, &'static str, Option<Switch>); N],
}

impl<const N: usize> Group<N> {
    /// The metrics of the group that are shown; what had to be made up is noted.
    fn shown(&self, draft: &mut ConfigDraft) -> Vec<Family> {
        let key = self.key;
        if self.active == Some(false) {
            return Vec::new();
        }
        if self.active.is_none() {
            draft.note(format!("logic.metrics.{key} has no key `active`; it is imported as active."));
        }
        if self.metrics.iter().all(|(_, _, said)| said.is_none()) {
            draft.note(format!(
                "logic.metrics.{key} is active and names none of its metrics; all of them are reported."
            ));
            return self.metrics.iter().map(|(family, _, _)| *family).collect();
        }
        let mut shown = Vec::new();
        for (family, metric, said) in &self.metrics {
            match said.map(|switch| switch.active) {
                Some(Some(true)) => shown.push(*family),
                Some(Some(false)) => {}
                Some(None) => {
                    draft.note(format!(
                        "logic.metrics.{key}.{metric} has no key `active`; it is imported as active."
                    ));
                    shown.push(*family);
                }
                None => draft.note(format!("logic.metrics.{key}.{metric} is missing; it is not imported.")),
            }
        }
        shown
    }
}

fn put_metrics(draft: &mut ConfigDraft, metrics: Option<Metrics>) {
    let Some(Metrics { gauges, counters, histograms }) = metrics else {
        draft.note("logic.metrics is missing; all metrics are reported.");
        draft.put_list("sources.sockets.classic.metrics", &Family::ALL);
        return;
    };
    let gauges = gauges.map(|gauges| Group {
        key: "gauges",
        active: gauges.active,
        metrics: [
            (Family::Rtt, "rtt", gauges.rtt),
            (Family::Cwnd, "cwnd", gauges.cwnd),
            (Family::DeliveryRate, "deliveryRate", gauges.delivery_rate),
        ],
    });
    let counters = counters.map(|counters| Group {
        key: "counters",
        active: counters.active,
        metrics: [
            (Family::DataSegsIn, "dataSegsIn", counters.data_segs_in),
            (Family::DataSegsOut, "dataSegsOut", counters.data_segs_out),
        ],
    });
    let mut bounds = Vec::new();
    let histograms = histograms.map(|Histograms { active, rtt, bounds: above }| {
        let said = rtt.as_ref().map(|rtt| Switch { active: rtt.active });
        bounds = rtt.map(|rtt| rtt.bounds).filter(|bounds| !bounds.is_empty()).unwrap_or(above);
        Group { key: "histograms", active, metrics: [(Family::RttHistMs, "rtt", said)] }
    });
    let mut shown = shown(draft, "gauges", gauges.as_ref());
    shown.extend(self::shown(draft, "counters", counters.as_ref()));
    shown.extend(self::shown(draft, "histograms", histograms.as_ref()));
    draft.put_list("sources.sockets.classic.metrics", &shown);
    if shown.contains(&Family::RttHistMs) {
        put_bounds(draft, bounds);
    }
}

/// [`Group::shown`] of a group that may not be there.
fn shown<const N: usize>(draft: &mut ConfigDraft, key: &str, group: Option<&Group<N>>) -> Vec<Family> {
    let Some(group) = group else {
        draft.note(format!("logic.metrics.{key} is missing; none of these metrics is reported."));
        return Vec::new();
    };
    group.shown(draft)
}

fn put_bounds(draft: &mut ConfigDraft, mut bounds: Vec<f64>) {
    if bounds.is_empty() {
        draft.note("bucketBounds is missing; these are the defaults of version 3.");
        bounds = CLASSIC_ROUND_TRIPS.to_vec();
    }
    let rising = bounds.is_sorted_by(|low, high| low < high);
    if !rising {
        draft.note("The bucketBounds were not in ascending order; they are sorted here, without duplicates.");
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
    }
    draft.put_list("sources.sockets.classic.buckets", &bounds);
}
