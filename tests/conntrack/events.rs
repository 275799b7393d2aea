//! New and destroyed entries, counted by the kernel's events, and estimated without them.

use super::kernel::{settings, udp_flows};
use crate::support::agent::Public;
use crate::support::{Agent, Namespace, eventually, get, sample};
use connscope::host::netns;
use connscope::metric::{Label, Value};
use connscope::netlink::{push_attribute, request};
use connscope::reading::{Readings, chain};
use connscope::source::Mode;
use connscope::source::conntrack::config::{Conntrack as Settings, Events as Wanted, Via};
use connscope::source::conntrack::events::listener::Listener;
use connscope::source::conntrack::events::message::{Ended, Event, parse};
use connscope::source::conntrack::events::totals::Totals;
use connscope::source::conntrack::events::{Estimate, Events};
use connscope::stop::Stop;
use std::path::PathBuf;
use std::time::Duration;

fn counting() -> Settings {
    Settings { events: Wanted::Count, ..settings(Via::Netlink, &[]) }
}

/// The totals of a metric with a kind, by kind.
fn kinds(readings: &Readings, metric: &str) -> [Option<u64>; 2] {
    ["new", "destroyed"].map(|kind| {
        readings.iter().find_map(|reading| match reading.value {
            Value::U64(value)
                if reading.metric.name == metric
                    && reading.labels.iter().any(|(label, of)| *label == Label::Kind && &**of == kind) =>
            {
                Some(value)
            }
            _ => None,
        })
    })
}

fn lost(readings: &Readings) -> Option<u64> {
    let lost = readings.iter().find(|one| one.metric.name == "connscope.conntrack.events.lost")?;
    match lost.value {
        Value::U64(value) => Some(value),
        _ => None,
    }
}

/// Count and sum of a distribution of UDP.
fn distribution(readings: &Readings, metric: &str) -> Option<(u64, f64)> {
    readings.iter().find_map(|reading| match &reading.value {
        Value::Distribution(values)
            if reading.metric.name == metric
                && reading.labels.iter().any(|(label, of)| *label == Label::Transport && &**of == "udp") =>
        {
            Some((values.count(), values.sum()))
        }
        _ => None,
    })
}

fn found(namespace: &Namespace) -> netns::Namespace {
    let path = PathBuf::from(namespace.path());
    let file = connscope::sys::namespace::file_identity(&path).unwrap();
    netns::Namespace { label: "n".into(), path, file, is_named: true }
}

fn observed(events: &Events, found: &[netns::Namespace]) -> Readings {
    let mut readings = Readings::default();
    events.observe(Some(found), &mut readings);
    readings
}

fn entries(namespace: &Namespace) -> u64 {
    namespace.run("conntrack", &["-C"]).trim().parse().unwrap()
}

#[test]
fn every_entry_that_comes_or_goes_is_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let stop = Stop::new().unwrap();
    let events = Events::start(&counting(), Mode::Run, &stop).unwrap().unwrap();
    let found = [found(&namespace)];
    udp_flows(&namespace, 3);
    let before = observed(&events, &found);
    assert_eq!(kinds(&before, "conntrack.events"), [Some(0), Some(0)], "what was there before is not new");
    namespace.run("conntrack", &["-F"]);
    let gone = kinds(&observed(&events, &found), "conntrack.events")[1];
    for (name, value) in [("acct", "1"), ("timestamp", "1")] {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        namespace.inside(|| std::fs::write(path, value)).unwrap();
    }
    udp_flows(&namespace, 40);
    let count = entries(&namespace);
    assert!(count >= 40, "{count}");
    let readings = observed(&events, &found);
    assert_eq!(kinds(&readings, "conntrack.events"), [Some(count), gone]);
    std::thread::sleep(Duration::from_millis(100));
    namespace.run("conntrack", &["-F"]);
    let readings = observed(&events, &found);
    let destroyed = gone.map(|gone| gone + count);
    assert_eq!(kinds(&readings, "conntrack.events"), [Some(count), destroyed]);
    assert_eq!(lost(&readings), Some(0));
    // A byte in a datagram, behind headers of 20 and 8 bytes.
    assert_eq!(distribution(&readings, "conntrack.destroyed.size"), Some((40, 40.0 * 29.0)));
    assert_eq!(distribution(&readings, "conntrack.destroyed.packets"), Some((40, 40.0)));
    let (of, seconds) = distribution(&readings, "conntrack.destroyed.lifetime").unwrap();
    assert_eq!(of, 40);
    assert!((4.0..400.0).contains(&seconds), "{seconds}");
    stop.kill();
}

