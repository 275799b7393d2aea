//! Output of a cycle to stdout: `connscope once`, and the `console` exporter.

#![expect(clippy::disallowed_methods, reason = "rates are over the time between two cycles")]

use super::prometheus::{Pull, Scrape};
use super::{Reader, Shared, encode};
use crate::cycle::Cycle;
use crate::metric::naming::Profile;
use crate::metric::{Kind, Value};
use crate::reading::first::ReaderKind;
use crate::reading::{Reading, Snapshot, SourceOutcome};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, PeriodicReader, Pipeline, Temporality};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

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

/// Runs cycles, and makes a text of each.
pub struct Printer {
    how: How,
    /// The counters of the cycle before, and when it was.
    before: Option<(Instant, HashMap<String, f64>)>,
}

enum How {
    Exposition(Box<Pull>),
    Json(Manual, Reader),
    Table(Arc<Cycle>),
}

impl Printer {
    /// Creates the reader of this format. `profile` names the metrics of [`Format::Prometheus`].
    pub fn new(shared: &Shared, format: Format, profile: Profile) -> Result<Self, String> {
        let how = match format {
            Format::Prometheus => How::Exposition(Box::new(Pull::new(shared, profile)?)),
            Format::OtlpJson => {
                let manual = Manual(Arc::new(ManualReader::builder().build()));
                let cycle = shared.cycle(ReaderKind::Console);
                How::Json(manual.clone(), Reader::new(shared, cycle, manual, Profile::Otel, false))
            }
            Format::Table => How::Table(shared.cycle(ReaderKind::Console)),
        };
        Ok(Self { how, before: None })
    }

    /// Runs a cycle. Returns its text, and the outcomes of the sources. From the second one on, the table has the increase per
    /// second of each counter.
    pub fn cycle(&mut self) -> Result<(String, Vec<SourceOutcome>), String> {
        match &self.how {
            How::Exposition(pull) => {
                let (scrape, snapshot) = pull.cycle();
                let text = match scrape {
                    Scrape::Exposition(text) => text,
                    Scrape::Nothing(_) => String::new(), // the reason was logged
                };
                Ok((text, snapshot.outcomes))
            }
            How::Json(manual, reader) => {
                let mut metrics = ResourceMetrics::default();
                manual.collect(&mut metrics).map_err(|error| error.to_string())?;
                let snapshot = reader.cycle.finish();
                Ok((json(&metrics, &snapshot)?, snapshot.outcomes))
            }
            How::Table(cycle) => {
                let snapshot = cycle.run();
                let now = Instant::now();
                let before = self.before.replace((now, counters(&snapshot)));
                let text = table(&snapshot, before.as_ref().map(|(at, counters)| (now - *at, counters)));
                Ok((text, snapshot.outcomes))
            }
        }
    }
}

fn json(metrics: &ResourceMetrics, snapshot: &Snapshot) -> Result<String, String> {
    let request = encode::request(metrics, snapshot).map_err(|error| error.to_string())?;
    let mut text = serde_json::to_string_pretty(&request).map_err(|error| error.to_string())?;
    text.push('\n');
    Ok(text)
}

/// The counters by their series.
fn counters(snapshot: &Snapshot) -> HashMap<String, f64> {
    let rows = snapshot.table().rows().filter(|metric| metric.kind == Kind::Counter);
    let readings = rows.flat_map(|metric| snapshot.of(metric));
    readings.filter_map(|reading| Some((series(reading), reading.value.number()?))).collect()
}

/// Increase of a counter per second, with a blank before it; empty if there is none to show.
fn rate(reading: &Reading, name: &str, before: Option<(Duration, &HashMap<String, f64>)>) -> String {
    let increase = before.and_then(|(time, counters)| {
        let increase = reading.value.number()? - counters.get(name)?;
        (increase >= 0.0 && !time.is_zero()).then(|| increase / time.as_secs_f64())
    });
    increase.map_or_else(String::new, |rate| format!(" (+{}/s)", (rate * 100.0).round() / 100.0))
}

/// One line per reading: name and labels, value, unit. `before` has the counters of an earlier cycle, and how long ago it was.
fn table(snapshot: &Snapshot, before: Option<(Duration, &HashMap<String, f64>)>) -> String {
    let lines: Vec<(String, String, String)> = snapshot
        .table()
        .rows()
        .flat_map(|metric| snapshot.of(metric))
        .map(|reading| {
            let name = series(reading);
            let value = value(&reading.value);
            let unit = format!("{}{}", reading.metric.unit, rate(reading, &name, before));
            (name, value, unit)
        })
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
        let snapshot = self.cycle.finish();
        // Whoever reads stdout may take any time.
        self.cycle.progress.exporting();
        let printed = print(metrics, &snapshot);
        self.cycle.progress.waiting(Instant::now());
        printed.map_err(OTelSdkError::InternalFailure)
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

fn print(metrics: &ResourceMetrics, snapshot: &Snapshot) -> Result<(), String> {
    use std::io::Write;
    let request = encode::request(metrics, snapshot).map_err(|error| error.to_string())?;
    let line = serde_json::to_string(&request).map_err(|error| error.to_string())?;
    writeln!(std::io::stdout().lock(), "{line}").map_err(|error| error.to_string())
}

/// Starts the `console` exporter.
pub fn console(shared: &Shared, interval: Duration) -> Reader {
    let cycle = shared.cycle(ReaderKind::Console);
    cycle.progress.every(interval);
    let console = Console { cycle: Arc::clone(&cycle) };
    let reader = PeriodicReader::builder(console).with_interval(interval).build();
    Reader::new(shared, cycle, reader, Profile::Otel, false)
}
