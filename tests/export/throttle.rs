//! What a receiver says of when it takes messages again, and how the log follows its causes.

use super::program::{Agent, BOTH, protocol};
use super::raw::{Raw, listen};
use crate::support::receiver::{Behaviour, Receiver, Speaks, Status};
use connscope::export::error_type::ErrorType;
use connscope::export::otlp::refusal::Refusal;
use connscope::export::otlp::retry::{Backoff, Throttle, share};
use std::time::{Duration, Instant};
use tonic::Code;

fn refusal(retry_after: Option<Duration>) -> Refusal {
    Refusal { error: ErrorType::CONNECTION, message: String::new(), retryable: true, retry_after }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_named_delay_is_jittered_upwards_and_grows_until_a_message_is_taken() {
    let now = Instant::now();
    for random in [0, 1, 499, 999, u64::MAX] {
        let mut throttle = Throttle::default();
        for named in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = throttle.refused(&refusal(Some(SECOND)), now, random).expect("a pause");
            let least = SECOND * named;
            assert!(pause >= least && pause <= least * 5 / 4, "{pause:?} for {least:?}");
            assert!(throttle.holds(now + least / 2).is_some());
            assert!(throttle.holds(now + pause).is_none());
        }
        throttle.taken();
        assert!(throttle.holds(now).is_none());
        let long = SECOND * 600;
        for _ in 0..3 {
            let pause = throttle.refused(&refusal(Some(long)), now, random).expect("a pause");
            assert!(pause >= long && pause <= long * 5 / 4, "{pause:?}: what is long already does not grow");
        }
    }
}

#[test]
fn a_delay_that_is_none_holds_nothing_back() {
    for named in [None, Some(Duration::ZERO), Some(SECOND * 3601), Some(Duration::MAX)] {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.refused(&refusal(named), Instant::now(), 0), None, "{named:?}");
        assert!(throttle.holds(Instant::now()).is_none());
    }
}

#[test]
fn pauses_double_and_stay_between_a_half_and_the_whole() {
    let mut backoff = Backoff::default();
    for whole in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
        let whole = Duration::from_millis(whole);
        let pause = backoff.pause(whole.as_secs() * 7919);
        assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
    }
}

#[test]
fn every_message_of_a_collection_has_its_share_of_the_time() {
    let now = Instant::now();
    let deadline = now + SECOND * 10;
    // The first of four takes all of its time, the second none of it, the third all again.
    assert_eq!(share(now, deadline, 4), now + SECOND * 10 / 4);
    let now = now + SECOND * 10 / 4;
    assert_eq!(share(now, deadline, 3), now + SECOND * 10 / 4);
    let third = share(now, deadline, 2);
    assert_eq!(third, now + SECOND * 15 / 4);
    assert_eq!(share(third, deadline, 1), deadline);
    assert_eq!(share(deadline + SECOND, deadline, 1), deadline + SECOND, "no time is left");
}

#[test]
fn nothing_is_sent_before_the_time_that_a_receiver_named_is_up() {
    let cases = [
        (Speaks::Grpc, Status::Grpc(Code::ResourceExhausted)),
        (Speaks::Grpc, Status::Grpc(Code::Unavailable)),
        (Speaks::Http, Status::Http(429)),
        (Speaks::Http, Status::Http(503)),
    ];
    for (speaks, status) in cases {
        let receiver = Receiver::start(speaks);
        let retry_after = Some(Duration::from_secs(40));
        receiver.behave(Behaviour::Refuse { status, message: "too much", retry_after });
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "20ms"],
        );
        let line = agent.log.wait("cannot push over OTLP");
        assert!(line.contains("too much"), "{line}");
        // Up to a quarter more than it asked for.
        let pause =
            line.split_once("; the receiver asked for a pause: nothing is sent for ").map(|(_, rest)| rest);
        assert!(pause.is_some_and(|pause| pause.starts_with('4') || pause.starts_with("50s")), "{line}");
        let runs = agent.runs();
        // The cycles go on; their points count as failed.
        crate::support::eventually("ten more cycles", || agent.runs() > runs + 10);
        assert_eq!(receiver.received().len(), 1, "{status:?}");
        let left = agent.terminate();
        assert_eq!(left.warnings().len(), 1, "{:#?}", left.log);
    }
}

#[test]
fn a_delay_of_zero_is_as_if_nothing_had_been_said() {
    // Over HTTP a date that is past is the same.
    let dated =
        "HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n";
    let past = Raw::answering(listen(), dated);
    let _agent = Agent::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &past.url()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        &["--interval", "1h"],
    );
    let cases = [
        (Speaks::Grpc, Status::Grpc(Code::ResourceExhausted)),
        (Speaks::Grpc, Status::Grpc(Code::Unavailable)),
        (Speaks::Http, Status::Http(429)),
        (Speaks::Http, Status::Http(503)),
    ];
    for (speaks, status) in cases {
        let receiver = Receiver::start(speaks);
        let retry_after = Some(Duration::ZERO);
        receiver.behave(Behaviour::Refuse { status, message: "busy", retry_after });
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ],
            &["--interval", "1h"],
        );
        receiver.nth(4);
        let at: Vec<Instant> = receiver.received().iter().map(|received| received.at).collect();
        backs_off(&at);
    }
    backs_off(&past.wait(5).iter().map(|(at, _)| *at).collect::<Vec<_>>());
}

/// Tries of one message have the pauses of the back-off between them, at the least.
fn backs_off(at: &[Instant]) {
    for (pair, least) in at.windows(2).zip([50, 100, 200, 400]) {
        let pause = pair[1] - pair[0];
        assert!(pause >= Duration::from_millis(least), "{pause:?} is less than {least} ms");
    }
}

#[test]
fn a_cause_that_changes_is_logged() {
    for speaks in BOTH {
        let statuses = match speaks {
            Speaks::Grpc => [Code::Unavailable, Code::Unauthenticated].map(Status::Grpc),
            Speaks::Http => [503, 401].map(Status::Http),
        };
        let refuse = |status, message| Behaviour::Refuse { status, message, retry_after: None };
        let receiver = Receiver::start(speaks);
        receiver.behave(refuse(statuses[0], "busy"));
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "100"),
            ],
            &["--interval", "20ms"],
        );
        agent.log.wait("busy");
        receiver.behave(refuse(statuses[1], "no token"));
        let line = agent.log.wait("no token");
        assert!(line.contains("still cannot push over OTLP, now for another reason"), "{line}");
        // What has been said in this outage is not said again at once.
        for (status, message) in [(statuses[0], "busy"), (statuses[1], "no token")] {
            let before = receiver.received().len();
            receiver.behave(refuse(status, message));
            receiver.nth(before + 3);
        }
        receiver.down();
        agent.log.wait("refused");
        receiver.behave(Behaviour::Accept);
        receiver.up();
        agent.log.wait("pushing over OTLP again");
        assert_eq!(agent.terminate().warnings().len(), 3);
    }
}
