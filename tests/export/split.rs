//! A collection that is too much for one message goes out in several.

use super::push::Push;
use super::request::{
    assert_as_in_the_table, exported, metrics_of, numbers, points, points_of, resource_of, text,
};
use crate::support::receiver::{Behaviour, Receiver, Speaks};
use crate::support::table::table;
use connscope::export::encode::pack::{Frame, MAX_BYTES, Packer};
use connscope::metric::Label;
use connscope::source::conntrack::metrics;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn a_collection_larger_than_a_message_arrives_in_several_and_whole() {
    const CPUS: u64 = 200;
    const NAMESPACES: u64 = 100;
    let name = |netns: u64| format!("{netns}-{}", "x".repeat(280));
    let count = |cpu: u64, netns: u64| (1 << 40) + cpu * NAMESPACES + netns;
    let receiver = Receiver::start(Speaks::Grpc);
    let push = Push::start(&receiver, Duration::from_mins(1), table(200, 100), move |out| {
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
        assert!(received.request.encoded_len() <= MAX_BYTES);
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

#[test]
fn a_message_that_is_not_answered_leaves_the_others_their_time() {
    const SERIES: u64 = 12_000;
    let receiver = Receiver::start(Speaks::Grpc);
    let timeout = Duration::from_secs(12);
    let push = Push::start(&receiver, timeout, table(200, 100), move |out| {
        for series in 0..SERIES {
            let netns = format!("{}-{}", series % 100, "x".repeat(480));
            let labels = [(Label::Cpu, (series / 100).to_string().into()), (Label::Netns, netns.into())];
            out.observe(metrics::CONNTRACK_DROP, &labels, series);
        }
    });
    receiver.behave(Behaviour::Hang);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let cycle = scope.spawn(|| push.cycle());
        let silent = receiver.nth(0);
        receiver.behave(Behaviour::Accept);
        cycle.join().expect("no panic").expect_err("one message was not answered");
        assert!(began.elapsed() >= timeout / 4, "the first message had its share of the time");
        let received = receiver.received();
        assert!(received.len() > 1, "the messages after it were sent");
        push.cycle().expect("taken");
        let later = receiver.received();
        let told = |error| -> u64 {
            later[received.len()..].iter().map(|received| exported(&received.request, error)).sum()
        };
        assert_eq!(told(Some("timeout")), points(&silent.request));
        assert_eq!(told(None), received[1..].iter().map(|received| points(&received.request)).sum::<u64>());
    });
}

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
    (0..3u8, "[a-z.]{1,40}", prop::collection::vec(0..300usize, 0..60)).prop_map(|(kind, name, widths)| {
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
    })
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

/// Packs a request of one scope, metric by metric.
fn split(request: &ExportMetricsServiceRequest, most: usize) -> Vec<ExportMetricsServiceRequest> {
    let [resource] = request.resource_metrics.as_slice() else { panic!("{request:?}") };
    let [scope] = resource.scope_metrics.as_slice() else { panic!("{request:?}") };
    let frame = Frame {
        resource: ResourceMetrics { scope_metrics: Vec::new(), ..resource.clone() }.encode_to_vec(),
        scope: ScopeMetrics { metrics: Vec::new(), ..scope.clone() }.encode_to_vec(),
        ..Frame::default()
    };
    let mut packer = Packer::new(frame, most);
    for metric in &scope.metrics {
        packer.add(|out| {
            metric.encode(out).expect("room");
            points_of(metric) as u64
        });
    }
    let messages = packer.finish();
    messages
        .iter()
        .map(|message| {
            let request = ExportMetricsServiceRequest::decode(message.bytes.clone()).expect("protobuf");
            assert_eq!(message.points, points(&request));
            assert_eq!(message.bytes, request.encode_to_vec(), "as the encoder writes it");
            request
        })
        .collect()
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
                    Data::Histogram(data) => data.data_points.drain(..).map(|p| format!("{p:?}")).collect(),
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
        let messages = split(&request, most);
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
    assert_eq!(split(&request, length), std::slice::from_ref(&request));
    let messages = split(&request, length - 1);
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
    let messages = split(&around(vec![metric]), 1000);
    let lengths: Vec<usize> = messages.iter().map(Message::encoded_len).collect();
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert_eq!(lengths.iter().filter(|length| **length > 1000).count(), 1);
}
