//! What a receiver says of data points that it does not take.

use super::program::{Agent, BOTH, protocol};
use super::push::{Push, few, nothing};
use super::raw::{Raw, listen};
use super::request::{exported, points};
use crate::support::PATIENCE;
use crate::support::receiver::{Behaviour, Receiver, Speaks, Status};
use tonic::Code;

#[test]
fn rejected_points_are_counted_and_warned_of_once() {
    let receiver = Receiver::start(Speaks::Grpc);
    let push = Push::start(&receiver, PATIENCE, few(), nothing);
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
fn a_redirect_is_named_with_where_it_leads_and_not_followed() {
    let peer = Raw::answering(
        listen(),
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://user:secret@elsewhere.test/v1/metrics?token=x\r\nContent-Length: 0\r\n\r\n",
    );
    let agent = Agent::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &peer.url()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        &[],
    );
    let line = agent.log.wait("cannot push over OTLP");
    for part in [
        "307 Temporary Redirect: the receiver redirects to https://",
        "elsewhere.test/v1/metrics",
        "error.type=\"307\"",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!line.contains("secret") && !line.contains("token"), "{line}");
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
