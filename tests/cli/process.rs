//! The agent as a process: its descriptors, its signals, its children.

use super::{config_file, scraped, text};
use crate::support::agent::behind;
use crate::support::{Agent, Script, command, connscope, eventually};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What a shell or a service manager hands down is for programs that use `select`.
#[test]
fn the_agent_may_open_as_many_descriptors_as_the_administrator_lets_it() {
    let limited = ["sh", "-c", "ulimit -Sn 64 && ulimit -Hn 512 && exec \"$0\" \"$@\""];
    let limited = behind(&limited, &command(&["run", "--listen", "127.0.0.1:0", "--otlp-protocol", "none"]));
    let mut agent = Agent::start(limited);
    agent.address();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_ascii_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "512"], "{line}");
}

#[test]
fn both_signals_end_it_in_time_with_its_child() {
    for signal in [Signal::TERM, Signal::INT] {
        let script = Script::new("echo $$ > $DIR/pid; exec sleep 1000");
        let mut agent = scraped(&["--conntrack-source", "command", "--conntrack-command", &script.path()]);
        agent.address();
        eventually("the child is running", || {
            std::fs::read_to_string(script.file("pid")).is_ok_and(|pid| pid.ends_with('\n'))
        });
        let child = std::fs::read_to_string(script.file("pid")).unwrap();
        let process = format!("/proc/{}", child.trim());
        assert!(std::fs::exists(&process).unwrap());
        let started = Instant::now();
        agent.signal(signal);
        let (status, _) = agent.wait();
        assert!(status.success(), "{status}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!std::fs::exists(&process).unwrap(), "the child outlived the agent");
    }
}

#[test]
fn a_signal_ends_once_and_its_child() {
    let script = Script::new("echo $$ > $DIR/pid; exec sleep 1000");
    let once = ["once", "--conntrack-source", "command", "--conntrack-command", &script.path()];
    let mut running = Agent::start(command(&once));
    eventually("the child is running", || {
        std::fs::read_to_string(script.file("pid")).is_ok_and(|pid| pid.ends_with('\n'))
    });
    running.signal(Signal::INT);
    let (status, took) = running.wait();
    assert_eq!(status.code(), Some(1));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let child = std::fs::read_to_string(script.file("pid")).unwrap();
    assert!(!std::fs::exists(format!("/proc/{}", child.trim())).unwrap(), "the child outlived the command");
}

#[test]
fn a_child_that_hangs_is_killed_at_its_time_out_with_what_it_started() {
    let script = Script::new("sleep 1000 & echo $! > $DIR/pid; wait");
    let file = config_file("sources: {conntrack: {via: command, timeout: 300ms}}\n");
    let started = Instant::now();
    let output = connscope(&[
        "once",
        "--config",
        file.path().to_str().unwrap(),
        "--conntrack-command",
        &script.path(),
    ]);
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no answer within 300ms"), "{output:?}");
    let grandchild = std::fs::read_to_string(script.file("pid")).unwrap();
    eventually("the grandchild is gone", || {
        std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim()))
            .map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn what_a_child_leaves_behind_is_killed_too() {
    let script = Script::new("echo 'cpu=0 found=1'; sleep 1000 & echo $! > $DIR/pid; exit 0");
    let file = config_file("sources: {conntrack: {via: command, timeout: 500ms}}\n");
    let path = file.path().to_str().unwrap();
    let output = connscope(&["once", "--config", path, "--conntrack-command", &script.path()]);
    assert_eq!(output.status.code(), Some(1), "its pipe was never closed: {output:?}");
    let left = std::fs::read_to_string(script.file("pid")).unwrap();
    eventually("what the child left is gone", || {
        std::fs::read_to_string(format!("/proc/{}/stat", left.trim()))
            .map_or(true, |stat| stat.contains(") Z "))
    });
}
