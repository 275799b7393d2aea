//! The agent where the machine is in trouble: a log that nobody reads, no thread left, signals at any moment, an end by
//! SIGKILL.

use crate::support::agent::{Public, behind};
use crate::support::receiver::{Receiver, Speaks};
use crate::support::{Agent, PATIENCE, Script, command, eventually, get, sample, skipped};
use rustix::process::Signal;
use std::io::{PipeReader, PipeWriter, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// From a signal to the end, as README promises it.
const PROMISED: Duration = Duration::from_secs(5);

/// Sends SIGTERM and waits for the end, which comes in time: the exit code.
fn terminated(agent: &mut Agent) -> Option<i32> {
    agent.signal(Signal::TERM);
    let (status, took) = agent.wait();
    assert!(took < PROMISED, "{took:?}");
    status.code()
}

/// An address that is free, as far as that can be known.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn running(address: SocketAddr) {
    eventually("it listens", || std::net::TcpStream::connect(address).is_ok());
}

/// A pipe that is full to the brim.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'x'; 1024]).is_ok() {}
    while rustix::io::write(&writer, b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_stops_neither_scrapes_nor_the_end_and_what_is_dropped_is_counted() {
    let (mut reader, writer) = full_pipe();
    let address = free();
    let mut agent = command(&[
        "--otlp-endpoint",
        "http://127.0.0.1:1",
        "--interval",
        "10ms",
        "--log-level",
        "trace",
        "--listen",
    ]);
    agent.arg(address.to_string()).stderr(writer);
    let mut agent = Agent::spawn(agent);
    running(address);
    let dropped = || sample(&get(address, "/metrics").1, "connscope_log_dropped_total").unwrap();
    eventually("lines are dropped", || dropped() > 0.0);
    assert_eq!(get(address, "/-/healthy").0, 200);
    // As soon as it is read again, the log says what is missing in it.
    let said = std::thread::spawn(move || {
        let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
        while !String::from_utf8_lossy(&text).contains("lines of this log were dropped") {
            let length = reader.read(&mut chunk).unwrap();
            assert!(length > 0, "the end of the log: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&chunk[..length]);
        }
        reader
    });
    let _reader = said.join().unwrap();
    assert_eq!(terminated(&mut agent), Some(0));
    let (_reader, writer) = full_pipe();
    let mut agent = command(&["--otlp-protocol", "none", "--listen"]);
    agent.arg(address.to_string()).stderr(writer);
    let mut agent = Agent::spawn(agent);
    running(address);
    assert_eq!(terminated(&mut agent), Some(0));
}

#[test]
fn an_error_that_nobody_reads_does_not_keep_the_program() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_reader, writer) = full_pipe();
    let mut agent = command(&["--otlp-protocol", "none", "--listen"]);
    agent.arg(taken.local_addr().unwrap().to_string()).stderr(writer);
    assert_eq!(Agent::spawn(agent).wait().0.code(), Some(1));
}

#[test]
fn sigkill_takes_the_conntrack_that_hangs_with_it() {
    let script = Script::new("echo $$ > $DIR/pid; exec sleep 1000");
    let agent = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--conntrack-source", "command"];
    let mut agent = Agent::start(command(&[&agent[..], &["--conntrack-command", &script.path()]].concat()));
    agent.address();
    eventually("the child is running", || {
        std::fs::read_to_string(script.file("pid")).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let child = std::fs::read_to_string(script.file("pid")).unwrap();
    agent.signal(Signal::KILL);
    agent.wait();
    eventually("the child is gone", || {
        std::fs::read_to_string(format!("/proc/{}/stat", child.trim()))
            .map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_signal_ends_once_while_a_probe_waits_or_nobody_reads_its_output() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let yaml = format!(
        "sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, probes: {{timeout: 5m, targets: \
         [{{name: a, kind: tcp, host: 127.0.0.1, port: {}, expect: x}}]}}}}\n",
        silent.local_addr().unwrap().port()
    );
    std::io::Write::write_all(&mut file, yaml.as_bytes()).unwrap();
    let mut once = command(&["once", "--config", file.path().to_str().unwrap()]);
    once.stdout(Stdio::null()).stderr(Stdio::null());
    let mut once = Agent::spawn(once);
    let _probed = silent.accept().unwrap();
    assert_eq!(terminated(&mut once), Some(1), "what was cut short is not all that was asked for");

    let script = Script::new("echo done > $DIR/ran; echo 'cpu=0 found=1'");
    let (_reader, writer) = full_pipe();
    let mut once = command(&["once", "--conntrack-source", "command", "--conntrack-command", &script.path()]);
    once.stdout(writer).stderr(Stdio::null());
    let mut once = Agent::spawn(once);
    eventually("it has read", || script.file("ran").exists());
    assert_eq!(terminated(&mut once), Some(1));
}

/// A namespace of mounts in which the only name server is this address, at which nobody answers but the test. `/etc/nsswitch.conf` names
/// neither `/etc/hosts` nor DNS.
fn without_names(server: &str, options: &str, program: &Command) -> Option<(Command, std::net::UdpSocket)> {
    let silent = std::net::UdpSocket::bind((server, 53));
    let (Ok(silent), true) = (silent, rustix::process::geteuid().is_root()) else {
        skipped(&format!("needs root, port 53 of {server} and a namespace of mounts"));
        return None;
    };
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let script = "printf 'nameserver %s\\n%s\\n' $SERVER \"$OPTIONS\" > \"$0/resolv\" && printf 'hosts: hesiod\\n' > \"$0/nsswitch\" && \
                  printf '127.0.0.1 known.example\\n' > \"$0/hosts\" && mount --bind \"$0/hosts\" /etc/hosts && \
                  mount --bind \"$0/resolv\" /etc/resolv.conf && mount --bind \"$0/nsswitch\" /etc/nsswitch.conf && \
                  exec \"$@\"";
    let folder = tempfile::tempdir().unwrap().keep();
    let folder = folder.display().to_string();
    let mut unshare = behind(&["unshare", "-m", "sh", "-c", script, &folder], program);
    unshare.stderr(Stdio::null()).env("SERVER", server).env("OPTIONS", options);
    Some((unshare, silent))
}

/// Runs the program to its end. Until then the server answers to each question that the name does not exist.
fn without_any_name(program: &mut Command, server: &std::net::UdpSocket) -> Output {
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut query = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = server.recv_from(&mut query) else { continue };
                // The same question, and: a response, of a server that recurses, NXDOMAIN (RFC 1035, section 4.1.1).
                query[2..4].copy_from_slice(&[0x81, 0x83]);
                let _gone = server.send_to(&query[..length], from);
            }
        });
        let output = program.stderr(Stdio::piped()).output();
        ended.store(true, Ordering::Relaxed);
        output
    });
    output.unwrap()
}

