//! Files that the configuration names.

use super::Running;
use crate::support::{connscope, eventually, skipped};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MESSAGES: &str = "container_log_messages_total";
const PATTERNS: &str = "container_log_patterns_total";
const IO: &str = "container_log_io_bytes_total";

pub(super) fn append(path: &Path, text: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text).unwrap();
}

/// An agent that follows `*.log` in a directory with `app.log`, where one line is already.
pub(super) fn following(settings: &str) -> (tempfile::TempDir, PathBuf, Running) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    append(&path, b"ERROR before the agent was started\n");
    let settings = format!(
        "docker: false, cri: false, journald: false, files: ['{}/*.log'], {settings}",
        directory.path().display()
    );
    let agent = Running::new(&settings, "{}");
    agent.sees("connscope_logs_files", &["log_source=\"file\""], 1.0);
    (directory, path, agent)
}

#[test]
fn messages_are_counted_by_severity_from_when_the_agent_was_started() {
    let (_directory, path, agent) = following("");
    let name = format!("log_file_path=\"{}\"", path.display());
    agent.sees(MESSAGES, &[&name, "severity=\"error\""], 0.0);
    append(&path, b"ERROR order 1 failed\nERROR order 2 failed\nWARN slow\ninfo: well\nno word\n");
    append(&path, b"{\"level\":50,\"msg\":\"from pino\"}\n");
    agent.sees(MESSAGES, &[&name, "severity=\"error\""], 3.0);
    for (severity, count) in
        [("warning", 1.0), ("info", 1.0), ("unknown", 1.0), ("debug", 0.0), ("critical", 0.0)]
    {
        agent.sees(MESSAGES, &[&name, &format!("severity=\"{severity}\"")], count);
    }
    agent.sees("container_log_io_bytes_total", &[&name], 102.0);
    agent.sees(PATTERNS, &["severity=\"error\""], 3.0);
    assert_eq!(agent.values("container_log_pattern_info", &["sample=\"ERROR order failed\""]), [1.0]);
    assert_eq!(agent.values("container_log_last_message_time_seconds", &[&name]).len(), 1);
}

#[test]
fn a_line_in_three_writes_is_one_message() {
    let (_directory, path, agent) = following("");
    for part in [&b"ERROR in "[..], b"three ", b"writes\nnext\n"] {
        append(&path, part);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    agent.sees(MESSAGES, &[], 2.0);
    assert_eq!(agent.values("container_log_pattern_info", &["sample=\"ERROR in three writes\""]), [1.0]);
}

#[test]
fn a_file_that_is_cut_off_in_the_middle_of_a_line_is_read_from_its_beginning() {
    let (_directory, path, agent) = following("");
    append(&path, b"ERROR whole\nERROR half of");
    // So much was read, but for what is still open.
    agent.sees(IO, &[], 25.0);
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, b"WARN new\n");
    agent.sees(MESSAGES, &["severity=\"warning\""], 1.0);
    agent.sees(MESSAGES, &["severity=\"error\""], 2.0);
    agent.sees(MESSAGES, &[], 3.0);
}

#[test]
fn json_is_a_message_a_line_or_over_many_lines() {
    let (_directory, path, agent) = following("");
    let padding = "x".repeat(200);
    // A time that comes late in the line, which makes one message of the three where a line before them has one.
    append(&path, b"2026-11-26 05:00:00 it begins\n");
    for word in ["one", "two", "three"] {
        let line = format!(
            "{{\"msg\":\"order {word} {word}x failed\",\"p\":\"{padding}\",\"level\":\"error\",\"time\":\"2026-11-26T05:00:00Z\"}}\n"
        );
        append(&path, line.as_bytes());
    }
    agent.sees(MESSAGES, &["severity=\"error\""], 3.0);
    agent.sees(PATTERNS, &["severity=\"error\""], 3.0);
    for key in ["level", "severity", "lvl", "log.level", "levelname"] {
        let line = format!(
            "{{\"{key}\":\"warn\",\"message\":\"slow\",\"request\":{{\"level\":\"fatal\",\"tags\":[{{}}]}}}}\n"
        );
        append(&path, line.as_bytes());
    }
    append(&path, b"{\"log\":{\"level\":\"warn\"},\"error\":\"slow\"}\n{\"level\":40,\"log\":\"slow\"}\n");
    agent.sees(MESSAGES, &["severity=\"warning\""], 7.0);
    assert_eq!(agent.values("container_log_pattern_info", &["sample=\"slow\""]), [1.0]);
    append(
        &path,
        b"{\n  \"level\": \"critical\",\n  \"tags\": [\n    1\n  ],\n  \"msg\": \"it broke\"\n}\nnext\n",
    );
    agent.sees(MESSAGES, &["severity=\"critical\""], 1.0);
    assert_eq!(agent.values("container_log_pattern_info", &["sample=\"it broke\""]), [1.0]);
    agent.sees(MESSAGES, &["severity=\"unknown\""], 2.0);
    agent.sees(MESSAGES, &[], 13.0);
}

#[test]
fn no_line_is_lost_when_files_are_renamed_or_copied_and_cut_off() {
    let (directory, path, agent) = following("");
    let old = directory.path().join("app.log.1");
    let mut count = 0;
    // Inodes of files that are removed are given to others.
    for round in 0..8 {
        // So much has been read of it that it can be seen to be cut off.
        append(&path, format!("ERROR line {count}\n").as_bytes());
        count += 1;
        agent.sees(MESSAGES, &["severity=\"error\""], f64::from(count));
        for _ in 1..500 {
            append(&path, format!("ERROR line {count}\n").as_bytes());
            count += 1;
        }
        if round % 2 == 0 {
            std::fs::rename(&path, &old).unwrap();
            append(&path, b"");
        } else {
            std::fs::copy(&path, directory.path().join(format!("app.log.{}", round + 1))).unwrap();
            OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
        }
        agent.sees(MESSAGES, &["severity=\"error\""], f64::from(count));
    }
    agent.sees(PATTERNS, &["severity=\"error\""], f64::from(count));
    agent.sees("connscope_logs_lost_bytes_total", &[], 0.0);
}

