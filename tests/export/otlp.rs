//! The push over OTLP, against receivers in this process.
//!
//! What depends on the exact moment of a cycle is driven from here, with a source of the test's own; what depends on
//! variables, flags, certificates, signals and the log is asked of the program itself. HTTP is always spoken by the
//! program, in an environment of the test's making: a proxy that is set where the tests run would get it otherwise.

use crate::support::receiver::{Authority, Behaviour, PATIENCE, Received, Receiver, Speaks, Status};
use connscope::config::{Config, Flags};
use connscope::cycle::Sources;
use connscope::export::instruments::Recorder;
use connscope::export::otlp::split::{MOST_BYTES, points, split};
use connscope::export::{Reader, Shared, otlp, resource};
use connscope::metric::table::{self as metrics, METRICS};
use connscope::metric::{Kind, Label, Limits, Number};
use connscope::reading::Readings;
use connscope::source::worker::Worker;
use connscope::source::{Source, SourceError};
use connscope::stop::Stop;
use connscope::vitals::Exports;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tonic::Code;

// ---- what came ----

fn metrics_of(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
}

fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    metrics_of(request).find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is missing"))
}

fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let texts: BTreeMap<String, String> = attributes
        .iter()
        .map(|KeyValue { key, value, .. }| match value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => (key.clone(), text.clone()),
            other => panic!("{key} is {other:?}, not text"),
        })
        .collect();
    assert_eq!(texts.len(), attributes.len(), "an attribute is there twice");
    texts
}

fn resource_of(request: &ExportMetricsServiceRequest) -> BTreeMap<String, String> {
    let resource = request.resource_metrics.first().and_then(|metrics| metrics.resource.as_ref());
    text(&resource.expect("a resource").attributes)
}

fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

/// The value of the point whose attributes hold all of these, and `error.type` only if it is among them.
fn value(request: &ExportMetricsServiceRequest, name: &str, attributes: &[(&str, &str)]) -> Option<Value> {
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

const EXPORTED: &str = "otel.sdk.exporter.metric_data_point.exported";

/// Data points that the exporter says it has exported with this outcome.
fn exported(request: &ExportMetricsServiceRequest, error: Option<&str>) -> u64 {
    let attributes: Vec<(&str, &str)> = error.map(|error| ("error.type", error)).into_iter().collect();
    match value(request, EXPORTED, &attributes) {
        None => 0,
        Some(Value::AsInt(value)) => u64::try_from(value).expect("not negative"),
        Some(Value::AsDouble(_)) => panic!("counted in floating point"),
    }
}

/// Whatever came is in the table, and is what the table says.
fn assert_as_in_the_table(request: &ExportMetricsServiceRequest) {
    let cumulative = AggregationTemporality::Cumulative as i32;
    for metric in metrics_of(request) {
        let name = &metric.name;
        let row = METRICS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} has no row"));
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
            (Kind::Histogram | Kind::Recorded, Data::Histogram(histogram)) => {
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
        let allowed: Vec<&str> = row.labels.iter().map(|label| label.key()).collect();
        for key in attributes.into_iter().flat_map(|attributes| text(attributes).into_keys()) {
            assert!(allowed.contains(&key.as_str()), "{name} has no label {key}");
        }
    }
}

// ---- the push, driven from here ----

/// A source that observes what the test tells it to.
struct Fake<F>(F);

impl<F: FnMut(&mut Readings) + Send> Source for Fake<F> {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        (self.0)(out);
        Ok(())
    }
}

/// The reader that pushes, without an agent around it: a cycle is run when the test says so.
struct Push {
    reader: Reader,
    stop: Stop,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Push {
    fn start(
        receiver: &Receiver,
        timeout: Duration,
        limits: Limits,
        read: impl FnMut(&mut Readings) + Send + 'static,
    ) -> Self {
        let timeout = timeout.as_millis().to_string();
        let variables = HashMap::from([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000".to_owned()),
        ]);
        let config = Config::load(None, &|name| variables.get(name).cloned(), &Flags::default());
        let config = config.expect("a configuration");
        let stop = Stop::new().expect("a token");
        let exports = Arc::new(Exports::new(otlp::labels(&config.export.otlp)));
        let worker = Worker::start("fake", PATIENCE, Box::new(Fake(read))).expect("a thread");
        let sources = Sources::of(vec![worker], limits, Some(Arc::clone(&exports)), &stop);
        let shared = Shared {
            resource: resource::resource(&config),
            sources: Arc::new(sources),
            recorder: Recorder::default(),
            limits,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let reader = otlp::start(&shared, &config, &exports, runtime.handle(), &stop);
        let reader = reader.expect("a configuration that works").expect("a reader");
        Self { reader, stop, runtime: Some(runtime) }
    }

    /// One cycle and its export.
    fn cycle(&self) -> Result<(), String> {
        self.reader.provider.force_flush().map_err(|error| error.to_string())
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        // The provider exports once more when it goes; with the runtime gone that is over at once.
        self.stop.drain();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const FEW: Limits = Limits { cpus: 4, namespaces: 4, sources: 1, groups: 1, flows: 1, top: 1, targets: 1 };

fn nothing(_: &mut Readings) {}

// ---- the program ----

/// Lines of a stream, as they come.
#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> (Arc<Self>, JoinHandle<()>) {
        let lines = Arc::new(Self::default());
        let writer = Arc::clone(&lines);
        let thread = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                writer.lines.lock().expect("no panic").push(line);
                writer.more.notify_all();
            }
        });
        (lines, thread)
    }

    fn wait(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().expect("no panic");
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for a line with `{words}`: {lines:#?}");
            lines = self.more.wait_timeout(lines, left).expect("no panic").0;
        }
    }
}

/// The program with a `conntrack` that prints what the test wants; killed when dropped.
struct Agent {
    child: Child,
    log: Arc<Lines>,
    out: Arc<Lines>,
    readers: Vec<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

/// How the program left.
struct Left {
    took: Duration,
    status: ExitStatus,
    log: Vec<String>,
}

impl Left {
    fn count(&self, words: &str) -> usize {
        self.log.iter().filter(|line| line.contains(words)).count()
    }

