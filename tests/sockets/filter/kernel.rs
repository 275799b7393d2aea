//! Filters run by the real kernel, and by `ss`, over sockets of a network namespace of the test's own.

mod sockets;
mod world;

use super::{combined, filter, text};
use crate::support::eventually;
use connscope::filter::KernelCan;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use world::{TCP, World};

#[test]
fn the_kernel_passes_exactly_what_the_agent_takes() {
    let Some(world) = World::new() else { return };
    let tcp: Vec<_> =
        [2, 10].into_iter().flat_map(|family| world.all(family, TCP, 0x3ffe).into_values()).collect();
    assert!(tcp.len() > 40, "{tcp:#?}");
    for state in [1, 2, 5, 6, 7, 8, 10] {
        assert!(tcp.iter().any(|subject| subject.state == state), "no socket in state {state}");
    }
    let chosen = |port: u16| tcp.iter().find(|subject| subject.local_port == port).unwrap().autobound;
    assert_eq!((chosen(40000), chosen(9200)), (Some(false), Some(false)));
    assert!(tcp.iter().any(|subject| subject.autobound == Some(true)));

    let mut runner = TestRunner::new(ProptestConfig { cases: 600, ..ProptestConfig::default() });
    let states = prop::sample::select(
        &["", "", "state connected ", "exclude listening ", "state closed state time-wait "][..],
    );
    let texts = (states, text()).prop_map(|(states, text)| format!("{states}{text}"));
    runner
        .run(&texts, |text| world.agrees(&filter(&text)).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_largest_bytecode_is_taken_by_the_kernel() {
    let Some(world) = World::new() else { return };
    // 16 bytes each, 4 for `not` and 4 between two.
    for (host, count) in [("dst 1.2.3.4", 3276), ("not dst 1.2.3.4", 2730)] {
        let largest = filter(&vec![host; count].join(" or "));
        let bytecode = largest.compile(&world.names, KernelCan::ALL).bytecode;
        assert!(bytecode.len() > 65_000, "{}", bytecode.len());
        world.agrees(&largest).unwrap();
    }
}

#[test]
fn every_state_is_dumped_by_the_kernel_and_taken_by_the_agent() {
    let Some(world) = World::new() else { return };
    for word in [
        "established",
        "syn-sent",
        "syn-recv",
        "fin-wait-1",
        "fin-wait-2",
        "time-wait",
        "close-wait",
        "last-ack",
        "listening",
        "closing",
        "all",
        "connected",
        "synchronized",
        "bucket",
        "big",
        "bound-inactive",
    ] {
        let filter = filter(&format!("state {word}"));
        for family in [2, 10] {
            // More than once, because a socket may leave TIME_WAIT between two dumps.
            eventually(&format!("{word} is the same to the kernel and the agent"), || {
                let dumped = world.all(family, TCP, filter.states());
                let mut taken = world.all(family, TCP, 0x3ffe);
                taken.retain(|_, subject| filter.matches(subject, &world.names));
                dumped == taken
            });
        }
    }
}

/// What `ss` and the agent understand in the same way. Not among them are networks around the v4-mapped addresses (to
/// `ss` these are IPv6), `autobound` (`ss` also looks at the range of ephemeral ports) and prefixes of length 0 that are
/// negated (`ss` takes them for every address where the kernel does not).
const SAME: &[&str] = &[
    "dport = 443",
    "dport 443",
    "( dport = :443 )",
    "src = 0.0.0.0",
    "src 0.0.0.0",
    "src 0.0.0.0 sport = 22",
    "src 0.0.0.0 and sport = 22",
    "src 10.1.2.3 and sport = 443 and dport = 443",
    "src 10.1.2.3 and sport = 443 and ( dport = 443 )",
    "src 10.1.2.3 and ( sport = 443 and dport = 443 )",
    "( src 10.1.2.3 and sport = 443 ) and dport = 443",
    "( src 0.0.0.0 or src 10.1.2.3 ) and dst 10.200.0.1",
    "sport = 443 or sport = 80 and src 127.0.0.1",
    "sport = 443 or ( sport = 80 and src 127.0.0.1 )",
    "src 127.0.0.1 and sport = 80 or sport = 443",
    "sport = 443 or sport = 80 src 127.0.0.1",
    "not sport = 443 and not dport = 443",
    "! sport 443 & ! dport 443 | src 10.1.2.3",
    "not ( sport = 443 or dport = 443 )",
    "src :80",
    "src *:80",
    "dst = *",
    "src [::1]:8081",
    "src = [::]",
    "dst [fd00::1]",
    "src fd00::/8",
    "src [fd00::/112]",
    "src fd00::1:1:*",
    "src 127/8",
    "src 127.0.0.0/255.0.0.0:8080",
    "src 10.1/16",
    "dst 192.168.7/24",
    "src any:22",
    "sport 0x1bb",
    "sport 0673",
    "sport >= 8080 and sport <= 8081",
    "sport gt 8080 sport lt 9001",
    "dport ge :8080",
    "dport leq 443",
    "dport != 0",
    "dport neq 443 dport ne 8080",
    "sport < 443 || dport > 9000",
    "dev lo",
    "dev != v0 and sport = 7000",
    "dev = v0",
    "dev lo or sport 443",
    "fwmark 5",
    "fwmark = 0x5/0xf",
    "fwmark != 5 and sport 9005",
    "state established",
    "state listening dport 0",
    "state listening state time-wait",
    "exclude established exclude listening",
    "state connected exclude established src 127.0.0.1",
    "state big",
    "state bucket",
    "state synchronized not dst 127.0.0.1",
    "state closed",
    "state all",
];

#[test]
fn ss_shows_exactly_what_the_agent_takes() {
    let Some(world) = World::new() else { return };
    let compare = |text: &str| {
        let filter = filter(text);
        let differ = || {
            let (shown, taken) = (world.ss(text), world.taken(&filter));
            (shown != taken).then(|| format!("{text}: ss {shown:#?}\nagent {taken:#?}"))
        };
        // As above: a socket may leave TIME_WAIT in between.
        if differ().is_some() { differ() } else { None }
    };
    let mut nothing = 0;
    for text in SAME {
        if let Some(difference) = compare(text) {
            panic!("{difference}");
        }
        nothing += usize::from(world.taken(&filter(text)).is_empty());
    }
    assert!(nothing <= 3, "{nothing} filters take nothing and show nothing");

    let leaf = prop::sample::select(
        &[
            "src 127.0.0.1",
            "dst 10.1.2.3",
            "src 10/8",
            "dst [::1]",
            "src [fd00::1]",
            "dst fd00::/8",
            "sport = 80",
            "dport 443",
            "sport >= 8080",
            "dport <= 443",
            "sport != 22",
            "dport < 9000",
            "dst 127/8:8080",
            "fwmark 5",
            "dev lo",
            "src :40000",
        ][..],
    );
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    runner
        .run(&combined(leaf.prop_map(str::to_owned)), |text| {
            compare(&text).map_or(Ok(()), |why| Err(TestCaseError::fail(why)))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
