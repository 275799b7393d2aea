//! The targets there are: what is kept of one that changes, how many there may be, and which are left out.

use super::{answer, fails, first, names, read, settings, value};
use crate::support::Namespace;
use connscope::source::probes::Probes;
use connscope::source::probes::config::Probes as Settings;
use connscope::source::probes::config::Target as Configured;
use connscope::source::probes::registry::{PanicGuard, Registry};
use connscope::source::probes::result::ProbeResult;
use connscope::source::probes::target::Target;
use connscope::stop::Stop;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A target of a file, ready to be probed.
fn target(name: &str, all: bool, settings: &Settings) -> Target {
    let host = "h".to_owned();
    let target = Configured { name: name.to_owned(), host, port: Some(1), all, ..Default::default() };
    Target::new(&Arc::new(target), settings).unwrap()
}

#[test]
fn addresses_are_forgotten_where_one_is_probed_from_now_on_and_the_other_way_round() {
    let settings = settings("files: ['/x/*.yaml']\n");
    let registry = Registry::new(settings.max_targets());
    for (all, address) in [(true, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))), (false, None)] {
        let change = registry.set("file", vec![target("x", all, &settings)]);
        change.added[0].take(address, ProbeResult::new(SystemTime::now(), Instant::now(), false), &settings);
        let change = registry.set("file", vec![target("x", !all, &settings)]);
        assert_eq!((change.added.len(), change.removed.len()), (1, 1));
        assert!(change.added[0].addresses().is_empty(), "all: {all} has become {}", !all);
        registry.forget("file");
    }
}

#[test]
fn a_target_of_all_addresses_counts_as_often_as_it_may_have_addresses() {
    let fixed = settings("targets: [{name: x, host: h, port: 1, all: true}, {name: y, host: h, port: 1}]");
    assert_eq!(fixed.max_targets(), 17);
    let settings = settings("limit: 17\nfiles: ['/x/*.yaml']\n");
    let registry = Registry::new(settings.max_targets());
    let set = |group: &str, targets: &[(&str, bool)]| {
        let targets = targets.iter().map(|(name, all)| target(name, *all, &settings)).collect();
        registry.set(group, targets);
        (registry.entries().len(), registry.left_out())
    };
    assert_eq!(set("a", &[("one", false), ("two", false)]), (2, 0));
    assert_eq!(set("b", &[("all", true)]), (2, 1), "no room for 16");
    assert_eq!(set("a", &[("one", false)]), (1, 1));
    assert_eq!(set("b", &[("all", true), ("three", false)]), (2, 1), "room for 16 and not for one more");
    registry.forget("b");
    assert_eq!(set("a", &[("all", true), ("three", false)]), (2, 0));
}

#[test]
fn a_few_silent_targets_do_not_wait_for_one_another() {
    let Some(namespace) = Namespace::new() else { return };
    let silent = answer(&namespace, "127.0.0.1:0", |_| None).port();
    let target = |number| format!("- {{name: x{number}, kind: udp, host: 127.0.0.1, port: {silent}}}\n");
    let targets: String = (0..4).map(target).collect();
    let settings = settings(&format!("interval: 1s\ntimeout: 900ms\njitter: 0\ntargets:\n{targets}"));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    std::thread::sleep(Duration::from_secs(6));
    let readings = read(&mut source);
    for number in 0..4 {
        let runs = value(&readings, "probe.runs", &format!("x{number}"), &[("outcome", "no_answer")]);
        assert!(runs >= Some(4.0), "x{number} was probed {runs:?} times in six seconds");
    }
}

#[test]
fn the_first_answer_waits_for_names_and_for_the_slowest_target_of_a_file() {
    let Some(namespace) = Namespace::new() else { return };
    let server = answer(&namespace, "127.0.0.1:0", |question| {
        std::thread::sleep(Duration::from_millis(200));
        names::reply(question)
    });
    let services =
        "dns: [{names: [_x._tcp.test, missing.test], record: srv, target: {kind: udp, timeout: 1ms}}]";
    let readings = first(&namespace, &format!("nameservers: ['{server}']\n{services}\n"));
    for port in ["1001", "1002"] {
        let labels = [("server.port", port)];
        assert_eq!(value(&readings, "probe.up", "_x._tcp.test", &labels), Some(0.0), "{port}");
    }
    let silent = answer(&namespace, "127.0.0.1:0", |_| None).port();
    let dir = tempfile::tempdir().unwrap();
    let slow = format!("- {{name: slow, kind: udp, host: 127.0.0.1, port: {silent}, timeout: 2s}}\n");
    std::fs::write(dir.path().join("a.yaml"), slow).unwrap();
    let readings = first(&namespace, &format!("timeout: 10ms\nfiles: ['{}/*.yaml']\n", dir.path().display()));
    fails(&readings, "slow", "no_answer");
}

#[test]
fn a_panic_is_told_and_an_end_is_not() {
    let registry = Registry::new(1);
    let told = || {
        let failures = registry.failures();
        failures.iter().map(|(group, error)| format!("{group}: {error}")).collect::<Vec<_>>()
    };
    let witness = || PanicGuard { registry: &registry, group: "a.yaml", doing: "reading it" };
    drop(witness());
    assert!(told().is_empty());
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let _witness = witness();
        panic!("on purpose");
    }));
    assert!(ended.is_err());
    assert_eq!(told(), ["a.yaml: the source panicked: reading it; this is a defect of connscope"]);
    registry.set("a.yaml", Vec::new());
    assert!(told().is_empty(), "read since");
}

#[test]
fn a_target_with_the_series_of_another_is_counted_as_left_out() {
    let settings = settings("files: ['/x/*.yaml']\n");
    let registry = Registry::new(settings.max_targets());
    let change = registry.set("a", vec![target("x", false, &settings), target("x", false, &settings)]);
    assert!(change.added.len() == 1 && change.short);
    assert_eq!(registry.left_out(), 1, "twice in one file");
    registry.set("b", vec![target("x", true, &settings), target("y", false, &settings)]);
    assert_eq!(registry.left_out(), 2, "in another file, too");
    registry.set("a", Vec::new());
    assert!(!registry.set("b", vec![target("x", true, &settings)]).short);
    assert_eq!(registry.left_out(), 0);
}
