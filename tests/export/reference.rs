//! The exporter of our own, held against `opentelemetry-otlp`: one collection of the SDK goes through both to the same
//! receiver. What arrives, which refusals are retried, and what the variables mean is the same, but for the differences that
//! are listed here, each with its reason.

use super::push::few;
use super::raw::{Raw, TAKEN, listen};
use crate::support::receiver::{Behaviour, Received, Receiver, Speaks, Status};
use connscope::catalog::Config;
use connscope::config::Flags;
use connscope::cycle::Sources;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::outcomes::Exports;
use connscope::export::{Shared, otlp, resource};
use connscope::stop::Stop;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::{MetricExporter, WithExportConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::Code;

/// Hands each collection to both, one after the other.
struct Both {
    ours: otlp::Exporter,
    reference: MetricExporter,
    runtime: Arc<Runtime>,
}

impl PushMetricExporter for Both {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // A refusal is looked at by the receiver.
        let _ours = self.ours.export(metrics).await;
        // Its transports want to be used inside a runtime; the reader's thread is outside.
        let _reference = self.runtime.block_on(self.reference.export(metrics));
        Ok(())
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

/// Collects once and exports through both. `reference` is built inside the runtime.
fn export(config: &Config, reference: impl FnOnce() -> MetricExporter) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let stop = Stop::new().expect("a token");
    let otlp = &config.export.otlp;
    let exports = Arc::new(Exports::new(otlp::labels(otlp)));
    let shared = Shared {
        resource: resource::resource(config).into(),
        sources: Arc::new(Sources::of(Vec::new(), few(), None, &stop)),
        recorder: HistogramRecorder::default(),
    };
    let ours = otlp::Exporter::new(&shared, otlp, &exports, runtime.handle(), &stop).expect("ours");
    let reference = {
        let _inside = runtime.enter();
        reference()
    };
    let both = Both { ours, reference, runtime };
    let reader = PeriodicReader::builder(both).with_interval(Duration::from_hours(1)).build();
    let provider = SdkMeterProvider::builder()
        .with_resource(shared.resource.at_start().clone())
        .with_reader(reader)
        .build();
    let meter = provider.meter("reference");
    let labels = [KeyValue::new("cpu", "0"), KeyValue::new("größe", 3), KeyValue::new("on", true)];
    meter
        .u64_counter("a.counter")
        .with_unit("{packet}")
        .with_description("Packets.")
        .build()
        .add(1 << 40, &labels);
    meter.f64_counter("a.time").with_unit("s").build().add(0.25, &[]);
    meter.i64_up_down_counter("a.state").build().add(-7, &labels);
    meter.f64_gauge("a.ratio").with_unit("1").build().record(0.5, &labels);
    let histogram = meter.f64_histogram("a.distribution").with_unit("s").build();
    for value in [0.001, 0.2, 3.0, 1e9] {
        histogram.record(value, &labels);
    }
    provider.force_flush().expect("a collection");
    // The exporters have exported; the last collection of a shutdown is nobody's business here.
    std::mem::forget(provider);
}

/// The configuration with these variables.
fn configured(variables: &[(&str, String)]) -> Config {
    let variables: HashMap<&str, &String> = variables.iter().map(|(name, value)| (*name, value)).collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).clone());
    Config::load(None, &variable, &Flags::default()).expect("a configuration")
}

/// Sends one collection through both to a receiver; what it got from us, and what from the reference.
fn through_both(receiver: &Receiver, speaks: Speaks) -> [Vec<Arc<Received>>; 2] {
    let url = receiver.url();
    let protocol = if speaks == Speaks::Grpc { "grpc" } else { "http/protobuf" };
    let config = configured(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.clone()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
    ]);
    export(&config, || match speaks {
        Speaks::Grpc => MetricExporter::builder().with_tonic().with_endpoint(&url).build().expect("gRPC"),
        Speaks::Http => {
            let builder = MetricExporter::builder().with_http();
            builder.with_endpoint(format!("{url}/v1/metrics")).build().expect("HTTP")
        }
    });
    let (ours, reference) = receiver
        .received()
        .into_iter()
        .partition(|received| received.header("user-agent").starts_with("connscope/"));
    [ours, reference]
}

#[test]
fn the_same_arrives_from_both() {
    for speaks in [Speaks::Grpc, Speaks::Http] {
        let receiver = Receiver::start(speaks);
        let [ours, reference] = through_both(&receiver, speaks);
        let ([ours], [reference]) = (ours.as_slice(), reference.as_slice()) else {
            panic!("{speaks:?}: {} and {} requests", ours.len(), reference.len())
        };
        assert_eq!(ours.request, reference.request, "{speaks:?}");
        assert_eq!(ours.path, reference.path);
        let headers = |received: &Received| {
            let mut headers: BTreeMap<String, String> = received
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
                .collect();
            // Different on purpose: the agent names itself before the token of the exporter
            // (`specification/protocol/exporter.md`, "User Agent").
            let agent = headers.remove("user-agent").expect("a user agent");
            assert!(agent.contains("OTel-OTLP-Exporter-Rust/"), "{agent}");
            headers
        };
        assert_eq!(headers(ours), headers(reference), "{speaks:?}");
    }
}

