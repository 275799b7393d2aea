//! Exports the distributions that sources keep, beside what the SDK collected.
//!
//! The SDK has no histogram that is observed, and no way for a reader to take metrics from elsewhere (what the
//! specification calls a `MetricProducer`). So whoever takes a collection out of the SDK adds the distributions of the
//! same cycle here: to the OTLP message, or to the families of an exposition.

#![expect(clippy::disallowed_methods, reason = "a point is of the time at which it is collected")]

use super::start_time;
use crate::metric::distribution::Distribution;
use crate::metric::naming::{self, Profile};
use crate::metric::{Kind, Metric, Value};
use crate::reading::{Reading, Snapshot};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Histogram, HistogramDataPoint, Metric as OtlpMetric, metric::Data,
};
use prometheus::proto::{self, MetricFamily, MetricType};
use std::time::{SystemTime, UNIX_EPOCH};

/// The rows that are observed as a whole, with their readings.
fn observed(snapshot: &Snapshot) -> impl Iterator<Item = (&'static Metric, &[Reading])> {
    snapshot
        .table()
        .rows()
        .filter(|metric| metric.kind == Kind::Histogram)
        .map(|metric| (metric, snapshot.of(metric)))
        .filter(|(_, readings)| !readings.is_empty())
}

fn distribution(reading: &Reading) -> Option<&Distribution> {
    match &reading.value {
        Value::Distribution(distribution) => Some(distribution),
        _ => None,
    }
}

/// A collection as an OTLP request, the distributions of its cycle included.
pub fn request(
    metrics: &opentelemetry_sdk::metrics::data::ResourceMetrics,
    snapshot: &Snapshot,
) -> ExportMetricsServiceRequest {
    let mut request = ExportMetricsServiceRequest::from(metrics);
    let now = nanoseconds(SystemTime::now());
    let added = observed(snapshot).filter(|(metric, _)| !metric.only_classic).map(|(metric, readings)| {
        let data_points = readings
            .iter()
            .filter_map(|reading| Some(data_point(reading, distribution(reading)?, now)))
            .collect();
        OtlpMetric {
            name: metric.name.to_owned(),
            description: metric.description.to_owned(),
            unit: metric.unit.to_owned(),
            metadata: Vec::new(),
            data: Some(Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            })),
        }
    });
    // Every provider has one resource and one scope.
    let scope = request.resource_metrics.first_mut().and_then(|resource| resource.scope_metrics.first_mut());
    if let Some(scope) = scope {
        scope.metrics.extend(added);
    }
    start_time::correct(&mut request);
    request
}

fn data_point(reading: &Reading, distribution: &Distribution, now: u64) -> HistogramDataPoint {
    let attributes = reading.labels.iter().map(|(label, value)| KeyValue {
        key: label.key().to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_string())) }),
        ..KeyValue::default()
    });
    HistogramDataPoint {
        attributes: attributes.collect(),
        start_time_unix_nano: nanoseconds(distribution.since()),
        time_unix_nano: now,
        count: distribution.count(),
        sum: Some(distribution.sum()),
        bucket_counts: distribution.counts().to_vec(),
        explicit_bounds: distribution.bounds().to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// The families that the distributions of a cycle make in its exposition, by name. Each is made when it is asked for: the
/// samples of thousands of targets take many times the room of what they are made from.
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
            let samples = readings.iter().filter_map(|reading| Some(sample(reading, distribution(reading)?)));
            family.set_metric(samples.collect());
            family
        };
        Some((name, Box::new(make) as DeferredFamily<'_>))
    })
}

/// A family that is still to be made.
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
    // The encoder adds the last bucket, which has no bound, from the count.
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
