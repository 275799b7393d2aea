//! Files that the configuration names: who is told where one cannot be used, before a start, at a reload and while the agent runs.

use super::{config_file, refusal, scraped};
use crate::support::authority::Authority;
use crate::support::{Agent, command, connscope, eventually, get, request, sample};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener};

const SUCCESS: &str = "connscope_config_last_reload_success";

#[test]
fn validation_reads_the_files_that_the_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("web.yml"), "basic_auth_user: {}\n").unwrap();
    std::fs::write(at("targets.yml"), "- targets: [a]\n  labels: 7\n").unwrap();
    for (config, why) in [
        (
            format!(
                "export: {{otlp: {{endpoint: 'https://localhost:1', tls: {{ca_file: {}}}}}}}\n",
                at("ca.pem")
            ),
            "ca.pem: No such file",
        ),
        (format!("export: {{prometheus: {{web_config: {}}}}}\n", at("web.yml")), "web.yml"),
        (format!("sources: {{probes: {{files: [{}]}}}}\n", at("targets.yml")), "targets.yml"),
        (
            format!(
                "sources: {{probes: {{targets: [{{name: a, kind: tls, host: localhost, port: 1, tls: {{ca_file: {}}}}}]}}}}\n",
                at("ca.pem")
            ),
            "ca.pem: No such file",
        ),
    ] {
        let file = config_file(&config);
        let line = refusal(&connscope(&["config", "--quiet", "--config", file.path().to_str().unwrap()]));
        assert!(line.contains(why), "{config}: {line}");
        assert!(!line.contains("stay in effect"), "nothing is in effect yet: {line}");
    }
    let good = config_file("export: {otlp: {endpoint: 'http://localhost:1', tls: {ca_file: /nowhere}}}\n");
    let output = connscope(&["config", "--quiet", "--config", good.path().to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "what is not used is not read: {output:?}");
}

#[test]
fn a_proxy_variable_that_names_none_is_refused_by_name_before_the_start() {
    let file =
        config_file("export: {otlp: {endpoint: 'http://collector.example:4318', protocol: http/protobuf}}\n");
    let config = |quiet: &[&str], name: &str, value: &str| {
        let mut command = command(&[&["config", "--config", file.path().to_str().unwrap()], quiet].concat());
        command.env(name, value).output().unwrap()
    };
    for quiet in [&[][..], &["--quiet"]] {
        for wrong in ["http://127.0.0.1:x", "http://user:hunter2@p:99999", "socks5h://p:1"] {
            let line = refusal(&config(quiet, "http_proxy", wrong));
            assert!(line.contains("http_proxy: ") && !line.contains("hunter2"), "{wrong}: {line}");
        }
        assert!(config(quiet, "http_proxy", "http://p:3128").status.success());
        assert!(config(quiet, "https_proxy", "http://p:x").status.success(), "it is not used");
    }
}

/// A configuration with one source, and an endpoint that says this, too.
fn configured(prometheus: &str) -> String {
    format!(
        "export: {{otlp: {{protocol: none}}, prometheus: {{lifecycle: true, {prometheus}}}}}\nsources:\n  \
         conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
         probes: {{targets: [{{name: a, host: 127.0.0.1, port: 1}}]}}\n"
    )
}

fn success(address: SocketAddr) -> Option<f64> {
    sample(&get(address, "/metrics").1, SUCCESS)
}

