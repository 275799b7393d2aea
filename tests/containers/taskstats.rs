//! Recorded messages of taskstats, and what becomes of them.
//!
//! Linux 6.18 (version 16 of the structure), 26 November 2026: a question for the family, one for a process, and the exits of a process that
//! forked, of a thread, and of a process that had two, asked for with `TASKSTATS_CMD_ATTR_REGISTER_CPUMASK`.

use connscope::netlink::Progress;
use connscope::source::containers::delay::credit::Credits;
use connscope::source::containers::delay::taskstats::{
    Exit, ProcessDelays, family_request, parse_exits, parse_family, parse_process,
};
use std::collections::HashMap;

const PROCESS: &[u8] = include_bytes!("../fixtures/containers/taskstats/linux-6.18-process.bin");
const FAMILY: &[u8] = include_bytes!("../fixtures/containers/taskstats/linux-6.18-family.bin");
const EXITS: [&[u8]; 3] = [
    include_bytes!("../fixtures/containers/taskstats/linux-6.18-exit-process.bin"),
    include_bytes!("../fixtures/containers/taskstats/linux-6.18-exit-thread.bin"),
    include_bytes!("../fixtures/containers/taskstats/linux-6.18-exit-threads.bin"),
];

fn exits(datagram: &[u8]) -> Vec<Exit> {
    let mut found = Vec::new();
    parse_exits(datagram, |exit| found.push(exit)).unwrap();
    found
}

#[test]
fn exits_are_those_of_processes_and_of_threads() {
    let whole =
        |pid, parent, cpu| Exit { pid, parent, waited: ProcessDelays { cpu, disk: 0 }, whole: Some(true) };
    assert_eq!(exits(EXITS[0]), [whole(32762, 32761, 0)]);
    let thread = Exit { whole: Some(false), ..whole(32763, 32720, 3_333_074) };
    assert_eq!(exits(EXITS[1]), [thread]);
    assert_eq!(
        exits(EXITS[2]),
        [whole(32761, 32720, 34_575_338)],
        "the thread is in the numbers of the process"
    );
}

#[test]
fn a_process_that_is_asked_about_is_read_and_no_prefix_makes_a_parser_panic() {
    let mut waited = None;
    assert_eq!(parse_process(PROCESS, 2, &mut waited), Ok(Progress::More));
    assert!(waited.is_some_and(|waited| waited.disk == 0), "{waited:?}");
    let mut family = None;
    assert_eq!(parse_family(FAMILY, 7, &mut family), Ok(Progress::More));
    assert_eq!(family, Some(31));
    assert!(family_request(7).windows(10).any(|name| name == b"TASKSTATS\0"));
    for message in EXITS.iter().chain([&PROCESS, &FAMILY]) {
        for end in 0..message.len() {
            let _refused_or_not = parse_family(&message[..end], 7, &mut None);
            let _refused_or_not = parse_exits(&message[..end], drop);
            let _refused_or_not = parse_process(&message[..end], 2, &mut None);
        }
    }
}

fn cpu(cpu: u64) -> ProcessDelays {
    ProcessDelays { cpu, disk: 0 }
}

/// One look; what is credited, by container.
fn look(credits: &mut Credits, alive: &[(u32, u64, u64)], exits: &[Exit]) -> HashMap<u64, u64> {
    let alive = alive.iter().map(|(pid, who, waited)| (*pid, (*who, cpu(*waited)))).collect();
    let mut credited = HashMap::new();
    credits.update(&alive, exits, |who, waited| *credited.entry(who).or_default() += waited.cpu);
    credited
}

fn exit(pid: u32, parent: u32, waited: u64, whole: Option<bool>) -> Exit {
    Exit { pid, parent, waited: cpu(waited), whole }
}

#[test]
fn what_was_waited_before_the_first_look_is_not_counted_and_later_processes_are_counted_whole() {
    let mut credits = Credits::default();
    assert_eq!(look(&mut credits, &[(1, 7, 100)], &[]), HashMap::new());
    assert_eq!(look(&mut credits, &[(1, 7, 130), (2, 7, 5)], &[])[&7], 35);
}

#[test]
fn the_exit_of_a_process_credits_what_is_left_and_one_that_was_never_seen_goes_to_its_parents_container() {
    let mut credits = Credits::default();
    look(&mut credits, &[(1, 7, 100), (2, 8, 0)], &[]);
    // 3 is a child of 1, and 4 of 3; 5 of nobody who is known; the thread is in the numbers of its process.
    let exits = [
        exit(4, 3, 10, Some(true)),
        exit(3, 1, 20, Some(true)),
        exit(5, 99, 1000, Some(true)),
        exit(6, 1, 1000, Some(false)),
        exit(2, 1, 3, Some(true)),
    ];
    let credited = look(&mut credits, &[(1, 7, 100)], &exits);
    assert_eq!((credited[&7], credited[&8]), (30, 3));
}

#[test]
fn a_process_that_exits_while_it_is_asked_about_or_is_told_of_late_is_counted_once() {
    let mut credits = Credits::default();
    look(&mut credits, &[(1, 7, 100)], &[]);
    // It was asked about, and exited before the messages were taken.
    assert_eq!(look(&mut credits, &[(1, 7, 110)], &[exit(1, 0, 115, Some(true))])[&7], 15);
    look(&mut credits, &[(2, 7, 50)], &[]);
    // It was gone when it was asked about, and its message came later.
    assert_eq!(look(&mut credits, &[], &[]), HashMap::new());
    assert_eq!(look(&mut credits, &[], &[exit(2, 0, 60, Some(true))])[&7], 10);
}

#[test]
fn before_linux_5_19_a_thread_that_is_still_there_as_a_process_has_not_ended() {
    let mut credits = Credits::default();
    look(&mut credits, &[(1, 7, 100)], &[]);
    let credited = look(&mut credits, &[(1, 7, 120)], &[exit(1, 0, 5, None), exit(9, 1, 5, None)]);
    assert_eq!(credited[&7], 20);
    assert_eq!(look(&mut credits, &[], &[exit(1, 0, 125, None)])[&7], 5);
}
