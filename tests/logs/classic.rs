//! The name and labels of coroot-node-agent.

use super::Running;
use super::files::append;

const MESSAGES: &str = "container_log_messages_total";

/// The labels of a series by their keys.
fn labels(series: &str) -> Vec<(String, String)> {
    let (_, rest) = series.split_once('{').unwrap();
    let (labels, _) = rest.rsplit_once("\"} ").unwrap();
    let pairs = labels.split("\",").map(|pair| pair.split_once("=\"").unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn messages_have_the_name_type_and_labels_of_coroot_node_agent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    append(&path, b"before\n");
    let files = format!(
        "docker: false, cri: false, journald: false, files: ['{}'], classic: {{enabled: true}}",
        path.display()
    );
    let agent = Running::printing("classic", &format!("{files}, sample: off"), "{}");
    // Nothing was logged yet, and metrics without a classic name are not printed: one answer says that it is followed.
    assert!(!agent.text().contains(MESSAGES));
    append(
        &path,
        b"ERROR order 17 was refused by \"Bank\"\nERROR order 18 was refused by \"Inn\"\ninfo: well\n",
    );
    agent.sees(MESSAGES, &["level=\"error\""], 2.0);
    agent.sees(MESSAGES, &["level=\"info\""], 1.0);
    let text = agent.text();
    assert!(text.contains(&format!("# TYPE {MESSAGES} counter\n")), "{text}");
    assert!(text.contains(&format!(
        "# HELP {MESSAGES} Number of messages grouped by the automatically extracted repeated pattern\n"
    )));
    let series: Vec<_> =
        text.lines().filter(|line| line.starts_with(&format!("{MESSAGES}{{"))).map(labels).collect();
    let keys = ["container_id", "level", "machine_id", "pattern_hash", "sample", "source"];
    for labels in &series {
        assert_eq!(labels.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys);
    }
    let of = |level: &str| {
        let has = |labels: &&Vec<(String, String)>| labels[1].1 == level;
        series.iter().find(has).unwrap().iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let (error, info, path) = (of("error"), of("info"), path.display().to_string());
    // MD5 of `ERROR order was refused by`.
    let sample = "ERROR order 17 was refused by \\\"Bank\\\"";
    assert_eq!(error[3..], ["84ff0a77a769c3ded5e2b824e45cd5f3", sample, &path]);
    assert_eq!(info[3..], ["", "", &path]);
}