    /// Lines of warnings about the push, which are the only ones a test may count: what else there is to warn of
    /// depends on the kernel it runs on.
    fn warnings(&self) -> Vec<&String> {
        self.log.iter().filter(|line| line.contains("WARN") && line.contains("OTLP")).collect()
    }
}

impl Agent {
    /// Without the endpoint that Prometheus scrapes.
    fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_with(variables, &[&["--listen", "off"], arguments].concat())
    }

    fn start_with(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("conntrack");
        let here = directory.path().display();
        let text = format!("#!/bin/sh\necho >> '{here}/runs'\nexec cat '{here}/numbers'\n");
        std::fs::write(&script, text).expect("writing");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .expect("making it executable");
        print_numbers(directory.path(), 1);
        let mut child = Command::new(env!("CARGO_BIN_EXE_connscope"))
            .args(["--conntrack-source", "command", "--conntrack-command"])
            .arg(&script)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let (log, log_reader) = Lines::read(child.stderr.take().expect("a pipe"));
        let (out, out_reader) = Lines::read(child.stdout.take().expect("a pipe"));
        Self { child, log, out, readers: vec![log_reader, out_reader], directory }
    }

    /// `conntrack.found` of CPU 0 from now on.
    fn print(&self, found: u32) {
        print_numbers(self.directory.path(), found);
    }

    /// How often `conntrack` was run.
    fn runs(&self) -> u64 {
        std::fs::metadata(self.directory.path().join("runs")).map_or(0, |file| file.len())
    }

    /// Ends it the way an operator does.
    fn terminate(mut self) -> Left {
        let asked = Instant::now();
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("SIGTERM");
        let status = self.exit();
        let took = asked.elapsed();
        for reader in self.readers.drain(..) {
            reader.join().expect("no panic");
        }
        let log = self.log.lines.lock().expect("no panic").clone();
        assert!(log.iter().all(|line| !line.contains("panicked")), "{log:#?}");
        Left { took, status, log }
    }

    /// Waits for its end.
    fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn print_numbers(directory: &Path, found: u32) {
    let line = format!(
        "cpu=0   \tfound={found} invalid=2 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 \
         clash_resolve=0 chaintoolong=0 \n"
    );
    // In one step: the script may be reading.
    std::fs::write(directory.join("next"), line).expect("writing");
    std::fs::rename(directory.join("next"), directory.join("numbers")).expect("renaming");
}

const BOTH: [Speaks; 2] = [Speaks::Grpc, Speaks::Http];

/// The value of `OTEL_EXPORTER_OTLP_PROTOCOL`.
fn protocol(speaks: Speaks) -> &'static str {
    match speaks {
        Speaks::Grpc => "grpc",
        Speaks::Http => "http/protobuf",
    }
}

fn found(request: &ExportMetricsServiceRequest) -> Option<i64> {
    match value(request, "conntrack.found", &[("cpu", "0")]) {
        Some(Value::AsInt(found)) => Some(found),
        _ => None,
    }
}

// ---- what is sent ----

#[test]
fn every_kind_of_instrument_arrives_as_what_it_is() {
    let receiver = Receiver::start(Speaks::Grpc);
    let push = Push::start(&receiver, PATIENCE, FEW, |out| {
        let netns = (Label::Netns, Arc::from("blue"));
        for cpu in 0..3u64 {
            let labels = [(Label::Cpu, cpu.to_string().into()), netns.clone()];
            out.observe(metrics::CONNTRACK_DROP, &labels, (1 << 53) + 1 + cpu);
        }
        out.observe(metrics::CONNTRACK_INVALID, &[(Label::Cpu, "0".into())], (1 << 32) + 1);
        out.observe(metrics::CONNTRACK_TABLE_USAGE, std::slice::from_ref(&netns), 1 << 33);
        out.observe(metrics::CONNTRACK_TABLE_UTILIZATION, &[netns], 0.25);
    });
    push.cycle().expect("taken");
    push.cycle().expect("taken");
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    let request = &received[1].request;
    for received in &received {
        assert_as_in_the_table(&received.request);
    }

    let drops = metric(request, "conntrack.drop");
    assert_eq!(drops.unit, "{packet}");
    let Some(Data::Sum(sum)) = &drops.data else { panic!("{drops:?}") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32);
    let seen: BTreeMap<String, Option<Value>> = sum
        .data_points
        .iter()
        .map(|point| {
            let attributes = text(&point.attributes);
            assert_eq!(attributes["netns"], "blue");
            assert_eq!(attributes.len(), 2);
            (attributes["cpu"].clone(), point.value)
        })
        .collect();
    let expected: BTreeMap<String, Option<Value>> =
        (0..3).map(|cpu: i64| (cpu.to_string(), Some(Value::AsInt((1 << 53) + 1 + cpu)))).collect();
    assert_eq!(seen, expected, "no bit is lost on the way");
    assert_eq!(value(request, "conntrack.invalid", &[]), Some(Value::AsInt((1 << 32) + 1)));

    let usage = metric(request, "conntrack.table.usage");
    assert_eq!(usage.unit, "{entry}");
    assert!(matches!(&usage.data, Some(Data::Sum(sum)) if !sum.is_monotonic));
    assert_eq!(value(request, "conntrack.table.usage", &[]), Some(Value::AsInt(1 << 33)));
    let utilization = metric(request, "conntrack.table.utilization");
    assert_eq!(utilization.unit, "1");
    assert!(matches!(utilization.data, Some(Data::Gauge(_))));
    assert_eq!(value(request, "conntrack.table.utilization", &[]), Some(Value::AsDouble(0.25)));

    let duration = metric(request, "otel.sdk.exporter.operation.duration");
    assert_eq!(duration.unit, "s");
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("{duration:?}") };
    let [point] = histogram.data_points.as_slice() else { panic!("{histogram:?}") };
    assert_eq!(point.count, 1, "the one export before this one");
    let attributes = text(&point.attributes);
    assert_eq!(attributes["otel.component.type"], "otlp_grpc_metric_exporter");
    assert_eq!(attributes["otel.component.name"], "otlp_grpc_metric_exporter/0");
    assert_eq!(attributes["server.address"], "127.0.0.1");
    assert_eq!(attributes["server.port"], receiver.address().port().to_string());
    assert!(!attributes.contains_key("error.type"));

    assert_eq!(exported(request, None), points(&received[0].request));
    assert_eq!(value(request, "connscope.source.up", &[("source", "fake")]), Some(Value::AsInt(1)));
    let cpu = metric(request, "process.cpu.time");
    let modes: Vec<_> =
        numbers(cpu).iter().map(|point| text(&point.attributes)["cpu.mode"].clone()).collect();
    assert_eq!(modes.len(), 2);
}

