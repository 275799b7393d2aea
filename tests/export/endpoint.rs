//! Where it is sent, by flag, variable and file, and by which exporters.

use super::program::{Agent, AsText, found};
use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::receiver::{Receiver, Speaks};
use connscope::catalog::Config;
use connscope::config::Flags;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use std::io::{Read, Write};
use std::net::TcpStream;

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
    agent.log.wait("nothing is exported");
    drop(agent);
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
