//! `connscope config import connection-status`: its file, and every thing in it that was not what it seemed.

use crate::support::connscope;
use connscope::catalog::Config;
use connscope::config::Address;
use std::path::Path;

fn import(text: &str) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let output = connscope(&["config", "import", "connection-status", path.to_str().unwrap()]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        Some(2) => Err(text(&output.stderr).replace(&format!("{}", path.display()), "FILE")),
        _ => panic!("{output:?}"),
    }
}

#[test]
fn the_old_configuration_is_read_and_everything_interpreted_is_said() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/connection-status/everything.yaml");
    let printed = import(&std::fs::read_to_string(file).unwrap()).unwrap();
    let config = Config::parse(&printed, Path::new("x")).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert_eq!(
        config.export.prometheus.listen,
        Address::At { host: "0.0.0.0".to_owned(), port: 9293 }.into()
    );
    let targets = &config.sources.probes.targets;
    let found: Vec<_> = targets
        .iter()
        .map(|target| {
            let seconds = target.timeout.map(|timeout| timeout.as_secs());
            (target.name.as_str(), target.kind.word(), target.host.as_str(), target.port, seconds)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("web", "tcp", "192.0.2.7", Some(443), None),
            ("six", "tcp6", "::1", Some(22), Some(2)),
            ("bare six", "tcp6", "::1", Some(22), None),
            ("datagrams", "udp", "example.com", Some(53), None),
            ("echo", "ip4", "192.0.2.1", Some(1), None),
            ("socket", "unix", "/run/x", Some(2), None),
            ("here", "tcp", "localhost", Some(80), None),
            ("half", "tcp", "192.0.2.7", Some(81), None),
            ("never", "tcp", "192.0.2.7", Some(82), None),
            ("long", "tcp", "192.0.2.7", Some(83), Some(600)),
            ("5", "tcp", "192.0.2.7", Some(84), None),
        ]
    );
    let said: String = printed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("# "))
        .flat_map(|line| [line, " "])
        .collect();
    for said_of in [
        "`other` is left out",
        "`tags` is left out",
        "UDP was always 1",
        "reports ip always as 0",
        "one path of host and port, /run/x:2",
        "host is missing, which means this machine",
        "an IPv6 address without brackets always as 0",
        "`far` is left out: 99999 is not a valid port",
        "`below` is left out: -5 is not a valid port",
        "treats timeout 0.5 as 0",
        "a target with a negative timeout always as 0",
        "timeout 3600 exceeds",
        "`web` is left out: it is repeated",
    ] {
        assert!(said.contains(said_of), "{said_of}: {printed}");
    }
}

#[test]
fn what_is_printed_is_taken_and_what_is_left_out_is_said() {
    let hosts = ["b c", "b:90", "::1%lo", "http://x"];
    let hosts = hosts.map(|host| format!("- {{name: '{host}', host: '{host}', port: 1}}\n")).concat();
    let mut text = format!("sockets:\n{hosts}");
    text += "- {name: other family, host: 127.0.0.1, port: 1, protocol: tcp6}\n";
    text += "- {name: x, host: a, port: 1}\n- {name: x, host: a, port: 1, protocol: tcp4}\n";
    text += "- {name: x, host: a, port: 1, protocol: tcp4}\n- {name: another, host: a, port: 1}\n";
    let printed = import(&text).unwrap();
    let config = Config::parse(&printed, Path::new("x")).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    let found: Vec<_> = config
        .sources
        .probes
        .targets
        .iter()
        .map(|target| (target.name.as_str(), target.kind.word(), target.labels.len()))
        .collect();
    assert_eq!(
        found,
        [("::1%lo", "tcp", 0), ("x", "tcp", 0), ("x", "tcp4", 1), ("another", "tcp", 0)],
        "{printed}"
    );
    for name in ["b c", "b:90", "http://x", "other family", "x"] {
        assert!(printed.contains(&format!("`{name}` is left out: ")), "{name}: {printed}");
    }
}

#[test]
fn a_text_is_what_is_written_whatever_else_it_could_be() {
    let written = [
        "y",
        "n",
        "Y",
        "N",
        "yes",
        "no",
        "on",
        "off",
        "Off",
        "true",
        "False",
        "1.10",
        "0x1F",
        "0o17",
        "0b11",
        "017",
        "1e3",
        "+5",
        "-0",
        "1_000",
        "6:30",
        ".5",
        ".inf",
        "-.Inf",
        ".NaN",
        "2026-01-02",
        "'~'",
        "\"null\"",
        "12345678901234567890",
    ];
    let plain = |text: &str| text.trim_matches(['\'', '"']).to_owned();
    let hosts = ["y", "no", "on", "1e3"];
    let by_name = written.iter().map(|text| format!("- {{name: {text}, host: h, port: 1}}\n"));
    let by_host = hosts.iter().map(|text| format!("- name: host\n  host: {text}\n  port: 1\n"));
    let sockets = by_name.chain(by_host).collect::<Vec<_>>().concat();
    let printed = import(&format!("sockets:\n{sockets}")).unwrap();
    let config = Config::parse(&printed, Path::new("x")).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    let (by_host, by_name): (Vec<_>, Vec<_>) =
        config.sources.probes.targets.iter().partition(|target| target.name == "host");
    let names: Vec<_> = by_name.iter().map(|target| target.name.clone()).collect();
    assert_eq!(names, written.map(plain));
    let found: Vec<_> = by_host.iter().map(|target| target.host.as_str()).collect();
    assert_eq!(found, hosts);
    // Nothing at all is an empty text to the exporter, which does not start without a name.
    for nothing in ["~", "null", "", "\"\""] {
        let error = import(&format!("sockets:\n- {{name: {nothing}, host: h, port: 1}}\n")).unwrap_err();
        assert!(error.contains("has no name"), "{nothing}: {error}");
    }
    let printed = import("sockets:\n- {name: x, host: ~, port: 1}\n").unwrap();
    assert!(printed.contains("host is missing, which means this machine"), "{printed}");
}

#[test]
fn what_the_old_exporter_did_not_start_with_is_refused_with_its_place() {
    for (text, wrong) in [
        ("sockets:\n- {host: x, port: 1}\n", "FILE:2:1: sockets[0]: has no name"),
        (
            "sockets:\n- {name: a, host: x, port: 1}\n- {name: b, host: x}\n",
            "FILE:3:1: sockets[1]: has no port",
        ),
        ("sockets:\n- {name: a, host: x, port: 1, protocol: TCP}\n", "sockets[0]: has the protocol `TCP`"),
        ("sockets:\n- {name: a, host: x, port: 1, protocol: icmp}\n", "sockets[0]: has the protocol `icmp`"),
        ("sockets:\n- {name: a, host: x, port: 1, timeout: 500ms}\n", "FILE:2:"),
        ("sockets: 5\n", "FILE:1:"),
    ] {
        let error = import(text).unwrap_err();
        assert!(error.contains(wrong) && error.lines().count() == 1, "{text}: {error}");
    }
    for nothing in ["", "sockets:\n", "sockets: []\n"] {
        let printed = import(nothing).unwrap();
        assert!(printed.contains("targets: []") && printed.contains("The file has no sockets"), "{printed}");
        Config::parse(&printed, Path::new("x")).unwrap();
    }
}
