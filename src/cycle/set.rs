//! The enabled sources, with the table that follows from their settings. A reload replaces a set by another; sources
//! without changes are in both.

use crate::host::Host;
use crate::metric::Table;
use crate::reading::SourceError;
use crate::self_metrics::SelfMetrics;
use crate::source::worker::Worker;
use crate::source::{Mode, SourceSpec};
use crate::stop::Stop;
use std::sync::Arc;

/// Running sources, and the table with the limits of their metrics.
#[derive(Debug)]
pub struct SourceSet {
    pub(super) workers: Vec<Arc<Worker>>,
    pub(super) table: Arc<Table>,
    pub(super) self_metrics: Vec<Arc<dyn SelfMetrics>>,
}

/// What a set needs in addition to the settings of its sources.
pub struct SourceDependencies<'a> {
    /// Facts about the machine that the sources share.
    pub host: &'a Host,
    /// Whether the sources are read once or repeatedly.
    pub mode: Mode,
    /// The rows of the table, with the limits that follow from the settings.
    pub table: Arc<Table>,
    /// Parts of the agent with metrics of their own.
    pub self_metrics: Vec<Arc<dyn SelfMetrics>>,
    /// Stops every source.
    pub stop: &'a Stop,
}

impl SourceSet {
    /// Starts every enabled source of a list, except those in `kept`.
    pub fn start<All>(
        specs: &[SourceSpec<All>],
        settings: &All,
        dependencies: SourceDependencies<'_>,
        kept: impl Fn(&SourceSpec<All>) -> Option<Arc<Worker>>,
    ) -> Result<Self, SourceError> {
        let SourceDependencies { host, mode, table, self_metrics, stop } = dependencies;
        let mut workers = Vec::new();
        for spec in specs.iter().filter(|spec| (spec.enabled)(settings)) {
            workers.push(match kept(spec) {
                Some(worker) => worker,
                None => Arc::new(started(spec, settings, host, mode, stop)?),
            });
        }
        Ok(Self { workers, table, self_metrics })
    }

    /// The source of this name, if it is enabled.
    pub fn worker(&self, name: &str) -> Option<Arc<Worker>> {
        self.workers.iter().find(|worker| worker.name == name).cloned()
    }

    /// Whether both sets have the same running source of this name.
    pub fn shares(&self, other: &Self, name: &str) -> bool {
        match (self.worker(name), other.worker(name)) {
            (Some(own), Some(other)) => Arc::ptr_eq(&own, &other),
            _ => false,
        }
    }

    /// The names of the enabled sources.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.workers.iter().map(|worker| worker.name)
    }

    /// The rows of the table, with their limits.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

fn started<All>(
    spec: &SourceSpec<All>,
    settings: &All,
    host: &Host,
    mode: Mode,
    stop: &Stop,
) -> Result<Worker, SourceError> {
    let doing = || format!("starting the thread of the source {}", spec.name);
    // Everything that the source starts ends with it, also if it fails to start.
    let own = stop.child().map_err(|cause| SourceError::io(doing(), cause))?;
    let source = (spec.build)(settings, host, mode, own.token())?;
    let worker = Worker::start(spec.name, (spec.deadline)(settings, mode), source);
    worker
        .map(|worker| worker.ending(own).counting(spec.part))
        .map_err(|cause| SourceError::io(doing(), cause))
}
