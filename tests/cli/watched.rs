//! `connscope top` where stdout is no terminal, and `connscope once --watch`.

use super::top::{CONNTRACK, growing, number, running};
use super::{config_file, refusal, text};
use crate::support::{Agent, Script, command, connscope, eventually};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

#[test]
fn without_a_terminal_readings_are_lines() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let arguments = ["top", "--url", &format!("http://{address}"), "--interval", "200ms", "--count", "2"];
    let output = connscope(&arguments);
    let printed = text(&output.stdout);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
    assert!(!printed.contains('\u{1b}') && printed.matches("connscope 0").count() == 2, "{printed}");
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("found ")).collect();
    assert!(rows.len() == 2 && number(rows[1], 1) > 10.0, "{printed}");
    // Whoever reads may have seen enough.
    let mut endless = command(&["top", "--url", &format!("http://{address}"), "--interval", "100ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(endless.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("connscope "));
    drop(lines);
    assert_eq!(endless.wait().unwrap().code(), Some(0));
}

/// `top` by itself: the endpoint of the configuration is a port on which nothing listens.
fn alone(script: &Script, more: &[&str]) -> Output {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = config_file(&format!("{CONNTRACK}export: {{prometheus: {{listen: \"{free}\"}}}}\n"));
    let path = file.path().to_str().unwrap();
    let flags = ["top", "--config", path, "--interval", "200ms", "--count", "2"];
    connscope(&[&flags[..], &["--conntrack-command", &script.path()], more].concat())
}

#[test]
fn without_an_agent_top_reads_the_sources_itself() {
    let output = alone(&growing(), &["--view", "table"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(printed.contains("this machine, without an agent"), "{printed}");
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("found ")).collect();
    assert!(rows.len() == 2 && number(rows[1], 1) > 10.0, "{printed}");
    let denied = alone(&Script::new("echo 'you must be root' >&2; exit 1"), &["--view", "sources"]);
    let printed = text(&denied.stdout);
    assert!(printed.contains("down") && printed.contains("CAP_NET_ADMIN"), "{printed}");
}

#[test]
fn the_agent_of_the_configuration_is_asked_if_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let file = config_file(&format!(
        "{CONNTRACK}export: {{prometheus: {{listen: \"unix:{}\"}}}}\n",
        socket.display()
    ));
    let path = file.path().to_str().unwrap();
    let script = growing();
    let conntrack = script.path();
    let mut agent = Agent::start(command(&[
        "--otlp-protocol",
        "none",
        "--config",
        path,
        "--conntrack-command",
        &conntrack,
    ]));
    eventually("the socket is there", || socket.exists());
    let printed = text(&connscope(&["top", "--config", path, "--count", "1", "--view", "table"]).stdout);
    assert!(
        printed.contains(&format!("unix:{}", socket.display())) && printed.contains("\nfound "),
        "{printed}"
    );
    agent.signal(Signal::TERM);
    agent.wait();
}

#[test]
fn wrong_arguments_are_one_line() {
    for (arguments, said) in [
        (&["top", "--interval", "1"][..], "--interval `1` is not a duration with a unit"),
        (&["top", "--interval", "1ms"], "--interval `1ms`"),
        (&["top", "--url", "ftp://a"], "another scheme"),
        (
            &["top", "--url", "http://127.0.0.1:9", "--conntrack-source", "command"],
            "flags of sources have no effect",
        ),
        (&["top", "--view", "nothing"], "invalid value 'nothing'"),
        (&["top", "--count", "0"], "invalid value '0'"),
        (&["once", "--watch", "2"], "--watch `2` is not a duration with a unit"),
    ] {
        let line = refusal(&connscope(arguments));
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn once_watched_prints_cycles_and_rates_until_a_signal() {
    let script = growing();
    let file = config_file(CONNTRACK);
    let path = file.path().to_str().unwrap();
    let conntrack = script.path();
    let arguments = ["once", "--watch", "300ms", "--config", path, "--conntrack-command", &conntrack];
    let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    let found = || {
        lines
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.starts_with("conntrack.found"))
            .cloned()
            .collect::<Vec<_>>()
    };
    eventually("three cycles", || found().len() >= 3);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    reader.join().unwrap();
    let found = found();
    assert!(!found[0].contains("/s)") && found[1].contains("{lookup} (+"), "{found:#?}");
    let rate: f64 = found[2].split_once("(+").unwrap().1.trim_end_matches("/s)").parse().unwrap();
    assert!((30.0..300.0).contains(&rate), "{found:#?}");
    assert!(lines.lock().unwrap()[0].ends_with('Z'), "each cycle says when it was");
}
