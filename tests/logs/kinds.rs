//! The keys that say which kinds of logs are read.

use super::privileges::Logs;
use super::{Running, configuration};
use crate::support::connscope;
use connscope::source::{Mode, SourceKind};
use std::collections::BTreeSet;
use std::time::Duration;

const MESSAGES: &str = "container_log_messages_total";

#[test]
fn each_kind_of_log_is_read_unless_its_key_says_that_it_is_not() {
    let Some(mut logs) = Logs::new() else { return };
    let kinds = ["docker", "cri", "file"];
    let agents = ["", "docker: false", "cri: false", "files: false"].map(|off| {
        let agent = Running::new(&format!("journald: false, {off}"), &logs.inventory());
        for kind in kinds {
            let files = if off.starts_with(kind) { 0.0 } else { 1.0 };
            agent.sees("connscope_logs_files", &[&format!("log_source=\"{kind}\"")], files);
        }
        (off, agent)
    });
    let time = "2026-11-26T05:00:00.123456789Z";
    let [docker, pod] = &logs.of_engines;
    let record = format!("{{\"log\":\"ERROR one\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n");
    super::engines::append(docker, &record);
    super::engines::append(pod, &format!("{time} stdout F ERROR two\n"));
    logs.process.tell("echo ERROR three >&3");
    for (off, agent) in &agents {
        for kind in kinds.iter().filter(|kind| !off.starts_with(**kind)) {
            agent.sees(MESSAGES, &[&format!("log_source=\"{kind}\""), "severity=\"error\""], 1.0);
        }
        let all = if off.is_empty() { 3.0 } else { 2.0 };
        agent.sees(MESSAGES, &["severity=\"error\""], all);
    }
}

#[test]
fn the_log_of_a_pod_is_found_by_its_path_where_the_kubelet_has_no_link() {
    let Some(logs) = Logs::new() else { return };
    let agent = Running::new("docker: false, journald: false, files: false", &logs.without_links());
    agent.sees("connscope_logs_files", &["log_source=\"cri\""], 1.0);
    let [_, pod] = &logs.of_engines;
    super::engines::append(pod, "2026-11-26T05:00:00.123456789Z stdout F ERROR two\n");
    let app = ["k8s_namespace_name=\"prod\"", "k8s_pod_name=\"web-0\"", "k8s_container_name=\"app\""];
    agent.sees(MESSAGES, &[&app[..], &["severity=\"error\"", "log_source=\"cri\""]].concat(), 1.0);
}

/// The parts of the logs that `check` looks at, with these settings.
fn checked(logs: &str, inventory: &str) -> BTreeSet<String> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let text =
        configuration("otel", logs, inventory).replace("enabled: true, enabled: false", "enabled: false");
    std::fs::write(file.path(), text).unwrap();
    let output = connscope(&["check", "--format", "json", "--config", file.path().to_str().unwrap()]);
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_logs = checks.as_array().unwrap().iter().filter(|check| check["source"] == "logs");
    of_logs.map(|check| check["via"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn check_looks_at_the_kinds_that_are_read() {
    let Some(logs) = Logs::new() else { return };
    let of = |settings: &str| checked(settings, &logs.inventory()).into_iter().collect::<Vec<_>>();
    assert_eq!(of(""), ["cri", "docker", "file", "journald"]);
    for (key, kind) in [("docker", "docker"), ("cri", "cri"), ("files", "file"), ("journald", "journald")] {
        let others = ["cri", "docker", "file", "journald"].into_iter().filter(|other| *other != kind);
        assert_eq!(of(&format!("{key}: false")), others.collect::<Vec<_>>());
    }
    assert!(of("enabled: false").is_empty());
}

#[test]
fn a_cycle_waits_for_the_logs_as_long_as_the_key_timeout_says() {
    use connscope::source::logs::{Logs, config};
    let settings = config::Logs { timeout: Duration::from_secs(7), ..config::Logs::default() };
    assert_eq!(Logs::deadline(&settings, Mode::Run), Duration::from_secs(7));
}
