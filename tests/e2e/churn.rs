//! Ten thousand connections opened and closed a second, for a minute: what the agent counts is what was made, or the
//! difference is in a counter.

use crate::endurance::sample as held;
use crate::stack::end;
use crate::support::{Agent, Namespace, command, get, sample};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_mins(1);
/// Connections a second; a machine that is busy otherwise makes fewer.
const RATE: f64 = 10_000.0;
const THREADS: u16 = 2;
const PAYLOAD: usize = 100;
/// Addresses that are connected to: each has all the ports of the client for itself.
const ADDRESSES: u32 = 200;
/// How often Prometheus would ask, and many times that.
const SCRAPED: Duration = Duration::from_secs(1);

/// Opens and closes connections to a port of its own, as fast as it should; how many.
fn make(thread: u16) -> u64 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 4000 + thread)).unwrap();
    let started = Instant::now();
    let mut made = 0_u32;
    let mut buffer = [0; PAYLOAD];
    while started.elapsed() < TIME {
        let due = started.elapsed().as_secs_f64() * RATE / f64::from(THREADS);
        while f64::from(made) < due {
            let [_, _, high, low] = (made % ADDRESSES).to_be_bytes();
            let to = SocketAddr::from(([127, 1, high, low + 1], 4000 + thread));
            let mut client = TcpStream::connect(to).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&[1; PAYLOAD]).unwrap();
            server.read_exact(&mut buffer).unwrap();
            drop(client);
            drop(server);
            made += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    made.into()
}

/// The sum of a metric over the ports of the generator.
fn counted(text: &str, metric: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{')))
        .filter(|line| (0..THREADS).any(|port| line.contains(&format!("server_port=\"{}\"", 4000 + port))))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn cpu(text: &str) -> f64 {
    ["user", "system"]
        .iter()
        .filter_map(|mode| sample(text, &format!("process_cpu_time_seconds_total{{cpu_mode=\"{mode}\"}}")))
        .sum()
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn ten_thousand_connections_a_second_are_all_counted_or_counted_as_lost() {
    let Some(namespace) = Namespace::new() else { return };
    // Connection tracking would be full of them, and TIME_WAIT too.
    namespace.run("nft", &["flush ruleset"]);
    namespace.inside(|| std::fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "1000")).unwrap();
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(b"sources: {conntrack: {enabled: false}}\n").unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = ["--config", path, "--listen", "127.0.0.1:9371", "--otlp-protocol", "none"];
    let mut agent = namespace.inside(|| Agent::start(command(&arguments)));
    let address = agent.address();
    let scrape = || {
        let (status, text) = namespace.inside(|| get(address, "/metrics"));
        assert_eq!(status, 200, "{text}");
        text
    };
    let idle = scrape();
    let idle_memory = held(agent.pid(), 0.0).resident;

    let started = Instant::now();
    let (mut most_memory, mut slowest) = (idle_memory, Duration::ZERO);
    let made: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let namespace = &namespace;
                scope.spawn(move || namespace.inside(|| make(thread)))
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            let before = Instant::now();
            scrape();
            slowest = slowest.max(before.elapsed());
            most_memory = most_memory.max(held(agent.pid(), 0.0).resident);
            std::thread::sleep(SCRAPED);
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let took = started.elapsed();

    // Both ends are told of, the last of them a little later.
    let made = made as f64;
    let sides = ["direction=\"outgoing\"", "direction=\"incoming\""];
    let until = Instant::now() + crate::support::PATIENCE;
    let (text, lost, missing) = loop {
        let text = scrape();
        let lost = sample(&text, "connscope_sockets_events_lost_total").unwrap();
        let of = |event: &str, side| {
            counted(&text, "tcp_connections_total", &[&format!("event=\"{event}\""), side])
        };
        let opened = sides.map(|side| of("opened", side));
        let ended = sides.map(|side| of("closed", side) + of("reset", side));
        let missing = 2.0 * made - opened[0] - opened[1];
        let open = counted(&text, "tcp_open_connections", &[]);
        if opened == ended && open == 0.0 && (0.0..=lost).contains(&missing) {
            break (text, lost, missing);
        }
        assert!(
            Instant::now() < until,
            "{made} were made, opened are {opened:?}, ended {ended:?}, open {open}, lost {lost}"
        );
        std::thread::sleep(Duration::from_millis(100));
    };
    if lost == 0.0 {
        let sent = counted(&text, "tcp_io_bytes_total", &["network_io_direction=\"transmit\"", sides[0]]);
        assert_eq!(sent, made * PAYLOAD as f64, "every byte of every connection");
    }
    assert_eq!(counted(&text, "tcp_connections_total", &["event=\"failed\""]), 0.0);
    let events = sample(&text, "connscope_sockets_events_total").unwrap();
    println!(
        "{made} connections in {took:?}, {:.0} a second; {events} events, {lost} lost, {missing} ends missing; the agent \
         took {:.1} s of CPU time, resident memory {:.1} MiB idle, {:.1} MiB at most; slowest scrape {slowest:?}",
        made / TIME.as_secs_f64(),
        cpu(&text) - cpu(&idle),
        idle_memory / 1024.0 / 1024.0,
        most_memory / 1024.0 / 1024.0,
    );
    let log = end(agent);
    assert!(log.iter().all(|line| line.starts_with("INFO")), "{log:#?}");
}
