//! Encodes a collection as OTLP messages.
//!
//! A collection is written directly into the bytes of its messages (`opentelemetry/proto/metrics/v1/metrics.proto`). A
//! tree of the generated types would copy every name, attribute and description for each message, which took longer
//! than everything else in a push. The tests compare these bytes with that tree and its encoder. A message also has the
//! distributions that sources keep.

#![expect(clippy::disallowed_methods, reason = "a point has the time of its collection")]

use super::distributions;
use super::start_time::{self, Correction};
use crate::metric::distribution::Distribution;
use crate::metric::{Label, Metric};
use crate::reading::{Reading, Snapshot};
use hyper::body::Bytes;
use opentelemetry::{KeyValue, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric as OtlpMetric};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Metric as SdkMetric, MetricData, ResourceMetrics, ScopeMetrics,
};
use pack::{Frame, Packer};
use prost::Message as _;
use prost::encoding::{WireType, bool, double, encode_key, encode_varint, fixed64, int32, sfixed64};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub mod pack;

/// An encoded `ExportMetricsServiceRequest`. Cloning copies a pointer.
#[derive(Debug, Clone)]
pub struct Message {
    /// Protobuf encoding.
    pub bytes: Bytes,
    /// Number of data points.
    pub points: u64,
}

/// Encodes a collection of the SDK and the distributions of its cycle, in messages of at most `most` bytes. `resource` replaces
/// the resource of the collection if it has changed since the start.
pub fn messages(
    metrics: &ResourceMetrics,
    resource: Option<&Resource>,
    snapshot: &Snapshot,
    most: usize,
) -> Vec<Message> {
    let resource = resource.unwrap_or(metrics.resource());
    let mut correction = start_time::correction();
    let mut messages = Vec::new();
    let table = snapshot.table();
    let mut rows = table.rows();
    // The SDK has the metrics in the order of their instruments, which is that of the table: the search goes on after the
    // last row that it found.
    let mut row = |name: &str| {
        rows.find(|row| row.name == name).or_else(|| {
            rows = table.rows();
            rows.find(|row| row.name == name)
        })
    };
    for (index, scope) in metrics.scope_metrics().enumerate() {
        let mut packer = Packer::new(frame(resource, scope), most);
        for metric in scope.metrics() {
            let since = row(metric.name()).map(|row| start_time::of(row, &snapshot.began, &correction));
            packer.add(|out| collected(out, metric, since, &mut correction));
        }
        // A provider has one scope.
        if index == 0 {
            let now = nanoseconds(SystemTime::now());
            for (metric, readings) in distributions::observed(snapshot) {
                if !metric.only_classic {
                    packer.add(|out| observed(out, metric, readings, now, &mut correction));
                }
            }
        }
        messages.extend(packer.finish());
    }
    messages
}

/// Encodes a collection, and decodes it into the generated types, for printing.
pub fn request(
    metrics: &ResourceMetrics,
    snapshot: &Snapshot,
) -> Result<ExportMetricsServiceRequest, prost::DecodeError> {
    let mut request = ExportMetricsServiceRequest::default();
    for message in messages(metrics, None, snapshot, usize::MAX) {
        request.merge(message.bytes)?;
    }
    Ok(request)
}

/// The resource and scope of every message.
fn frame(resource: &Resource, scope: &ScopeMetrics) -> Frame {
    let mut frame = Frame::default();
    nested(&mut frame.resource, 1, |out| {
        for (key, value) in resource {
            attribute(out, 1, key.as_str(), value);
        }
    });
    text(&mut frame.after_scope, 3, resource.schema_url().unwrap_or_default());
    let scope = scope.scope();
    nested(&mut frame.scope, 1, |out| {
        text(out, 1, scope.name());
        text(out, 2, scope.version().unwrap_or_default());
        attributes(out, 3, scope.attributes());
    });
    text(&mut frame.after_metrics, 3, scope.schema_url().unwrap_or_default());
    frame
}

