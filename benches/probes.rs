//! Ten thousand targets at ten seconds, a thousand of them black holes: what that costs, and whether anybody is late.
//!
//! Starts the agent as it is built for release in a network namespace of its own, where a thread of this process accepts
//! whatever is connected to, and a packet filter drops the rest. It prints what was measured beside what is aimed at, and
//! never fails because of a number. `CONNSCOPE_BENCH_SECONDS` sets how long each round is watched; needs root.
//!
//! Whether the dead delay the rest is seen from the other side, too: in the last two rounds, without jitter, every
//! connection to one of the nine thousand that are never dead is held against the beat of its target.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the machine does not give ends a benchmark"
)]

#[path = "../tests/support.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest of it")]
mod support;

use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Agent, Namespace, command, get};

const TARGETS: usize = 10_000;
const BLACK_HOLES: usize = 1000;
const INTERVAL: Duration = Duration::from_secs(10);
/// From one scrape to the next.
const SCRAPED: Duration = Duration::from_secs(15);

fn main() {
    let seconds = std::env::var("CONNSCOPE_BENCH_SECONDS").ok().and_then(|value| value.parse().ok());
    let watched = Duration::from_secs(seconds.unwrap_or(60));
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("sysctl", &["-q", "-w", "net.ipv4.ip_local_port_range=1024 65000"]);
    namespace.run(
        "nft",
        &["add table inet p; add chain inet p i { type filter hook input priority -300; }; \
           add rule inet p i tcp dport 1001 drop; flush table inet t"],
    );
    let listener = namespace.inside(|| TcpListener::bind(("0.0.0.0", 1000))).unwrap();
    let arrivals = Arrivals::default();
    let seen = Arc::clone(&arrivals.0);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let now = Instant::now();
            if let Ok(address) = stream.local_addr() {
                seen.lock().unwrap().push((address.ip(), now));
            }
        }
    });
    let (jitter, none) = (0.05, 0.0);
    for (holes, phases, jitter) in [
        (0, true, jitter),
        (BLACK_HOLES, true, jitter),
        (BLACK_HOLES, false, jitter),
        (0, false, none),
        (BLACK_HOLES, false, none),
    ] {
        let with = if phases { "with" } else { "without" };
        println!(
            "\n{TARGETS} targets every {} s, {holes} of them black holes, {with} phases, jitter {jitter}",
            INTERVAL.as_secs()
        );
        watch(&namespace, &arrivals, &Round { holes, phases, jitter }, watched);
    }
}

/// What is probed, and how.
struct Round {
    holes: usize,
    phases: bool,
    jitter: f64,
}

/// Connections as they came: to whom, and when.
#[derive(Default)]
struct Arrivals(Arc<Mutex<Vec<(IpAddr, Instant)>>>);

impl Arrivals {
    /// How much later than the beat of its target each connection came, in milliseconds, ascending. The beat is that of
    /// the connection which came earliest by it.
    fn late(&self) -> Vec<f64> {
        let mut of: HashMap<IpAddr, Vec<Instant>> = HashMap::new();
        let never_dead = |address: &IpAddr| number(*address).is_some_and(|number| number >= BLACK_HOLES);
        for (address, at) in self.0.lock().unwrap().drain(..).filter(|(address, _)| never_dead(address)) {
            of.entry(address).or_default().push(at);
        }
        let mut late = Vec::new();
        for times in of.values() {
            let interval = INTERVAL.as_secs_f64();
            let since: Vec<f64> = times.iter().map(|at| (*at - times[0]).as_secs_f64()).collect();
            let off: Vec<f64> =
                since.iter().map(|since| since - (since / interval).round() * interval).collect();
            let earliest = off.iter().copied().fold(f64::INFINITY, f64::min);
            late.extend(off.iter().map(|off| (off - earliest) * 1e3));
        }
        late.sort_by(f64::total_cmp);
        late
    }
}

/// Address of a target.
fn address(number: usize) -> String {
    format!("127.1.{}.{}", number / 250 + 1, number % 250 + 1)
}

/// Number of the target at an address.
fn number(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(address) = address else { return None };
    let [_, _, high, low] = address.octets();
    (usize::from(high).checked_sub(1)? * 250).checked_add(usize::from(low).checked_sub(1)?)
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let verdict = if measured <= goal { "reached" } else { "MISSED" };
        format!("   goal: {goal} {unit} at most, {verdict}")
    });
    println!("  {what:52} {measured:10.3} {unit:5}{goal}");
}

