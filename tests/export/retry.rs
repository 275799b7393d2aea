//! A receiver that is not there, or refuses for now: what is tried again, when, and what is counted.

use super::program::{Agent, BOTH, found, protocol};
use super::push::{Push, few};
use super::request::{exported, metric, points, text, value};
use crate::support::PATIENCE;
use crate::support::receiver::{Behaviour, Received, Receiver, Speaks, Status};
use connscope::metric::Label;
use connscope::source::conntrack::metrics;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::Code;

#[test]
fn after_an_outage_the_counters_are_right_and_the_failed_points_are_counted() {
    let receiver = Receiver::start(Speaks::Grpc);
    let cycles = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&cycles);
    let push = Push::start(&receiver, Duration::from_secs(1), few(), move |out| {
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
        // A cause that is new has a line, and has it once.
        let causes: Vec<&str> =
            left.warnings().iter().map(|line| line.split("error.type=").nth(1).expect("a type")).collect();
        let distinct: BTreeSet<&str> = causes.iter().copied().collect();
        assert_eq!(causes.len(), distinct.len(), "{:#?}", left.log);
        assert!(distinct.len() > 6, "{:#?}", left.log);
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
