//! `connscope once`: what is printed of the sources, and what it says of those that failed.

use super::{config_file, scraped, text};
use crate::support::{FOUR_CPUS, Script, connscope, get, sample};
use rustix::process::Signal;

#[test]
fn once_prints_the_classic_names_byte_for_byte() {
    let script = Script::printing(FOUR_CPUS);
    let output = connscope(&[
        "once",
        "--conntrack-source",
        "command",
        "--conntrack-command",
        &script.path(),
        "--format",
        "prometheus",
        "--prometheus-naming",
        "classic",
    ]);
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    let drop = "# HELP conntrack_drop Total of conntrack drop\n# TYPE conntrack_drop counter\n\
                conntrack_drop{cpu=\"0\"} 3\nconntrack_drop{cpu=\"1\"} 8\nconntrack_drop{cpu=\"2\"} 13\n\
                conntrack_drop{cpu=\"3\"} 0\n";
    assert!(printed.contains(drop), "{printed}");
    for word in
        ["early_drop", "error", "found", "ignore", "insert", "insert_failed", "invalid", "search_restart"]
    {
        let head =
            format!("# HELP conntrack_{word} Total of conntrack {word}\n# TYPE conntrack_{word} counter\n");
        assert!(printed.contains(&head), "{word}: {printed}");
    }
    assert!(printed.lines().all(|line| line.contains("conntrack_")), "{printed}");
}