#[test]
fn both_transports_carry_the_same_with_every_compression() {
    let mut instances = Vec::new();
    for speaks in BOTH {
        for compression in ["none", "gzip", "zstd"] {
            let receiver = Receiver::start(speaks);
            let agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                    ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20YTpi%3D,x-tenant = blue%2Cgreen "),
                ],
                &["--interval", "20ms"],
            );
            // The exporter's histogram and its counter are complete from the second cycle on.
            let received = receiver.nth(2);
            let left = agent.terminate();
            assert!(left.status.success());
            assert_eq!(left.count("pushing over OTLP"), 1, "{:#?}", left.log);
            assert_eq!(left.warnings(), Vec::<&String>::new());

            let request = &received.request;
            assert_as_in_the_table(request);
            assert_eq!(found(request), Some(1));
            assert_eq!(value(request, "conntrack.invalid", &[("cpu", "0")]), Some(Value::AsInt(2)));
            assert!(matches!(metric(request, "conntrack.found").data, Some(Data::Sum(_))));
            metric(request, "otel.sdk.exporter.operation.duration");
            let via = value(request, "connscope.conntrack.source", &[("via", "command")]);
            assert_eq!(via, Some(Value::AsInt(1)));
            let component = match speaks {
                Speaks::Grpc => "otlp_grpc_metric_exporter",
                Speaks::Http => "otlp_http_metric_exporter",
            };
            assert!(value(request, EXPORTED, &[("otel.component.type", component)]).is_some());
            let scope = request.resource_metrics[0].scope_metrics[0].scope.as_ref();
            assert_eq!(scope.map(|scope| scope.name.as_str()), Some("connscope"));

            assert_eq!(received.header("authorization"), "Basic YTpi=");
            assert_eq!(received.header("x-tenant"), "blue,green");
            assert!(
                received.header("user-agent").starts_with(concat!("connscope/", env!("CARGO_PKG_VERSION")))
            );
            let encoding = match speaks {
                Speaks::Grpc => "grpc-encoding",
                Speaks::Http => "content-encoding",
            };
            assert_eq!(received.header(encoding), if compression == "none" { "" } else { compression });
            if speaks == Speaks::Http {
                assert_eq!(received.path, "/v1/metrics");
                assert_eq!(received.header("content-type"), "application/x-protobuf");
            }

            let mut resource = resource_of(request);
            assert_eq!(resource["service.name"], "connscope");
            assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(resource["host.name"], rustix::system::uname().nodename().to_string_lossy());
            assert_eq!(resource["os.type"], "linux");
            instances.push(resource.remove("service.instance.id").expect("an instance id"));
        }
    }
    assert_eq!(instances[0].len(), 36, "{}", instances[0]);
    assert!(
        instances.iter().all(|instance| *instance == instances[0]),
        "another at each start: {instances:?}"
    );
}

#[test]
fn the_service_name_goes_over_the_attributes_and_values_are_decoded() {
    let receiver = Receiver::start(Speaks::Grpc);
    let attributes =
        "service.name=no,deployment.environment.name=a%20b%2Cc%3D%C3%A4, service.instance.id = seven";
    let endpoint = receiver.url();
    let mut variables =
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_RESOURCE_ATTRIBUTES", attributes)];
    let agent = Agent::start(&variables, &[]);
    assert_eq!(resource_of(&receiver.nth(0).request)["service.name"], "no");
    drop(agent);

    variables.push(("OTEL_SERVICE_NAME", "yes"));
    let before = receiver.received().len();
    let _agent = Agent::start(&variables, &[]);
    let resource = resource_of(&receiver.nth(before).request);
    assert_eq!(resource["service.name"], "yes");
    assert_eq!(resource["deployment.environment.name"], "a b,c=ä");
    assert_eq!(resource["service.instance.id"], "seven");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn delta_gets_one_line_and_stays_cumulative() {
    let receiver = Receiver::start(Speaks::Grpc);
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "DELTA"),
        ],
        &["--interval", "20ms"],
    );
    let received = receiver.nth(2);
    assert_as_in_the_table(&received.request);
    assert_eq!(found(&received.request), Some(1));
    let left = agent.terminate();
    assert_eq!(left.count("delta"), 1, "{:#?}", left.log);
    assert_eq!(left.count("delta temporality was asked for; connscope stays cumulative"), 1);
}

// ---- where it is sent ----