#[test]
fn a_start_without_a_name_server_is_worth_repeating_and_one_without_the_name_is_not() {
    let named = command(&["--otlp-protocol", "none", "--listen", "agent.example:9371"]);
    let options = "options timeout:1 attempts:1";
    let Some((mut silenced, _silent)) = without_names("127.0.0.81", options, &named) else { return };
    let output = silenced.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line =
        "listening on agent.example:9371: looking up agent.example: failed to lookup address information: ";
    assert!(said.contains(&format!("{line}Temporary failure in name resolution")), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");

    let Some((mut unknown, server)) = without_names("127.0.0.82", "", &named) else { return };
    let output = without_any_name(&mut unknown, &server);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("{line}Name or service not known")), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}

#[test]
fn names_are_looked_up_by_hosts_and_dns_whatever_nsswitch_conf_says() {
    let port = free().port();
    let known = command(&["healthcheck", &format!("http://known.example:{port}")]);
    let Some((mut known, server)) = without_names("127.0.0.79", "", &known) else { return };
    let said = String::from_utf8(known.stderr(Stdio::piped()).output().unwrap().stderr).unwrap();
    assert!(said.contains("Connection refused"), "{said}");
    drop(server);

    let unknown = command(&["healthcheck", &format!("http://unknown.example:{port}")]);
    let Some((mut unknown, server)) = without_names("127.0.0.80", "", &unknown) else { return };
    let said = String::from_utf8(without_any_name(&mut unknown, &server).stderr).unwrap();
    let line = format!(
        "connscope: asking http://unknown.example:{port}: failed to lookup address information: Name or service not known\n"
    );
    assert_eq!(said, line);
}

#[test]
fn a_silent_name_server_keeps_neither_the_end_nor_the_scrapes() {
    let named = command(&["--otlp-protocol", "none", "--listen", "agent.example:9371"]);
    let Some((named, silent)) = without_names("127.0.0.77", "", &named) else { return };
    let mut agent = Agent::spawn(named);
    silent.recv(&mut [0; 512]).unwrap();
    assert_eq!(terminated(&mut agent), Some(0));
    drop(silent);

    let address = free().to_string();
    let named = command(&[
        "--otlp-protocol",
        "grpc",
        "--otlp-endpoint",
        "http://receiver.example:4317",
        "--interval",
        "200ms",
        "--listen",
        &address,
    ]);
    let Some((mut named, silent)) = without_names("127.0.0.77", "", &named) else { return };
    named.env("OTEL_METRIC_EXPORT_TIMEOUT", "100");
    let mut agent = Agent::logging(named);
    let address: SocketAddr = address.parse().unwrap();
    running(address);
    // More look-ups than any pool has threads.
    for _ in 0..12 {
        silent.recv(&mut [0; 512]).unwrap();
        assert_eq!(get(address, "/metrics").0, 200);
    }
    agent.log.wait(
        "looking up receiver.example: no answer within 100ms. A name server of /etc/resolv.conf is silent: name those that \
         answer, or the receiver by its address",
    );
    assert_eq!(terminated(&mut agent), Some(0));
}

