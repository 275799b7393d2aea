//! `connscope status` and `connscope healthcheck`, against agents and against what is none.

use super::{config_file, refusal, scraped, text};
use crate::support::{Agent, FOUR_CPUS, Script, connscope, eventually};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

/// One source of two, so that nothing depends on the machine.
const CONNTRACK: &str = "sources: {conntrack: {via: command}, sockets: {enabled: false}, network: {enabled: false}, containers: {enabled: false}, logs: {enabled: false}}\n";

fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// An agent that runs this script as conntrack, and the URL of its endpoint.
fn running(script: &Script) -> (Agent, String) {
    let file = config_file(CONNTRACK);
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path, "--conntrack-command", &script.path()]);
    let url = format!("http://{}", agent.address());
    (agent, url)
}

/// Something that listens, and answers every request with these bytes.
fn answering(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 1024]);
            let _gone = stream.write_all(&bytes);
        }
    });
    format!("http://{address}")
}

#[test]
fn a_healthy_agent_is_a_table_and_code_0() {
    let script = Script::printing(FOUR_CPUS);
    let (_agent, url) = running(&script);
    let output = connscope(&["status", &url]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.starts_with(concat!("connscope ", env!("CARGO_PKG_VERSION"), ": ready\n")), "{said}");
    let row = said.lines().find(|line| line.starts_with("conntrack ")).unwrap();
    let words: Vec<&str> = row.split_ascii_whitespace().collect();
    assert_eq!((words[1], words[3]), ("up", "ago"), "{row}");
    assert!(words[4].parse::<u32>().unwrap() > 30, "{row}");
    assert!(
        said.contains("Last successful push: none, push is off\n") && !said.contains("sockets"),
        "{said}"
    );
    let output = connscope(&["status", &url, "--format", "json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["sources"][0]["source"], "conntrack", "{said}");
    let output = connscope(&["healthcheck", &url]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "ready\n"));
}

#[test]
fn a_source_that_fails_is_a_warning_and_code_1() {
    let script = Script::new("echo 'no permission, says the kernel' >&2; exit 1");
    let (_agent, url) = running(&script);
    let output = connscope(&["status", &url]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains(": not ready\n") && said.contains("never"), "{said}");
    assert!(said.contains("warning: conntrack: ") && said.contains("no permission"), "{said}");
    let said = failure(&connscope(&["healthcheck", &url]));
    assert!(said.contains("status 503: not ready"), "{said}");
}

#[test]
fn a_push_that_is_refused_is_a_warning_and_code_1() {
    let script = Script::printing(FOUR_CPUS);
    let file = config_file(&format!(
        "{CONNTRACK}export: {{otlp: {{endpoint: 'http://127.0.0.1:1', interval: 50ms}}}}\n"
    ));
    let path = file.path().to_str().unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--config", path, "--conntrack-command", &script.path()];
    let mut agent = crate::support::Agent::start(crate::support::command(&listen));
    let url = format!("http://{}", agent.address());
    agent.wait_for("cannot push over OTLP");
    // The line may be written before the outcome is noted.
    let mut output = connscope(&["status", &url]);
    eventually("the push has failed", || {
        output = connscope(&["status", &url]);
        output.status.code() == Some(1)
    });
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("Last successful push: never\n"), "{said}");
    assert!(said.contains("warning: the push failed: "), "{said}");
}

#[test]
fn the_address_is_that_of_the_configuration() {
    let script = Script::printing(FOUR_CPUS);
    let file = config_file(CONNTRACK);
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path, "--conntrack-command", &script.path()]);
    let port = agent.address().port();
    for listen in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!(":{port}")] {
        let file = config_file(&format!("export: {{prometheus: {{listen: '{listen}'}}}}\n"));
        let output = connscope(&["healthcheck", "--config", file.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{listen}: {output:?}");
    }
    let off = config_file("export: {prometheus: {listen: 'off'}}\n");
    let line = refusal(&connscope(&["status", "--config", off.path().to_str().unwrap()]));
    assert!(line.contains("the endpoint is off in this configuration"), "{line}");
}

#[test]
fn what_is_no_agent_is_one_line_in_time() {
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let line = failure(&connscope(&["status", &refused.to_string()]));
    assert!(line.contains(&format!("asking http://{refused}: Connection refused")), "{line}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let line = failure(&connscope(&["healthcheck", &url, "--timeout", "200ms"]));
    assert!(line.contains("no answer within 200ms"), "{line}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let line = failure(&connscope(&["status", "unix:/nowhere/connscope.sock"]));
    assert!(line.contains("asking unix:/nowhere/connscope.sock: No such file"), "{line}");
    for (answer, why) in [
        (b"220 smtp\r\n".to_vec(), "does not answer with HTTP"),
        (b"HTTP/1.0 404 Not Found\r\n\r\nno".to_vec(), "no connscope, or an older one"),
        (b"HTTP/1.0 500 Oops\r\n\r\nfirst\nsecond".to_vec(), "status 500: first"),
        (b"HTTP/1.0 200 OK\r\n\r\n{}".to_vec(), "/-/status is no status: missing field `version`"),
        ([b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b'x'; 2 << 20]].concat(), "length limit exceeded"),
    ] {
        let line = failure(&connscope(&["status", &answering(answer)]));
        assert!(line.contains(why), "{why}: {line}");
    }
}

#[test]
fn a_wrong_url_is_refused() {
    for (url, why) in [
        ("ftp://localhost:1", "another scheme"),
        ("http://user:secret@localhost:1", "has a user name"),
        ("http://localhost:1/metrics", "has a path"),
        ("localhost", "has no port"),
        ("::", "is not a URL"),
    ] {
        let line = refusal(&connscope(&["status", url]));
        assert!(line.contains(why) && !line.contains("secret"), "{line}");
    }
    let line = refusal(&connscope(&["healthcheck", "--timeout", "5"]));
    assert!(line.contains("--timeout `5`"), "{line}");
}