#[test]
fn an_http_endpoint_is_a_base_unless_it_is_that_of_the_signal() {
    for (variable, path, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "/v1/metrics"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/", "/v1/metrics"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/otlp/", "/otlp/v1/metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "", "/"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "/mine", "/mine"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "/mine/", "/mine/"),
    ] {
        let receiver = Receiver::start(Speaks::Http);
        let url = format!("{}{path}", receiver.url());
        let variables = [(variable, url.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")];
        let _agent = Agent::start(&variables, &[]);
        assert_eq!(receiver.nth(0).path, expected, "{variable}={url}");
    }
}

#[test]
fn the_variables_of_the_signal_win_over_the_general_ones() {
    let (right, wrong) = (Receiver::start(Speaks::Http), Receiver::start(Speaks::Grpc));
    let authority = Authority::new();
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &wrong.url()),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &format!("{}/signal", right.url())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-general=1,x-which=general"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-which=metrics"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10000"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
            ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", authority.file().as_text()),
        ],
        &[],
    );
    let received = right.nth(0);
    assert_eq!(received.path, "/signal");
    assert_eq!(received.header("content-encoding"), "zstd");
    assert_eq!(received.header("x-which"), "metrics");
    assert_eq!(received.header("x-general"), "");
    assert_eq!(agent.terminate().warnings(), Vec::<&String>::new());
    assert_eq!(wrong.received().len(), 0);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let receivers = [Speaks::Grpc; 3].map(Receiver::start);
    let [flag, variable, file] = &receivers;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("connscope.yaml");
    let yaml =
        format!("export: {{otlp: {{endpoint: \"{}\", interval: 1h, headers: {{x: file}}}}}}\n", file.url());
    std::fs::write(&path, yaml).expect("writing");
    let path = path.to_str().expect("text");
    let variable_url = variable.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", variable_url.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=variable"),
    ];
    let count = || receivers.each_ref().map(|receiver| receiver.received().len());

    let agent = Agent::start(&[], &["--config", path]);
    assert_eq!(file.nth(0).header("x"), "file");
    agent.log.wait("pushing over OTLP");
    drop(agent);
    assert_eq!(count(), [0, 0, 1]);

    let agent = Agent::start(&variables, &["--config", path]);
    assert_eq!(variable.nth(0).header("x"), "variable");
    agent.log.wait("pushing over OTLP");
    drop(agent);
    assert_eq!(count(), [0, 1, 1]);

    let agent =
        Agent::start(&variables, &["--config", path, "--otlp-endpoint", &flag.url(), "--interval", "20ms"]);
    assert_eq!(flag.nth(2).header("x"), "variable", "what no flag says stays");
    drop(agent);
    let [_, variable, file] = count();
    assert_eq!([variable, file], [1, 1]);

    let default = Config::load(None, &|_| None, &Flags::default()).expect("the default");
    assert_eq!(default.export.otlp.endpoint.as_deref(), Some("http://localhost:4317"));
}

#[test]
fn the_exporters_that_are_named_are_the_ones_that_run() {
    let receiver = Receiver::start(Speaks::Grpc);
    let endpoint = receiver.url();
    let start = |exporter| {
        Agent::start_with(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
                ("OTEL_METRICS_EXPORTER", exporter),
                ("OTEL_EXPORTER_PROMETHEUS_PORT", "0"),
            ],
            &["--interval", "20ms"],
        )
    };
    let agent = start("none");
    let started = agent.log.wait("connscope is running");
    assert!(!started.contains("otlp=") && !started.contains("metrics="), "{started}");
    assert!(agent.terminate().status.success());
    assert_eq!(receiver.received().len(), 0);

    let agent = start("prometheus");
    let started = agent.log.wait("connscope is running");
    assert!(!started.contains("otlp="), "{started}");
    let address =
        started.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let mut stream = TcpStream::connect(address).expect("connecting");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("asking");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("conntrack_found_total{cpu=\"0\"} 1\n"));
    assert!(agent.terminate().status.success());
    assert_eq!(receiver.received().len(), 0);

    let agent = start("console");
    let line = agent.out.wait("conntrack.found");
    let request: ExportMetricsServiceRequest = serde_json::from_str(&line).expect("OTLP as JSON");
    assert_eq!(found(&request), Some(1));
    assert!(agent.terminate().status.success());
    assert_eq!(receiver.received().len(), 0);

    let agent = start("otlp");
    let started = agent.log.wait("connscope is running");
    assert!(started.contains("otlp=") && !started.contains("metrics="), "{started}");
    assert_eq!(found(&receiver.nth(0).request), Some(1));
    drop(agent);
    let agent = start("otlp,console");
    let before = receiver.received().len();
    agent.out.wait("conntrack.found");
    receiver.nth(before);
}

#[test]
fn a_disabled_sdk_sends_nothing() {
    let receiver = Receiver::start(Speaks::Grpc);
    let agent = Agent::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()), ("OTEL_SDK_DISABLED", "TRUE")],
        &["--interval", "10ms"],
    );
    agent.log.wait("OTEL_SDK_DISABLED is true");
    let runs = agent.runs();
    let left = agent.terminate();
    assert!(left.status.success());
    assert_eq!((receiver.received().len(), runs), (0, 0));
}

// ---- TLS ----

/// A path as the value of a variable.
trait AsText {
    fn as_text(&self) -> &str;
}

impl AsText for std::path::PathBuf {
    fn as_text(&self) -> &str {
        self.to_str().expect("text")
    }
}

#[test]
fn an_https_receiver_is_verified_by_the_system_or_by_the_file() {
    for speaks in BOTH {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(speaks, authority.server(None));
        let file = authority.file();
        for variable in ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            let before = receiver.received().len();
            let _agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    (variable, file.as_text()),
                ],
                &[],
            );
            assert_eq!(found(&receiver.nth(before).request), Some(1), "{speaks:?} {variable}");
        }
    }
}

#[test]
fn a_receiver_that_an_unknown_authority_signed_gets_nothing() {
    for speaks in BOTH {
        let (known, unknown) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, unknown.server(None));
        for variable in ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            let agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
                    (variable, known.file().as_text()),
                ],
                &["--interval", "20ms"],
            );
            let line = agent.log.wait("cannot push over OTLP");
            assert!(
                line.contains("invalid peer certificate: UnknownIssuer"),
                "{speaks:?} {variable}: {line}"
            );
            assert!(line.contains(&receiver.url()), "{line}");
            assert_eq!(receiver.received().len(), 0);
        }
    }
}

