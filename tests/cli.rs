//! The command line and the HTTP endpoint, as scripts see them.

use crate::support::{Agent, FOUR_CPUS, Script, command, connscope, eventually, get, request, sample};
use rustix::process::Signal;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Output;
use std::time::{Duration, Instant};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Bad input: exit code 2, nothing on stdout, one line on stderr.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// The running agent, on a port of the kernel's choice and without a push.
fn scraped(more: &[&str]) -> Agent {
    Agent::start(command(&[&["--listen", "127.0.0.1:0", "--otlp-protocol", "none"], more].concat()))
}

fn config_file(yaml: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    file
}

fn refused_file(yaml: &str) -> String {
    let file = config_file(yaml);
    let path = file.path().to_str().unwrap();
    let line = refusal(&connscope(&["config", "--config", path]));
    line.strip_prefix(&format!("connscope: {path}:")).unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn bad_flags_are_refused_with_one_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["--interval", "5"][..], "--interval 5: is not a duration with a unit"),
        (&["--interval", "1ms"], "--interval 1ms: is out of range: 10ms to 1day"),
        (&["--listen", "9371"], "--listen 9371: is neither ADDRESS:PORT nor off"),
        (&["--listen", "::1:9371"], "an IPv6 address goes in brackets"),
        (&["--otlp-endpoint", "ftp://host"], "the scheme `ftp`"),
        (&["--otlp-endpoint", "http://user:secret@host:4317"], "credentials go into headers"),
        (&["--otlp-protocol", "udp"], "invalid value 'udp' for '--otlp-protocol <PROTOCOL>'"),
        (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
        (&["once", "--format", "xml"], "invalid value 'xml'"),
        (&["--config", "/no/such/file.yaml"], "/no/such/file.yaml: cannot be read: No such file"),
        (&["--otlp-protocol", "http/protobuf", "--otlp-endpoint", "host:4318"], "needs a scheme"),
    ] {
        let line = refusal(&connscope(arguments));
        assert!(line.starts_with("connscope: ") && line.contains(expected), "{arguments:?}: {line}");
    }
}

#[test]
fn bad_variables_are_refused_by_name() {
    for (name, value, expected) in [
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "ten",
            "OTEL_EXPORTER_OTLP_TIMEOUT=ten: is not a number of milliseconds",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "out of range"),
        ("OTEL_METRICS_EXPORTER", "otlp,zipkin", "`zipkin` is none of"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "is neither grpc nor http/protobuf"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "70000", "is not a port"),
        ("OTEL_SDK_DISABLED", "yes", "is neither true nor false"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "is none of none, gzip, zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sideways", "is none of cumulative"),
        ("OTEL_RESOURCE_ATTRIBUTES", "novalue", "has a part that is not key=value"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k.pem", "cert_file and key_file are set together"),
    ] {
        let line = refusal(&command(&["config"]).env(name, value).output().unwrap());
        assert!(line.contains(expected), "{name}={value}: {line}");
    }
    let secret = command(&["config"]).env("OTEL_EXPORTER_OTLP_HEADERS", "a b=tell-nobody").output().unwrap();
    assert!(!refusal(&secret).contains("tell-nobody"));
}

#[test]
fn bad_files_are_refused_with_line_column_and_key() {
    for (yaml, expected) in [
        ("export:\n  otlp: {intervall: 10s}\n", "2:10: export.otlp.intervall: unknown field `intervall`"),
        (
            "export:\n  otlp:\n    interval: 5ms\n",
            "3:15: export.otlp.interval: `5ms` is out of range: 10ms to 1day",
        ),
        ("log: {level: info, level: warn}\n", "1:20: log.level: is there twice"),
        ("sources:\n  conntrack: {via: magic}\n", "2:20: sources.conntrack.via: unknown variant `magic`"),
        ("sources:\n  conntrack: {netns: [\"pid:x\"]}\n", "2:22: sources.conntrack.netns: `pid:x`"),
        ("sources:\n  conntrack: {timeout: 2h}\n", "2:24: sources.conntrack.timeout: `2h` is out of range"),
        ("export: {prometheus: {listen: nowhere}}\n", "1:31: export.prometheus.listen: `nowhere` is neither"),
        ("export: {otlp: {endpoint: \"ftp://x\"}}\n", "1:27: export.otlp.endpoint: `ftp://x` has the scheme"),
        (
            "export: {otlp: {headers: {\"a b\": c}}}\n",
            "export.otlp.headers: `a b` is not the name of a header",
        ),
        ("surces: {}\n", "1:1: surces: unknown field `surces`"),
        ("- a list\n", "1:1: the file: "),
        ("export: [a]\n", "1:9: export: "),
        ("log: {}\n---\nlog: {}\n", "the file: has more than one document"),
        ("export: {otlp: {headers: {a: \"(hidden)\"}}}\n", "is what connscope config prints instead of it"),
        ("export: {otlp: {headers: {a: b, A: b}}}\n", "is there twice"),
    ] {
        let line = refused_file(yaml);
        assert!(line.contains(expected), "{yaml}: {line}");
    }
}

