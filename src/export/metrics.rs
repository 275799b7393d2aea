//! The metrics of the OTLP exporter, under the names of the semantic conventions
//! ("Semantic conventions for OpenTelemetry SDK metrics").

use super::error_type::ErrorType;
use crate::metric::{Label, LabelSet};

/// Bucket bounds of durations, seconds, as the semantic conventions recommend for requests.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Identity of the exporter, of which there is one.
pub static EXPORTER: LabelSet = LabelSet::fixed(
    &[Label::ComponentName, Label::ComponentType, Label::ServerAddress, Label::ServerPort],
    1,
);

/// Error type of an export.
pub static ERROR_TYPE: LabelSet = LabelSet::fixed(&[Label::ErrorType], ErrorType::BOUND);

crate::metrics! {
    /// Data points whose export has finished; with error.type if they failed or were rejected, without if the receiver accepted them.
    OTEL_EXPORTED: Counter<u64> = "otel.sdk.exporter.metric_data_point.exported" in "{data_point}", by [ERROR_TYPE, EXPORTER];
    /// Data points passed to the exporter whose export has not finished.
    OTEL_INFLIGHT: UpDownCounter = "otel.sdk.exporter.metric_data_point.inflight" in "{data_point}", by [EXPORTER];
    /// Duration of an export, including retries.
    OTEL_OPERATION_DURATION: RecordedHistogram = "otel.sdk.exporter.operation.duration" in "s", by [ERROR_TYPE, EXPORTER], buckets SECONDS;
}