#[test]
fn the_client_certificate_is_shown_to_a_receiver_that_wants_one() {
    for speaks in BOTH {
        let (authority, clients) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, authority.server(Some(&clients)));
        let (ca, (certificate, key)) = (authority.file(), clients.sign("client"));
        let endpoint = receiver.url();
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
        ];
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("connscope.yaml");
        let [ca, certificate, key] = [&ca, &certificate, &key].map(AsText::as_text);
        let tls = format!("{{ca_file: {ca}, cert_file: {certificate}, key_file: {key}}}");
        std::fs::write(&path, format!("export: {{otlp: {{tls: {tls}}}}}\n")).expect("writing");
        let agent = Agent::start(&variables, &["--config", path.as_text()]);
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
        drop(agent);

        variables.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", ca));
        let before = receiver.received().len();
        let agent = Agent::start(&variables, &[]);
        let line = agent.log.wait("cannot push over OTLP");
        // With TLS 1.3 the client may notice that the connection is closed before it reads why.
        assert!(line.contains("error.type=\"connection\""), "{speaks:?}: {line}");
        drop(agent);
        assert_eq!(receiver.received().len(), before, "without a certificate");

        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate));
        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key));
        let _agent = Agent::start(&variables, &[]);
        assert_eq!(found(&receiver.nth(before).request), Some(1), "{speaks:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_bad_input() {
    let directory = tempfile::tempdir().expect("a directory");
    let garbage = directory.path().join("ca.pem");
    std::fs::write(&garbage, "no certificate").expect("writing");
    for speaks in BOTH {
        for (path, words) in [("/nowhere/ca.pem", "No such file"), (garbage.as_text(), "not a PEM file")] {
            let mut agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ("OTEL_EXPORTER_OTLP_CERTIFICATE", path),
                ],
                &[],
            );
            assert_eq!(agent.exit().code(), Some(2));
            let line = agent.log.wait("export.otlp.tls.ca_file");
            assert!(line.contains(path) && line.contains(words), "{line}");
        }
    }
}

#[test]
fn a_machine_without_any_authority_can_push_where_no_tls_is_asked_for() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("SSL_CERT_FILE", "/dev/null"),
            ],
            &[],
        );
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
    }
}

#[test]
fn the_scheme_may_be_written_in_capitals() {
    for speaks in BOTH {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(speaks, authority.server(None));
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url().replace("https", "HTTPS")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.file().as_text()),
            ],
            &[],
        );
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
    }
}

// ---- what is too much for one message ----

#[test]
fn a_collection_larger_than_a_message_arrives_in_several_and_whole() {
    const CPUS: u64 = 200;
    const NAMESPACES: u64 = 100;
    let name = |netns: u64| format!("{netns}-{}", "x".repeat(280));
    let count = |cpu: u64, netns: u64| (1 << 40) + cpu * NAMESPACES + netns;
    let receiver = Receiver::start(Speaks::Grpc);
    let limits = Limits { cpus: 200, namespaces: 100, sources: 1, ..Limits::default() };
    let push = Push::start(&receiver, Duration::from_mins(1), limits, move |out| {
        for netns in 0..NAMESPACES {
            let label = (Label::Netns, Arc::from(name(netns)));
            out.observe(metrics::CONNTRACK_TABLE_USAGE, std::slice::from_ref(&label), netns);
            for cpu in 0..CPUS {
                let labels = [(Label::Cpu, cpu.to_string().into()), label.clone()];
                out.observe(metrics::CONNTRACK_DROP, &labels, count(cpu, netns));
                if cpu < 20 {
                    out.observe(metrics::CONNTRACK_FOUND, &labels, count(cpu, netns));
                }
            }
        }
    });
    push.cycle().expect("taken");
    let received = receiver.received();
    assert!(received.len() > 1, "one message was enough");
    let mut drops = BTreeMap::new();
    let mut founds = 0;
    for received in &received {
        assert!(received.request.encoded_len() <= MOST_BYTES);
        assert_as_in_the_table(&received.request);
        assert_eq!(resource_of(&received.request)["service.name"], "connscope");
        for metric in metrics_of(&received.request) {
            founds += if metric.name == "conntrack.found" { numbers(metric).len() } else { 0 };
            for point in numbers(metric).iter().filter(|_| metric.name == "conntrack.drop") {
                let mut attributes = text(&point.attributes);
                let key = (attributes.remove("cpu"), attributes.remove("netns"));
                assert!(drops.insert(key, point.value).is_none(), "a point came twice");
            }
        }
    }
    let expected: BTreeMap<_, _> = (0..CPUS)
        .flat_map(|cpu| (0..NAMESPACES).map(move |netns| (cpu, netns)))
        .map(|(cpu, netns)| {
            let value = Value::AsInt(count(cpu, netns).cast_signed());
            ((Some(cpu.to_string()), Some(name(netns))), Some(value))
        })
        .collect();
    assert!(drops == expected, "{} points of {}", drops.len(), expected.len());
    assert_eq!(founds, 2000);
    let sent: u64 = received.iter().map(|received| points(&received.request)).sum();

    push.cycle().expect("taken");
    let after: Vec<_> = receiver.received().into_iter().skip(received.len()).collect();
    let told: u64 = after.iter().map(|received| exported(&received.request, None)).sum();
    assert_eq!(told, sent, "all of them are counted as sent");
}

mod splitting {
    use super::*;
    use proptest::prelude::*;

    fn attribute(text: &str) -> Vec<KeyValue> {
        let value = any_value::Value::StringValue(text.to_owned());
        vec![KeyValue {
            key: "cpu".to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..Default::default()
        }]
    }