#[test]
fn a_search_for_processes_that_makes_every_cycle_late_is_refused() {
    let refused = |sockets: &str| {
        let file = config_file(&format!("sources: {{sockets: {{{sockets}}}}}\n"));
        let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
        (!output.status.success()).then(|| refusal(&output))
    };
    let line = refused("timeout: 1s, process_budget: 501ms").unwrap();
    assert!(
        line.contains("sources.sockets.process_budget: 501ms is more than half of the timeout of 1s"),
        "{line}"
    );
    assert!(refused("timeout: 100ms").is_some());
    assert_eq!(refused("timeout: 1s, process_budget: 500ms"), None);
    assert_eq!(refused("timeout: 100ms, enabled: false"), None);
}

/// What a shell or a service manager hands down is for programs that use `select`.
#[test]
fn the_agent_may_open_as_many_descriptors_as_the_administrator_lets_it() {
    let mut limited = std::process::Command::new("sh");
    limited.args([
        "-c",
        "ulimit -Sn 64 && ulimit -Hn 512 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_connscope"),
    ]);
    limited.args(["run", "--listen", "127.0.0.1:0", "--otlp-protocol", "none"]);
    let mut agent = Agent::start(limited);
    agent.address();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_ascii_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["512", "512"], "{line}");
}

#[test]
fn the_flag_wins_over_the_variable_and_the_variable_over_the_file() {
    let file = config_file(
        "export: {otlp: {interval: 20s, endpoint: \"http://file:1\"}, prometheus: {listen: \"127.0.0.1:1\"}}\n",
    );
    let path = file.path().to_str().unwrap();
    let printed = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let from_file = printed(&mut command(&["config", "--config", path]));
    assert!(
        from_file.contains("interval: 20s") && from_file.contains("endpoint: http://file:1"),
        "{from_file}"
    );
    let from_variable = printed(
        command(&["config", "--config", path])
            .env("OTEL_METRIC_EXPORT_INTERVAL", "30000")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:1")
            .env("OTEL_EXPORTER_PROMETHEUS_HOST", "::1")
            .env("OTEL_EXPORTER_PROMETHEUS_PORT", "9464"),
    );
    assert!(from_variable.contains("interval: 30s") && from_variable.contains("http://variable:1"));
    assert!(from_variable.contains("[::1]:9464"), "{from_variable}");
    let from_flag = printed(
        command(&["config", "--config", path, "--interval", "40s", "--otlp-endpoint", "http://flag:1"])
            .env("OTEL_METRIC_EXPORT_INTERVAL", "30000")
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://variable:1"),
    );
    assert!(from_flag.contains("interval: 40s") && from_flag.contains("http://flag:1"), "{from_flag}");
    // What is printed is a configuration again, and the same one.
    let again = config_file(&from_flag);
    assert_eq!(printed(&mut command(&["config", "--config", again.path().to_str().unwrap()])), from_flag);
}

#[test]
fn secrets_are_not_printed() {
    let file = config_file("export: {otlp: {headers: {authorization: tell-nobody}}}\n");
    let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert!(printed.contains("authorization") && !printed.contains("tell-nobody"), "{printed}");
}

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
    let file = config_file("sources: {conntrack: {cpu: sum, via: command}}\n");
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
fn the_endpoint_answers_what_it_should() {
    let script = Script::printing(FOUR_CPUS);
    let mut agent = scraped(&["--conntrack-command", &script.path()]);
    let address = agent.address();
    let (status, head, body) = request(address, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(sample(&body, r#"conntrack_drop_total{cpu="2"}"#), Some(13.0), "{body}");
    assert!(body.contains("target_info{"), "{body}");
    assert_eq!(get(address, "/-/healthy"), (200, "healthy\n".to_owned()));
    assert_eq!(get(address, "/-/ready"), (200, "ready\n".to_owned()));
    let (status, page) = get(address, "/");
    assert_eq!(status, 200);
    assert!(
        page.contains(env!("CARGO_PKG_VERSION")) && page.contains("<td>conntrack</td><td>up</td>"),
        "{page}"
    );
    assert_eq!(get(address, "/nothing").0, 404);
    assert_eq!(request(address, "POST", "/metrics").0, 405);
    let (status, _, body) = request(address, "HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
}

#[test]
fn a_scrape_without_anything_is_a_503_that_says_why() {
    let file = config_file(
        "sources: {conntrack: {via: command, table: {dirs: [/nowhere]}}, sockets: {enabled: false}}\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("connscope");
    std::fs::copy(env!("CARGO_BIN_EXE_connscope"), &program).unwrap();
    for path in [folder.path(), &program, file.path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut nobody = std::process::Command::new(&program);
    nobody.args(["--listen", "127.0.0.1:0", "--otlp-protocol", "none"]);
    nobody.args(["--conntrack-command", "/no/such/conntrack", "--config"]).arg(file.path());
    if rustix::process::geteuid().is_root() {
        nobody.uid(65534).gid(65534); // root could still ask netlink for the table
    }
    let mut agent = Agent::start(nobody);
    let address = agent.address();
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("conntrack: absent: running /no/such/conntrack -S: No such file"), "{body}");
    let (status, body) = get(address, "/-/ready");
    assert_eq!(status, 503);
    assert!(body.starts_with("not ready: no cycle has succeeded yet"), "{body}");
    assert_eq!(get(address, "/-/healthy").0, 200, "alive all the same");
    let (_, page) = get(address, "/");
    assert!(page.contains("<td>absent</td>"), "{page}");
}

#[test]
fn with_every_source_off_a_scrape_says_so() {
    let file = config_file("sources: {conntrack: {enabled: false}, sockets: {enabled: false}}\n");
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path]);
    let (status, body) = get(agent.address(), "/metrics");
    assert_eq!(status, 503);
    assert!(body.contains("every source is switched off"), "{body}");
}

#[test]
fn a_fourth_scrape_at_a_time_is_refused_and_nothing_leaks() {
    let script = Script::new("sleep 1; echo 'cpu=0 found=1'");
    let mut agent = scraped(&["--conntrack-source", "command", "--conntrack-command", &script.path()]);
    let address = agent.address();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let scrapes: Vec<_> = (0..8).map(|_| scope.spawn(move || get(address, "/metrics").0)).collect();
        scrapes.into_iter().map(|scrape| scrape.join().unwrap()).collect()
    });
    let refused = answers.iter().filter(|status| **status == 503).count();
    assert!(refused >= 5, "at most three at a time: {answers:?}");
    assert!(answers.contains(&200), "{answers:?}");
    // A client that goes away in the middle of a scrape does not take its place with it.
    for _ in 0..6 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    eventually("a scrape is answered again", || get(address, "/metrics").0 == 200);
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
        "sources: {conntrack: {netns: [no-such-name, \"pid:4194304\"]}, sockets: {enabled: false}}\n",
    );
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path]);
    let address = agent.address();
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("reading any of the configured network namespaces"), "{body}");
    assert!(body.contains("no-such-name"), "{body}");
    assert_eq!(get(address, "/-/ready").0, 503);
}

