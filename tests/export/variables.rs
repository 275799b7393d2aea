//! The variables of the specification, their secrets, and the names they bring into an exposition.

use super::program::Agent;
use crate::support::{command, get};
use connscope::catalog::Config;
use connscope::config::{Compression, Flags, Protocol};
use connscope::export::{otlp, resource};
use connscope::metric::Label;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Output;
use std::time::Duration;

fn try_load(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    Config::load(None, &variable, &Flags::default()).map_err(|error| error.to_string())
}

fn load(variables: &[(&str, &str)]) -> Config {
    try_load(variables).expect("a configuration")
}

fn endpoint(variables: &[(&str, &str)]) -> String {
    load(variables).export.otlp.endpoint.expect("an endpoint")
}

#[test]
fn enumerated_values_are_read_without_regard_to_case() {
    let config = load(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "HTTP/Protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", " GZIP "),
        ("OTEL_METRICS_EXPORTER", "OTLP,Prometheus"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "BASE2_exponential_bucket_histogram"),
        ("OTEL_SDK_DISABLED", "False"),
        ("OTEL_LOG_LEVEL", "Debug"),
    ]);
    assert_eq!(config.export.otlp.protocol, Protocol::HttpProtobuf);
    assert_eq!(config.export.otlp.compression, Compression::Gzip);
    assert_eq!(config.environment.temporality, None);
    assert!(config.environment.exponential_histograms);
    let config = load(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"), ("OTEL_METRICS_EXPORTER", "NONE")]);
    assert_eq!(config.export.otlp.protocol, Protocol::None);
}

#[test]
fn a_time_out_of_zero_is_no_limit() {
    let timeout = |variables: &[(&str, &str)]| load(variables).export.otlp.timeout;
    assert_eq!(timeout(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]), Duration::ZERO);
    let both =
        |one, other| timeout(&[("OTEL_EXPORTER_OTLP_TIMEOUT", one), ("OTEL_METRIC_EXPORT_TIMEOUT", other)]);
    assert_eq!(both("0", "0"), Duration::ZERO);
    assert_eq!(both("0", "300"), Duration::from_millis(300));
    assert_eq!(both("300", "0"), Duration::from_millis(300));
    assert_eq!(both("300", "200"), Duration::from_millis(200));
    assert!(try_load(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "-1")]).is_err());
    let printed = load(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]).print();
    let again = Config::parse(&printed, "printed".as_ref()).expect("what is printed is a configuration");
    assert_eq!(again.export.otlp.timeout, Duration::ZERO);
}

#[test]
fn the_path_of_the_signal_goes_before_the_query() {
    for (base, url) in [
        ("http://h:4318/base?tenant=a", "http://h:4318/base/v1/metrics?tenant=a"),
        ("http://h:4318/base/?tenant=a/b", "http://h:4318/base/v1/metrics?tenant=a/b"),
        ("http://h:4318?tenant=a", "http://h:4318/v1/metrics?tenant=a"),
        ("http://h:4318/v1/metrics?tenant=a", "http://h:4318/v1/metrics?tenant=a"),
        ("http://h:4318/base#part", "http://h:4318/base/v1/metrics"),
    ] {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", base), http]), url);
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", base), http]), base);
    }
}

#[test]
fn a_unix_socket_is_an_endpoint_for_grpc() {
    for taken in ["unix:/run/otlp.sock", "unix:///run/otlp.sock"] {
        let config = load(&[("OTEL_EXPORTER_OTLP_ENDPOINT", taken)]);
        let labels = otlp::labels(&config.export.otlp);
        let address = labels.iter().find(|(label, _)| *label == Label::ServerAddress);
        assert_eq!(address.map(|(_, address)| &**address), Some("/run/otlp.sock"));
        assert!(labels.iter().all(|(label, _)| *label != Label::ServerPort));
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let why = try_load(&[("OTEL_EXPORTER_OTLP_ENDPOINT", taken), http]).expect_err("not over HTTP");
        assert!(why.contains("is a Unix socket, which is for grpc"), "{why}");
    }
    let long = format!("unix:/{}", "a".repeat(107));
    for refused in
        ["unix:", "unix:/", "unix:run/otlp.sock", "unix://host/run/otlp.sock", &long, "unix-abstract:a"]
    {
        try_load(&[("OTEL_EXPORTER_OTLP_ENDPOINT", refused)]).expect_err(refused);
    }
}

#[test]
fn the_address_of_a_receiver_has_no_brackets() {
    let config = load(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[2001:db8::1]:4317")]);
    let labels = otlp::labels(&config.export.otlp);
    let value = |label| labels.iter().find(|(there, _)| *there == label).map(|(_, value)| value.to_string());
    assert_eq!(value(Label::ServerAddress).as_deref(), Some("2001:db8::1"));
    assert_eq!(value(Label::ServerPort).as_deref(), Some("4317"));
}

#[test]
fn headers_and_attributes_are_decoded_once() {
    let config = load(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "x%2Dtenant=a%252Cb,%78%2525=%C3%BC"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a%2Cb=c%253D"),
    ]);
    let headers: Vec<_> =
        config.export.otlp.headers.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("x%25", "ü"), ("x-tenant", "a%2Cb")]);
    assert_eq!(config.environment.resource, [("a,b".to_owned(), "c%3D".to_owned())]);
}