#[test]
fn a_silent_name_server_keeps_a_reload_neither_from_its_end_nor_from_the_last_export() {
    let receiver = Receiver::start(Speaks::Grpc);
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let mut yaml = |listen: &str| {
        let text = format!(
            "export: {{otlp: {{endpoint: '{}', interval: 1h, jitter: 0s}}, prometheus: {{listen: '{listen}'}}}}\n\
             sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}}}\n",
            receiver.url()
        );
        file.as_file().set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.path().to_owned()
    };
    let address = free();
    let named = command(&["--config", yaml(&address.to_string()).to_str().unwrap()]);
    // The C library waits for minutes.
    let options = "options timeout:30 attempts:5";
    let Some((named, silent)) = without_names("127.0.0.78", options, &named) else { return };
    let mut agent = Agent::logging(named);
    receiver.nth(0);
    yaml("agent.example:9371");
    agent.signal(Signal::HUP);
    silent.recv(&mut [0; 512]).unwrap();
    let line = agent.wait_for("the configuration is refused, the previous one stays in effect");
    assert!(line.contains("looking up agent.example: no answer within 15s"), "{line}");
    // Nothing was asked for again: the interval is an hour.
    assert_eq!(receiver.received().len(), 1);
    silent.set_nonblocking(true).unwrap();
    while silent.recv(&mut [0; 512]).is_ok() {}
    silent.set_nonblocking(false).unwrap();
    agent.signal(Signal::HUP);
    silent.recv(&mut [0; 512]).unwrap();
    assert_eq!(terminated(&mut agent), Some(0));
    receiver.nth(1);
    assert!(
        !agent.log.all().iter().any(|line| line.contains("did not stop in time")),
        "{:#?}",
        agent.log.all()
    );
}

#[test]
fn with_any_number_of_threads_it_runs_or_ends_with_one_line() {
    if !rustix::process::geteuid().is_root() {
        return skipped("needs root, to run as a user that has no other process");
    }
    let public = Public::new("{}");
    let mut refused = 0;
    for threads in 1.. {
        // A user that nothing else runs as: the limit is one of its threads altogether (RLIMIT_NPROC).
        let address = free();
        let limit = format!("--nproc={threads}");
        let program = public.command(&[
            "--otlp-endpoint",
            "http://127.0.0.1:1",
            "--jitter",
            "0s",
            "--listen",
            &address.to_string(),
        ]);
        let mut agent = behind(&["prlimit", &limit, "setpriv", "--reuid=61871", "--clear-groups"], &program);
        agent.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut agent = Agent::spawn(agent);
        let mut ended = None;
        eventually("it runs or ends", || {
            ended = agent.ended();
            ended.is_some() || get_or_refused(address) == Some(200)
        });
        if let Some(status) = ended {
            let said = agent.said();
            assert_eq!(status.code(), Some(1), "{threads} threads: {said}");
            let last: Vec<&str> = said.lines().filter(|line| line.starts_with("connscope: ")).collect();
            assert_eq!(last.len(), 1, "{threads} threads: {said}");
            assert!(
                last[0].contains("Resource temporarily unavailable")
                    || last[0].contains("could not be started"),
                "{said}"
            );
            assert!(!said.contains("panicked") && !said.contains("defect"), "{threads} threads: {said}");
            refused += 1;
            continue;
        }
        assert_eq!(terminated(&mut agent), Some(0), "{threads} threads");
        let said = agent.said();
        assert!(!said.contains("panicked") && !said.contains("defect"), "{threads} threads: {said}");
        break;
    }
    assert!(refused >= 4, "{refused}: the limit was none");
}

#[test]
fn with_any_number_of_descriptors_it_runs_or_ends_with_one_line() {
    let mut refused = 0;
    for descriptors in 4..40 {
        let limit = format!("--nofile={descriptors}:{descriptors}");
        let program = command(&["once", "--config", "/dev/null"]);
        let mut once = behind(&["prlimit", &limit], &program);
        let output = once.stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked") && !said.contains("defect"), "{descriptors} descriptors: {said}");
        if output.status.code() != Some(0) {
            refused += 1;
        }
    }
    assert!(refused >= 3, "{refused}: the limit was none");
}

fn get_or_refused(address: SocketAddr) -> Option<u16> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: test\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn a_line_that_is_too_long_is_cut_before_a_character() {
    use connscope::log::queue::{LONGEST, cut};
    for filler in 0..4 {
        let line = "a".repeat(filler) + &"😀é€".repeat(LONGEST / 8);
        let short = String::from_utf8(cut(line.as_bytes()).into_vec()).unwrap();
        let whole = short.strip_suffix("…\n").unwrap();
        assert!(line.starts_with(whole) && (LONGEST - 3..=LONGEST).contains(&whole.len()), "{}", whole.len());
    }
    assert_eq!(&*cut("é".repeat(LONGEST / 2).as_bytes()), "é".repeat(LONGEST / 2).as_bytes());
}
