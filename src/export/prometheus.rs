//! The pull side: the text that Prometheus scrapes.

use super::distributions::{self, DeferredFamily};
use super::{Reader, Shared, exposition};
use crate::metric::naming::Profile;
use crate::reading::{Snapshot, chain};
use crate::source::list::NO_SOURCE;
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// The reader that a scrape drives.
pub struct Pull {
    reader: Reader,
    registry: Registry,
    profile: Profile,
    /// One scrape after the other: the SDK does so anyway, and the outcome belongs to the scrape that caused it.
    scraping: Mutex<()>,
}

/// Result of a scrape.
#[derive(Debug)]
pub enum Scrape {
    /// The exposition, in Prometheus' text format 0.0.4.
    Exposition(String),
    /// No source gave anything; why, for the body of a 503.
    Nothing(String),
}

impl Pull {
    /// Makes the reader and its provider.
    pub fn new(shared: &Shared, profile: Profile) -> Result<Self, String> {
        let registry = Registry::new();
        let exporter = exporter(&registry, profile)?;
        let resource = super::resource::for_prometheus(&shared.resource);
        let shared = Shared { resource, ..shared.clone() };
        let reader = Reader::new(&shared, shared.cycle(), exporter, profile, false);
        Ok(Self { reader, registry, profile, scraping: Mutex::new(()) })
    }

    /// Runs one cycle and renders it. Blocks for as long as the sources take.
    pub fn scrape(&self) -> Scrape {
        let (scrape, snapshot) = self.cycle();
        let readings = snapshot.readings();
        drop(snapshot);
        super::give_memory_back(readings);
        scrape
    }

    /// The same, with the snapshot of the cycle.
    pub fn cycle(&self) -> (Scrape, Arc<Snapshot>) {
        let _one_at_a_time = self.scraping.lock();
        let families = self.registry.gather();
        let snapshot = self.reader.cycle.finish();
        (self.exposition(families, &snapshot), snapshot)
    }

    fn exposition(&self, families: Vec<MetricFamily>, snapshot: &Snapshot) -> Scrape {
        if snapshot.answered() {
            let gathered = families.into_iter().map(|family| {
                let name = family.name().to_owned();
                (name, Box::new(move || family) as DeferredFamily<'_>)
            });
            match exposition::families(
                gathered.chain(distributions::families(snapshot, self.profile)).collect(),
            ) {
                // The classic names are few: what was read may have none of them.
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

fn exporter(registry: &Registry, profile: Profile) -> Result<PrometheusExporter, String> {
    let mut builder = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        // The scope says nothing that target_info does not say, and is a label on every sample.
        .scope_info_enabled(false);
    if profile == Profile::Classic {
        builder = builder.without_units().without_counter_suffixes().without_target_info();
    }
    builder.build().map_err(|error| error.to_string())
}
