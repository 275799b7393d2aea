//! Splitting one collection into messages that a receiver takes.
//!
//! tonic and the Collector refuse messages over 4 MiB (decompressed) unless told otherwise. Metrics are put together in
//! order until the next would be too much; a metric that alone is too much is split between its data points.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use prost::Message;

/// Most bytes of one message.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What the length prefixes of nested messages and of a data point may add, each.
const PREFIX: usize = 8;

/// Data points in a request.
pub fn points(request: &ExportMetricsServiceRequest) -> u64 {
    request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
        .map(|metric| metric.data.as_ref().map_or(0, count) as u64)
        .sum()
}

/// Splits a request into requests of at most `most` bytes each. A single data point that is larger is left whole:
/// it is for the receiver to refuse.
pub fn split(request: ExportMetricsServiceRequest, most: usize) -> Vec<ExportMetricsServiceRequest> {
    if request.encoded_len() <= most {
        return vec![request];
    }
    let mut messages = Vec::new();
    for resource in request.resource_metrics {
        for scope in resource.scope_metrics {
            let frame = Frame {
                resource: ResourceMetrics {
                    resource: resource.resource.clone(),
                    scope_metrics: Vec::new(),
                    schema_url: resource.schema_url.clone(),
                },
                scope: ScopeMetrics {
                    metrics: Vec::new(),
                    scope: scope.scope.clone(),
                    schema_url: scope.schema_url.clone(),
                },
            };
            let room = most.saturating_sub(frame.len());
            let (mut packed, mut size) = (Vec::new(), 0);
            for metric in scope.metrics.into_iter().flat_map(|metric| cut(metric, room)) {
                let length = metric.encoded_len() + PREFIX;
                if size + length > room && !packed.is_empty() {
                    messages.push(frame.around(std::mem::take(&mut packed)));
                    size = 0;
                }
                size += length;
                packed.push(metric);
            }
            if !packed.is_empty() {
                messages.push(frame.around(packed));
            }
        }
    }
    messages
}

/// What is repeated around the metrics of every message.
struct Frame {
    resource: ResourceMetrics,
    scope: ScopeMetrics,
}

impl Frame {
    fn len(&self) -> usize {
        self.resource.encoded_len() + self.scope.encoded_len() + 3 * PREFIX
    }

    fn around(&self, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope = ScopeMetrics { metrics, ..self.scope.clone() };
        let resource = ResourceMetrics { scope_metrics: vec![scope], ..self.resource.clone() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }
    }
}

fn count(data: &Data) -> usize {
    match data {
        Data::Gauge(gauge) => gauge.data_points.len(),
        Data::Sum(sum) => sum.data_points.len(),
        Data::Histogram(histogram) => histogram.data_points.len(),
        Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        Data::Summary(summary) => summary.data_points.len(),
    }
}

/// Cuts a metric into metrics of at most `room` bytes.
fn cut(metric: Metric, room: usize) -> Vec<Metric> {
    if metric.encoded_len() + PREFIX <= room {
        return vec![metric];
    }
    let mut pieces = Vec::new();
    let empty = Metric { data: None, ..metric.clone() };
    let room = room.saturating_sub(empty.encoded_len() + 4 * PREFIX);
    match metric.data {
        Some(Data::Gauge(mut gauge)) => {
            for data_points in chunks(std::mem::take(&mut gauge.data_points), room) {
                pieces.push(Data::Gauge(opentelemetry_proto::tonic::metrics::v1::Gauge { data_points }));
            }
        }
        Some(Data::Sum(mut sum)) => {
            for data_points in chunks(std::mem::take(&mut sum.data_points), room) {
                pieces.push(Data::Sum(opentelemetry_proto::tonic::metrics::v1::Sum {
                    data_points,
                    ..sum.clone()
                }));
            }
        }
        Some(Data::Histogram(mut histogram)) => {
            for data_points in chunks(std::mem::take(&mut histogram.data_points), room) {
                pieces.push(Data::Histogram(opentelemetry_proto::tonic::metrics::v1::Histogram {
                    data_points,
                    ..histogram.clone()
                }));
            }
        }
        // The agent has few of the one and none of the other.
        data @ (Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None) => pieces.extend(data),
    }
    pieces.into_iter().map(|data| Metric { data: Some(data), ..empty.clone() }).collect()
}

fn chunks<P: Message>(points: Vec<P>, room: usize) -> Vec<Vec<P>> {
    let mut chunks = Vec::new();
    let (mut chunk, mut size) = (Vec::new(), 0);
    for point in points {
        let length = point.encoded_len() + PREFIX;
        if size + length > room && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            size = 0;
        }
        size += length;
        chunk.push(point);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}
