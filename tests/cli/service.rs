//! What a service manager is told, by sockets of the tests' own.

use crate::support::{Agent, FOUR_CPUS, PATIENCE, Script, command};
use rustix::process::Signal;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONNTRACK: &str = "sources: {conntrack: {via: command, timeout: 1m}, sockets: {enabled: false}, network: {enabled: false}}\n";

fn agent(script: &Script, more: &[&str]) -> Command {
    let path = script.file("connscope.yaml");
    std::fs::write(&path, CONNTRACK).unwrap();
    let base = [
        "--listen",
        "127.0.0.1:0",
        "--config",
        path.to_str().unwrap(),
        "--conntrack-command",
        &script.path(),
    ];
    command(&[&base[..], more].concat())
}

const NO_PUSH: &[&str] = &["--otlp-protocol", "none"];

fn bound(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn wait_for(socket: &UnixDatagram, line: &str) -> String {
    loop {
        let said = next(socket);
        if said.lines().any(|said| said == line) {
            return said;
        }
    }
}

fn wait_for_start(socket: &UnixDatagram, start: &str) -> String {
    loop {
        let said = next(socket);
        if said.starts_with(start) {
            return said;
        }
    }
}

/// An agent that is up, and whose first cycle ends once there is a file `go`.
fn before_its_first_cycle() -> (Script, UnixDatagram, Agent) {
    let script = Script::new("while [ ! -e $DIR/go ]; do sleep 0.05; done; cat $DIR/output");
    std::fs::write(script.file("output"), FOUR_CPUS).unwrap();
    let socket = bound(&script.file("notify"));
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", script.file("notify"));
    let mut agent = Agent::start(command);
    agent.address();
    (script, socket, agent)
}

#[test]
fn ready_is_said_after_the_first_cycle_and_stopping_at_the_end() {
    let (script, socket, mut agent) = before_its_first_cycle();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 16]).is_err(), "it is up, and no cycle has ended");
    socket.set_nonblocking(false).unwrap();
    std::fs::write(script.file("go"), "").unwrap();
    let said = next(&socket);
    assert!(said.starts_with("READY=1\nSTATUS=1 of 1 sources up, "), "{said}");
    agent.signal(Signal::TERM);
    wait_for(&socket, "STOPPING=1");
    assert!(agent.wait().0.success());
}

#[test]
fn a_reload_before_the_first_cycle_has_ended_does_not_make_the_agent_ready() {
    let (script, socket, mut agent) = before_its_first_cycle();
    agent.signal(Signal::HUP);
    agent.wait_for("the configuration was reloaded");
    // What follows a reload is said after it is logged.
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert!(socket.recv(&mut [0; 16]).is_err(), "it is up, and no cycle has ended");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    std::fs::write(script.file("go"), "").unwrap();
    assert!(next(&socket).starts_with("READY=1\n"));
    agent.signal(Signal::HUP);
    wait_for(&socket, "RELOADING=1");
    wait_for(&socket, "READY=1");
}

#[test]
fn what_a_full_socket_has_no_room_for_is_said_later() {
    let script = Script::printing(FOUR_CPUS);
    let socket = bound(&script.file("notify"));
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"of another service", script.file("notify")).is_ok() {}
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", script.file("notify"));
    let mut agent = Agent::start(command);
    let line = agent.wait_for("notifying the service manager over NOTIFY_SOCKET");
    assert!(line.contains("it is retried"), "{line}");
    wait_for(&socket, "READY=1");
    let status = wait_for_start(&socket, "STATUS=");
    assert!(status.contains("1 of 1 sources up"), "{status}");
    // A reload is still one: `Type=notify-reload` waits for both. The log says when it has ended.
    while full.send_to(b"of another service", script.file("notify")).is_ok() {}
    agent.signal(Signal::HUP);
    agent.wait_for("the configuration was reloaded");
    let reloading = wait_for(&socket, "RELOADING=1");
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    wait_for(&socket, "READY=1");
}

#[test]
fn a_source_that_cannot_be_read_is_in_the_status_and_ready_all_the_same() {
    let script = Script::new("exit 1");
    let socket = bound(&script.file("notify"));
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", script.file("notify"));
    let _agent = Agent::start(command);
    let said = next(&socket);
    assert!(said.starts_with("READY=1\nSTATUS=0 of 1 sources up, "), "{said}");
    assert!(said.contains(" series; conntrack is down"), "{said}");
}

