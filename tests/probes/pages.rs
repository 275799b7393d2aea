//! The running agent: its pages about the targets, and probes on request, which must not make a scanner of it.

use super::{listen, names};
use crate::support::{Agent, Namespace, command, connscope, eventually, get, sample};
use std::net::SocketAddr;

/// The agent inside, with this configuration of the probes and nothing else.
pub(crate) fn agent(namespace: &Namespace, probes: &str) -> (Agent, SocketAddr, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("connscope.yaml");
    let text = format!(
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes:\n{}",
        super::indented(probes)
    );
    std::fs::write(&path, text).unwrap();
    let mut agent = namespace.inside(|| Agent::start(command(&["--config", path.to_str().unwrap()])));
    let address = agent.address();
    (agent, address, dir)
}

#[test]
fn the_agent_scrapes_as_the_old_exporter_does_and_says_why() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let probes = format!(
        "interval: 200ms\ntargets:\n- {{name: good, host: 127.0.0.1, port: {port}, labels: {{site: north}}}}\n\
         - {{name: bad, host: 127.0.0.1, port: 1}}\n"
    );
    let (_agent, address, _dir) = agent(&namespace, &probes);
    let page = |path: &str| namespace.inside(|| get(address, path));
    let good = format!(
        "probe_up{{network_transport=\"tcp\",network_type=\"ipv4\",probe_name=\"good\",server_address=\"127.0.0.1\",\
         server_port=\"{port}\",site=\"north\"}}"
    );
    eventually("both were probed", || {
        let (_, text) = page("/metrics");
        sample(&text, &good) == Some(1.0) && text.contains("error_type=\"connection_refused\"")
    });
    let (status, text) = page("/probes");
    assert_eq!(status, 200);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("2 targets, 1 of them down"), "{text}");
    assert!(
        lines[2].starts_with("down") && lines[2].contains("bad") && lines[2].contains("connection_refused"),
        "{text}"
    );
    assert!(lines[2].contains("bad 127.0.0.1:1  "), "{text}");
    assert!(lines[3].starts_with("up") && lines[3].contains(&format!("good 127.0.0.1:{port}  ")), "{text}");
    let (status, text) = page("/probes?target=good");
    assert!(status == 200 && text.contains("success at 127.0.0.1"), "{text}");
    assert_eq!(page("/probes?target=nobody").0, 404);
    let (status, text) = page("/probe?target=127.0.0.1:80");
    assert!(status == 404 && text.contains("on_request"), "off until it is switched on: {text}");
    assert!(page("/").1.contains("href=\"probes\""));
}

#[test]
fn targets_of_one_name_are_told_apart_by_where_they_are() {
    let Some(namespace) = Namespace::new() else { return };
    let probes = "targets:\n- {name: same, host: 127.0.0.1, port: 1}\n- {name: same, host: '::1', port: 2}\n\
                  - {name: same, kind: unix, path: /none}\n- {name: same, kind: icmp, host: '::1'}\n\
                  - {name: same, kind: http, url: 'http://127.0.0.1:3/page?key=hush'}\n";
    let (_agent, address, _dir) = agent(&namespace, probes);
    for query in ["", "?target=same"] {
        let page = || namespace.inside(|| get(address, &format!("/probes{query}"))).1;
        for place in ["127.0.0.1:1", "[::1]:2", "/none", "::1", "http://127.0.0.1:3/page"] {
            let line = |line: &str| {
                line.contains(&format!("same {place}:")) || line.contains(&format!("same {place}  "))
            };
            eventually(place, || page().lines().any(line));
        }
        assert!(!page().contains("hush"));
    }
}