/// Encodes a metric of the SDK. Returns its number of data points. `since` is the time since which its part counts.
fn collected(
    out: &mut Vec<u8>,
    metric: &SdkMetric,
    since: Option<SystemTime>,
    correction: &mut Correction,
) -> u64 {
    macro_rules! numbers {
        ($data:expr) => {
            match $data {
                MetricData::Gauge(gauge) => {
                    head(out, metric.name(), metric.description(), metric.unit());
                    let mut points = Points::of(gauge.start_time(), gauge.time(), correction);
                    nested(out, 5, |out| {
                        for point in gauge.data_points() {
                            points.write(out, point.attributes(), point.value().into());
                        }
                    });
                    points.count
                }
                MetricData::Sum(sum) => {
                    head(out, metric.name(), metric.description(), metric.unit());
                    let start = since.unwrap_or(sum.start_time());
                    let mut points = Points::of(Some(start), sum.time(), correction);
                    nested(out, 7, |out| {
                        for point in sum.data_points() {
                            points.write(out, point.attributes(), point.value().into());
                        }
                        int32::encode(2, &AggregationTemporality::from(sum.temporality()).into(), out);
                        if sum.is_monotonic() {
                            bool::encode(3, &true, out);
                        }
                    });
                    points.count
                }
                // The only SDK histogram is that of the agent's exports.
                MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => {
                    let mut metric = OtlpMetric::from(metric);
                    let points = correction.correct(&mut metric);
                    let _a_vector_has_room = metric.encode(out);
                    points
                }
            }
        };
    }
    match metric.data() {
        AggregatedMetrics::F64(data) => numbers!(data),
        AggregatedMetrics::U64(data) => numbers!(data),
        AggregatedMetrics::I64(data) => numbers!(data),
    }
}

/// Encoder of the data points of a metric, which have the same time.
struct Points {
    start: u64,
    time: u64,
    count: u64,
}

impl Points {
    fn of(start: Option<SystemTime>, time: SystemTime, correction: &mut Correction) -> Self {
        let time = nanoseconds(time);
        Self { start: correction.corrected(start.map_or(0, nanoseconds), time), time, count: 0 }
    }

    fn write<'a>(&mut self, out: &mut Vec<u8>, of: impl Iterator<Item = &'a KeyValue>, value: Number) {
        self.count += 1;
        nested(out, 1, |out| {
            time(out, 2, self.start);
            time(out, 3, self.time);
            match value {
                Number::AsDouble(value) => double::encode(4, &value, out),
                Number::AsInt(value) => sfixed64::encode(6, &value, out),
            }
            attributes(out, 7, of);
        });
    }
}

/// Encodes the distributions of a row. Returns their number.
fn observed(
    out: &mut Vec<u8>,
    metric: &Metric,
    readings: &[Reading],
    now: u64,
    correction: &mut Correction,
) -> u64 {
    let mut count = 0;
    head(out, metric.name, metric.description, metric.unit);
    nested(out, 9, |out| {
        for reading in readings {
            if let Some(distribution) = distributions::of(reading) {
                count += 1;
                let start = correction.corrected(nanoseconds(distribution.since()), now);
                nested(out, 1, |out| histogram(out, &reading.labels, distribution, start, now));
            }
        }
        int32::encode(2, &AggregationTemporality::Cumulative.into(), out);
    });
    count
}

fn histogram(
    out: &mut Vec<u8>,
    labels: &[(Label, Arc<str>)],
    distribution: &Distribution,
    start: u64,
    now: u64,
) {
    time(out, 2, start);
    time(out, 3, now);
    time(out, 4, distribution.count());
    double::encode(5, &distribution.sum(), out);
    fixed64::encode_packed(6, distribution.counts(), out);
    double::encode_packed(7, distribution.bounds(), out);
    for (label, value) in labels {
        nested(out, 9, |out| {
            text(out, 1, label.key());
            nested(out, 2, |out| bytes(out, 1, value.as_bytes()));
        });
    }
}

/// Encodes name, description and unit of a metric.
fn head(out: &mut Vec<u8>, name: &str, description: &str, unit: &str) {
    text(out, 1, name);
    text(out, 2, description);
    text(out, 3, unit);
}

fn attributes<'a>(out: &mut Vec<u8>, tag: u32, attributes: impl Iterator<Item = &'a KeyValue>) {
    for KeyValue { key, value, .. } in attributes {
        attribute(out, tag, key.as_str(), value);
    }
}

fn attribute(out: &mut Vec<u8>, tag: u32, key: &str, value: &Value) {
    nested(out, tag, |out| {
        text(out, 1, key);
        nested(out, 2, |out| match value {
            Value::String(value) => bytes(out, 1, value.as_str().as_bytes()),
            other => {
                let _a_vector_has_room = AnyValue::from(other.clone()).encode(out);
            }
        });
    });
}

/// Encodes a `fixed64` field; 0 is omitted, as in proto3.
fn time(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        fixed64::encode(tag, &value, out);
    }
}

/// Encodes a string field; an empty string is omitted.
fn text(out: &mut Vec<u8>, tag: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, tag, value.as_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Encodes a nested message. Its length precedes it and is known only afterwards: one byte is reserved, and a message
/// that needs more is moved.
fn nested(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    write(out);
    let length = (out.len() - at - 1) as u64;
    let more = prost::encoding::encoded_len_varint(length) - 1;
    if more > 0 {
        let end = out.len();
        out.resize(end + more, 0);
        out.copy_within(at + 1..end, at + 1 + more);
    }
    if let Some(mut prefix) = out.get_mut(at..=at + more) {
        encode_varint(length, &mut prefix);
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