/// What is done with a refusal: how often the message is sent in all.
struct Case {
    status: Status,
    named: Option<Duration>,
    /// Why we do otherwise.
    otherwise: Option<&'static str>,
}

/// Longer than the time of an export.
const LONG: Option<Duration> = Some(Duration::from_secs(40));
const ZERO: Option<Duration> = Some(Duration::ZERO);

fn cases() -> Vec<Case> {
    let whoever = "a receiver that names a delay means it, with whatever status that may pass; the specification has it of \
                   429, 503, RESOURCE_EXHAUSTED and UNAVAILABLE only";
    let mut cases = Vec::new();
    let mut add = |status, named, otherwise| cases.push(Case { status, named, otherwise });
    for code in 1..=16 {
        let code = Code::from_i32(code);
        add(Status::Grpc(code), None, None);
        let passing = matches!(
            code,
            Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::OutOfRange | Code::DataLoss
        );
        add(Status::Grpc(code), LONG, passing.then_some(whoever));
    }
    for code in [Code::ResourceExhausted, Code::Unavailable, Code::InvalidArgument] {
        add(Status::Grpc(code), ZERO, None);
    }
    for status in [400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504, 505] {
        add(Status::Http(status), None, None);
        add(Status::Http(status), LONG, matches!(status, 502 | 504).then_some(whoever));
        add(Status::Http(status), ZERO, None);
    }
    cases
}

#[test]
fn the_same_refusals_are_retried() {
    let cases = Arc::new(std::sync::Mutex::new(cases()));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some(case) = { cases.lock().expect("no panic").pop() } {
                    let Case { status, named, otherwise } = case;
                    let speaks = if matches!(status, Status::Grpc(_)) { Speaks::Grpc } else { Speaks::Http };
                    let receiver = Receiver::start(speaks);
                    receiver.behave(Behaviour::Refuse { status, message: "no", retry_after: named });
                    let [ours, reference] = through_both(&receiver, speaks).map(|received| received.len());
                    // The reference sends a message four times; we, five.
                    assert!(
                        [1, 5].contains(&ours) && [1, 4].contains(&reference),
                        "{status:?}: {ours}, {reference}"
                    );
                    let same = (ours > 1) == (reference > 1);
                    assert_eq!(
                        same,
                        otherwise.is_none(),
                        "{status:?} {named:?}: {ours}, {reference}; {otherwise:?}"
                    );
                }
            });
        }
    });
}

/// Run by the next test in a process of its own, with the variables of the case: both exporters read them.
#[test]
#[ignore = "the_same_is_read_from_the_variables runs it, with variables"]
fn export_as_the_variables_say() {
    let config =
        Config::load(None, &|name| std::env::var(name).ok(), &Flags::default()).expect("a configuration");
    export(&config, || MetricExporter::builder().build().expect("the reference"));
}

/// Variables, and why we do otherwise.
type Variables = (&'static [(&'static str, &'static str)], Option<&'static str>);

/// `{url}` stands for the receiver.
const VARIABLES: &[Variables] = &[
    (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}")], None),
    (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}/")], None),
    (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}/base/")], None),
    (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "{url}/mine?tenant=a")], None),
    (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "{url}")], None),
    (
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "{url}/a"),
        ],
        None,
    ),
    (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP")], None),
    (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}"), ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")], None),
    (
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20YTpi%3D, X-Tenant = blue%2Cgreen"),
        ],
        None,
    ),
    (
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}/base?tenant=a")],
        Some("the path of the signal belongs to the path; the reference puts it behind the query"),
    ),
    (
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}"), ("OTEL_EXPORTER_OTLP_HEADERS", "x%2Dtenant=a")],
        Some("keys are decoded as values are, once; the reference sends them as they are written"),
    ),
    (
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "{url}"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-empty=")],
        Some("an empty value is a value (W3C Baggage); the reference leaves the header out"),
    ),
];

#[test]
fn the_same_is_read_from_the_variables() {
    for (variables, otherwise) in VARIABLES {
        let receiver = Raw::answering(listen(), TAKEN);
        let variables: Vec<(&str, String)> =
            variables.iter().map(|(name, value)| (*name, value.replace("{url}", &receiver.url()))).collect();
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "export::reference::export_as_the_variables_say"])
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .output()
            .expect("this program again");
        assert!(output.status.success(), "{output:?}");
        let heads = receiver.wait(2);
        let [ours, reference] = [&heads[0].1, &heads[1].1].map(|head| {
            let mut lines: Vec<&str> =
                head.lines().filter(|line| !line.starts_with("user-agent: ")).collect();
            lines.sort_unstable();
            lines
        });
        assert_eq!(
            ours == reference,
            otherwise.is_none(),
            "{variables:?}: {ours:#?} {reference:#?}; {otherwise:?}"
        );
    }
}