#[test]
fn once_prints_what_came_and_exits_1_where_a_source_failed() {
    let denied = Script::new("echo 'cpu=0 entries=1 found=1'; echo 'you must be root' >&2; exit 1");
    let arguments = ["--conntrack-source", "command", "--conntrack-command", &denied.path()];
    for format in ["table", "prometheus", "otlp-json"] {
        let output = connscope(&[&["once", "--format", format], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let log = text(&output.stderr);
        assert!(log.contains("you must be root") && log.contains("CAP_NET_ADMIN"), "{log}");
        assert!(!text(&output.stdout).contains("found"), "numbers of a run that failed are not believed");
    }
    let output = connscope(&[&["check"], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("command  denied"), "{output:?}");
}

#[test]
fn once_prints_otlp_as_json() {
    let script = Script::printing(FOUR_CPUS);
    let output = connscope(&["once", "--format", "otlp-json", "--conntrack-command", &script.path()]);
    let message: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let drop = metrics.iter().find(|metric| metric["name"] == "conntrack.drop").unwrap();
    assert_eq!(drop["unit"], "{packet}");
    assert_eq!(drop["sum"]["dataPoints"].as_array().unwrap().len(), 4);
}

#[test]
fn fields_nobody_has_heard_of_are_recorded() {
    let script =
        Script::printing("cpu=0   \tfound=1 brand_new=42 unknown1=7 \ncpu=1   \tfound=1 brand_new=43 \n");
    let output = connscope(&["once", "--format", "prometheus", "--conntrack-command", &script.path()]);
    let printed = text(&output.stdout);
    for (series, value) in [
        (r#"conntrack_unknown_total{cpu="0",field="brand_new"}"#, 42.0),
        (r#"conntrack_unknown_total{cpu="1",field="brand_new"}"#, 43.0),
        (r#"conntrack_unknown_total{cpu="0",field="unknown1"}"#, 7.0),
    ] {
        assert_eq!(sample(&printed, series), Some(value), "{printed}");
    }
}

#[test]
fn cpus_can_be_summed() {
    let script = Script::printing(FOUR_CPUS);
    let file = config_file("sources: {conntrack: {cpu: sum, via: command}, network: {enabled: false}}\n");
    let output = connscope(&[
        "once",
        "--format",
        "prometheus",
        "--config",
        file.path().to_str().unwrap(),
        "--conntrack-command",
        &script.path(),
    ]);
    let printed = text(&output.stdout);
    assert_eq!(sample(&printed, "conntrack_drop_total"), Some(24.0), "{printed}");
    assert!(!printed.contains("cpu=\""), "{printed}");
}

#[test]
fn telegraf_users_find_their_directories_and_files() {
    let folder = tempfile::tempdir().unwrap();
    for (file, content) in [
        ("ip_conntrack_count", "1234321\n"),
        ("nf_conntrack_max", "9999999"),
        ("nf_conntrack_tcp_timeout_close", "10"),
    ] {
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    let script = Script::printing(FOUR_CPUS);
    let yaml = format!(
        "sources: {{conntrack: {{via: command, table: {{dirs: [/nowhere, {}], files: [ip_conntrack_count, \
         nf_conntrack_max, nf_conntrack_missing, nf_conntrack_tcp_timeout_close]}}}}}}\n",
        folder.path().display()
    );
    let file = config_file(&yaml);
    let path = file.path().to_str().unwrap();
    let arguments =
        ["once", "--format", "prometheus", "--config", path, "--conntrack-command", &script.path()];
    let printed = text(&connscope(&arguments).stdout);
    assert_eq!(sample(&printed, "conntrack_table_usage"), Some(1_234_321.0), "{printed}");
    assert_eq!(sample(&printed, "conntrack_table_limit"), Some(9_999_999.0));
    let timeout = r#"conntrack_table_sysctl{sysctl="conntrack_tcp_timeout_close"}"#;
    assert_eq!(sample(&printed, timeout), Some(10.0), "{printed}");
    std::fs::write(folder.path().join("nf_conntrack_max"), "0").unwrap();
    let printed = text(&connscope(&arguments).stdout);
    assert_eq!(sample(&printed, "conntrack_table_limit"), Some(0.0), "no limit is a limit of 0");
    assert_eq!(sample(&printed, "conntrack_table_utilization_ratio"), None, "{printed}");
}

#[test]
fn a_file_that_is_no_number_does_not_take_the_table_with_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nf_conntrack_count"), "7").unwrap();
    std::fs::write(folder.path().join("nf_wrong"), "abc").unwrap();
    let script = Script::printing(FOUR_CPUS);
    let file = config_file(&format!(
        "sources: {{conntrack: {{via: command, table: {{dirs: [{}], files: [nf_wrong, nf_conntrack_count]}}}}}}\n",
        folder.path().display()
    ));
    let path = file.path().to_str().unwrap();
    let arguments =
        ["once", "--format", "prometheus", "--config", path, "--conntrack-command", &script.path()];
    let output = connscope(&arguments);
    assert_eq!(output.status.code(), Some(1), "what was asked for is missing in part");
    let printed = text(&output.stdout);
    assert_eq!(sample(&printed, "conntrack_table_usage"), Some(7.0), "{printed}");
    assert_eq!(sample(&printed, r#"connscope_source_up{source="conntrack"}"#), Some(1.0));
    assert!(text(&output.stderr).contains("`abc` is not a number"), "{output:?}");
}

#[test]
fn namespaces_that_are_all_missing_are_a_failure() {
    let file = config_file(
        "sources: {conntrack: {netns: [no-such-name, \"pid:4194304\"]}, sockets: {enabled: false}, network: {enabled: false}}\n",
    );
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path]);
    let address = agent.address();
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("no configured network namespace could be read"), "{body}");
    assert!(body.contains("no-such-name"), "{body}");
    assert_eq!(get(address, "/-/ready").0, 503);
}

#[test]
fn output_without_end_is_cut_off() {
    let script = Script::new("exec yes cpu=0");
    let output = connscope(&["once", "--conntrack-source", "command", "--conntrack-command", &script.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("more than 4 MiB"), "{output:?}");
}

#[test]
fn auto_says_once_which_way_it_reads_and_why_not_the_others() {
    let mut agent = scraped(&["--conntrack-command", "/no/such/conntrack"]);
    let address = agent.address();
    let line = agent.wait_for("reading the connection tracking statistics");
    assert!(line.contains("command: running /no/such/conntrack -S: there is no such program"), "{line}");
    let mut exposition = String::new();
    for _ in 0..3 {
        exposition = get(address, "/metrics").1;
    }
    let via = exposition.lines().filter(|line| line.starts_with("connscope_conntrack_source{")).count();
    assert_eq!(via, 1, "{exposition}");
    agent.signal(Signal::TERM);
    agent.wait();
    let said = agent.log.all().iter().filter(|line| line.contains("reading the connection tracking")).count();
    assert_eq!(said, 1, "{:#?}", agent.log.all());
}
