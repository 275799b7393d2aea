//! What is sent: every kind of instrument, every compression, the resource.

use super::program::{Agent, BOTH, found, protocol};
use super::push::{Push, few};
use super::request::{
    EXPORTED, assert_as_in_the_table, exported, metric, numbers, points, resource_of, text, value,
};
use crate::support::PATIENCE;
use crate::support::receiver::{Receiver, Speaks};
use connscope::metric::Label;
use connscope::source::conntrack::metrics;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn every_kind_of_instrument_arrives_as_what_it_is() {
    let receiver = Receiver::start(Speaks::Grpc);
    let push = Push::start(&receiver, PATIENCE, few(), |out| {
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
    assert_eq!(left.count("delta temporality is not supported; connscope exports cumulative"), 1);
}