#[test]
fn events_that_found_no_room_are_counted_as_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let mut totals = Totals::default();
    let mut readings = Readings::default();
    namespace.inside(|| {
        let mut listener = Listener::with_buffer(16 * 1024).unwrap();
        udp_flows(&namespace, 2000);
        listener.drain(&mut totals);
        totals.observe(&[], &mut readings);
    });
    let [new, _] = kinds(&readings, "conntrack.events");
    let (new, lost) = (new.unwrap(), lost(&readings).unwrap());
    assert!(new > 0 && lost > 0, "{new} received, {lost} lost");
    assert_eq!(new + lost, entries(&namespace));
}

#[test]
fn a_kernel_that_sends_no_events_is_said_to() {
    let Some(namespace) = Namespace::new() else { return };
    let path = "/proc/sys/net/netfilter/nf_conntrack_events";
    namespace.inside(|| std::fs::write(path, "0")).unwrap();
    let stop = Stop::new().unwrap();
    let events = Events::start(&counting(), Mode::Run, &stop).unwrap().unwrap();
    let found = [found(&namespace)];
    let readings = observed(&events, &found);
    assert_eq!(kinds(&readings, "conntrack.events"), [None, None], "absent, not 0");
    let errors: Vec<String> = readings.failed().map(|error| chain(error)).collect();
    assert!(errors.iter().any(|error| error.contains("nf_conntrack_events is 0")), "{errors:?}");
    namespace.inside(|| std::fs::write(path, "1")).unwrap();
    assert_eq!(kinds(&observed(&events, &found), "conntrack.events"), [Some(0), Some(0)]);
    stop.kill();
}

#[test]
fn counting_events_does_not_keep_a_namespace_that_is_gone() {
    let Some(namespace) = Namespace::new() else { return };
    let peer = Namespace::new().unwrap();
    namespace.run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    namespace.run("ip", &["link", "set", "right", "netns", &peer.path()]);
    let stop = Stop::new().unwrap();
    let events = Events::start(&counting(), Mode::Run, &stop).unwrap().unwrap();
    let both = [found(&namespace), netns::Namespace { label: "peer".into(), ..found(&peer) }];
    assert_eq!(kinds(&observed(&events, &both), "conntrack.events"), [Some(0), Some(0)]);
    assert!(peer.run("ip", &["-o", "link"]).contains("right"));
    drop(namespace);
    eventually("the namespace is gone though no cycle came", || {
        !peer.run("ip", &["-o", "link"]).contains("right")
    });
    stop.kill();
}

#[test]
fn an_agent_that_counts_events_needs_one_capability_and_reports_no_estimate() {
    let Some(namespace) = Namespace::new() else { return };
    let series = |kind: &str, name: &str| format!("{name}_total{{kind=\"{kind}\"}}");
    for (setting, name, other) in [
        ("count", "conntrack_events", "conntrack_events_estimate"),
        ("off", "conntrack_events_estimate", "conntrack_events"),
    ] {
        let public = Public::new(&format!(
            "sources: {{conntrack: {{via: netlink, events: {setting}}}, sockets: {{enabled: false}}}}\n\
             resource: {{cloud: {{detect: off}}}}\n"
        ));
        let arguments = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none"];
        namespace.inside(|| {
            let mut agent = Agent::start(public.nobody(&["net_admin"], &arguments));
            let address = agent.address();
            let scraped = || get(address, "/metrics").1;
            let text = scraped();
            let before = sample(&text, &series("new", name));
            assert!(before.is_some(), "{text}");
            namespace.run("conntrack", &["-F"]);
            udp_flows(&namespace, 25);
            eventually("new entries are counted", || {
                let text = scraped();
                assert_eq!(sample(&text, &series("new", other)), None, "{text}");
                sample(&text, &series("new", name)) >= before.map(|before| before + 20.0)
            });
        });
    }
}