#[test]
fn an_abstract_socket_is_told_too() {
    let script = Script::printing(FOUR_CPUS);
    let name = format!("connscope-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _agent = Agent::start(command);
    assert!(next(&socket).starts_with("READY=1\n"));
}

#[test]
fn a_socket_that_is_not_there_is_one_line_and_the_agent_runs() {
    for (address, why) in
        [("/nowhere/notify", "No such file"), ("notify", "neither a whole path nor an abstract name")]
    {
        let script = Script::printing(FOUR_CPUS);
        let mut command = agent(&script, NO_PUSH);
        command.env("NOTIFY_SOCKET", address);
        let mut agent = Agent::start(command);
        agent.address();
        let line = agent.log.wait("NOTIFY_SOCKET");
        assert!(line.contains(why) && line.contains("WARN"), "{line}");
    }
}

#[test]
fn the_watchdog_is_fed_where_nobody_scrapes_and_not_where_a_collection_hangs() {
    let script =
        Script::new("if [ -e $DIR/hang ]; then touch $DIR/hanging; exec sleep 1000; fi; cat $DIR/output");
    std::fs::write(script.file("output"), FOUR_CPUS).unwrap();
    let socket = bound(&script.file("notify"));
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", script.file("notify")).env("WATCHDOG_USEC", "400000");
    let mut agent = Agent::start(command);
    agent.wait_for("set WatchdogSec=");
    for _ in 0..3 {
        wait_for(&socket, "WATCHDOG=1");
    }
    std::fs::write(script.file("hang"), "").unwrap();
    crate::support::eventually("it hangs", || script.file("hanging").exists());
    // What had ended before may still be said; then nothing is, for ten times as long as the manager waits.
    let (quiet, until) =
        (Instant::now() + Duration::from_millis(400), Instant::now() + Duration::from_secs(4));
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while Instant::now() < until {
        let mut buffer = [0; 4096];
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let said = String::from_utf8_lossy(&buffer[..length]);
        assert!(Instant::now() < quiet || !said.contains("WATCHDOG=1"), "{said}");
    }
    assert!(agent.ended().is_none());
}

#[test]
fn the_watchdog_is_fed_while_a_receiver_never_answers() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let script = Script::printing(FOUR_CPUS);
    let socket = bound(&script.file("notify"));
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut command = agent(&script, &["--otlp-endpoint", &endpoint, "--interval", "50ms"]);
    command.env("NOTIFY_SOCKET", script.file("notify")).env("WATCHDOG_USEC", "400000");
    command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "0");
    let _agent = Agent::start(command);
    for _ in 0..12 {
        wait_for(&socket, "WATCHDOG=1");
    }
}

#[test]
fn the_watchdog_is_fed_where_nothing_is_collected_or_nobody_reads_what_is_printed() {
    let script = Script::printing(FOUR_CPUS);
    let socket = bound(&script.file("notify"));
    let mut command = agent(&script, NO_PUSH);
    command.env("NOTIFY_SOCKET", script.file("notify")).env("WATCHDOG_USEC", "200000");
    command.env("OTEL_SDK_DISABLED", "true");
    let disabled = Agent::start(command);
    for _ in 0..12 {
        wait_for(&socket, "WATCHDOG=1");
    }
    drop(disabled);
    // The console prints to a pipe that is full.
    let (_reader, writer) = crate::agent::full_pipe();
    let other = Script::printing(FOUR_CPUS);
    let socket = bound(&other.file("notify"));
    let mut command = agent(&other, &["--interval", "100ms"]);
    command.env("NOTIFY_SOCKET", other.file("notify")).env("WATCHDOG_USEC", "200000");
    command.env("OTEL_METRICS_EXPORTER", "console").stdout(writer).stderr(Stdio::null());
    let _printing = Agent::spawn(command);
    for _ in 0..12 {
        wait_for(&socket, "WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let script = Script::printing(FOUR_CPUS);
    let socket = bound(&script.file("notify"));
    let mut command = agent(&script, NO_PUSH);
    command
        .env("NOTIFY_SOCKET", script.file("notify"))
        .env("WATCHDOG_USEC", "200000")
        .env("WATCHDOG_PID", "1");
    let mut agent = Agent::start(command);
    assert!(next(&socket).starts_with("READY=1\n"));
    agent.address();
    agent.signal(Signal::TERM);
    loop {
        let said = next(&socket);
        assert!(!said.contains("WATCHDOG"), "{said}");
        if said.starts_with("STOPPING=1") {
            break;
        }
    }
}
