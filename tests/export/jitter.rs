//! Agents that are started together do not push together.

use super::program::{Agent, BOTH, found, protocol};
use crate::support::get;
use crate::support::receiver::{Receiver, Speaks};
use std::time::Duration;

const LONG: [&str; 6] = ["--interval", "24h", "--jitter", "24h", "--listen", "127.0.0.1:0"];

fn started(receiver: &Receiver, speaks: Speaks, arguments: &[&str]) -> Agent {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*receiver.url()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
    ];
    Agent::start_with(&variables, arguments)
}

/// When the first push comes, as the log says.
fn first_export(agent: &Agent) -> f64 {
    let line = agent.log.wait("connscope is running");
    let seconds = line.split_once("first_export=\"in ").and_then(|(_, rest)| rest.split_once(" s\""));
    seconds.unwrap_or_else(|| panic!("{line}")).0.parse().expect("a number")
}

#[test]
fn agents_that_start_together_have_their_first_push_apart() {
    let receiver = Receiver::start(Speaks::Grpc);
    let agents: Vec<Agent> = (0..5).map(|_| started(&receiver, Speaks::Grpc, &LONG)).collect();
    let mut times: Vec<f64> = agents.iter().map(first_export).collect();
    times.sort_by(f64::total_cmp);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
    assert!(times.iter().all(|time| (0.0..86400.0).contains(time)), "{times:?}");
}

#[test]
fn an_agent_that_waits_for_its_first_push_has_read_its_sources_and_leaves_with_a_push() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        let mut agent = started(&receiver, speaks, &LONG);
        let address = agent.address();
        // Asked at once, and again by the scrape.
        while agent.runs() == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        agent.print(4_000_000_000);
        assert!(get(address, "/metrics").1.contains("conntrack_found_total{cpu=\"0\"} 4000000000"));
        assert_eq!(get(address, "/-/ready").0, 200);
        assert!(receiver.received().is_empty(), "{speaks:?}: the first push waits");
        let left = agent.terminate();
        assert!(left.status.success());
        let received = receiver.received();
        assert_eq!(received.len(), 1, "{speaks:?}");
        assert_eq!(found(&received[0].request), Some(4_000_000_000));
    }
}

#[test]
fn the_first_push_comes_within_the_jitter_whatever_the_interval_is() {
    let receiver = Receiver::start(Speaks::Grpc);
    let arguments = ["--interval", "24h", "--jitter", "300ms", "--listen", "off"];
    let agent = started(&receiver, Speaks::Grpc, &arguments);
    assert!(first_export(&agent) < 0.4);
    assert_eq!(found(&receiver.nth(0).request), Some(1));
}
