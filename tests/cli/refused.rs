//! What is refused: flags, variables and files, each with one line and an exit code.

use super::{config_file, refusal, refused_file, text};
use crate::support::{command, connscope};

#[test]
fn bad_flags_are_refused_with_one_line_and_exit_code_2() {
    for (arguments, expected) in [
        (&["--interval", "5"][..], "--interval 5: is not a duration with a unit"),
        (&["--jitter", "25h"], "--jitter 25h: is out of range: 0s to 1day"),
        (&["--interval", "1ms"], "--interval 1ms: is out of range: 10ms to 1day"),
        (&["--listen", "9371"], "--listen: `9371` is none of ADDRESS:PORT, unix:/PATH, systemd"),
        (&["--listen", "::1:9371"], "an IPv6 address goes in brackets"),
        (&["--listen", "http://127.0.0.1:9371"], "is a URL; write ADDRESS:PORT"),
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
    let long = "x".repeat(65_537);
    for flag in ["--otlp-endpoint", "--interval", "--jitter", "--listen", "--conntrack-command"] {
        let line = refusal(&connscope(&[flag, &long]));
        assert!(line.contains("has 65537 bytes; a flag takes 65536 at most"), "{flag}: {line}");
        assert!(line.starts_with(&format!("connscope: {flag} xxx")) && line.len() < 1000, "{flag}: {line}");
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
        ("log: {level: info, level: warn}\n", "1:20: log.level: is repeated"),
        ("sources:\n  conntrack: {via: magic}\n", "2:20: sources.conntrack.via: unknown variant `magic`"),
        ("sources:\n  conntrack: {netns: [\"pid:x\"]}\n", "2:22: sources.conntrack.netns: `pid:x`"),
        ("sources:\n  conntrack: {timeout: 2h}\n", "2:24: sources.conntrack.timeout: `2h` is out of range"),
        ("export: {prometheus: {listen: nowhere}}\n", "1:31: export.prometheus.listen: `nowhere` is none of"),
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
        ("export: {otlp: {headers: {a: b, A: b}}}\n", "is repeated"),
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
fn a_run_with_every_exporter_off_is_refused_and_what_prints_or_collects_nothing_is_not() {
    for command in [&["run"][..], &["config", "--quiet"]] {
        let line = refusal(&connscope(&[command, &["--otlp-protocol", "none", "--listen", "off"]].concat()));
        assert_eq!(
            line,
            "connscope: nothing is exported: set export.otlp.protocol to grpc or http/protobuf, or \
             export.prometheus.listen to an address"
        );
    }
    let shown = connscope(&["config", "--otlp-protocol", "none", "--listen", "off"]);
    assert!(shown.status.success(), "{shown:?}");
}

#[test]
fn a_filter_is_refused_with_its_place_whatever_is_wrong_with_it() {
    let refused = |filter: &str| refused_file(&format!("sources:\n  sockets:\n    filter: {filter}\n"));
    assert_eq!(
        refused("sport = 1 or"),
        "3:13: sources.sockets.filter: column 13: expected a condition (src, dst, sport, dport, dev, fwmark, \
         cgroup, autobound), `not` or `(`, with blanks between words, found the end"
    );
    // What only the machine knows is looked up later.
    assert_eq!(
        refused("dport = :no-such-service"),
        "3:13: sources.sockets.filter: column 9: `:no-such-service` has a port `no-such-service` that is not a \
         port from 0 to 65535, and no service of that name is known"
    );
    let known = config_file("sources: {sockets: {filter: ' dport = :443 '}}\n");
    let output = connscope(&["config", "--config", known.path().to_str().unwrap()]);
    assert!(text(&output.stdout).contains("filter: dport = :443\n"), "as it was written: {output:?}");
}
