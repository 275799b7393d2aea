//! The configurations that `blackbox_exporter` tests itself with (`config/testdata`), as far as there is such a thing here:
//! what it takes is taken, and works; what it refuses is refused.

use super::{first, indented, listen, value};
use crate::support::Namespace;
use connscope::catalog::Config;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

/// A target instead of each module of its `blackbox-good.yml`, and instead of the part of it that there is here.
const TAKEN: &[(&str, &str)] = &[
    ("http_2xx", "kind: http, url: 'http://a/', timeout: 5s"),
    (
        "http_post_2xx",
        "kind: http, url: 'http://a/', http: {method: POST, headers: {Authorization: 'Basic dXNlcm5hbWU6bXlzZWNyZXQ='}}",
    ),
    ("tcp_connect", "kind: tcp, host: a, port: 1, timeout: 5s"),
    ("pop3s_banner", "kind: tls, host: a, port: 995, expect: '^+OK', tls: {verify: true}"),
    ("ssh_banner", "kind: tcp, host: a, port: 22, conversation: [{expect: '^SSH-2.0-'}]"),
    (
        "smtp_starttls",
        r#"kind: tcp, host: a, port: 25, conversation: [{expect: "^220 "}, {send: "EHLO prober\r"},
            {expect: "^250-STARTTLS"}, {send: "STARTTLS\r"}, {expect: "^220"}, {starttls: true},
            {send: "EHLO prober\r"}, {expect: "^250-AUTH"}, {send: "QUIT\r"}]"#,
    ),
    (
        "irc_banner",
        r#"kind: tcp, host: a, port: 6667, conversation: [{send: "NICK prober"},
            {send: "USER prober prober prober :prober"}, {expect: "PING :([^ ]+)", send: "PONG ${1}"},
            {expect: "^:[^ ]+ 001"}]"#,
    ),
    (
        "the module unix, whose refused files begin so",
        "kind: unix, path: /run/x, conversation: [{send: PING}, {expect: '^PONG'}]",
    ),
    ("icmp_test", "kind: icmp, host: a, timeout: 5s, prefer: ipv4"),
    (
        "dns_test",
        "kind: udp, host: a, port: 53, preset: dns, query: example.com, prefer: ipv4, fallback: false",
    ),
    (
        "http_header_match_origin, its headers",
        "kind: http, url: 'http://a/', http: {method: GET, headers: {Origin: example.com}}",
    ),
];

/// A target instead of each of its files that are refused, and why it is refused here.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "blackbox-bad",
        "kind: tcp, host: a, port: 1, invalid_extra_field: value",
        "unknown field `invalid_extra_field`",
    ),
    ("invalid-prober", "kind: invalid, host: a, port: 1", "unknown variant `invalid`"),
    ("invalid-icmp-ttl", "kind: icmp, host: a, icmp: {ttl: -1}", "out of range"),
    ("invalid-icmp-ttl-overflow", "kind: icmp, host: a, icmp: {ttl: 256}", "out of range"),
    (
        "invalid-tcp-query-response-regexp",
        "kind: tcp, host: a, port: 1, conversation: [{expect: ':['}]",
        "not a regular expression",
    ),
    (
        "invalid-unix-query-response-expect-and-expect-bytes",
        "kind: unix, path: /run/x, conversation: [{expect: '^PONG', expect_hex: '504f4e47'}]",
        "one of them is enough",
    ),
    (
        "invalid-unix-query-response-regexp",
        "kind: unix, path: /run/x, conversation: [{expect: ':['}]",
        "not a regular expression",
    ),
    (
        "invalid-http-body-match-regexp",
        "kind: http, url: 'http://a/', http: {expect_body: ':['}",
        "not a regular expression",
    ),
    (
        "invalid-websocket-header-newline-name",
        r#"kind: http, url: 'http://a/', http: {headers: {"X-Test\nHeader": x}}"#,
        "is not the name of a header",
    ),
    (
        "invalid-websocket-header-newline-value",
        r#"kind: http, url: 'http://a/', http: {headers: {X-Test-Header: "a\nb"}}"#,
        "header",
    ),
    (
        "invalid-websocket-header-control-char",
        r#"kind: http, url: 'http://a/', http: {headers: {"X-Test-Header\x01": x}}"#,
        "is not the name of a header",
    ),
];

fn load(probes: &str) -> Result<Config, String> {
    let text = format!("sources:\n  probes:\n{}", indented(probes));
    Config::parse(&text, Path::new("FILE")).map_err(|error| error.to_string())
}

#[test]
fn what_it_takes_is_taken_and_what_it_refuses_is_refused() {
    for (name, target) in TAKEN {
        let loaded = load(&format!("targets:\n- {{name: x, {target}}}\n"));
        let config = loaded.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(config.sources.probes.targets.len(), 1, "{name}");
    }
    for (name, target, why) in REFUSED {
        let error = load(&format!("targets:\n- {{name: x, {target}}}\n")).err();
        let error = error.unwrap_or_else(|| panic!("{name} is taken"));
        assert!(error.contains(why) && error.starts_with("FILE:4:"), "{name}: {error}");
    }
    // `ipfilter-good.yml` and `ipfilter-bad.yml`; nothing is allowed that is not named.
    let networks = |list: &str| load(&format!("on_request: {{enabled: true, networks: [{list}]}}\n"));
    assert!(networks("'::1/128', 127.0.0.1/32, 192.168.0.15/32, 10.0.10.0/24, 'fc00::/7'").is_ok());
    for bad in ["localhost/32", "127.0.0.1/33", "x"] {
        assert!(networks(bad).is_err(), "{bad}");
    }
}

/// A server of IRC: it goes on where `PING` was answered with its own word.
fn chat(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut hear = |wanted: &str| lines.next().and_then(Result::ok).is_some_and(|line| line == wanted);
    if hear("NICK prober") && hear("USER prober prober prober :prober") {
        let _asked = stream.write_all(b"NOTICE AUTH :hello\r\nPING :31337\r\n");
        if hear("PONG 31337") {
            let _welcome = stream.write_all(b":irc.example 001 prober :welcome\r\n");
        }
    }
}

#[test]
fn the_conversation_of_its_example_is_held() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", chat).port();
    let (_, example) = TAKEN.iter().find(|(name, _)| *name == "irc_banner").unwrap();
    let target = example.replace("host: a, port: 6667", &format!("host: 127.0.0.1, port: {port}"));
    let readings = first(&namespace, &format!("targets:\n- {{name: irc, {target}}}\n"));
    assert_eq!(value(&readings, "probe.up", "irc", &[]), Some(1.0));
}
