//! The processes that hold a socket: walks over `/proc`, on the running kernel.

use super::{Sleeper, mount, with_mounts_of_its_own, without};
use crate::support::{Namespace, eventually, skipped};
use connscope::host::process::{Processes, WalkOptions, WalkResult, check, socket_inode, start_time};
use connscope::metric::label::Reason;
use rustix::process::Gid;
use rustix::thread::{CapabilitySet, set_thread_groups, set_thread_res_gid};
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ONE: WalkOptions = WalkOptions { budget: Duration::from_mins(1), all_holders: false, command: false };
pub(super) const ALL: WalkOptions = WalkOptions { all_holders: true, ..ONE };

/// More calls than there are processes, one a call, and descriptors, 64 a call, on any machine that runs the tests.
const MOST_CALLS: usize = 20_000;

fn inode(socket: &impl AsFd) -> u32 {
    rustix::fs::fstat(socket).unwrap().st_ino.try_into().unwrap()
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

pub(super) fn pids(outcome: &WalkResult, inode: u32) -> Vec<u32> {
    outcome.holders(inode).iter().map(|holder| holder.process.pid).collect()
}

/// Waits until a socket is held by these processes and no other: one that another test is about to start has a copy of
/// every descriptor until its program begins.
fn held_by(expected: &[u32], inode: u32, ask: WalkOptions) -> WalkResult {
    let mut processes = Processes::new().unwrap();
    let mut outcome = WalkResult::default();
    eventually("only those hold the socket that are meant to", || {
        outcome = processes.look_up([inode], ask);
        assert!(outcome.complete);
        pids(&outcome, inode) == expected
    });
    outcome
}

#[test]
fn a_socket_is_its_processes() {
    let Some(namespace) = Namespace::new() else { return };
    let socket = namespace.inside(udp);
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    let outcome = held_by(&[sleeper.pid()], wanted, ONE);
    let holder = &outcome.holders(wanted)[0];
    let mut processes = Processes::new().unwrap();
    // The name is that of the process that starts it until the program has begun.
    eventually("sleep is started", || {
        let outcome = processes.look_up([wanted], WalkOptions { command: true, ..ONE });
        let process = &outcome.holders(wanted)[0].process;
        *process.comm == *"sleep"
            && process.command.as_deref() == Some(&["sleep".to_owned(), "600".to_owned()])
    });
    let stat = std::fs::read(format!("/proc/{}/stat", sleeper.pid())).unwrap();
    assert_eq!(Some(holder.process.started), start_time(&stat));
    assert_eq!(outcome.holders(wanted + 1), []);
    assert_eq!(processes.look_up([wanted], ONE).holders(wanted)[0].process.command, None, "not asked for");
    assert_eq!(processes.look_up([], ONE).processes_read, 0);
    assert_eq!(processes.look_up([0], ONE).processes_read, 0);
}

#[test]
fn a_shared_socket_is_of_all_that_hold_it_and_first_of_the_lowest_pid() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleepers: Vec<Sleeper> = (0..3).map(|_| Sleeper::new(socket.try_clone().unwrap())).collect();
    let twice = socket.try_clone().unwrap();
    let mut expected: Vec<u32> = sleepers.iter().map(Sleeper::pid).chain([std::process::id()]).collect();
    expected.sort_unstable();
    held_by(&expected, wanted, ALL);
    let mut processes = Processes::new().unwrap();
    for _ in 0..3 {
        assert_eq!(pids(&processes.look_up([wanted], ONE), wanted), expected[..1]);
    }
    drop(twice);
}

#[test]
fn a_walk_that_has_found_everything_ends() {
    // The walk goes up the process numbers: the lower of the two holds what is looked for.
    let (own, others) = (udp(), udp());
    let inodes = [inode(&own), inode(&others)];
    let sleeper = Sleeper::new(others);
    let wanted = if sleeper.pid() > std::process::id() { inodes[0] } else { inodes[1] };
    let mut processes = Processes::new().unwrap();
    let (all, one) = (processes.look_up([wanted], ALL), processes.look_up([wanted], ONE));
    assert!(all.complete && one.complete);
    assert!(one.processes_read < all.processes_read, "{one:?} {all:?}");
    assert_eq!((all.rounds, one.rounds), (1, 1), "the second walk did not come to the end");
}

#[test]
fn a_process_that_has_ended_holds_nothing() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    held_by(&[sleeper.pid()], wanted, ONE);
    drop(sleeper);
    held_by(&[], wanted, ONE);
}

#[test]
fn processes_that_come_and_go_do_not_disturb_a_walk() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    let mut processes = Processes::new().unwrap();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for _ in 0..100 {
                assert!(
                    Command::new("true")
                        .stdin(udp().try_clone().map(OwnedFd::from).unwrap())
                        .status()
                        .unwrap()
                        .success()
                );
            }
        });
        while !churn.is_finished() {
            let outcome = processes.look_up([wanted, u32::MAX], ALL);
            assert!(outcome.complete);
            assert!(pids(&outcome, wanted).contains(&sleeper.pid()), "{outcome:?}");
        }
    });
}

