//! Exports the distributions that sources keep, in addition to what the SDK collected.
//!
//! The SDK has no observable histogram, and no way for a reader to take metrics from elsewhere (a `MetricProducer` in
//! the specification). So each exporter adds the distributions of the same cycle here: to the OTLP message, or to the
//! families of an exposition.

use crate::metric::distribution::Distribution;
use crate::metric::naming::{self, Profile};
use crate::metric::{Kind, Metric, Value};
use crate::reading::{Reading, Snapshot};
use prometheus::proto::{self, MetricFamily, MetricType};

/// The rows whose readings are distributions, with their readings.
pub(super) fn observed(snapshot: &Snapshot) -> impl Iterator<Item = (&'static Metric, &[Reading])> {
    snapshot
        .table()
        .rows()
        .filter(|metric| metric.kind == Kind::Histogram)
        .map(|metric| (metric, snapshot.of(metric)))
        .filter(|(_, readings)| !readings.is_empty())
}

/// The distribution of a reading; `None` for a number.
pub(super) fn of(reading: &Reading) -> Option<&Distribution> {
    match &reading.value {
        Value::Distribution(distribution) => Some(distribution),
        _ => None,
    }
}

/// The families of the distributions of a cycle, by name. Each is created when it is called: the samples of thousands
/// of targets take many times the memory of their distributions.
pub fn families(snapshot: &Snapshot, profile: Profile) -> impl Iterator<Item = (String, DeferredFamily<'_>)> {
    observed(snapshot).filter_map(move |(metric, readings)| {
        let name = naming::prometheus(metric, profile)?;
        let known = name.clone();
        let help = match (profile, metric.classic) {
            (Profile::Classic, Some(classic)) => classic.help,
            _ => metric.description,
        };
        let make = move || {
            let mut family = MetricFamily::default();
            family.set_name(known);
            family.set_help(help.to_owned());
            family.set_field_type(MetricType::HISTOGRAM);
            let samples = readings.iter().filter_map(|reading| Some(sample(reading, of(reading)?)));
            family.set_metric(samples.collect());
            family
        };
        Some((name, Box::new(make) as DeferredFamily<'_>))
    })
}

/// A family that is created when called.
pub type DeferredFamily<'a> = Box<dyn FnOnce() -> MetricFamily + 'a>;

fn sample(reading: &Reading, distribution: &Distribution) -> proto::Metric {
    let mut labels: Vec<proto::LabelPair> = reading
        .labels
        .iter()
        .map(|(label, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(naming::label(label.key()));
            pair.set_value(value.to_string());
            pair
        })
        .collect();
    labels.sort_by(|left, right| left.name().cmp(right.name()));
    let mut cumulative = 0;
    // The encoder adds the bucket +Inf from the count.
    let buckets = distribution.bounds().iter().zip(distribution.counts()).map(|(bound, count)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(distribution.count());
    histogram.set_sample_sum(distribution.sum());
    let mut metric = proto::Metric::from_label(labels);
    metric.set_histogram(histogram);
    metric
}
