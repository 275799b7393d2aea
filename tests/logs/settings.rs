//! The keys of the configuration: what each does, and what is refused.

use super::Running;
use super::files::{append, following};
use crate::support::connscope;
use std::io::Write;

const MESSAGES: &str = "container_log_messages_total";
const PATTERNS: &str = "container_log_patterns_total";
const INFO: &str = "container_log_pattern_info";

#[test]
fn bad_values_are_refused_with_line_column_and_key() {
    for (key, value, expected) in [
        ("enabled", "maybe", "is neither true nor false"),
        ("timeout", "5", "is not a duration with a unit"),
        ("timeout", "2h", "`2h` is out of range: 10ms to 1m"),
        ("docker", "some", "is neither true nor false"),
        ("cri", "2", "is neither true nor false"),
        ("journald", "var/log", "`var/log` does not begin with /"),
        ("journald", "[/a]", "`true`, `false` or a directory"),
        ("files", "true", "`auto`, `false` or a list of paths"),
        ("files", "all", "`auto`, `false` or a list of paths"),
        ("files", "[a.log]", "`a.log` does not begin with /"),
        ("files", "['/a[']", "`/a[` is not a pattern"),
        ("levels", "[fatal]", "unknown variant `fatal`"),
        ("patterns", "0", "is out of range: 1 to 1000"),
        ("patterns", "1001", "is out of range: 1 to 1000"),
        ("patterns_total", "100001", "is out of range: 1 to 100000"),
        ("pattern_rate", "0", "is out of range: 1 to 1000000"),
        ("sample", "last", "unknown variant `last`"),
        ("sample_length", "15", "is out of range: 16 to 4096"),
        ("sample_length", "4097", "is out of range: 16 to 4096"),
        ("multiline", "often", "is neither true nor false"),
        ("max_files", "0", "is out of range: 1 to 100000"),
        ("retention", "59s", "`59s` is out of range: 1m to 1day"),
        ("retention", "25h", "is out of range: 1m to 1day"),
        ("classic", "true", "is not a section with keys"),
        ("classic", "{enable: true}", "unknown field `enable`"),
        ("no_such_key", "1", "unknown field `no_such_key`"),
    ] {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        writeln!(file, "sources:\n  logs:\n    {key}: {value}").unwrap();
        let path = file.path().to_str().unwrap();
        let output = connscope(&["config", "--config", path]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{key}: {value}: {said}");
        // Where the value begins; the key where that is unknown.
        let column = match (key, value) {
            ("no_such_key", _) => 5,
            (_, "[fatal]" | "{enable: true}") => key.len() + 8,
            _ => key.len() + 7,
        };
        let place = format!("connscope: {path}:3:{column}: sources.logs.{key}");
        assert!(said.starts_with(&place), "{key}: {value}: {said}");
        assert!(said.contains(expected), "{key}: {value}: {said}");
    }
}

#[test]
fn patterns_are_of_the_levels_that_are_asked_for() {
    let (_directory, path, agent) = following("levels: [info, unknown]");
    append(&path, b"ERROR order failed\ninfo: well\nso be it\n");
    agent.sees(MESSAGES, &[], 3.0);
    agent.sees(PATTERNS, &["severity=\"info\""], 1.0);
    agent.sees(PATTERNS, &["severity=\"unknown\""], 1.0);
    assert!(agent.values(PATTERNS, &["severity=\"error\""]).is_empty());
}

#[test]
fn all_logs_together_have_so_many_patterns() {
    let (directory, path, agent) = following("patterns: 2, patterns_total: 3");
    append(&directory.path().join("other.log"), b"");
    agent.sees("connscope_logs_files", &["log_source=\"file\""], 2.0);
    let lines = b"ERROR one onex\nERROR two twox\nERROR three threex\n";
    append(&path, lines);
    append(&directory.path().join("other.log"), lines);
    agent.sees(MESSAGES, &["severity=\"error\""], 6.0);
    agent.sees(PATTERNS, &["pattern=\"~other\""], 3.0);
    assert_eq!(agent.values(INFO, &[]).len(), 3);
    agent.sees("connscope_logs_left_out_total", &["key=\"pattern\""], 3.0);
}

#[test]
fn nothing_is_shown_of_a_pattern_where_that_is_off() {
    let (_directory, path, agent) = following("sample: off");
    append(&path, b"ERROR order 17 failed\n");
    agent.sees(PATTERNS, &["severity=\"error\""], 1.0);
    let text = agent.text();
    let info = text.lines().find(|line| line.starts_with(&format!("{INFO}{{"))).unwrap();
    let shown = text.lines().filter(|line| !line.starts_with('#')).any(|line| line.contains("order"));
    assert!(!info.contains("sample") && !shown, "{info}");
}

#[test]
fn of_the_sample_so_many_bytes_are_shown() {
    let (_directory, path, agent) = following("sample_length: 16");
    append(&path, b"ERROR order was refused by the bank\n");
    agent.sees(INFO, &["sample=\"ERROR order was \""], 1.0);
}

#[test]
fn without_multiline_each_line_is_a_message() {
    let (_directory, path, agent) = following("multiline: false");
    append(&path, b"ERROR it broke\n\tat A.pay(A.java:2)\n  at B\n");
    agent.sees(MESSAGES, &[], 3.0);
}

#[test]
fn so_many_files_are_followed_and_each_of_the_others_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..5 {
        append(&directory.path().join(format!("{number}.log")), b"");
    }
    let pattern = directory.path().join("*.log");
    let logs = |more: &str| {
        format!("docker: false, cri: false, journald: false, files: ['{}'], {more}", pattern.display())
    };
    let agent = Running::new(&logs("max_files: 3"), "{}");
    agent.sees("connscope_logs_files", &["log_source=\"file\""], 3.0);
    agent.sees("connscope_logs_left_out_total", &["key=\"file\""], 2.0);
    let status = crate::support::get(agent.address, "/-/status").1;
    let said = "a limit was reached: connscope.logs.left_out{key=\\\"file\\\"} is 2";
    assert!(status.contains(said), "{status}");
}
