//! The endpoint against clients that want it to fall: who is answered all the same, and what it holds meanwhile.

use crate::support::{Agent, PATIENCE, Script, command, eventually, get};
use connscope::web::texts::{Renderer, UnsentTexts};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mod limits;

/// An agent with so many targets to talk about, and its address.
fn agent(targets: usize, hosts: &str, listen: &str) -> (Agent, SocketAddr, tempfile::NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '{listen}', hosts: {hosts}}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes:\n    interval: 1h\n    \
         timeout: 2s\n    targets:\n"
    )
    .unwrap();
    for number in 0..targets {
        writeln!(
            file,
            "    - {{name: t{number}, host: 127.0.0.1, port: 1, labels: {{pad: {}}}}}",
            "x".repeat(200)
        )
        .unwrap();
    }
    if targets == 0 {
        writeln!(file, "    - {{name: none, host: 127.0.0.1, port: 1}}").unwrap();
    }
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    (agent, address, file)
}

fn ask(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// What an agent has resident, in MiB.
fn resident(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn clients_that_fetch_nothing_keep_nobody_out_and_hold_little() {
    let (agent, address, _file) = agent(1000, "[]", "127.0.0.1:0");
    let mut length = 0;
    eventually("every target is told of", || {
        length = get(address, "/metrics").1.len();
        length > 1024 * 1024
    });
    let before = resident(&agent);
    let mut held = Vec::new();
    for _ in 0..60 {
        // Each has its own exposition: it asks when the last is made.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&address.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        held.push(stream);
        if held.len() % 10 == 0 {
            assert_eq!(get(address, "/-/healthy").0, 200);
        }
    }
    let grown = resident(&agent).saturating_sub(before);
    let whole = (length * 60 / 1024 / 1024) as u64;
    assert!(grown < whole / 2, "{grown} MiB more, of {whole} MiB that were asked for");
    assert_eq!(get(address, "/metrics").0, 200);
    // Those that still take nothing are closed, with the answer cut off.
    let mut last = held.pop().unwrap();
    std::thread::sleep(Duration::from_secs(8));
    let mut rest = Vec::new();
    let _reset_or_not = last.read_to_end(&mut rest);
    assert!(rest.len() < length / 2, "{} of {length} bytes", rest.len());
}

/// Set when this goes out of scope, also where an assertion fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn connections_without_number_keep_neither_health_nor_a_scrape_out() {
    let (_agent, address, _file) = agent(0, "[]", "127.0.0.1:0");
    let silent: Vec<TcpStream> = (0..600).map(|_| TcpStream::connect(address).unwrap()).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_the_end = Ends(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut open = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    open.push_back(TcpStream::connect(address));
                    if open.len() > 200 {
                        open.pop_front();
                    }
                }
            });
        }
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(get(address, "/-/healthy").0, 200);
            assert_eq!(get(address, "/metrics").0, 200);
            assert!(asked.elapsed() < PATIENCE / 2);
        }
    });
    // Of those that are silent the oldest went first.
    let mut oldest = &silent[0];
    oldest.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(oldest.read(&mut [0; 1]), Ok(0) | Err(_)));
}

#[test]
fn gzip_is_sent_where_it_is_asked_for_and_says_the_same() {
    let (_agent, address, _file) = agent(3, "[]", "127.0.0.1:0");
    let scrape = |accept: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{accept}\r\n");
        let whole = answer(ask(address, &head));
        let at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8(whole[..at].to_vec()).unwrap().to_lowercase(), whole[at + 4..].to_vec())
    };
    for accept in
        ["Accept-Encoding: gzip\r\n", "Accept-Encoding: br;q=1.0, GZIP; q=0.5\r\n", "Accept-Encoding: *\r\n"]
    {
        let (head, body) = scrape(accept);
        assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert!(text.contains("connscope_source_up{source=\"probes\"} 1\n"), "{text}");
    }
    for accept in [
        "",
        "Accept-Encoding: identity\r\n",
        "Accept-Encoding: gzip;q=0, br\r\n",
        "Accept-Encoding: gzip;Q=0\r\n",
        "Accept-Encoding: gzip ; Q = 0.000, *\r\n",
        "Accept-Encoding: *;q=0\r\n",
    ] {
        let (head, body) = scrape(accept);
        assert!(!head.contains("content-encoding"), "{accept}: {head}");
        assert!(String::from_utf8(body).unwrap().contains("connscope_source_up"));
    }
}

#[test]
fn a_client_that_has_closed_its_half_is_answered() {
    let (_agent, address, _file) = agent(0, "[]", "127.0.0.1:0");
    let stream = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.shutdown(Shutdown::Write).unwrap();
    let text = String::from_utf8(answer(stream)).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("connscope_source_up"), "{text}");
}

#[test]
fn a_name_that_leads_here_from_elsewhere_is_not_answered() {
    let status = |address, host: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nConnection: close\r\n{host}\r\n");
        let text = String::from_utf8(answer(ask(address, &head))).unwrap();
        (text.split(' ').nth(1).unwrap().parse::<u16>().unwrap(), text)
    };
    let evil = "Host: rebound.evil.example:9371\r\n";
    {
        let (_agent, address, _file) = agent(0, "[]", "127.0.0.1:0");
        for host in
            ["Host: 127.0.0.1:9371\r\n", "Host: [::1]\r\n", "Host: localhost\r\n", "Host: node1:9371\r\n"]
        {
            assert_eq!(status(address, host).0, 200, "{host}");
        }
        let (refused, text) = status(address, evil);
        assert_eq!(refused, 403);
        assert!(
            text.contains("`rebound.evil.example:9371`") && text.contains("export.prometheus.hosts"),
            "{text}"
        );
        assert_eq!(status(address, &format!("{evil}Host: localhost\r\n")).0, 403);
        let head = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let text = String::from_utf8(answer(ask(address, head))).unwrap();
        assert!(text.starts_with("HTTP/1.1 403"), "{text}");
    }
    let (_agent, address, _file) = agent(0, "['*.evil.example']", "127.0.0.1:0");
    assert_eq!(status(address, evil).0, 200);
    let (_agent, address, _file) = agent(0, "any", "127.0.0.1:0");
    assert_eq!(status(address, evil).0, 200);
}

