//! Counts of a target over one address family, with the labels of each series (pure).

use crate::metric::Label;
use crate::metric::distribution::Distribution;
use crate::metric::{Handle, Histogram, Labels};
use crate::reading::Readings;
use crate::source::probes::config::Family;
use crate::source::probes::labels::{Outcome, Phase, ProbeError};
use crate::source::probes::metrics;
use crate::source::probes::result::ProbeResult;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Counts over one address family.
#[derive(Debug)]
pub struct Counts {
    /// Address family; `None` if unknown, and for a Unix socket.
    pub family: Option<Family>,
    /// Labels of the target and the family.
    pub labels: Labels,
    durations: Vec<Durations<Option<ProbeError>>>,
    phases: Vec<Durations<Phase>>,
    round_trips: Option<Arc<Distribution>>,
    /// Runs by outcome: success and failure always, no answer once there was one.
    runs: Vec<(Outcome, Labels, u64)>,
}

/// A series of durations, identified by its key.
#[derive(Debug)]
struct Durations<K> {
    key: K,
    labels: Labels,
    distribution: Arc<Distribution>,
}

/// Bucket bounds of each row, shared by all distributions.
struct Bounds {
    durations: Arc<[f64]>,
    phases: Arc<[f64]>,
    round_trips: Arc<[f64]>,
}

static BOUNDS: LazyLock<Bounds> = LazyLock::new(|| {
    let of = |row: Histogram| row.metric().boundaries.into();
    Bounds {
        durations: of(metrics::PROBE_DURATION),
        phases: of(metrics::PROBE_PHASE_DURATION),
        round_trips: of(metrics::PROBE_ICMP_RTT),
    }
});

impl Counts {
    /// Creates the counts of a target that was not probed yet.
    pub fn new(family: Option<Family>, labels: Labels) -> Self {
        let runs =
            [Outcome::Success, Outcome::Failure].map(|outcome| (outcome, by_outcome(&labels, outcome), 0));
        let runs = runs.into();
        Self { family, labels, durations: Vec::new(), phases: Vec::new(), round_trips: None, runs }
    }

    /// Counts a probe.
    pub fn take(&mut self, result: &ProbeResult, outcome: Outcome, phases: bool) {
        let labels = &self.labels;
        match self.runs.iter_mut().find(|(known, ..)| *known == outcome) {
            Some((.., count)) => *count += 1,
            None => self.runs.push((outcome, by_outcome(labels, outcome), 1)),
        }
        let error = result.fault.as_ref().map(|fault| fault.error);
        record(&mut self.durations, error, || by_error(labels, error), &BOUNDS.durations, result.took);
        for (phase, took) in result.phases.iter().filter(|_| phases) {
            record(&mut self.phases, *phase, || by_phase(labels, *phase), &BOUNDS.phases, *took);
        }
        for round_trip in result.echoes.iter().flat_map(|echoes| &echoes.round_trips) {
            let all = self
                .round_trips
                .get_or_insert_with(|| Arc::new(Distribution::new(Arc::clone(&BOUNDS.round_trips))));
            Arc::make_mut(all).record(round_trip.as_secs_f64());
        }
    }

    /// Observes the counts.
    pub fn observe(&self, out: &mut Readings) {
        for kept in &self.durations {
            out.observe(metrics::PROBE_DURATION, &kept.labels, Arc::clone(&kept.distribution));
        }
        for kept in &self.phases {
            out.observe(metrics::PROBE_PHASE_DURATION, &kept.labels, Arc::clone(&kept.distribution));
        }
        if let Some(round_trips) = &self.round_trips {
            out.observe(metrics::PROBE_ICMP_RTT, &self.labels, Arc::clone(round_trips));
        }
        for (_, labels, count) in &self.runs {
            out.observe(metrics::PROBE_RUNS, labels, *count);
        }
    }
}

fn by_error(labels: &Labels, error: Option<ProbeError>) -> Labels {
    error.map_or_else(|| labels.clone(), |error| labels.with(Label::ErrorType, error.word()))
}

fn by_phase(labels: &Labels, phase: Phase) -> Labels {
    labels.with(Label::Phase, phase.word())
}

fn by_outcome(labels: &Labels, outcome: Outcome) -> Labels {
    labels.with(Label::Outcome, outcome.word())
}

fn record<K: PartialEq>(
    series: &mut Vec<Durations<K>>,
    key: K,
    labels: impl FnOnce() -> Labels,
    bounds: &Arc<[f64]>,
    took: Duration,
) {
    let known = series.iter().position(|kept| kept.key == key);
    let index = known.unwrap_or_else(|| {
        series.reserve_exact(1);
        series.push(Durations {
            key,
            labels: labels(),
            distribution: Arc::new(Distribution::new(Arc::clone(bounds))),
        });
        series.len() - 1
    });
    if let Some(kept) = series.get_mut(index) {
        // Copied if the last cycle still holds the distribution.
        Arc::make_mut(&mut kept.distribution).record(took.as_secs_f64());
    }
}
