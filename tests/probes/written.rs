//! Targets as they are written down, in the configuration and in files: what is read, hidden and refused.

use super::settings;
use connscope::catalog::Config;
use connscope::source::probes::discovery::file_sd;
use std::path::Path;

#[test]
fn files_are_read_as_prometheus_writes_them_and_as_our_own_targets() {
    let names = |text: &str| -> Vec<String> {
        let targets = file_sd::read(text, false, usize::MAX)
            .map_or_else(|error| panic!("{error}"), |listed| listed.targets);
        targets
            .iter()
            .map(|target| format!("{} {} {:?}", target.name, target.kind.word(), target.port))
            .collect()
    };
    assert_eq!(
        names(r#"[{"targets": ["a:1", "b:2"], "labels": {"job": "x", "__meta_x": "y"}}]"#.replace("job", "team").as_str()),
        ["a:1 tcp Some(1)", "b:2 tcp Some(2)"]
    );
    assert_eq!(
        names(
            "- targets: [192.0.2.1]\n  labels: {__kind__: icmp, name: gateway}\n- targets: ['https://x/']\n  labels: {__kind__: http}\n"
        ),
        ["gateway icmp None", "https://x/ http None"]
    );
    assert_eq!(names("- {name: x, kind: udp, host: a, port: 53, preset: dns}\n"), ["x udp Some(53)"]);
    assert!(names("[]").is_empty());
    let many = r#"{"targets": ["a:1"], "labels": {"a": "1", "b": "2"}},"#.repeat(30_000);
    let many = format!("[{}]", many.trim_end_matches(','));
    assert_eq!(file_sd::read(&many, true, usize::MAX).map(|listed| listed.targets).unwrap().len(), 30_000);
    assert_eq!(
        file_sd::read(&many, false, usize::MAX).map(|listed| listed.targets).unwrap().len(),
        30_000,
        "as YAML, which it is, too"
    );
    for (text, json, why) in [
        ("", false, "1:1: is empty"),
        ("# soon\n", false, "1:1: is empty"),
        (" \n", true, "1:1: is empty"),
        ("[{\"targets\": [\"a:1\"]", true, "1:20: EOF while parsing an object"),
        ("[{\"targets\": [\"a:1\"]", false, "1:"),
        ("[{\"targets\": [\"a:1\"], \"labels\": {\"x\": 1}}]", true, "string"),
        ("[] []", true, "1:4: trailing characters"),
    ] {
        let error = file_sd::read(text, json, usize::MAX).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
    for (text, why) in [
        ("- targets: [a]\n", "HOST:PORT"),
        // The endpoints that the Collector's tcpcheck refuses.
        ("- targets: ['invalid:host']\n", "HOST:PORT"),
        ("- targets: ['localhost:0']\n", "HOST:PORT"),
        ("- targets: ['missing:port:']\n", "HOST:PORT"),
        ("- targets: ['a:1']\n  labels: {__kind__: tpc}\n", "`tpc` is not a kind"),
        ("- targets: ['a:1']\n  labels: {server.port: x}\n", "sets itself"),
        ("- targets: ['a:1']\n  labels: {__scrape_interval__: often}\n", "duration"),
        ("- targets: ['a:1']\n  labels: {site.a: x, site_a: y}\n", "are the same label to Prometheus"),
        ("- target: a:1\n", "unknown field"),
        ("- {name: x, host: a}\n", "needs host and port"),
        ("targets: [a]\n", "list"),
    ] {
        let error = file_sd::read(text, false, usize::MAX).map(|listed| listed.targets).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
        assert!(error.split(':').next().is_some_and(|line| line.parse::<u32>().is_ok()), "no place: {error}");
    }
}

#[test]
fn targets_that_differ_in_one_attribute_are_others() {
    let others = "targets: [{name: x, host: a, port: 1, kind: tcp4}, {name: x, host: a, port: 1, kind: tcp6}, \
                  {name: x, host: a, port: 1, kind: udp}, {name: x, host: a, port: 2}, {name: y, host: a, port: 1}, \
                  {name: x, host: a, port: 1, labels: {site: b}}]";
    assert_eq!(settings(others).targets.len(), 6);
}

#[test]
fn secrets_are_not_printed() {
    let text = "sources: {probes: {targets: [{name: x, kind: http, url: 'http://x/', http: {headers: {authorization: hush}}}, \
                {name: y, kind: udp, host: y, port: 161, preset: snmp, query: hush}]}}";
    let config = Config::parse(text, Path::new("x")).unwrap();
    let printed = config.print();
    assert!(!printed.contains("hush") && printed.matches("(hidden)").count() == 2, "{printed}");
}

#[test]
fn what_does_not_go_together_is_refused_with_its_place() {
    let refused = |probes: &str| {
        let text = format!("sources:\n  probes:\n{}", super::indented(probes));
        match Config::parse(&text, Path::new("FILE")) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("it is taken: {text}"),
        }
    };
    for (target, why) in [
        ("host: a, port: 1", "it has no name"),
        ("name: x, port: 1", "`x` needs host and port"),
        ("name: x, host: a, port: 1, expect: '(a{500}){100}'", "too large to be matched in time"),
        ("name: x, host: a, port: 1, conversation: [{expect: '.{9999}'}]", "too large to be matched in time"),
        (
            "name: x, kind: http, url: 'http://x/', http: {expect_body: '((a?){99}){99}'}",
            "too large to be matched in time",
        ),
        ("name: x, host: a", "`x` needs host and port"),
        ("name: x, host: a, port: 0", "needs host and port"),
        ("name: x, host: a, port: 99999", "is not a whole number, or is out of range"),
        ("name: x, host: a, port: -5", "is out of range"),
        ("name: x, host: 'a:1', port: 1", "a port goes into port"),
        ("name: x, host: 'a b', port: 1", "neither a name nor an address"),
        ("name: x, host: a, port: 1, kind: TCP", "unknown variant"),
        ("name: x, host: a, port: 1, colour: red", "unknown field `colour`"),
        ("name: x, host: a, port: 1, timeout: 0.5", "is not a duration"),
        ("name: x, host: a, port: 1, timeout: -1", "is not a duration"),
        ("name: x, host: a, port: 1, timeout: 1h", "out of range"),
        ("name: x, host: a, port: 1, interval: 1ms", "out of range"),
        ("name: x, host: '::1', port: 1, kind: tcp4", "has an ipv6 address for kind tcp4"),
        ("name: x, host: 127.0.0.1, port: 1, source: '::1'", "source of another address family"),
        ("name: x, host: a, port: 1, path: /x", "has path"),
        ("name: x, kind: unix", "needs path"),
        ("name: x, kind: unix, path: /x, host: /y, port: 1", "needs path"),
        ("name: x, kind: http, url: 'ftp://x'", "http:// or https://"),
        ("name: x, kind: http, host: a", "needs url"),
        ("name: x, kind: http, url: 'http://me:pw@x/'", "credentials go into http.headers"),
        ("name: x, host: a, port: 1, kind: udp, preset: snmp, query: (hidden)", "config prints instead of"),
        ("name: x, host: a, port: 1, preset: dns", "requires kind udp"),
        ("name: x, host: a, port: 1, kind: udp, preset: dns, send: x", "excludes send"),
        ("name: x, host: a, port: 1, kind: udp, query: x", "has query"),
        ("name: x, host: a, port: 1, send: x, send_hex: '00'", "one of them is enough"),
        ("name: x, host: a, port: 1, send_hex: '0'", "pairs of hex digits"),
        ("name: x, host: a, port: 1, send: '\\q'", "`\\` must be followed by"),
        ("name: x, host: a, port: 1, expect: '('", "not a regular expression"),
        ("name: x, host: a, port: 1, conversation: [{expect: '*'}]", "not a regular expression"),
        ("name: x, host: a, port: 1, conversation: [{}]", "has an empty step"),
        ("name: x, host: a, port: 1, conversation: [{expect: x}], expect: y", "excludes send and expect"),
        ("name: x, host: a, port: 1, kind: icmp, expect: y", "does not take"),
        ("name: x, host: a, port: 1, tls: {verify: false}", "without starttls"),
        ("name: x, host: a, port: 1, kind: tls, conversation: [{starttls: true}]", "TLS has already started"),
        ("name: x, kind: unix, path: /x, conversation: [{starttls: true}]", "has starttls"),
        ("name: x, kind: unixgram, path: /x, expect: y", "does not take"),
        (
            "name: x, host: a, port: 1, conversation: [{starttls: true}, {starttls: true}]",
            "TLS has already started",
        ),
        ("name: x, host: a, port: 1, kind: tls, tls: {cert_file: x}", "together or not at all"),
        ("name: x, host: a, port: 1, http: {method: POST}", "does not take"),
        ("name: x, kind: http, url: 'http://x', http: {status: [99]}", "100 to 599"),
        ("name: x, kind: http, url: 'http://x', http: {method: FETCH}", "unknown variant"),
        ("name: x, host: a, kind: icmp, icmp: {count: 0}", "1 to 20"),
        ("name: x, host: a, kind: icmp, icmp: {ttl: 0}", "1 to 255"),
        ("name: x, host: a, port: 1, kind: tls, tls: {insecure_skip_verify: true}", "unknown field"),
        ("name: x, kind: http, url: 'http://x', http: {headers: {'a b': c}}", "is not the name of a header"),
        ("name: x, host: a, port: 1, prefer: ip5", "unknown variant"),
        ("name: x, host: a, port: 1, netns: all", "not one network namespace"),
        ("name: x, host: a, port: 1, labels: {server_port: x}", "sets itself"),
        ("name: x, host: a, port: 1, labels: {1x: y}", "cannot be a label"),
        ("name: x, host: a, port: 1, labels: {__x: y}", "cannot be a label"),
        ("name: x, host: a, port: 1, labels: {site.a: x, site_a: y}", "are the same label to Prometheus"),
        ("name: x, host: a, port: 1, labels: {site: [x]}", "string"),
        ("name: x, host: a, port: 1, failures_before_down: 0", "1 to 1000"),
    ] {
        let error = refused(&format!("targets:\n- {{name: fine, host: a, port: 1}}\n- {{{target}}}\n"));
        assert!(error.contains(why), "{target}: {error}");
        assert!(
            error.starts_with("FILE:5:") && error.contains("sources.probes.targets"),
            "{target}: {error}"
        );
    }
    // What is wrong with it is said, and not what it is.
    for secret in ["send: 'PASS ti\\ger'", "send_hex: '7469676'", "conversation: [{send: 'PASS ti\\ger'}]"] {
        let error = refused(&format!("targets:\n- {{name: x, host: a, port: 1, {secret}}}\n"));
        assert!(!error.contains("ti\\ger") && !error.contains("7469676"), "{error}");
    }
    for (probes, why) in [
        ("interval: 10", "is not a duration"),
        ("jitter: 2", "0 to 1"),
        ("concurrency: 1", "out of range"),
        ("nameservers: [localhost]", "neither ADDRESS nor"),
        ("files: [/x/*/y.yaml]", "only the last part"),
        ("files: [/x/y.txt]", "ends in neither"),
        ("on_request: {networks: [10.0.0.0/33]}", "10.0.0.0/33"),
        ("targets: [{name: x, host: a, port: 1}, {name: x, host: a, port: 1, timeout: 1s}]", "is repeated"),
        // Which would be two values for one series.
        (
            "targets: [{name: x, host: a, port: 1}, {name: x, host: a, port: 1, labels: {q: ''}}]",
            "is repeated",
        ),
        (
            "targets: [{name: x, host: a, port: 1, labels: {q.r: y}}, {name: x, host: a, port: 1, labels: {q_r: y}}]",
            "is repeated",
        ),
        ("targets: [{name: x, host: a, port: 1}, {name: x, host: a, port: 1, kind: tls}]", "is repeated"),
        ("targets: [{name: x, host: a, port: 1, kind: tcp4}, {name: x, host: a, port: 1}]", "is repeated"),
        (
            "targets: [{name: x, kind: http, url: 'http://a/1'}, {name: x, kind: http, url: 'http://a/2'}]",
            "is repeated",
        ),
    ] {
        let error = refused(probes);
        assert!(error.contains(why) && error.starts_with("FILE:3:"), "{probes}: {error}");
    }
}