#[test]
fn without_an_address_it_listens_on_both_families() {
    let (_agent, address, _file) = agent(0, "[]", ":0");
    let port = address.port();
    for host in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(host.parse().unwrap(), port);
        match TcpStream::connect(address) {
            Ok(_) => assert_eq!(get(address, "/-/healthy").0, 200),
            // A machine without IPv6 has the one family.
            Err(error) => {
                assert!(host == "::1" && !std::fs::exists("/proc/net/if_inet6").unwrap(), "{host}: {error}");
            }
        }
    }
}

#[test]
fn a_port_that_ipv6_has_in_use_is_not_shared_in_silence() {
    if !std::fs::exists("/proc/net/if_inet6").unwrap() {
        return;
    }
    let taken = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(connscope::web::listener::bind("", port)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[test]
fn health_is_answered_where_every_place_has_an_answer_being_made() {
    let script = Script::new("while [ ! -e $DIR/go ]; do sleep 0.1; done; echo 'cpu=0 found=1'");
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let program = script.path();
    write!(
        file,
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
         sources: {{conntrack: {{via: command, command: {program}, timeout: 60s}}, sockets: {{enabled: false}}}}\n"
    )
    .unwrap();
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    let waiting: Vec<TcpStream> =
        (0..400).map(|_| ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    for _ in 0..20 {
        assert_eq!(get(address, "/-/healthy").0, 200);
    }
    // None of those has its answer yet, so health did not wait for one.
    waiting[0].set_nonblocking(true).unwrap();
    assert!(waiting[0].peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    std::fs::write(script.file("go"), "").unwrap();
    assert_eq!(get(address, "/metrics").0, 200);
}

#[test]
fn ten_thousand_connections_from_elsewhere_keep_nobody_out() {
    const SILENT: u64 = 10_000;
    let open = connscope::sys::process::descriptors(SILENT + 2000);
    if open < SILENT + 2000 {
        crate::support::skipped(&format!("needs {} open files, and the hard limit is {open}", SILENT + 2000));
        return;
    }
    let (_agent, address, _file) = agent(0, "[]", "127.0.0.1:0");
    let stop = AtomicBool::new(false);
    // From an address of their own: silent ones, and such as ask and go.
    let connect = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
        socket.connect(&address.into()).map(|()| TcpStream::from(socket))
    };
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| connect().unwrap()).collect();
    std::thread::scope(|scope| {
        let _at_the_end = Ends(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut open = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = connect() else { continue };
                    let _closed_already = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                    open.push_back(stream);
                    if open.len() > 300 {
                        open.pop_front();
                    }
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(get(address, "/-/healthy").0, 200);
            assert_eq!(get(address, "/metrics").0, 200);
        }
    });
    drop(silent);
}

#[test]
fn who_comes_late_and_takes_gzip_has_it_when_the_others_have_theirs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let maker = Renderer::start("texts", &Arc::new(UnsentTexts::new(Arc::default()))).unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let made = || (hyper::StatusCode::OK, "text/plain", "text".repeat(99));
    runtime.block_on(async {
        let first = maker.text(1, false, move || {
            let _go = wait.recv();
            made()
        });
        let late = async {
            tokio::task::yield_now().await;
            maker.text(1, true, made).await
        };
        // Polled last in each round: both wait by then.
        let release = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            go.send(()).unwrap();
        };
        let (first, late, ()) = tokio::join!(first, late, release);
        let (first, late) = (first.unwrap(), late.unwrap());
        assert!(Arc::ptr_eq(&first, &late), "they share one text");
        assert!(late.gzip().is_some());
    });
}

/// Ticks of the CPU that each thread of an agent has taken, by name (`proc_pid_stat(5)`).
fn ticks(agent: &Agent) -> std::collections::BTreeMap<String, u64> {
    let mut threads = std::collections::BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (head, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let taken: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        *threads.entry(head.split_once('(').unwrap().1.to_owned()).or_default() += taken;
    }
    threads
}

#[test]
fn no_page_is_made_on_the_thread_that_pushes_or_on_the_one_that_answers_health() {
    let (agent, address, _file) = agent(1000, "[]", "127.0.0.1:0");
    let before = ticks(&agent);
    let mut taken = std::collections::BTreeMap::new();
    eventually("pages have taken a while", || {
        assert_eq!(get(address, "/probes").0, 200);
        taken = ticks(&agent);
        for (name, ticks) in &mut taken {
            *ticks -= before.get(name).copied().unwrap_or_default().min(*ticks);
        }
        taken.get("reports").copied().unwrap_or_default() >= 30
    });
    let other =
        |name: &str| taken.iter().find(|(thread, _)| thread.as_str() == name).map_or(0, |(_, ticks)| *ticks);
    for name in ["connscope", "http"] {
        assert!(other(name) < other("reports") / 2, "{name}: {taken:?}");
    }
}
