//! Outcomes of the exports of the OTLP exporter.

#![expect(clippy::disallowed_methods, reason = "a counter has a start time")]

use super::error_type::ErrorType;
use super::metrics;
use crate::metric::{Label, Part};
use crate::reading::Readings;
use crate::self_metrics::SelfMetrics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Outcomes of the exports of the OTLP exporter, with the metric names of the semantic conventions ("Semantic
/// conventions for OpenTelemetry SDK metrics").
#[derive(Debug)]
pub struct Exports {
    labels: Vec<(Label, Arc<str>)>,
    since: SystemTime,
    inflight: AtomicU64,
    exported: Mutex<BTreeMap<Option<ErrorType>, u64>>,
}

impl Exports {
    /// Creates it without exports. `labels` identify the exporter.
    pub fn new(labels: Vec<(Label, Arc<str>)>) -> Self {
        let exported = Mutex::new(BTreeMap::from([(None, 0)]));
        Self { labels, since: SystemTime::now(), inflight: AtomicU64::new(0), exported }
    }

    /// Records that an export of data points begins.
    pub fn begin(&self, points: u64) {
        self.inflight.fetch_add(points, Ordering::Relaxed);
    }

    /// Records the outcome of data points.
    pub fn end(&self, points: u64, error: Option<ErrorType>) {
        self.inflight.fetch_sub(points, Ordering::Relaxed);
        let mut exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner);
        *exported.entry(error).or_default() += points;
    }

    /// The labels of the exporter, with the error type if there was an error.
    pub fn labels(&self, error: Option<ErrorType>) -> Vec<(Label, Arc<str>)> {
        let mut labels = self.labels.clone();
        labels.extend(error.map(|error| (Label::ErrorType, error.word().into())));
        labels
    }
}

impl SelfMetrics for Exports {
    fn observe(&self, out: &mut Readings) {
        let exported = self.exported.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (error, points) in exported {
            out.observe(metrics::OTEL_EXPORTED, &self.labels(error), points);
        }
        out.observe(metrics::OTEL_INFLIGHT, &self.labels, self.inflight.load(Ordering::Relaxed));
    }

    fn began(&self) -> Option<(&'static Part, SystemTime)> {
        Some((&metrics::PART, self.since))
    }
}