    fn number(width: usize, time: u64) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attribute(&"y".repeat(width)),
            time_unix_nano: time,
            value: Some(Value::AsInt(7)),
            ..Default::default()
        }
    }

    /// Metrics of every kind the agent sends, their points numbered by their time.
    fn a_metric() -> impl Strategy<Value = Metric> {
        (0..3u8, "[a-z.]{1,40}", prop::collection::vec(0..300usize, 0..60)).prop_map(
            |(kind, name, widths)| {
                let times = widths.into_iter().zip(1u64..);
                let data = match kind {
                    0 => Data::Gauge(Gauge { data_points: times.map(|(w, t)| number(w, t)).collect() }),
                    1 => Data::Sum(Sum {
                        data_points: times.map(|(w, t)| number(w, t)).collect(),
                        aggregation_temporality: AggregationTemporality::Cumulative as i32,
                        is_monotonic: true,
                    }),
                    _ => Data::Histogram(Histogram {
                        data_points: times
                            .map(|(width, time)| HistogramDataPoint {
                                attributes: attribute(&"z".repeat(width)),
                                time_unix_nano: time,
                                bucket_counts: vec![1, 2, 3],
                                explicit_bounds: vec![0.5, 1.0],
                                count: 6,
                                ..Default::default()
                            })
                            .collect(),
                        aggregation_temporality: AggregationTemporality::Cumulative as i32,
                    }),
                };
                let (description, unit) = ("What it is.".to_owned(), "{packet}".to_owned());
                Metric { name, description, unit, data: Some(data), ..Default::default() }
            },
        )
    }

    fn around(metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
        let scope = InstrumentationScope { name: "connscope".to_owned(), ..Default::default() };
        let scope = ScopeMetrics { scope: Some(scope), metrics, ..Default::default() };
        let resource = opentelemetry_proto::tonic::resource::v1::Resource {
            attributes: attribute("the resource"),
            ..Default::default()
        };
        let resource =
            ResourceMetrics { resource: Some(resource), scope_metrics: vec![scope], ..Default::default() };
        ExportMetricsServiceRequest { resource_metrics: vec![resource] }
    }

    /// Everything in it, a data point a line, with what it belongs to.
    fn flat(request: &ExportMetricsServiceRequest) -> Vec<String> {
        let mut flat = Vec::new();
        for resource in &request.resource_metrics {
            for scope in &resource.scope_metrics {
                for metric in &scope.metrics {
                    let mut bare = metric.clone();
                    let points: Vec<String> = match bare.data.as_mut().expect("data") {
                        Data::Gauge(data) => data.data_points.drain(..).map(|p| format!("{p:?}")).collect(),
                        Data::Sum(data) => data.data_points.drain(..).map(|p| format!("{p:?}")).collect(),
                        Data::Histogram(data) => {
                            data.data_points.drain(..).map(|p| format!("{p:?}")).collect()
                        }
                        other => panic!("{other:?}"),
                    };
                    let of = format!("{:?} {:?} {bare:?}", resource.resource, scope.scope);
                    flat.extend(points.into_iter().map(|point| format!("{of} {point}")));
                }
            }
        }
        flat
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn nothing_is_lost_nothing_comes_twice_and_the_order_stays(
            metrics in prop::collection::vec(a_metric(), 0..12),
            most in 1usize..12_000,
        ) {
            let request = around(metrics);
            let messages = split(request.clone(), most);
            let whole: Vec<String> = messages.iter().flat_map(flat).collect();
            prop_assert_eq!(whole, flat(&request));
            prop_assert_eq!(messages.iter().map(points).sum::<u64>(), points(&request));
            for message in &messages {
                let length = message.encoded_len();
                let single = points(message) <= 1;
                prop_assert!(length <= most || single, "{} bytes where {} are the most", length, most);
            }
        }
    }

    #[test]
    fn what_fits_stays_together_to_the_last_byte() {
        let metric = |name: &str| Metric {
            name: name.to_owned(),
            data: Some(Data::Gauge(Gauge { data_points: (1..50).map(|time| number(20, time)).collect() })),
            ..Default::default()
        };
        let request = around(vec![metric("one"), metric("two")]);
        let length = request.encoded_len();
        assert_eq!(split(request.clone(), length), std::slice::from_ref(&request));
        let messages = split(request.clone(), length - 1);
        assert_eq!(messages.len(), 2, "between the metrics, where that is enough");
        assert_eq!(messages[0], around(vec![metric("one")]));
        assert_eq!(messages[1], around(vec![metric("two")]));
    }

    #[test]
    fn a_point_larger_than_a_message_is_left_to_the_receiver() {
        let points = vec![number(10, 1), number(2000, 2), number(10, 3)];
        let metric = Metric {
            name: "one".to_owned(),
            data: Some(Data::Gauge(Gauge { data_points: points })),
            ..Default::default()
        };
        let messages = split(around(vec![metric]), 1000);
        let lengths: Vec<usize> = messages.iter().map(Message::encoded_len).collect();
        assert_eq!(lengths.len(), 3, "{lengths:?}");
        assert_eq!(lengths.iter().filter(|length| **length > 1000).count(), 1);
    }
}

// ---- a receiver that is not there, or does not want it ----

