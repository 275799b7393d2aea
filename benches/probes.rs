//! Ten thousand targets at ten seconds, a thousand of them black holes: what that costs, and whether anybody is late.
//!
//! Starts the agent as it is built for release in a network namespace of its own, where a thread of this process accepts
//! whatever is connected to, and a packet filter drops the rest. It prints what was measured beside what is aimed at, and
//! never fails because of a number. `CONNSCOPE_BENCH_SECONDS` sets how long each round is watched; needs root.

#![allow(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what the machine does not give ends a benchmark"
)]

#[path = "../tests/support.rs"]
#[allow(dead_code, reason = "the tests use the rest of it")]
mod support;

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
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
    std::thread::spawn(move || listener.incoming().for_each(drop));
    for (holes, phases) in [(0, true), (BLACK_HOLES, true), (BLACK_HOLES, false)] {
        let with = if phases { "with" } else { "without" };
        println!(
            "\n{TARGETS} targets every {} s, {holes} of them black holes, {with} phases",
            INTERVAL.as_secs()
        );
        watch(&namespace, holes, phases, watched);
    }
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let verdict = if measured <= goal { "reached" } else { "MISSED" };
        format!("   goal: {goal} {unit} at most, {verdict}")
    });
    println!("  {what:52} {measured:10.3} {unit:5}{goal}");
}

fn configuration(holes: usize, phases: bool) -> String {
    let mut text = format!(
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes:\n    interval: {}s\n    \
         timeout: 5s\n    phases: {phases}\n    targets:\n",
        INTERVAL.as_secs()
    );
    for number in 0..TARGETS {
        let (port, high, low) =
            (if number < holes { 1001 } else { 1000 }, number / 250 + 1, number % 250 + 1);
        writeln!(text, "    - {{name: t{number}, host: 127.1.{high}.{low}, port: {port}}}").unwrap();
    }
    text
}

fn watch(namespace: &Namespace, holes: usize, phases: bool, watched: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("connscope.yaml");
    std::fs::write(&path, configuration(holes, phases)).unwrap();
    let mut agent = namespace.inside(|| Agent::start(command(&["--config", path.to_str().unwrap()])));
    let address = agent.address();
    // The first round, in which nothing is known of anybody, and what is taken once.
    std::thread::sleep(INTERVAL + Duration::from_secs(6));
    let pid = agent.pid();
    let (cpu, descriptors) = (cpu_seconds(pid), descriptors(pid));
    let begin = delays(&scrape(namespace, address).1);
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
    report(
        "CPU, one core is 1, a scrape every 15 s included",
        (cpu_seconds(pid) - cpu) / seconds,
        "cores",
        Some(1.0),
    );
    report("resident memory", resident_mebibytes(pid), "MiB", None);
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
    let most = if holes == 0 { 16.0 } else { 16.0 + 1.2 * 5.0 / INTERVAL.as_secs_f64() * 1000.0 };
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

fn resident_mebibytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_ascii_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn descriptors(pid: u32) -> f64 {
    f64::from(u32::try_from(std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()).unwrap())
}