#[test]
fn what_is_probed_on_request_is_in_the_networks_that_are_allowed() {
    let Some(namespace) = Namespace::new() else { return };
    let open = listen(&namespace, "127.0.0.1:0", drop).port();
    let leads_away = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        use std::io::{Read, Write};
        let _request = stream.read(&mut [0; 1024]);
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.9:{open}/\r\nContent-Length: 0\r\n\r\n");
        let _gone = stream.write_all(answer.as_bytes());
    })
    .port();
    let server = names::server(&namespace);
    let probes = format!(
        "nameservers: ['{server}']\non_request: {{enabled: true, networks: [127.0.0.1/32, '::1']}}\ntimeout: 2s\n"
    );
    let (_agent, address, _dir) = agent(&namespace, &probes);
    let probe = |query: &str| namespace.inside(|| get(address, &format!("/probe?{query}")));
    let said = |query: &str, what: &str| {
        let (status, text) = probe(query);
        assert_eq!(status, 200, "{query}: {text}");
        assert!(text.contains(what), "{query}: {text}");
        sample(&text, "probe_success").unwrap()
    };
    assert_eq!(said(&format!("target=127.0.0.1:{open}"), "probe_ip_protocol 4\n"), 1.0);
    assert_eq!(
        said("target=127.0.0.1:1&kind=tcp", "probe_failed{error_type=\"connection_refused\"} 1\n"),
        0.0
    );
    assert_eq!(said("target=127.0.0.1&kind=icmp", "probe_icmp_duration_seconds{phase=\"rtt\"} "), 1.0);
    assert_eq!(said("target=[::1]&module=icmp", "probe_ip_protocol 6\n"), 1.0);
    assert_eq!(said(&format!("target=four.test:{open}"), "probe_dns_lookup_time_seconds "), 1.0);
    // By address, by name, by another name of a name, by where a page leads.
    let not_allowed = "error_type=\"permission_denied\"";
    assert_eq!(said(&format!("target=127.0.0.2:{open}"), not_allowed), 0.0);
    assert_eq!(said(&format!("target=many.test:{open}"), not_allowed), 0.0);
    assert_eq!(said("target=127.0.0.2&kind=icmp", not_allowed), 0.0);
    assert_eq!(said("target=127.0.0.2:53&kind=udp&preset=dns", not_allowed), 0.0);
    assert_eq!(said(&format!("target=http://127.0.0.1:{leads_away}/&kind=http"), not_allowed), 0.0);
    let (status, text) = probe(&format!("target=127.0.0.1:{open}&debug=true"));
    assert!(status == 200 && text.contains("probing 127.0.0.1\n") && text.contains("connect: "), "{text}");
    for (query, why) in [
        ("", "no target"),
        ("target=127.0.0.1", "HOST:PORT"),
        ("target=127.0.0.1:x", "HOST:PORT"),
        ("target=127.0.0.1:1&kind=TCP", "not a kind"),
        ("target=127.0.0.1:1&module=ssh_banner", "no module"),
        ("target=/run/x&kind=unix", "not probed on request"),
        ("target=127.0.0.1:1&timeout=5", "duration"),
        ("target=127.0.0.1:1&netns=blue", "none of target"),
    ] {
        let (status, text) = probe(query);
        assert!(status == 400 && text.contains(why), "{query}: {status} {text}");
    }
}

#[test]
fn an_agent_without_targets_can_be_scraped() {
    let Some(namespace) = Namespace::new() else { return };
    let (_agent, address, _dir) = agent(&namespace, "on_request: {enabled: true, networks: [127.0.0.0/8]}\n");
    let (status, text) = namespace.inside(|| get(address, "/metrics"));
    assert!(status == 200 && sample(&text, "connscope_probes_targets") == Some(0.0), "{status} {text}");
}

#[test]
fn once_probes_every_target_and_waits_for_it() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("connscope.yaml");
    let targets = dir.path().join("more.json");
    std::fs::write(&targets, r#"[{"targets": ["127.0.0.1:1"], "labels": {"name": "from a file"}}]"#).unwrap();
    let text = format!(
        "export: {{prometheus: {{naming: classic}}}}\nsources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n\
         \x20 probes: {{interval: 1h, files: [{}], targets: [{{name: x, host: 127.0.0.1, port: {port}}}]}}\n",
        targets.display()
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let output = namespace.inside(|| connscope(&["once", "--config", path, "--format", "prometheus"]));
    assert!(output.status.success(), "{output:?}");
    // Word for word what connection-status-exporter prints of it.
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        format!(
            "# HELP connection_status_up Connection status of the socket.\n# TYPE connection_status_up gauge\n\
             connection_status_up{{host=\"127.0.0.1\",name=\"from a file\",port=\"1\",protocol=\"tcp\"}} 0\n\
             connection_status_up{{host=\"127.0.0.1\",name=\"x\",port=\"{port}\",protocol=\"tcp\"}} 1\n"
        )
    );
    let output = namespace.inside(|| connscope(&["check", "--config", path]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 targets configured, 2 including those of files"), "{text}");
}
