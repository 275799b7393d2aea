//! Many reloads, one after the other: nothing is left behind (`make reloads`).

use super::reload::{Reloaded, target, yaml};
use crate::support::allocations::Allocations;
use crate::support::receiver::{Receiver, Speaks};
use crate::support::{Agent, Namespace, eventually, get};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn entries(agent: &Agent, folder: &str) -> usize {
    std::fs::read_dir(format!("/proc/{}/{folder}", agent.pid())).unwrap().count()
}

fn resident(agent: &Agent) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", agent.pid())).unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64 / 1024
}

/// `make reloads` does it a thousand times.
#[test]
fn reloading_again_and_again_with_traffic_leaves_nothing_behind() {
    let times: usize = std::env::var("CONNSCOPE_RELOADS").map_or(24, |times| times.parse().unwrap());
    let receiver = Receiver::start(Speaks::Grpc);
    let configs: Vec<String> = (0..4)
        .map(|number| {
            let sources = format!(
                "{}, containers: {{enabled: {}}}, logs: {{enabled: true, files: [/nowhere/{number}]}}",
                target(["a", "b"][number % 2]),
                number >= 2,
            );
            let interval = 50 + 10 * (number / 2);
            let export = format!(
                "otlp: {{endpoint: '{}', interval: {interval}ms}}, prometheus: {{lifecycle: true}}",
                receiver.url()
            );
            // Each reload starts and ends the sockets, with their events of the kernel, or the programs of the containers.
            let sockets = format!("sockets: {{limit: {}}}", 100 + number / 2);
            yaml("", &sources, &export).replace("sockets: {enabled: false}", &sockets)
        })
        .collect();
    let reloaded = Reloaded::start(&configs[0], 7);
    let round = |times: usize| {
        for number in 0..times {
            reloaded.write(&configs[number % configs.len()]);
            let (status, said) = reloaded.post();
            assert_eq!(status, 200, "{said}");
        }
        reloaded.write(&configs[0]);
        assert_eq!(reloaded.post().0, 200);
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let (status, text) = get(reloaded.address, "/metrics");
                    assert_eq!(status, 200, "{text}");
                    assert!(text.contains("conntrack_found_total{cpu=\"0\"} 7\n"), "a gap or a fall: {text}");
                }
            });
        }
        round(8);
        let before =
            (entries(&reloaded.agent, "fd"), entries(&reloaded.agent, "task"), resident(&reloaded.agent));
        let started = Instant::now();
        round(times);
        let took = started.elapsed();
        stop.store(true, Ordering::Relaxed);
        eventually("descriptors and threads are as many as before", || {
            entries(&reloaded.agent, "fd") <= before.0 + 4 && entries(&reloaded.agent, "task") <= before.1 + 2
        });
        if std::env::var_os("CONNSCOPE_RELOADS").is_some() {
            let (fds, threads) = (entries(&reloaded.agent, "fd"), entries(&reloaded.agent, "task"));
            println!(
                "{times} reloads in {took:?}: descriptors {} -> {fds}, threads {} -> {threads}, resident {} -> {} KiB",
                before.0,
                before.1,
                before.2,
                resident(&reloaded.agent)
            );
        }
    });
}

/// Resident memory tells little of a leak: the allocator keeps what is free. So what is allocated is counted, with sources that hold
/// nothing of the machine.
#[test]
fn reloading_again_and_again_leaves_no_allocation_behind() {
    // Where no other test has sockets and interfaces: what they open is no allocation that a reload has left.
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(leaves_no_allocation);
}

#[expect(clippy::print_stdout, reason = "the figures of make reloads")]
fn leaves_no_allocation() {
    let times: usize = std::env::var("CONNSCOPE_RELOADS").map_or(40, |times| times.parse().unwrap());
    // Over HTTP/1.1: a connection of HTTP/2 remembers streams that its peer has reset for half a minute.
    let receiver = Receiver::start(Speaks::Http);
    let root = tempfile::tempdir().unwrap();
    let configs: Vec<String> = (0..4)
        .map(|number| {
            let name = ["a", "b"][number % 2];
            let logs = "docker: false, cri: false, journald: false, files: [/nowhere]";
            let sources = format!(
                "{}, logs: {{enabled: {}, {logs}}}, containers: {{enabled: {}}}",
                target(name),
                number == 3,
                number == 1
            );
            let interval = 50 + 10 * (number / 2);
            let endpoint = receiver.url();
            // The history has an allocation for each cycle that it keeps.
            let export = format!(
                "otlp: {{endpoint: '{endpoint}', protocol: http/protobuf, interval: {interval}ms}}, prometheus: {{lifecycle: true, page: false}}"
            );
            // With nothing in the inventory: the containers of the tests beside this one are not to be counted.
            let inventory = format!("inventory: {{root: '{}', include: [/nobody]}}\n", root.path().display());
            let sockets = if number == 2 { "{limit: 100}" } else { "{enabled: false}" };
            inventory
                + &yaml("", &sources, &export)
                    .replace("sockets: {enabled: false}", &format!("sockets: {sockets}"))
        })
        .collect();
    let allocations = Allocations::new();
    let reloaded = Reloaded::start_with(&configs[0], 7, |command| allocations.count(command));
    let round = |times: usize| {
        for number in (0..times).chain([0]) {
            reloaded.write(&configs[number % configs.len()]);
            let (status, said) = reloaded.post();
            assert_eq!(status, 200, "{said}");
        }
    };
    let least = || {
        let looks = (0..20).map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            allocations.now()
        });
        looks.min_by_key(|(_, number)| *number).unwrap()
    };
    round(12);
    // What is made once, whenever a source first comes so far on a busy machine, is no leak: that grows with every reload.
    let mut before = least();
    for _ in 0..4 {
        round(times);
        let after = least();
        println!("{times} reloads: bytes and number of what is allocated {before:?} -> {after:?}");
        if after.1 <= before.1 + 30 {
            return;
        }
        before = after;
    }
    panic!("allocations grow with every reload");
}
