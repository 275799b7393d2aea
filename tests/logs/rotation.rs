//! Rotation while lines are written: by Docker, as the kubelet has it, and by logrotate.

use super::Running;
use super::engines::{append, link, of_docker, tell, told};
use crate::support::engine::Docker;
use crate::support::{Namespace, eventually, skipped};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const MESSAGES: &str = "container_log_messages_total";
const LOST: &str = "connscope_logs_lost_bytes_total";

/// Lines that are written as fast as can be.
const LINES: u32 = 100_000;

/// Waits until what was counted, and what is said to be lost, is all there was: to the line where nothing is said to be lost.
fn whole(agent: &Running) -> String {
    let sum = |metric: &str, labels: &[&str]| agent.values(metric, labels).iter().sum::<f64>();
    let mut said = String::new();
    eventually("every line is counted, or said to be lost", || {
        let counted = sum(MESSAGES, &["severity=\"error\""]);
        let (read, lost) = (sum("container_log_io_bytes_total", &[]), sum(LOST, &["rotated"]));
        // Zeros at the end of the time of a record are left out, so records are not of the same length to the byte. Files
        // that were never seen are taken to be as long as the one before.
        let all = counted + lost / (read / (counted + 1.0));
        said = format!("{counted} of {LINES} lines were counted, {lost} bytes are lost: {all} lines");
        let most = if lost == 0.0 { 0.0 } else { 0.02 };
        (all / f64::from(LINES) - 1.0).abs() <= most
    });
    said
}

#[test]
fn rotation_by_docker_as_fast_as_it_can_be_loses_no_line_that_is_not_counted_as_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let options = ["max-size=20k", "max-file=3", "compress=true"].map(|option| ["--log-opt", option]);
    let script = format!(
        "awk 'BEGIN {{ for (i = 0; i < {LINES}; i++) printf \"ERROR line %06d of the same length\\n\", i }}'
         sleep 1; echo WARN last"
    );
    told(&docker, "fast", &options.concat(), &script);
    let agent = of_docker(&docker, "");
    agent.sees(MESSAGES, &["severity=\"error\""], 0.0);
    tell(&docker, "fast");
    eventually("the last line is read", || agent.values(MESSAGES, &["severity=\"warning\""]) == [1.0]);
    eprintln!("{}", whole(&agent));
}

#[test]
fn rotation_by_docker_from_the_first_line_on_loses_no_line_that_is_not_counted_as_lost() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let agent = of_docker(&docker, "");
    agent.sees("connscope_logs_files", &["log_source=\"docker\""], 0.0);
    // Written at once, and ended: engines are told of no container before it has written.
    let script = format!(
        "awk 'BEGIN {{ for (i = 0; i < {LINES}; i++) printf \"ERROR line %06d of the same length\\n\", i }}'"
    );
    let options = ["max-size=20k", "max-file=3", "compress=true"].map(|option| ["--log-opt", option]);
    docker.run("fast", &options.concat(), &["sh", "-c", &script]);
    docker.docker(&["wait", "fast"]);
    eprintln!("{}", whole(&agent));
}

#[test]
fn rotation_as_the_kubelet_has_it_loses_no_line_that_is_not_counted_as_lost() {
    const OF_ONE: u32 = 2000;
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let root = tempfile::tempdir().unwrap();
    let id = docker.run("fast", &[], &["sleep", "600"]);
    let log = link(root.path(), &id, "app", 0);
    let places =
        format!("{{root: {}, names: {{docker: [], containerd: [], crio: []}}}}", root.path().display());
    let agent = Running::new("docker: false, journald: false, files: false", &places);
    agent.sees(MESSAGES, &["severity=\"error\""], 0.0);
    let time = "2026-11-26T05:00:00.123456789Z";
    let mut old: Vec<PathBuf> = Vec::new();
    for file in 0..LINES / OF_ONE {
        // The runtime goes on writing to the renamed file until it is told to open its log again.
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        for line in 0..OF_ONE {
            if line == OF_ONE - 10 {
                old.push(log.with_file_name(format!("0.log.20261126-05{file:04}")));
                std::fs::rename(&log, old.last().unwrap()).unwrap();
            }
            writer
                .write_all(format!("{time} stdout F ERROR line {:06}\n", file * OF_ONE + line).as_bytes())
                .unwrap();
        }
        // It keeps five, all but the newest two compressed.
        if let [.., packed, _] = &*old {
            let _gone = std::fs::rename(packed, packed.with_extension("gz"));
        }
        if let [.., oldest, _, _, _] = &*old {
            let _gone = std::fs::remove_file(oldest.with_extension("gz"));
        }
    }
    append(&log, &format!("{time} stdout F WARN last\n"));
    eventually("the last line is read", || agent.values(MESSAGES, &["severity=\"warning\""]) == [1.0]);
    eprintln!("{}", whole(&agent));
}

/// Runs logrotate on a log with these directives.
fn logrotate(directory: &Path, log: &Path, directives: &str) {
    let configuration = directory.join("logrotate.conf");
    std::fs::write(&configuration, format!("{} {{\n{directives}\n}}\n", log.display())).unwrap();
    let output = Command::new("logrotate")
        .args(["--force", "--state"])
        .arg(directory.join("state"))
        .arg(&configuration)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn rotated_by_logrotate(directives: &str, opens_again: bool) {
    if Command::new("logrotate").arg("--version").output().is_err() {
        skipped("needs logrotate (make test installs it)");
        return;
    }
    let (directory, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = logs.path().join("app.log");
    append(&log, "ERROR before the agent was started\n");
    let files =
        format!("docker: false, cri: false, journald: false, files: ['{}/*.log']", logs.path().display());
    let agent = Running::new(&files, "{}");
    let errors = ["severity=\"error\""];
    agent.sees(MESSAGES, &errors, 0.0);
    let open = || OpenOptions::new().append(true).open(&log).unwrap();
    let mut count = 0;
    let mut write = |file: &mut File, lines: u32| {
        for _ in 0..lines {
            file.write_all(format!("ERROR line {count:06} before it is rotated\n").as_bytes()).unwrap();
            count += 1;
        }
        f64::from(count)
    };
    let mut file = open();
    for _ in 0..6 {
        // That it was cut off can be seen where it is shorter than what was read of it.
        let sum = write(&mut file, 300);
        agent.sees(MESSAGES, &errors, sum);
        write(&mut file, 500);
        logrotate(directory.path(), &log, directives);
        write(&mut file, 20);
        if opens_again {
            file = open();
        }
        let sum = write(&mut file, 50);
        agent.sees(MESSAGES, &errors, sum);
    }
    agent.sees(LOST, &[], 0.0);
}

#[test]
fn logrotate_that_makes_another_file_loses_nothing() {
    rotated_by_logrotate("rotate 3\ncreate 0644\ncompress\ndelaycompress", true);
}

#[test]
fn logrotate_that_copies_and_cuts_off_loses_nothing() {
    rotated_by_logrotate("rotate 3\ncopytruncate", false);
}