#[test]
fn more_patterns_than_there_may_be_are_one_and_the_severity_is_right_all_the_same() {
    let (_directory, path, agent) = following("patterns: 100, pattern_rate: 1000000");
    let word = |number: u32| -> String {
        let digits = number.to_string();
        digits.bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
    };
    for number in 0..1000 {
        let word = word(number);
        append(&path, format!("ERROR x{word}x y{word}y\n").as_bytes());
    }
    agent.sees(MESSAGES, &["severity=\"error\""], 1000.0);
    agent.sees(PATTERNS, &["pattern=\"~other\""], 900.0);
    agent.sees(PATTERNS, &[], 1000.0);
    assert_eq!(agent.values("container_log_pattern_info", &[]).len(), 100);
    agent.sees("connscope_logs_left_out_total", &["key=\"pattern\""], 900.0);
}

#[test]
fn patterns_over_the_rate_are_not_looked_for() {
    let (_directory, path, agent) = following("pattern_rate: 10");
    append(&path, "ERROR again\n".repeat(1000).as_bytes());
    agent.sees(MESSAGES, &["severity=\"error\""], 1000.0);
    agent.sees(PATTERNS, &[], 1000.0);
    let skipped = agent.values(PATTERNS, &["pattern=\"~skipped\""]).iter().sum::<f64>();
    assert!((900.0..=990.0).contains(&skipped), "{skipped}");
}

#[test]
fn what_is_no_text_stops_nothing() {
    let (_directory, path, agent) = following("sample: first, sample_length: 32");
    append(
        &path,
        b"\xff\xfeE\0R\0R\0O\0R\0\n\0\0\0\0\x7fELF\x02\x01\n\x1b[31mERROR\x1b[0m caf\xe9 ~other\r\n",
    );
    append(&path, "x".repeat(200_000).as_bytes());
    append(&path, b"\nERROR again\n");
    agent.sees(MESSAGES, &["severity=\"error\""], 2.0);
    agent.sees("connscope_logs_lost_bytes_total", &["reason=\"line_too_long\""], 200_000.0 - 65_536.0);
    assert_eq!(agent.values("container_log_pattern_info", &["sample=\"ERROR caf\u{fffd} ~other\""]), [1.0]);
}

#[test]
fn links_fifos_and_devices_are_not_opened() {
    let (directory, path, agent) = following("");
    let outside = tempfile::tempdir().unwrap();
    let (secret, fifo) = (outside.path().join("secret"), directory.path().join("fifo.log"));
    append(&secret, b"ERROR secret\n");
    std::os::unix::fs::symlink(&secret, directory.path().join("link.log")).unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("directory.log")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    let null = directory.path().join("null.log");
    if rustix::fs::mknodat(rustix::fs::CWD, &null, rustix::fs::FileType::CharacterDevice, mode, 0x103)
        .is_err()
    {
        skipped("needs root to make a device");
    }
    // One that is followed is replaced by a link, and a file that comes later shows that all were looked for once more.
    std::fs::rename(&path, directory.path().join("app.log.1")).unwrap();
    std::os::unix::fs::symlink(&secret, &path).unwrap();
    append(&directory.path().join("later.log"), b"ERROR later\n");
    let nobody_reads = || {
        let open = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo);
        assert_eq!(open.unwrap_err().raw_os_error(), Some(libc::ENXIO), "the FIFO has a reader");
    };
    eventually("the file that came later is read", || {
        nobody_reads();
        agent.values(MESSAGES, &["severity=\"error\""]).iter().sum::<f64>() == 1.0
    });
    append(&secret, b"ERROR secret\n");
    append(&directory.path().join("later.log"), b"ERROR later\n");
    agent.sees(MESSAGES, &["severity=\"error\""], 2.0);
    agent.sees("connscope_logs_files", &["log_source=\"file\""], 2.0);
    // The FIFO, the link, the one that the log was replaced by, and the device; the link to a directory is one, too.
    let others = if null.exists() { 5.0 } else { 4.0 };
    agent.sees("connscope_logs_left_out_total", &["key=\"file\""], others);
    let configuration = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let files = format!(
        "docker: false, cri: false, journald: false, files: ['{}/*.log']",
        directory.path().display()
    );
    std::fs::write(configuration.path(), super::configuration("otel", &files, "{}")).unwrap();
    let output = connscope(&["check", "--config", configuration.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    let expected = format!("1 of 1 logs can be read; {others} are links, FIFOs or devices, such as ");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn an_agent_that_is_stopped_and_started_again_counts_nothing_twice() {
    let (directory, path, agent) = following("");
    let errors = ["severity=\"error\""];
    append(&path, b"ERROR one\nERROR two\n");
    agent.sees(MESSAGES, &errors, 2.0);
    drop(agent);
    append(&path, b"ERROR while nobody reads\n");
    let files = format!(
        "docker: false, cri: false, journald: false, files: ['{}/*.log']",
        directory.path().display()
    );
    let agent = Running::new(&files, "{}");
    agent.sees(MESSAGES, &errors, 0.0);
    append(&path, b"ERROR three\n");
    agent.sees(MESSAGES, &errors, 1.0);
}
