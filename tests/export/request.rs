//! What a receiver got: looking things up in a request, and comparing it with the table.

use crate::support::table::rows;
use connscope::metric::{Kind, Number};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use std::collections::BTreeMap;

pub(super) fn metrics_of(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
}

pub(super) fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    metrics_of(request).find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

pub(super) fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let texts: BTreeMap<String, String> = attributes
        .iter()
        .map(|KeyValue { key, value, .. }| match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => (key.clone(), text.clone()),
            other => panic!("{key} is {other:?}, not text"),
        })
        .collect();
    assert_eq!(texts.len(), attributes.len(), "an attribute is repeated");
    texts
}

pub(super) fn resource_of(request: &ExportMetricsServiceRequest) -> BTreeMap<String, String> {
    let resource = request.resource_metrics.first().and_then(|metrics| metrics.resource.as_ref());
    text(&resource.expect("a resource").attributes)
}

pub(super) fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

/// The value of the point whose attributes hold all of these, and `error.type` only if it is among them.
pub(super) fn value(
    request: &ExportMetricsServiceRequest,
    name: &str,
    attributes: &[(&str, &str)],
) -> Option<Value> {
    numbers(metrics_of(request).find(|metric| metric.name == name)?)
        .iter()
        .find(|point| {
            let there = text(&point.attributes);
            attributes.iter().all(|(key, value)| there.get(*key).is_some_and(|there| there == value))
                && (there.contains_key("error.type")
                    == attributes.iter().any(|(key, _)| *key == "error.type"))
        })
        .and_then(|point| point.value)
}

/// Data points of a metric.
pub(super) fn points_of(metric: &Metric) -> usize {
    match metric.data.as_ref().expect("data") {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        Data::ExponentialHistogram(data) => data.data_points.len(),
        Data::Summary(data) => data.data_points.len(),
    }
}

/// Data points in a request.
pub(super) fn points(request: &ExportMetricsServiceRequest) -> u64 {
    metrics_of(request).map(|metric| points_of(metric) as u64).sum()
}

pub(super) const EXPORTED: &str = "otel.sdk.exporter.metric_data_point.exported";

/// Data points that the exporter says it has exported with this outcome.
pub(super) fn exported(request: &ExportMetricsServiceRequest, error: Option<&str>) -> u64 {
    let attributes: Vec<(&str, &str)> = error.map(|error| ("error.type", error)).into_iter().collect();
    match value(request, EXPORTED, &attributes) {
        None => 0,
        Some(Value::AsInt(value)) => u64::try_from(value).expect("not negative"),
        Some(Value::AsDouble(_)) => panic!("counted in floating point"),
    }
}

/// Whatever came is in the table, and is what the table says.
pub(super) fn assert_as_in_the_table(request: &ExportMetricsServiceRequest) {
    let cumulative = AggregationTemporality::Cumulative as i32;
    for metric in metrics_of(request) {
        let name = &metric.name;
        let row = rows().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(metric.unit, row.unit, "{name}");
        assert_eq!(metric.description, row.description, "{name}");
        let attributes = match (row.kind, metric.data.as_ref().expect("data")) {
            (Kind::Counter, Data::Sum(sum)) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == cumulative, "{name}: {sum:?}");
                sum.data_points.iter().map(|point| &point.attributes).collect::<Vec<_>>()
            }
            (Kind::UpDownCounter, Data::Sum(sum)) => {
                assert!(!sum.is_monotonic && sum.aggregation_temporality == cumulative, "{name}: {sum:?}");
                sum.data_points.iter().map(|point| &point.attributes).collect()
            }
            (Kind::Gauge, Data::Gauge(gauge)) => {
                gauge.data_points.iter().map(|point| &point.attributes).collect()
            }
            (Kind::Histogram | Kind::RecordedHistogram, Data::Histogram(histogram)) => {
                assert_eq!(histogram.aggregation_temporality, cumulative, "{name}");
                for point in &histogram.data_points {
                    assert_eq!(point.explicit_bounds, row.boundaries, "{name}");
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count, "{name}");
                }
                histogram.data_points.iter().map(|point| &point.attributes).collect()
            }
            (kind, data) => panic!("{name} is a {kind:?} and came as {data:?}"),
        };
        for point in numbers(metric) {
            let whole = matches!(point.value, Some(Value::AsInt(_)));
            assert_eq!(whole, row.number != Number::F64, "{name}: {point:?}");
            assert!(point.time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano, "{name}");
        }
        let allowed: Vec<&str> = row.labels().iter().map(|label| label.key()).collect();
        for key in attributes.into_iter().flat_map(|attributes| text(attributes).into_keys()) {
            assert!(allowed.contains(&key.as_str()), "{name} has no label {key}");
        }
    }
}