#[test]
fn sections_with_nothing_in_them_say_nothing() {
    let default = connscope(&["config"]).stdout;
    for yaml in [
        "",
        "# nothing\n",
        "---\n",
        "export:\nsources:\nlog:\n",
        "export: {otlp: {headers: , tls: }, prometheus: }\nsources: {conntrack: {netns: , table: {dirs: , files: }}}\n",
        "export: {otlp: {endpoint: \"http://localhost:4317\"}}\n",
    ] {
        let file = config_file(yaml);
        let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
        assert!(output.status.success(), "{yaml}: {output:?}");
        assert_eq!(text(&output.stdout), text(&default), "{yaml}");
    }
}

#[test]
fn the_schema_takes_what_the_program_takes_and_nothing_else() {
    let schema: serde_json::Value =
        serde_json::from_slice(&connscope(&["config", "--schema"]).stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let json = |yaml: &str| serde_saphyr::from_str::<serde_json::Value>(yaml).unwrap();
    for example in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = example.unwrap().path();
        let instance = json(&std::fs::read_to_string(&path).unwrap());
        if let Err(error) = schema.validate(&instance) {
            panic!("{}: {error}", path.display());
        }
    }
    let effective = json(&text(&connscope(&["config"]).stdout));
    assert!(schema.is_valid(&effective), "what is printed is valid: {effective}");
    for bad in [
        "export: {otlp: {interval: abc}}",
        "export: {otlp: {intervall: 10s}}",
        "export: {prometheus: {listen: zzz}}",
        "sources: {conntrack: {netns: [\"pid:x\"]}}",
        "sources: {conntrack: {via: magic}}",
    ] {
        assert!(!schema.is_valid(&json(bad)), "{bad}");
    }
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
    assert!(line.contains("command: running /no/such/conntrack -S: No such file"), "{line}");
    let mut exposition = String::new();
    for _ in 0..3 {
        exposition = get(address, "/metrics").1;
    }
    let via = exposition.lines().filter(|line| line.starts_with("connscope_conntrack_source{")).count();
    assert_eq!(via, 1, "{exposition}");
    agent.signal(Signal::TERM);
    agent.wait();
    let said = agent.log.iter().filter(|line| line.contains("reading the connection tracking")).count();
    assert_eq!(said, 1, "{:#?}", agent.log);
}

#[test]
fn an_address_in_use_is_exit_code_1_and_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = connscope(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let line = text(&output.stderr);
    assert!(line.contains(&format!("listening on {address}: Address already in use")), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
}

#[test]
fn metrics_are_listed_in_both_formats() {
    let output = connscope(&["metrics", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let drop = list.as_array().unwrap().iter().find(|metric| metric["name"] == "conntrack.drop").unwrap();
    assert_eq!(drop["prometheus"], "conntrack_drop_total");
    assert_eq!(drop["classic"], "conntrack_drop");
    assert!(text(&connscope(&["metrics"]).stdout).contains("## conntrack.drop\n"));
}