#[test]
fn a_reload_refuses_what_the_next_start_would_end_with() {
    let file = config_file(&configured("listen: '127.0.0.1:0'"));
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    let reload = |config: &str| {
        std::fs::write(file.path(), config).unwrap();
        let (status, _, body) = request(address, "POST", "/-/reload");
        (status, body)
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    // Two addresses that are free, and that exclude each other.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (prometheus, why) in [
        ("listen: 'unix:/nowhere/metrics.sock'", "/nowhere/metrics.sock"),
        ("listen: '192.0.2.1:9371'", "192.0.2.1:9371"),
        (&format!("listen: '{taken}'"), "in use"),
        ("listen: 'off'", "nothing is exported"),
        (
            "listen: systemd",
            "hands over no socket: enable and start connscope.socket, then restart the agent",
        ),
        (&format!("listen: ['127.0.0.1:{free}', '0.0.0.0:{free}']"), "in use"),
        ("listen: '127.0.0.1:0', web_config: /nowhere/web.yml", "/nowhere/web.yml"),
    ] {
        let (status, body) = reload(&configured(prometheus));
        assert_eq!((status, body.lines().count()), (500, 1), "{prometheus}: {body}");
        assert!(body.contains(why), "{prometheus}: {body}");
        assert_eq!(success(address), Some(0.0));
    }
    let (status, body) = reload("");
    assert!(status == 500 && body.contains(": it is empty; write it elsewhere and rename it"), "{body}");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("metrics.sock");
    let (status, body) = reload(&configured(&format!("listen: 'unix:{}'", socket.display())));
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("takes effect after a restart: export.prometheus.listen"), "{body}");
    assert!(!socket.exists(), "it is tried, and left as it was");
    assert_eq!(success(address), Some(1.0));
}