#[test]
fn after_an_outage_the_counters_are_right_and_the_failed_points_are_counted() {
    let receiver = Receiver::start(Speaks::Grpc);
    let cycles = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&cycles);
    let push = Push::start(&receiver, Duration::from_secs(1), FEW, move |out| {
        let cycle = counted.fetch_add(1, Ordering::Relaxed) + 1;
        out.observe(metrics::CONNTRACK_DROP, &[(Label::Cpu, "0".into())], (1 << 40) * cycle);
    });
    push.cycle().expect("taken");
    push.cycle().expect("taken");
    receiver.down();
    for _ in 0..3 {
        push.cycle().expect_err("nobody is there");
    }
    receiver.up();
    push.cycle().expect("taken");
    push.cycle().expect("taken");

    let received = receiver.received();
    let [first, second, back, last] = received.as_slice() else { panic!("{} requests", received.len()) };
    let drops = |received: &Received| value(&received.request, "conntrack.drop", &[]);
    assert_eq!(drops(second), Some(Value::AsInt(2 << 40)));
    assert_eq!(drops(back), Some(Value::AsInt(6 << 40)), "what was counted meanwhile is there");
    let [first, second, after] = [first, second, back].map(|received| points(&received.request));
    // A failure has a series of its own in the counter and in the histogram, from the cycle after it on.
    assert_eq!(after, second + 2);
    assert_eq!(exported(&back.request, Some("connection")), second + 2 * after);
    assert_eq!(exported(&back.request, None), first + second);
    assert_eq!(exported(&last.request, Some("connection")), second + 2 * after);
    assert_eq!(exported(&last.request, None), first + second + after);
    assert_eq!(
        value(&last.request, "otel.sdk.exporter.metric_data_point.inflight", &[]),
        Some(Value::AsInt(0))
    );
    let Some(Data::Histogram(durations)) =
        &metric(&last.request, "otel.sdk.exporter.operation.duration").data
    else {
        panic!("no histogram")
    };
    let counts: BTreeMap<Option<String>, u64> = durations
        .data_points
        .iter()
        .map(|point| (text(&point.attributes).remove("error.type"), point.count))
        .collect();
    assert_eq!(counts, BTreeMap::from([(None, 3), (Some("connection".to_owned()), 3)]));
}

#[test]
fn an_outage_is_one_warning_and_its_end_one_line() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ],
            &["--interval", "50ms"],
        );
        receiver.nth(0);
        // What the receiver has is not yet what the agent knows.
        agent.log.wait("pushing over OTLP");
        receiver.down();
        agent.log.wait("cannot push over OTLP");
        agent.print(77);
        let runs = agent.runs();
        let deadline = Instant::now() + PATIENCE;
        while agent.runs() < runs + 4 {
            assert!(Instant::now() < deadline, "no more cycles");
            std::thread::sleep(Duration::from_millis(5));
        }
        receiver.up();
        let line = agent.log.wait("pushing over OTLP again");
        let before = receiver.received().len();
        let received = receiver.nth(before);
        assert_eq!(found(&received.request), Some(77));
        let left = agent.terminate();
        let warnings = left.warnings();
        assert_eq!(warnings.len(), 1, "{speaks:?}: {:#?}", left.log);
        assert!(warnings[0].contains("refused") || warnings[0].contains("no answer"), "{}", warnings[0]);
        assert_eq!(left.count("pushing over OTLP"), 2, "once at the start, once when it is back");
        let failed = line.split("failed=").nth(1).and_then(|rest| rest.split(' ').next());
        let failed: u64 = failed.and_then(|failed| failed.parse().ok()).expect("a number");
        assert!(failed >= 3, "{line}");
    }
}

#[test]
fn only_what_may_pass_is_tried_again_within_the_export() {
    let grpc = |code| Status::Grpc(code);
    let cases = [
        (
            Speaks::Grpc,
            [
                Code::Unknown,
                Code::InvalidArgument,
                Code::NotFound,
                Code::PermissionDenied,
                Code::ResourceExhausted,
                Code::Unimplemented,
                Code::Internal,
                Code::Unauthenticated,
            ]
            .map(grpc)
            .to_vec(),
            [
                Code::Unavailable,
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::DataLoss,
            ]
            .map(grpc)
            .to_vec(),
        ),
        (
            Speaks::Http,
            [400, 401, 403, 404, 408, 413, 500, 501].map(Status::Http).to_vec(),
            [429, 502, 503, 504].map(Status::Http).to_vec(),
        ),
    ];
    for (speaks, last_word, passing) in cases {
        let receiver = Receiver::start(speaks);
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "10ms"],
        );
        for (status, again) in last_word
            .into_iter()
            .map(|status| (status, false))
            .chain(passing.into_iter().map(|status| (status, true)))
        {
            let behaviour = Behaviour::Refuse { status, message: "no", retry_after: None };
            receiver.behave(behaviour);
            // The same message twice is another try; another cycle has other times in it.
            let tries = receiver.wait("three refusals", |received| {
                let refused = received.iter().filter(|received| received.behaviour == behaviour);
                let requests: Vec<_> = refused.map(Arc::clone).take(3).collect();
                (requests.len() == 3).then_some(requests)
            });
            let repeated = tries.windows(2).any(|pair| pair[0].request == pair[1].request);
            assert_eq!(repeated, again, "{status:?}");
        }
        receiver.behave(Behaviour::Accept);
        agent.log.wait("pushing over OTLP again");
        let left = agent.terminate();
        assert_eq!(left.warnings().len(), 1, "{:#?}", left.log);
    }
}

#[test]
fn a_receiver_that_says_when_is_asked_again_then() {
    let cases = [
        (Speaks::Grpc, Status::Grpc(Code::ResourceExhausted)),
        (Speaks::Grpc, Status::Grpc(Code::Unavailable)),
        (Speaks::Http, Status::Http(503)),
        (Speaks::Http, Status::Http(429)),
    ];
    std::thread::scope(|scope| {
        for (speaks, status) in cases {
            scope.spawn(move || {
                let receiver = Receiver::start(speaks);
                let after = Duration::from_secs(1);
                receiver.behave(Behaviour::Refuse { status, message: "later", retry_after: Some(after) });
                let agent = Agent::start(
                    &[
                        ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ],
                    &["--interval", "1h"],
                );
                let first = receiver.nth(0);
                receiver.behave(Behaviour::Accept);
                let second = receiver.nth(1);
                assert_eq!(first.request, second.request);
                assert!(second.at - first.at >= after, "{status:?}: after {:?}", second.at - first.at);
                agent.log.wait("pushing over OTLP");
                assert_eq!(agent.terminate().warnings(), Vec::<&String>::new());
            });
        }
    });
}

