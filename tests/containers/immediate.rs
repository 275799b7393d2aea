//! Connections that fail before the state of their socket changes: who asks the network, and whom a security module refuses.

use super::kernel::LONG;
use super::lab::{Lab, tcp};
use crate::support::{Namespace, skipped};
use connscope::host::bpf::Loader;
use connscope::metric::label::Reason;
use connscope::source::containers::config::tcp::Tcp;

#[test]
fn what_fails_at_once_is_counted_by_reason_and_what_does_not_once() {
    let Some(namespace) = Namespace::new() else { return };
    let settings = Tcp { immediate_failures: true, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 500) else { return };
    assert!(lab.failed.is_empty(), "{:?}", lab.failed);
    let mut container = lab.container("asks", Some(&namespace));
    // No route, in both families; refused, which the state of the socket says; and one that is established.
    for (command, error) in
        [("10.9.8.7 80", "101"), ("10.9.8.7 80", "101"), ("2001:db8::7 80", "101"), ("127.0.0.1 81", "111")]
    {
        assert_eq!(container.tell(&format!("connect one {command}")), error, "{command}");
    }
    let port = container.tell("listen 127.0.0.1 0");
    container.ok(&format!("start two 127.0.0.1 {port}"));
    let failed = |reason: &'static str, address: &'static str| {
        ["container.tcp.connections{", "container.name=asks", reason, address]
    };
    lab.sees(&[
        (&failed("error.type=network_unreachable", "server.address=10.9.8.7"), 2.0),
        (&failed("error.type=network_unreachable", "server.address=2001:db8::7"), 1.0),
        (&failed("error.type=", "server.port=81"), 1.0),
    ]);
    let said = container.tell("forbid");
    if said != "ok" {
        return skipped(&format!("the rest needs Landlock of Linux 6.7: {said}"));
    }
    assert_eq!(container.tell(&format!("connect three 127.0.0.1 {port}")), "13");
    let series = lab.sees(&[(&failed("error.type=permission_denied", "server.address=127.0.0.1"), 1.0)]);
    let all = super::lab::sum(&series, &failed("error.type=", "server."));
    assert_eq!(all, Some(5.0), "{series:#?}");
    assert_eq!(lab.entries("calls"), 0, "no call is in progress");
}

#[test]
fn a_call_whose_end_was_missed_is_no_failure_of_a_later_one() {
    let Some(namespace) = Namespace::new() else { return };
    let settings = Tcp { immediate_failures: true, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 500) else { return };
    let mut container = lab.container("asks", Some(&namespace));
    assert_eq!(container.tell("connect one 10.9.8.7 80"), "101");
    // What a call that was never seen to end would leave: struct call in bpf/connect.h.
    let stale: u64 = container.tell("sockaddr 10.9.8.7 81").parse().unwrap();
    let process = u64::from(container.process());
    let caller = (process << 32) | process;
    let call = [&[0; 16][..], &stale.to_ne_bytes(), &[0; 8]].concat();
    lab.write_entry("calls", &caller.to_ne_bytes(), &call);
    assert_eq!(container.tell("datagrams 10.9.8.7 82"), "101");
    assert_eq!(container.tell("connect two 10.9.8.7 83"), "101");
    let failed = |port| ["container.tcp.connections{", "container.name=asks", "error.type=", port];
    let series = lab.sees(&[(&failed("server.port=80"), 1.0), (&failed("server.port=83"), 1.0)]);
    assert_eq!(super::lab::sum(&series, &failed("server.port=")), Some(2.0), "{series:#?}");
}

#[test]
fn what_the_kernel_does_not_have_refuses_its_program_alone() {
    if !rustix::process::geteuid().is_root() {
        return skipped("needs root to load programs");
    }
    let object = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/connscope.bpf.o")).unwrap();
    let _alone = super::lab::alone();
    let mut loader = Loader::new(&object, |_| Vec::new(), &[]).unwrap();
    let programs = ["enter_connect", "exit_connect"];
    let error = loader.function(programs, "no_such_function").unwrap_err();
    assert_eq!(error.reason(), Reason::Absent);
    assert!(!loader.trace_both([("enter_call", "sys_enter"), ("exit_call", "no_such_tracepoint")]));
    let programs = loader.finish();
    let kept = ["enter_call", "exit_call"].map(|program| programs.is_loaded(program));
    assert_eq!(kept, [false; 2], "the one is of no use without the other");
    let refused: Vec<_> =
        programs.all_refused().iter().map(|(program, error)| (*program, error.reason())).collect();
    assert_eq!(refused, [("exit_call", Reason::Absent)]);
}
