//! Time-outs, and the last push when the agent ends.

use super::program::{Agent, BOTH, Left, found, protocol};
use super::push::{Push, few, nothing};
use super::request::{exported, points};
use crate::support::receiver::{Behaviour, Receiver, Speaks, Status};
use std::time::{Duration, Instant};
use tonic::Code;

#[test]
fn an_export_ends_at_its_time_out_and_the_next_cycle_tries_again() {
    let receiver = Receiver::start(Speaks::Grpc);
    let timeout = Duration::from_millis(300);
    let push = Push::start(&receiver, timeout, few(), nothing);
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
                assert_eq!(
                    left.count("the push was stopped before the receiver answered"),
                    1,
                    "{:#?}",
                    left.log
                );
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
