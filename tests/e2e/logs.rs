//! Logs: what containers of a real Docker and a file say, in Prometheus by push under our names, and by pull under those of
//! coroot-node-agent.

use crate::judge;
use crate::parity::{PULLED, PUSHED};
use crate::stack::{Collector, Prometheus, agent_with, end, quiet_namespace, until};
use crate::support::engine::Docker;
use serde_json::json;
use std::io::Write;

/// The agent's configuration: the logs alone, as the classic names are printed.
fn configuration(logs: &str, docker: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "export: {{prometheus: {{naming: classic}}}}\n\
         inventory: {{names: {{docker: [{docker}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
         logs: {{enabled: true, cri: false, journald: false, classic: {{enabled: true}}, {logs}}}\n"
    )
    .unwrap();
    file
}

/// Waits until the sum of what a query selects is so.
fn sees(prometheus: &Prometheus, query: &str, number: f64) {
    until(&format!("{query} is {number}"), || {
        let found = prometheus.query(query)?;
        let sum: f64 = found.iter().map(|sample| sample.value).sum();
        if sum == number && !found.is_empty() {
            Ok(())
        } else {
            Err(format!("{} series, {sum}", found.len()))
        }
    });
}

#[test]
fn what_a_container_logs_is_in_prometheus_by_push_and_under_the_classic_names_by_pull() {
    let Some(namespace) = quiet_namespace() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    // The errors of `many` differ in two words each, in letters.
    let script = "until [ -e /tmp/go ]; do sleep 0.05; done
         i=0; while [ $i -lt 1000 ]; do echo \"ERROR order $i failed\"; i=$((i+1)); done
         echo 'FATAL it broke' >&2; printf '\\tat A.pay(A.java:2)\\n\\tat A.main(A.java:5)\\nCaused by: B\\n' >&2
         head -c 20000 /dev/zero | tr '\\0' x; echo
         printf 'WARN no end'";
    let many = "until [ -e /tmp/go ]; do sleep 0.05; done
         i=1000; while [ $i -lt 2000 ]; do echo \"ERROR x$i y$i\"; i=$((i+1)); done | tr 0-9 a-j; sleep 600";
    docker.run("web", &[], &["sh", "-c", script]);
    docker.run("many", &[], &["sh", "-c", many]);
    let file = configuration("files: false, pattern_rate: 100000", &docker.data().display().to_string());
    let agent = agent_with(&namespace, file.path(), &["--interval", "1s"], &[]);

    let pushed = |name: &str, more: &str| format!("{name}{{job=\"connscope\",{more}}}");
    let messages = "container_log_messages_total";
    for name in ["web", "many"] {
        sees(&prometheus, &pushed(messages, &format!("container_name=\"{name}\"")), 0.0);
        docker.docker(&["exec", name, "touch", "/tmp/go"]);
    }
    let web = |severity: &str| format!("container_name=\"web\",severity=\"{severity}\"");
    for (severity, number) in
        [("error", 1000.0), ("critical", 1.0), ("unknown", 1.0), ("warning", 1.0), ("info", 0.0)]
    {
        sees(&prometheus, &pushed(messages, &web(severity)), number);
    }
    let patterns = "container_log_patterns_total";
    sees(&prometheus, &pushed(patterns, &web("error")), 1000.0);
    assert_eq!(prometheus.query(&pushed(patterns, &web("error"))).unwrap().len(), 1);
    let many = "container_name=\"many\"";
    sees(&prometheus, &pushed(patterns, many), 1000.0);
    assert_eq!(prometheus.query(&pushed(patterns, many)).unwrap().len(), 101);
    sees(&prometheus, &pushed(patterns, &format!("{many},pattern=\"~other\"")), 900.0);
    sees(&prometheus, &pushed("container_log_pattern_info", many), 100.0);
    // `increase()` sees the first message, for the series of a pattern begin at 0.
    let first = format!("min_over_time({}[10m])", pushed(patterns, &web("critical")));
    sees(&prometheus, &first, 0.0);

    classic(&prometheus);
    let log = end(agent);
    assert!(log.iter().all(|line| line.starts_with("INFO")), "{log:#?}");
}

/// By pull there are the name, the type and the labels of coroot-node-agent, and the hash that its parser makes.
fn classic(prometheus: &Prometheus) {
    let pulled = |more: &str| format!("container_log_messages_total{{job=\"connscope-pull\",{more}}}");
    let errors = "container_id=\"/docker/web\",level=\"error\"";
    sees(prometheus, &pulled(errors), 1000.0);
    let other = format!("container_id=\"/docker/many\",pattern_hash=\"{}\"", "0".repeat(32));
    sees(prometheus, &pulled(&other), 900.0);
    let samples = prometheus.query(&pulled(errors)).unwrap();
    let [sample] = samples.as_slice() else { panic!("one series: {samples:?}") };
    let keys: Vec<&str> =
        sample.keys().filter(|key| !["__name__", "job", "instance"].contains(key)).collect();
    assert_eq!(keys, ["container_id", "level", "machine_id", "pattern_hash", "sample", "source"]);
    assert_eq!(sample.label("source"), "stdout/stderr");
    let answer = judge::ask(&[json!(["message", sample.label("sample")])]);
    assert_eq!(json!(sample.label("pattern_hash")), answer[0][1]);
    let metadata = prometheus.metadata("container_log_messages_total").unwrap();
    assert_eq!((metadata["type"].as_str(), metadata["unit"].as_str()), (Some("counter"), Some("")));
    assert_eq!(
        metadata["help"],
        "Number of messages grouped by the automatically extracted repeated pattern"
    );
}

#[test]
fn over_the_rate_of_patterns_the_severity_is_right_by_push() {
    let Some(namespace) = quiet_namespace() else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    std::fs::write(&path, "").unwrap();
    let logs = format!("docker: false, pattern_rate: 10, files: ['{}']", path.display());
    let file = configuration(&logs, "/nowhere");
    let agent = agent_with(&namespace, file.path(), &["--interval", "1s"], &[]);
    sees(&prometheus, &format!("container_log_messages_total{PUSHED}"), 0.0);
    std::fs::write(&path, "ERROR again\n".repeat(1000)).unwrap();
    sees(&prometheus, "container_log_messages_total{job=\"connscope\",severity=\"error\"}", 1000.0);
    sees(&prometheus, &format!("container_log_patterns_total{PUSHED}"), 1000.0);
    let skipped =
        prometheus.query("container_log_patterns_total{job=\"connscope\",pattern=\"~skipped\"}").unwrap();
    assert!(skipped.len() == 1 && (900.0..=990.0).contains(&skipped[0].value), "{skipped:?}");
    sees(&prometheus, &format!("container_log_messages_total{PULLED}"), 1000.0);
    end(agent);
}