#[test]
fn without_the_capability_check_names_it() {
    let Some(namespace) = Namespace::new() else { return };
    let public = Public::new("sources: {conntrack: {events: count}}\nresource: {cloud: {detect: off}}\n");
    let check = |capabilities: &[&str]| {
        let output =
            namespace.inside(|| public.nobody(capabilities, &["check", "--format", "json"]).output());
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let checks: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let all =
            checks["checks"].as_array().or(checks.as_array()).unwrap_or_else(|| panic!("{text}")).clone();
        all.into_iter().find(|check| check["via"] == "events").unwrap_or_else(|| panic!("{text}"))
    };
    assert_eq!(check(&[])["capability"], "CAP_NET_ADMIN");
    let works = check(&["net_admin"]);
    assert_eq!(works["status"], "works", "{works}");
    assert!(works["detail"].as_str().unwrap().contains("nf_conntrack_timestamp is not 1"), "{works}");
}

#[test]
fn where_events_cannot_be_counted_they_are_estimated_and_it_is_said_why() {
    let Some(namespace) = Namespace::new() else { return };
    udp_flows(&namespace, 1);
    let public = Public::new(
        "sources: {conntrack: {events: count}, sockets: {enabled: false}}\nresource: {cloud: {detect: off}}\n",
    );
    namespace.inside(|| {
        let mut agent =
            Agent::start(public.nobody(&[], &["--listen", "127.0.0.1:0", "--otlp-protocol", "none"]));
        let address = agent.address();
        let new = |name: &str| sample(&get(address, "/metrics").1, &format!("{name}_total{{kind=\"new\"}}"));
        let before = new("conntrack_events_estimate").unwrap();
        assert_eq!(new("conntrack_events"), None, "not counted");
        udp_flows(&namespace, 25);
        eventually("new entries are estimated", || {
            new("conntrack_events_estimate").unwrap() >= before + 20.0
        });
        let status = get(address, "/-/status").1;
        assert!(status.contains("CAP_NET_ADMIN") && status.contains("events"), "{status}");
    });
}

#[test]
fn changes_between_cycles_are_the_least_there_can_have_been() {
    let mut estimate = Estimate::default();
    let mut last = Readings::default();
    for usage in [100, 130, 90, 90, 91] {
        last = Readings::default();
        estimate.observe(usage, &[], &mut last);
    }
    assert_eq!(kinds(&last, "conntrack.events.estimate"), [Some(31), Some(40)]);
}

fn nest(number: u16, parts: &[(u16, &[u8])]) -> (u16, Vec<u8>) {
    let mut payload = Vec::new();
    for (number, bytes) in parts {
        push_attribute(&mut payload, *number, bytes).unwrap();
    }
    (number, payload)
}

/// The event of a TCP entry that has ended, as Linux 6.18 sends it, without the attributes that are not read.
fn ended() -> Vec<u8> {
    let (_, protocol) = nest(0, &[(1, &[6])]);
    let attributes = [
        nest(1, &[(2, &protocol)]),
        nest(9, &[(1, &3u64.to_be_bytes()), (2, &180u64.to_be_bytes())]),
        nest(10, &[(1, &2u64.to_be_bytes()), (2, &112u64.to_be_bytes())]),
        nest(20, &[(1, &1_000_000u64.to_be_bytes()), (2, &5_000_000u64.to_be_bytes())]),
    ];
    let mut payload = vec![2, 0, 0, 0];
    for (number, bytes) in &attributes {
        push_attribute(&mut payload, *number, bytes).unwrap();
    }
    request(0x0102, 0, 0, &payload)
}

#[test]
fn an_event_has_the_sums_of_both_directions() {
    let mut events = Vec::new();
    parse(&ended(), |event| events.push(event)).unwrap();
    let expected = Ended { protocol: 6, counters: Some((5, 292)), lifetime: Some(4_000_000) };
    assert_eq!(events, [Event::Destroyed(expected)]);
    events.clear();
    parse(&request(0x0100, 0x600, 0, &[2, 0, 0, 0]), |event| events.push(event)).unwrap();
    assert_eq!(events, [Event::New]);
}

#[test]
fn an_event_may_end_anywhere() {
    let whole = ended();
    for length in 0..whole.len() {
        let mut taken = 0;
        let _no_panic = parse(&whole[..length], |_| taken += 1);
        assert_eq!(taken, 0);
    }
    for position in 0..whole.len() {
        for value in [0, 1, 0xff] {
            let mut broken = whole.clone();
            broken[position] = value;
            let _no_panic = parse(&broken, |_| {});
        }
    }
}