fn configuration(Round { holes, phases, jitter }: &Round) -> String {
    let mut text = format!(
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes:\n    interval: {}s\n    \
         timeout: 5s\n    phases: {phases}\n    jitter: {jitter}\n    targets:\n",
        INTERVAL.as_secs()
    );
    for number in 0..TARGETS {
        let (port, host) = (if number < *holes { 1001 } else { 1000 }, address(number));
        writeln!(text, "    - {{name: t{number}, host: {host}, port: {port}}}").unwrap();
    }
    text
}

fn watch(namespace: &Namespace, arrivals: &Arrivals, round: &Round, watched: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("connscope.yaml");
    std::fs::write(&path, configuration(round)).unwrap();
    let mut agent = namespace.inside(|| Agent::start(command(&["--config", path.to_str().unwrap()])));
    let address = agent.address();
    // The first round, in which nothing is known of anybody, and what is taken once.
    std::thread::sleep(INTERVAL + Duration::from_secs(6));
    let pid = agent.pid();
    let (cpu, descriptors) = (cpu_seconds(pid), descriptors(pid));
    let begin = delays(&scrape(namespace, address).1);
    arrivals.0.lock().unwrap().clear();
    let began = Instant::now();
    let mut scrapes = Vec::new();
    let mut text = String::new();
    while began.elapsed() < watched {
        std::thread::sleep(SCRAPED);
        let (took, exposition) = scrape(namespace, address);
        scrapes.push(took);
        text = exposition;
    }
    let seconds = began.elapsed().as_secs_f64();
    scrapes.sort_by(f64::total_cmp);
    let end = delays(&text);
    if round.jitter == 0.0 {
        let late = arrivals.late();
        let of = |per_mille: usize| late[(late.len() * per_mille / 1000).min(late.len() - 1)];
        for (what, per_mille) in [("half", 500), ("99 of 100", 990), ("999 of 1,000", 999), ("all", 1000)] {
            report(&format!("connections off their beat, {what}: at most"), of(per_mille), "ms", None);
        }
    }
    report(
        "CPU, one core is 1, a scrape every 15 s included",
        (cpu_seconds(pid) - cpu) / seconds,
        "cores",
        Some(1.0),
    );
    report("resident memory, between two scrapes", status(pid, "VmRSS:"), "MiB", None);
    report("probes a second", (end.count - begin.count) / seconds, "1/s", None);
    let late = |from: &Delays, to: &Delays, which: fn(&Delays) -> f64| {
        (to.count - which(to)) - (from.count - which(from))
    };
    // The bucket next to the jitter, which is 500 ms.
    let beyond = late(&begin, &end, |delays| delays.within_250_ms);
    report("probes more than 250 ms late, jitter taken off", beyond, "", Some(0.0));
    report(
        "probes more than 5 ms late, jitter taken off",
        late(&begin, &end, |delays| delays.within_5_ms),
        "",
        None,
    );
    report("targets known", f64::from(u32::try_from(text.matches("\nprobe_up{").count()).unwrap()), "", None);
    report("size of a scrape", f64::from(u32::try_from(text.len()).unwrap()) / 1_048_576.0, "MiB", None);
    report("a scrape, the middle one", scrapes[scrapes.len() / 2] * 1e3, "ms", None);
    report("a scrape, the longest", scrapes[scrapes.len() - 1] * 1e3, "ms", None);
    report("resident memory, the most there was", status(pid, "VmHWM:"), "MiB", None);
    let most = if round.holes == 0 { 16.0 } else { 16.0 + 1.2 * 5.0 / INTERVAL.as_secs_f64() * 1000.0 };
    report("descriptors more than at the beginning", self::descriptors(pid) - descriptors, "", Some(most));
}

fn scrape(namespace: &Namespace, address: SocketAddr) -> (f64, String) {
    namespace.inside(|| {
        let began = Instant::now();
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        (began.elapsed().as_secs_f64(), text)
    })
}

/// Probes that have begun, and how many of them were no later than that.
struct Delays {
    count: f64,
    within_5_ms: f64,
    within_250_ms: f64,
}

fn delays(text: &str) -> Delays {
    let of = |series: &str| support::sample(text, series).unwrap_or_default();
    Delays {
        count: of("connscope_probes_delay_seconds_count"),
        within_5_ms: of("connscope_probes_delay_seconds_bucket{le=\"0.005\"}"),
        within_250_ms: of("connscope_probes_delay_seconds_bucket{le=\"0.25\"}"),
    }
}

/// CPU time of a process, its threads included.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0 // USER_HZ is 100 on every Linux that user space sees
}

/// A size that the kernel tells of a process, in MiB.
fn status(pid: u32, key: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn descriptors(pid: u32) -> f64 {
    f64::from(u32::try_from(std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()).unwrap())
}