#[test]
fn a_receiver_that_says_never_does_not_break_the_export() {
    for (speaks, status) in
        [(Speaks::Grpc, Status::Grpc(Code::Unavailable)), (Speaks::Http, Status::Http(503))]
    {
        let receiver = Receiver::start(speaks);
        let retry_after = Some(Duration::from_secs(u64::MAX));
        receiver.behave(Behaviour::Refuse { status, message: "never", retry_after });
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "20ms"],
        );
        let line = agent.log.wait("cannot push over OTLP");
        assert!(line.contains("never"), "{line}");
        receiver.behave(Behaviour::Accept);
        agent.log.wait("pushing over OTLP again");
        assert!(agent.terminate().status.success());
    }
}

#[test]
fn rejected_points_are_counted_and_warned_of_once() {
    let receiver = Receiver::start(Speaks::Grpc);
    let push = Push::start(&receiver, PATIENCE, FEW, nothing);
    receiver.behave(Behaviour::Partial { rejected: 3, message: "too old" });
    push.cycle().expect_err("three are gone");
    receiver.behave(Behaviour::Accept);
    push.cycle().expect("taken");
    let received = receiver.received();
    let sent = points(&received[0].request);
    assert_eq!(received.len(), 2, "a partial success is not tried again");
    assert_eq!(exported(&received[1].request, Some("rejected")), 3);
    assert_eq!(exported(&received[1].request, None), sent - 3);

    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        receiver.behave(Behaviour::Partial { rejected: 3, message: "too old\nor too new" });
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "20ms"],
        );
        let received = receiver.nth(3);
        assert_eq!(exported(&received.request, Some("rejected")), 9, "{speaks:?}");
        let left = agent.terminate();
        let warnings = left.warnings();
        assert_eq!(warnings.len(), 1, "{:#?}", left.log);
        let sent = points(&receiver.nth(0).request);
        let words = format!("rejected 3 of {sent} data points: too old");
        assert!(warnings[0].contains(&words), "{}", warnings[0]);
        assert!(warnings[0].contains("or too new"), "on one line: {:#?}", left.log);
    }
}

#[test]
fn what_a_receiver_says_stays_on_one_line_of_the_log() {
    for (speaks, status) in
        [(Speaks::Grpc, Status::Grpc(Code::PermissionDenied)), (Speaks::Http, Status::Http(403))]
    {
        let receiver = Receiver::start(speaks);
        let message = "no token\nERROR not from here";
        receiver.behave(Behaviour::Refuse { status, message, retry_after: None });
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &[],
        );
        let line = agent.log.wait("cannot push over OTLP");
        assert!(line.contains("no token") && line.contains("not from here"), "{line}");
    }
}

#[test]
fn a_connection_that_breaks_under_a_message_is_made_again() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        receiver.behave(Behaviour::Close);
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "1h"],
        );
        let first = receiver.nth(0);
        receiver.behave(Behaviour::Accept);
        let line = agent.log.wait("push");
        assert!(line.contains("pushing over OTLP"), "{speaks:?}: {line}");
        assert_eq!(receiver.nth(1).request, first.request);
    }
}

// ---- time ----

#[test]
fn an_export_ends_at_its_time_out_and_the_next_cycle_tries_again() {
    let receiver = Receiver::start(Speaks::Grpc);
    let timeout = Duration::from_millis(300);
    let push = Push::start(&receiver, timeout, FEW, nothing);
    push.cycle().expect("taken");
    receiver.behave(Behaviour::Hang);
    let began = Instant::now();
    push.cycle().expect_err("no answer");
    let took = began.elapsed();
    assert!(took >= timeout && took < timeout * 5, "{took:?}");
    receiver.behave(Behaviour::Accept);
    push.cycle().expect("taken");
    let received = receiver.received();
    assert_eq!(received.len(), 3, "what hangs is not tried again: its time is over");
    assert_eq!(exported(&received[2].request, Some("timeout")), points(&received[1].request));
}

/// Runs the agent against a receiver that does this, tells it to leave once the first message is there, and says
/// how it left.
fn leave(receiver: &Receiver, speaks: Speaks, behaviour: Behaviour) -> Left {
    receiver.behave(behaviour);
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
        ],
        &["--interval", "1h"],
    );
    receiver.nth(0);
    // Nothing tells when the agent has the answer.
    std::thread::sleep(Duration::from_millis(100));
    agent.terminate()
}

#[test]
fn a_receiver_that_hangs_does_not_keep_the_agent_from_leaving() {
    std::thread::scope(|scope| {
        for speaks in BOTH {
            scope.spawn(move || {
                let left = leave(&Receiver::start(speaks), speaks, Behaviour::Hang);
                assert!(left.took < Duration::from_secs(5), "{speaks:?}: {:?}", left.took);
                assert!(left.status.success());
                assert_eq!(left.count("given up, the agent is stopping"), 1, "{:#?}", left.log);
            });
        }
    });
}

#[test]
fn a_pause_between_two_tries_ends_when_the_agent_leaves() {
    for (speaks, status) in
        [(Speaks::Grpc, Status::Grpc(Code::Unavailable)), (Speaks::Http, Status::Http(503))]
    {
        let receiver = Receiver::start(speaks);
        let retry_after = Some(Duration::from_secs(30));
        let left = leave(&receiver, speaks, Behaviour::Refuse { status, message: "later", retry_after });
        assert!(left.took < Duration::from_secs(2), "{speaks:?}: {:?}", left.took);
        let received = receiver.received();
        assert_ne!(
            received.first().map(|received| &received.request),
            received.last().map(|received| &received.request),
            "{speaks:?}: the last values were not sent"
        );
    }
}

#[test]
fn the_last_values_are_flushed_when_the_agent_leaves() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "1h"],
        );
        assert_eq!(found(&receiver.nth(0).request), Some(1));
        agent.print(4_000_000_000);
        let left = agent.terminate();
        assert!(left.status.success());
        assert!(left.took < Duration::from_secs(2), "{speaks:?}: {:?}", left.took);
        let received = receiver.received();
        assert_eq!(received.len(), 2, "{speaks:?}");
        assert_eq!(found(&received[1].request), Some(4_000_000_000));
    }
}