fn run(arguments: &[&OsStr], variables: &[(&str, &OsStr)]) -> Output {
    command(&[]).args(arguments).envs(variables.iter().copied()).output().expect("the program")
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused_by_name() {
    let wrong = OsString::from(OsStr::from_bytes(b"service.name=a\xff\x1b[2J"));
    for name in [
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_METRICS_EXPORTER",
    ] {
        let output = run(&["config".as_ref()], &[(name, &wrong)]);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(name) && said.contains("is not UTF-8"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    // One that nobody reads is nobody's business.
    assert!(run(&["config".as_ref()], &[("OTEL_BSP_SCHEDULE_DELAY", &wrong)]).status.success());
    let proxied = run(
        &[
            "run",
            "--otlp-protocol",
            "http/protobuf",
            "--otlp-endpoint",
            "http://c.invalid",
            "--listen",
            "off",
        ]
        .map(OsStr::new),
        &[("HTTP_PROXY", &wrong)],
    );
    assert_eq!(proxied.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&proxied.stderr).contains("HTTP_PROXY: is not UTF-8"));
}

#[test]
fn of_a_variable_that_may_hold_a_secret_only_the_name_is_printed() {
    for name in
        ["OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"]
    {
        for wrong in ["hunter2", "a=b,hunter2", "=hunter2", "a=hunter2%FF", "a=hunter2%0A\u{1}, b"] {
            let why = try_load(&[(name, wrong)]).expect_err(wrong);
            assert!(why.starts_with(&format!("{name}=")) && !why.contains("hunter2"), "{why}");
        }
    }
    let wrong = OsString::from(OsStr::from_bytes(b"hunter2\xff"));
    for name in ["OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_CLIENT_KEY"] {
        let said = run(&["config".as_ref()], &[(name, &wrong)]).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn secrets_of_an_endpoint_are_never_printed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("connscope.yaml");
    for secret in [
        "http://user:hunter2@127.0.0.1:1",
        "http://user:hun/hunter2@127.0.0.1:1",
        "ftp://user:hunter2@127.0.0.1",
        "user:hunter2@127.0.0.1:1",
        "http://127.0.0.1:1/v1/metrics?key=hunter2",
        "http://127.0.0.1:1 /?key=hunter2",
    ] {
        std::fs::write(&file, format!("export: {{otlp: {{endpoint: \"{secret}\"}}}}\n")).expect("writing");
        let outputs = [
            run(&["config".as_ref()], &[("OTEL_EXPORTER_OTLP_ENDPOINT", secret.as_ref())]),
            run(&["config".as_ref()], &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", secret.as_ref())]),
            run(&["config".as_ref(), "--config".as_ref(), file.as_os_str()], &[]),
            run(&["config", "--otlp-endpoint", secret].map(OsStr::new), &[]),
        ];
        for output in outputs {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains("hunter2"), "{secret}: {said}");
        }
    }
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/?key=hunter2"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
        ],
        &["--interval", "20ms"],
    );
    agent.log.wait("cannot push over OTLP");
    assert_eq!(agent.terminate().count("hunter2"), 0);
}

#[test]
fn resource_attributes_are_labels_that_prometheus_takes() {
    let attributes = "aws:cloudformation:stack-name=s,1st=a,__name__=b,_c=c,b%C3%BCr%C3%B6=d,a.b=1,a%2Db=2,%22%7D=q\"\\,le=x,quantile=y";
    let mut agent = Agent::start_with(
        &[("OTEL_RESOURCE_ATTRIBUTES", attributes), ("OTEL_METRICS_EXPORTER", "prometheus")],
        &["--listen", "127.0.0.1:0"],
    );
    let (status, answer) = get(agent.address(), "/metrics");
    assert_eq!(status, 200, "{answer}");
    let info = answer.lines().find(|line| line.starts_with("target_info{")).expect("target_info");
    for label in [
        "aws_cloudformation_stack_name=\"s\"",
        "key_1st=\"a\"",
        "key__name__=\"b\"",
        "key_c=\"c\"",
        "b_r_=\"d\"",
        "a_b=\"2;1\"",
        "key__=\"q\\\"\\\\\"",
        "key_le=\"x\"",
        "key_quantile=\"y\"",
        "service_name=\"connscope\"",
    ] {
        assert!(
            info.contains(&format!("{{{label}")) || info.contains(&format!(",{label}")),
            "{label}: {info}"
        );
    }
}

#[test]
fn any_attribute_is_a_label_that_prometheus_takes() {
    use opentelemetry::KeyValue;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    let keys = prop::collection::vec("\\PC{1,8}|le|quantile", 1..8);
    let tried = TestRunner::default().run(&keys, |keys| {
        let attributes = keys.iter().map(|key| KeyValue::new(key.clone(), "x"));
        let resource = opentelemetry_sdk::Resource::builder_empty().with_attributes(attributes).build();
        for (key, _) in &resource::for_prometheus(&resource) {
            let name = key.as_str();
            prop_assert!(!name.starts_with(|one: char| one.is_ascii_digit() || one == '_'), "{}", name);
            prop_assert!(name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_'), "{}", name);
            prop_assert!(!matches!(name, "le" | "quantile"), "{}", name);
        }
        Ok(())
    });
    tried.expect("every key");
}
