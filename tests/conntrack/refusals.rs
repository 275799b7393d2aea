//! What becomes of what a `conntrack` prints that is not the usual.

use crate::support::agent::behind;
use crate::support::{Namespace, Script, command as program};
use connscope::metric::label::Reason;
use connscope::source::conntrack::command;
use connscope::stop::Stop;
use std::time::Duration;

const FALLBACK: &str = "\
cpu=0  \tentries=4784 clashres=2292 found=1 new=0 invalid=5 ignore=0 delete=0 chainlength=0 insert=0 drop=7 icmp_error=3 
cpu=1  \tentries=4784 clashres=0 found=1 new=0 invalid=5 ignore=0 delete=9 chainlength=0 insert=0 drop=7 icmp_error=3 
";

fn ask(script: &Script, release: (u32, u32)) -> Result<Vec<String>, connscope::reading::SourceError> {
    let stop = Stop::new().unwrap();
    let statistics = command::ask(&script.path(), Some(release), Duration::from_mins(1), &stop)?;
    Ok(statistics.rows[0].fields.iter().map(|(field, _)| field.word().to_owned()).collect())
}

#[test]
fn counters_that_the_kernel_does_not_count_are_left_out_where_the_tool_reads_procfs() {
    let script = Script::printing(FALLBACK);
    let counted = ["clash_resolve", "found", "invalid", "delete", "chaintoolong", "insert", "drop", "error"];
    // The columns say that it is 5.10 or later, whatever the release; `delete` was counted on one CPU.
    for release in [(4, 4), (4, 18), (6, 18)] {
        assert_eq!(ask(&script, release).unwrap(), counted, "{release:?}");
    }
    let old =
        Script::printing("cpu=0\tentries=1 searched=0 found=0 new=0 ignore=0 delete=0 delete_list=0 \n");
    let all = ["searched", "found", "new", "ignore", "delete", "delete_list"];
    assert_eq!(ask(&old, (4, 4)).unwrap(), all);
    assert_eq!(ask(&old, (4, 9)).unwrap(), ["found", "ignore"]);
    // What it has from the kernel itself is as the kernel has it.
    let native = Script::printing("cpu=0\tfound=0 ignore=0 insert=0 \n");
    assert_eq!(ask(&native, (6, 18)).unwrap(), ["found", "ignore", "insert"]);
}

#[test]
fn a_refusal_for_want_of_a_privilege_is_denied_whoever_says_it() {
    for said in [
        "conntrack v1.4.7 (conntrack-tools): Operation failed: sorry, you must be root or get CAP_NET_ADMIN capability to do this",
        "conntrack v1.4.6 (conntrack-tools): Operation failed: Operation not permitted",
        "Can't open handler: Permission denied",
        "sudo: a password is required",
        "doas: Operation not permitted",
    ] {
        let error = ask(&Script::new(&format!("echo \"{said}\" >&2; exit 1")), (6, 18)).unwrap_err();
        assert_eq!(error.reason(), Reason::Denied, "{said}");
        assert_eq!(error.capability(), Some("CAP_NET_ADMIN"));
    }
    // Since 1.4.7 it prints what procfs shows, and ends with 1.
    let script = Script::printing(FALLBACK);
    let falls_back = Script::new(&format!("cat {}; exit 1", script.file("output").display()));
    assert_eq!(ask(&falls_back, (6, 18)).unwrap_err().reason(), Reason::Denied);
    // A seccomp filter ends it.
    assert_eq!(ask(&Script::new("kill -SYS $$"), (6, 18)).unwrap_err().reason(), Reason::Denied);
    let broken = Script::new("echo 'Segmentation fault' >&2; exit 139");
    assert_eq!(ask(&broken, (6, 18)).unwrap_err().reason(), Reason::Io);
}

#[test]
fn a_kernel_without_the_module_is_absent_and_not_broken() {
    // Linux 6.1 and 5.10 without nfnetlink, conntrack-tools 1.4.7: it crashes after it has said so.
    let said =
        "mnl_socket_open: Protocol not supported\nconntrack v1.4.7 (conntrack-tools): Can't open handler";
    let crashed = ask(&Script::new(&format!("echo \"{said}\" >&2; kill -SEGV $$")), (6, 1)).unwrap_err();
    assert_eq!(crashed.reason(), Reason::Absent);
    // Linux 7.2 without nf_conntrack_netlink. Without the privilege the same words may mean that it lacks that.
    let neither = "conntrack v1.4.7 (conntrack-tools): Can't open /proc interface";
    let error = ask(&Script::new(&format!("echo \"{neither}\" >&2; exit 1")), (7, 2)).unwrap_err();
    let root = rustix::thread::capabilities(None)
        .unwrap()
        .effective
        .contains(rustix::thread::CapabilitySet::NET_ADMIN);
    assert_eq!(error.reason(), if root { Reason::Absent } else { Reason::Denied });
}

/// What hides the sysctls is named, and the module that counts all the same is not said to be missing.
#[test]
fn sysctls_that_are_masked_are_not_taken_for_a_module_that_is_not_loaded() {
    let Some(namespace) = Namespace::new() else { return };
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), "{sources: {sockets: {enabled: false}}, resource: {cloud: {detect: off}}}")
        .unwrap();
    let check = program(&["check", "--config", config.path().to_str().unwrap()]);
    let mut check =
        behind(&["unshare", "-m", "sh", "-c", "mount -t tmpfs none /proc/sys && exec \"$0\" \"$@\""], &check);
    let output = namespace.inside(move || check.output()).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains(" sysctl ")).unwrap_or_else(|| panic!("{output:?}"));
    assert!(line.contains("is /proc/sys masked?"), "{line}");
    assert!(!line.contains("not loaded"), "{line}");
}
