//! The pull reader: the exposition that Prometheus scrapes.

use super::distributions::{self, DeferredFamily};
use super::resource::CurrentResource;
use super::{Reader, Shared, exposition};
use crate::metric::naming::Profile;
use crate::reading::first::ReaderKind;
use crate::reading::{Snapshot, chain};
use crate::source::list::NO_SOURCE;
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::Registry;
use prometheus::proto::{LabelPair, MetricFamily};
use std::fmt::Write;
use std::sync::Mutex;

/// The reader that scrapes drive.
pub struct Pull {
    reader: Reader,
    registry: Registry,
    profile: Profile,
    resource: CurrentResource,
    /// One scrape at a time, as in the SDK; so the outcome belongs to the scrape that caused it.
    scraping: Mutex<()>,
}

/// Result of a scrape.
#[derive(Debug)]
pub enum Scrape {
    /// The exposition, in Prometheus' text format 0.0.4.
    Exposition(String),
    /// No source has readings; the reasons, for the body of a 503.
    Nothing(String),
}

impl Pull {
    /// Creates the reader and its provider.
    pub fn new(shared: &Shared, profile: Profile) -> Result<Self, String> {
        let registry = Registry::new();
        let exporter = exporter(&registry, profile)?;
        let resource = shared.resource.clone();
        let at_start = super::resource::for_prometheus(resource.at_start());
        let shared = Shared { resource: at_start.into(), ..shared.clone() };
        let reader = Reader::new(&shared, shared.cycle(ReaderKind::Prometheus), exporter, profile, false);
        Ok(Self { reader, registry, profile, resource, scraping: Mutex::new(()) })
    }

    /// Runs a cycle and renders it. Blocks until the sources have answered.
    pub fn scrape(&self) -> Scrape {
        let (scrape, snapshot) = self.cycle();
        let readings = snapshot.readings();
        drop(snapshot);
        super::release_memory(readings);
        scrape
    }

    /// Runs a cycle and renders it. Also returns the snapshot of the cycle, without the numbers that were rendered.
    pub fn cycle(&self) -> (Scrape, Snapshot) {
        let _one_at_a_time = self.scraping.lock();
        let families = self.registry.gather();
        let snapshot = self.reader.cycle.finish();
        (self.exposition(families, &snapshot), snapshot)
    }

    /// Puts the attributes that the resource has now into `target_info`; the provider's are those of the start.
    fn complete(&self, family: &mut MetricFamily) {
        let Some(resource) = self.resource.now() else { return };
        let mut labels: Vec<LabelPair> = super::resource::for_prometheus(&resource)
            .iter()
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.as_str().to_owned());
                pair.set_value(value.to_string());
                pair
            })
            .collect();
        labels.sort();
        for metric in family.mut_metric() {
            metric.set_label(labels.clone());
        }
    }

    fn exposition(&self, families: Vec<MetricFamily>, snapshot: &Snapshot) -> Scrape {
        if snapshot.answered() {
            let gathered = families.into_iter().map(|mut family| {
                let name = family.name().to_owned();
                if name == TARGET_INFO {
                    self.complete(&mut family);
                }
                (name, Box::new(move || family) as DeferredFamily<'_>)
            });
            match exposition::families(
                gathered.chain(distributions::families(snapshot, self.profile)).collect(),
            ) {
                // There are few classic names, and the readings may have none of them.
                Ok(text) if text.is_empty() => {}
                Ok(text) => return Scrape::Exposition(text),
                Err(error) => {
                    return Scrape::Nothing(format!("the exposition could not be rendered: {error}\n"));
                }
            }
        }
        let mut why = String::from("nothing could be collected\n");
        if snapshot.answered() {
            why.push_str(
                "what was read has no names in the profile classic; set export.prometheus.naming to otel, or \
                 classic.enabled of a source\n",
            );
        }
        for outcome in &snapshot.outcomes {
            for failure in &outcome.failures {
                let _infallible = write!(why, "{}", outcome.source);
                if !failure.part.is_empty() {
                    let _infallible = write!(why, " {}", failure.part);
                }
                let reason = failure.error.reason().word();
                let _infallible = writeln!(why, ": {reason}: {}", chain(failure.error.as_ref()));
            }
        }
        if snapshot.outcomes.is_empty() {
            let _infallible = writeln!(why, "{NO_SOURCE}");
        }
        Scrape::Nothing(why)
    }
}

/// The family that has the attributes of the resource.
const TARGET_INFO: &str = "target_info";

fn exporter(registry: &Registry, profile: Profile) -> Result<PrometheusExporter, String> {
    let mut builder = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        // The scope adds nothing to target_info, and would be a label on every sample.
        .scope_info_enabled(false);
    if profile == Profile::Classic {
        builder = builder.without_units().without_counter_suffixes().without_target_info();
    }
    builder.build().map_err(|error| error.to_string())
}
