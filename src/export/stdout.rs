//! Output of a cycle to stdout: `connscope once`, and the `console` exporter.

use super::prometheus::{Pull, Scrape};
use super::{Reader, Shared, encode};
use crate::cycle::Cycle;
use crate::metric::Value;
use crate::metric::naming::Profile;
use crate::reading::first::ReaderKind;
use crate::reading::{Reading, Snapshot};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, PeriodicReader, Pipeline, Temporality};
use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Output format of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line per reading, for people.
    Table,
    /// Prometheus' text format.
    Prometheus,
    /// The OTLP message as JSON.
    OtlpJson,
}

/// An SDK reader that collects on request.
#[derive(Debug, Clone)]
struct Manual(Arc<ManualReader>);

impl MetricReader for Manual {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }
    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }
    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// Runs a cycle. Returns its text, and the snapshot.
pub fn once(shared: &Shared, format: Format, profile: Profile) -> Result<(String, Arc<Snapshot>), String> {
    if format == Format::Prometheus {
        let pull = Pull::new(shared, profile)?;
        let (scrape, snapshot) = pull.cycle();
        let text = match scrape {
            Scrape::Exposition(text) => text,
            Scrape::Nothing(_) => String::new(), // the reason was logged
        };
        return Ok((text, snapshot));
    }
    let manual = Manual(Arc::new(ManualReader::builder().build()));
    let reader = Reader::new(shared, shared.cycle(ReaderKind::Console), manual.clone(), Profile::Otel, false);
    let mut metrics = ResourceMetrics::default();
    manual.collect(&mut metrics).map_err(|error| error.to_string())?;
    let snapshot = reader.cycle.finish();
    let text = match format {
        Format::OtlpJson => json(&metrics, &snapshot)?,
        _ => table(&snapshot),
    };
    Ok((text, snapshot))
}

fn json(metrics: &ResourceMetrics, snapshot: &Snapshot) -> Result<String, String> {
    let request = encode::request(metrics, snapshot).map_err(|error| error.to_string())?;
    let mut text = serde_json::to_string_pretty(&request).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

/// One line per reading: name and labels, value, unit.
pub fn table(snapshot: &Snapshot) -> String {
    let lines: Vec<(String, String, &str)> = snapshot
        .table()
        .rows()
        .flat_map(|metric| snapshot.of(metric))
        .map(|reading| (series(reading), value(&reading.value), reading.metric.unit))
        .collect();
    let width = lines.iter().map(|(series, ..)| series.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (series, value, unit) in lines {
        let _infallible = writeln!(text, "{}", format!("{series:width$}  {value} {unit}").trim_end());
    }
    text
}

fn series(reading: &Reading) -> String {
    let mut text = reading.metric.name.to_owned();
    if !reading.labels.is_empty() {
        let labels: Vec<String> =
            reading.labels.iter().map(|(label, value)| format!("{}={value:?}", label.key())).collect();
        let _infallible = write!(text, "{{{}}}", labels.join(","));
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::U64(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        // The mean is more useful to a person than the sum.
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        Value::Distribution(distribution) => match distribution.count() {
            0 => "no value".to_owned(),
            count => format!("mean of {count}: {}", distribution.sum() / count as f64),
        },
    }
}

/// The `console` exporter of `OTEL_METRICS_EXPORTER`: every cycle as OTLP JSON, one object per line.
struct Console {
    cycle: Arc<Cycle>,
}

impl PushMetricExporter for Console {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        use std::io::Write;
        let failed = |error: &dyn std::fmt::Display| OTelSdkError::InternalFailure(error.to_string());
        let request = encode::request(metrics, &self.cycle.finish()).map_err(|error| failed(&error))?;
        let line = serde_json::to_string(&request).map_err(|error| failed(&error))?;
        writeln!(std::io::stdout().lock(), "{line}").map_err(|error| failed(&error))
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// Starts the `console` exporter.
pub fn console(shared: &Shared, interval: Duration) -> Reader {
    let cycle = shared.cycle(ReaderKind::Console);
    let console = Console { cycle: Arc::clone(&cycle) };
    let reader = PeriodicReader::builder(console).with_interval(interval).build();
    Reader::new(shared, cycle, reader, Profile::Otel, false)
}