#[test]
fn walks_without_time_go_on_where_they_ended_and_pass_by_everybody() {
    let (first, second) = (udp(), udp());
    let wanted = [inode(&first), inode(&second)];
    let sleepers = [Sleeper::new(first), Sleeper::new(second)];
    let nobody = u32::MAX;
    let hurried = WalkOptions { budget: Duration::ZERO, ..ALL };
    let mut processes = Processes::new().unwrap();
    let mut found = BTreeSet::new();
    let mut calls = 0_usize;
    loop {
        let outcome = processes.look_up([wanted[0], wanted[1], nobody], hurried);
        assert!(
            outcome.processes_read + outcome.denied <= 2,
            "one at the end and one at the beginning: {outcome:?}"
        );
        found.extend(outcome.iter().map(|holder| (holder.inode, holder.process.pid)));
        calls += 1;
        if outcome.rounds >= 2 {
            break;
        }
        assert!(!outcome.complete);
        assert!(calls < MOST_CALLS, "the walks do not get on");
    }
    assert!(calls > 2);
    for (inode, sleeper) in wanted.iter().zip(&sleepers) {
        assert!(found.contains(&(*inode, sleeper.pid())), "{found:?}");
    }
}

#[test]
fn a_process_with_many_descriptors_is_read_in_parts() {
    let socket = udp();
    let many: Vec<UdpSocket> = (0..300).map(|_| socket.try_clone().unwrap()).collect();
    let last = udp();
    let wanted = inode(&last);
    let hurried = WalkOptions { budget: Duration::ZERO, ..ONE };
    let mut processes = Processes::new().unwrap();
    let mut calls = 0_usize;
    let outcome = loop {
        let outcome = processes.look_up([wanted], hurried);
        assert!(outcome.descriptors <= 128, "64 at a time, at the end and at the beginning: {outcome:?}");
        calls += 1;
        if outcome.complete {
            break outcome;
        }
        assert!(outcome.rounds < 2, "everybody was passed by");
        assert!(calls < MOST_CALLS, "the walks do not get on");
    };
    assert_eq!(pids(&outcome, wanted), [std::process::id()]);
    assert!(calls > 4, "{calls}");
    drop(many);
}

#[test]
fn without_a_capability_the_processes_of_others_are_closed_and_it_is_said_which() {
    let socket = udp();
    let wanted = inode(&socket);
    let mut nobody = Command::new("sleep");
    nobody.arg("600").stdin(OwnedFd::from(socket)).uid(65534).gid(65534);
    let Ok(child) = nobody.spawn() else { return skipped("needs root, to start a process as another user") };
    drop(nobody); // it has the socket too
    let other = Sleeper(child);
    let look_up = || {
        let outcome = Processes::new().unwrap().look_up([wanted], ALL);
        assert!(outcome.complete);
        (pids(&outcome, wanted), outcome.denied)
    };
    held_by(&[other.pid()], wanted, ALL);
    let (_, closed) = look_up();
    let said = check().unwrap();
    assert_eq!(said.contains("although the agent has every capability"), closed > 0, "{said}");

    let opens = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    let cases = [
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
        (opens, "CAP_DAC_READ_SEARCH"),
        (CapabilitySet::all(), "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"),
    ];
    for (dropped, named) in cases {
        let ((found, still_closed), error) = without(dropped, || (look_up(), check().unwrap_err()));
        assert!(found.is_empty(), "{named}");
        assert!(still_closed > closed, "{named}");
        assert_eq!(error.reason(), Reason::Denied);
        assert_eq!(error.capability(), Some(named));
        assert!(error.to_string().contains(" cannot be inspected (needs CAP_"), "{error}");
    }
}

#[test]
fn processes_that_the_mount_hides_are_not_taken_for_none() {
    let hidden = with_mounts_of_its_own(|| {
        mount(&["-t", "proc", "-o", "hidepid=2", "proc"], Path::new("/proc"))
            .then(|| {
                // The group that `gid=` names is told all the same, and unless it is given that is 0.
                let nobody = Gid::from_raw(65534);
                set_thread_groups(&[]).ok()?;
                set_thread_res_gid(nobody, nobody, nobody).ok()?;
                Some(without(CapabilitySet::all(), || check().unwrap_err()))
            })
            .flatten()
    });
    let Some(Some(error)) = hidden else { return skipped("needs CAP_SYS_ADMIN to mount /proc") };
    assert_eq!(error.capability(), Some("CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"));
    assert!(error.to_string().contains("hidepid"), "{error}");
}

#[test]
fn only_what_reads_like_a_socket_is_one() {
    assert_eq!(socket_inode(b"socket:[4026531840]"), Some(4_026_531_840));
    assert_eq!(socket_inode(b"socket:[1]"), Some(1));
    for other in [
        "socket:[]",
        "socket:[4294967296]",
        "socket:[-1]",
        "socket:[+1]",
        "socket:[1",
        "pipe:[1]",
        "/socket:[1]",
        "",
    ] {
        assert_eq!(socket_inode(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_process_may_have_any_name_and_still_has_a_beginning() {
    let rest =
        "S 1 4242 4242 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 2703360 400 18446744073709551615 1 1";
    for name in ["sleep", "a b", "a) S 1 1 (", "((sd-pam))", ")"] {
        let stat = format!("4242 ({name}) {rest}\n");
        assert_eq!(start_time(stat.as_bytes()), Some(987_654), "{name}");
        for end in 0..stat.len() {
            let _any = start_time(&stat.as_bytes()[..end]);
        }
    }
    assert_eq!(start_time(b""), None);
    let own = std::fs::read("/proc/self/stat").unwrap();
    assert!(start_time(&own).unwrap() > 0);
}