/// A start would refuse it, so a reload does, whether or not the settings that name the file have changed.
#[test]
fn a_reload_refuses_files_that_the_next_start_could_not_use() {
    let (authority, others) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shown = |name: &str| at(name).display().to_string();
    let (certificate, key) = authority.sign("server");
    let good = |name: &str| match name {
        "server.crt" => std::fs::copy(&certificate, at(name)).map(drop),
        "server.key" => std::fs::copy(&key, at(name)).map(drop),
        "ca.pem" | "probed.pem" => std::fs::copy(authority.file(), at(name)).map(drop),
        "web.yml" => {
            std::fs::write(at(name), "tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
        }
        "targets.yml" => std::fs::write(at(name), "- targets: ['127.0.0.1:1']\n"),
        _ => panic!("{name}"),
    };
    let names = ["server.crt", "server.key", "ca.pem", "probed.pem", "web.yml", "targets.yml"];
    for name in names {
        good(name).unwrap();
    }
    let file = config_file(&format!(
        "export:\n  otlp: {{endpoint: 'https://127.0.0.1:1', jitter: 1h, tls: {{ca_file: {}}}}}\n  \
         prometheus: {{listen: '127.0.0.1:0', web_config: {}}}\nsources:\n  conntrack: {{enabled: false}}\n  \
         sockets: {{enabled: false}}\n  probes:\n    files: [{}]\n    \
         targets: [{{name: a, kind: tls, host: 127.0.0.1, port: 1, tls: {{ca_file: {}}}}}]\n",
        shown("ca.pem"),
        shown("web.yml"),
        shown("targets.yml"),
        shown("probed.pem")
    ));
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    agent.wait_for("connscope is running");
    let mut reload = |expected: &str, why: &str| {
        agent.signal(Signal::HUP);
        let line = agent.wait_for(expected);
        assert!(line.contains(why), "{why}: {line}");
    };
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let expired_key = rcgen::KeyPair::generate().unwrap();
    let expired = parameters.self_signed(&expired_key).unwrap();
    let (_, foreign) = others.sign("server");
    let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
    let breaks: [(&dyn Fn(), &str); 7] = [
        (&|| write("web.yml", "tls_server_confg: {}\n"), "tls_server_confg"),
        (
            &|| {
                write("server.crt", &expired.pem());
                write("server.key", &expired_key.serialize_pem());
            },
            "the certificate has expired at 2020-01-02T00:00:00Z: renew it",
        ),
        (&|| _ = std::fs::copy(&foreign, at("server.key")).unwrap(), "not the key of the certificate"),
        (&|| std::fs::remove_file(at("server.crt")).unwrap(), "server.crt: No such file"),
        (&|| write("ca.pem", "none\n"), "export.otlp.tls.ca_file"),
        (&|| std::fs::remove_file(at("probed.pem")).unwrap(), "probed.pem: No such file"),
        (&|| write("targets.yml", "- targets: 7\n"), "targets.yml"),
    ];
    for (spoil, why) in breaks {
        spoil();
        reload("the configuration is refused, the previous one stays in effect", why);
        for name in names {
            good(name).unwrap();
        }
        reload("the configuration was reloaded", "nothing has changed");
    }
}

#[test]
fn a_web_configuration_that_is_refused_while_the_agent_runs_is_in_the_metric_and_the_status() {
    let web = config_file("http_server_config: {http2: false}\n");
    let mut agent = scraped(&["--web.config.file", web.path().to_str().unwrap()]);
    let address = agent.address();
    assert_eq!(success(address), Some(1.0));
    std::fs::write(web.path(), "http_server_confg: {}\n").unwrap();
    eventually("it is refused", || success(address) == Some(0.0));
    let said = String::from_utf8(connscope(&["status", &format!("http://{address}")]).stdout).unwrap();
    assert!(said.contains("warning: the web configuration was refused at its latest reload"), "{said}");
    std::fs::write(web.path(), "http_server_config: {http2: false}\n").unwrap();
    eventually("it is accepted", || success(address) == Some(1.0));
}

#[test]
fn after_a_reload_a_source_has_no_state_of_the_one_before_it() {
    let script = crate::support::Script::new("exit 1");
    let config = |timeout: &str| {
        configured("listen: '127.0.0.1:0'").replace(
            "conntrack: {enabled: false}",
            &format!("conntrack: {{via: command, command: {}, timeout: {timeout}}}", script.path()),
        )
    };
    let file = config_file(&config("1s"));
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    let state = || {
        let status: serde_json::Value = serde_json::from_str(&get(address, "/-/status").1).unwrap();
        let of = status["sources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|of| of["source"] == "conntrack")
            .unwrap()
            .clone();
        (of["state"].as_str().unwrap().to_owned(), of["warnings"].as_array().unwrap().len())
    };
    let errors = r#"connscope_source_errors_total{reason="io",source="conntrack"}"#;
    let count = sample(&get(address, "/metrics").1, errors).unwrap();
    assert_eq!(state(), ("down".to_owned(), 1));
    std::fs::write(file.path(), config("2s")).unwrap();
    assert_eq!(request(address, "POST", "/-/reload").0, 200);
    assert_eq!(state(), ("not asked yet".to_owned(), 0));
    let asked = connscope(&["status", &format!("http://{address}")]);
    assert!(asked.status.success(), "nothing fails: {}", String::from_utf8_lossy(&asked.stdout));
    let later = sample(&get(address, "/metrics").1, errors).unwrap();
    assert!(later > count, "a counter goes on: {count}, {later}");
    assert_eq!(state(), ("down".to_owned(), 1));
}

#[test]
fn what_the_configuration_names_and_is_not_there_is_a_warning() {
    let file = config_file(
        "sources:\n  conntrack: {via: command, command: /usr/sbin/contrack, netns: [no-such-name]}\n  \
         sockets: {enabled: false}\n",
    );
    let mut agent = scraped(&["--config", file.path().to_str().unwrap()]);
    let address = agent.address();
    get(address, "/metrics");
    agent.wait_for("there is no network namespace `no-such-name`");
    let own = config_file(
        "sources:\n  conntrack: {via: command, command: /usr/sbin/contrack}\n  sockets: {enabled: false}\n",
    );
    let mut agent = scraped(&["--config", own.path().to_str().unwrap()]);
    let address = agent.address();
    get(address, "/metrics");
    agent.wait_for("there is no such program; is sources.conntrack.command right?");
    let lines = agent.log.all();
    let level = |text: &str| lines.iter().find(|line| line.contains(text)).unwrap().contains("WARN");
    assert!(level("there is no such program"), "{lines:#?}");
}
