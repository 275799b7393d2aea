//! What the running agent costs: memory, CPU time a pushed cycle, threads, and the size of the program.
//!
//! Starts the agent as it is built for release, pushing once a second to a receiver in this process, so that the receiver's
//! time is not the agent's: with conntrack and the sockets, which the goals are for, and with the default configuration. It
//! prints what was measured beside what is aimed at, and never fails because of a number. `CONNSCOPE_BENCH_SECONDS` sets how
//! long each is watched.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::{Request, Response, Status};

const AGENT: &str = env!("CARGO_BIN_EXE_connscope");

/// What is aimed at.
const GOAL_RESIDENT_MIB: f64 = 9.0;
const GOAL_BINARY_MIB: f64 = 9.0;
const GOAL_CYCLE_MS: f64 = 0.8;

/// Scrapes after which the memory is read again.
const SCRAPES: usize = 100;

/// Cycles before the watching begins: connecting, and memory taken once.
const WARM_UP: Duration = Duration::from_secs(3);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let seconds = std::env::var("CONNSCOPE_BENCH_SECONDS").ok().and_then(|value| value.parse().ok());
    let watched = Duration::from_secs(seconds.unwrap_or(60));
    let size = mebibytes(std::fs::metadata(AGENT)?.len());
    println!("footprint of {AGENT}");
    report("size of the program", size, "MiB", Some(GOAL_BINARY_MIB));
    let receiver = Receiver::start()?;
    let without_network =
        std::env::temp_dir().join(format!("connscope-footprint-{}.yaml", std::process::id()));
    std::fs::write(&without_network, "sources: {network: {enabled: false}}\n")?;
    let conntrack_and_sockets: &[&str] =
        &["--config", without_network.to_str().ok_or("the path is no UTF-8")?];
    for (what, via, arguments) in [
        ("conntrack and sockets", "netlink", conntrack_and_sockets),
        ("conntrack and sockets", "command", conntrack_and_sockets),
        ("the default configuration", "netlink", &[]),
    ] {
        if works(via)? {
            println!("\n{what}, via {via}, one push a second, watched for {} s", watched.as_secs());
            watch(via, arguments, &receiver, watched)?;
        } else {
            println!("\n{what}, via {via}: NOT MEASURED, it does not work here (see `connscope check`)");
        }
    }
    std::fs::remove_file(without_network)?;
    Ok(())
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let verdict = if measured < goal { "reached" } else { "MISSED" };
        format!("   goal: under {goal} {unit}, {verdict}")
    });
    println!("  {what:44} {measured:9.3} {unit:4}{goal}");
}

#[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// Whether the agent itself says that a way works.
fn works(via: &str) -> Outcome<bool> {
    let output = Command::new(AGENT).args(["check", "--format", "json"]).output()?;
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let checks = checks.as_array().cloned().unwrap_or_default();
    Ok(checks.iter().any(|check| check["via"] == via && check["status"] == "works"))
}

fn watch(via: &str, arguments: &[&str], receiver: &Receiver, watched: Duration) -> Outcome<()> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut agent = Agent::start(via, arguments, receiver.port, port)?;
    std::thread::sleep(WARM_UP);
    let before = agent.used()?;
    let pushed_before = receiver.pushed.load(Ordering::Relaxed);
    std::thread::sleep(watched);
    let after = agent.used()?;
    let pushed = receiver.pushed.load(Ordering::Relaxed) - pushed_before;
    if pushed == 0 {
        return Err("nothing was pushed".into());
    }
    let per_cycle = |milliseconds: f64| milliseconds / f64::from(u32::try_from(pushed).unwrap_or(u32::MAX));
    println!("  {pushed} cycles pushed");
    report("CPU time of the agent a cycle", per_cycle(after.since(&before)), "ms", Some(GOAL_CYCLE_MS));
    if via == "command" {
        let children = after.children_ms - before.children_ms;
        report("CPU time of its child processes a cycle", per_cycle(children), "ms", None);
    }
    report("resident memory", agent.memory("VmRSS")?, "MiB", Some(GOAL_RESIDENT_MIB));
    report("  of it not shared with the file", agent.memory("RssAnon")?, "MiB", None);
    for _ in 0..SCRAPES {
        scrape(port)?;
    }
    report("resident memory, after 100 scrapes", agent.memory("VmRSS")?, "MiB", Some(GOAL_RESIDENT_MIB));
    report("  of it not shared with the file", agent.memory("RssAnon")?, "MiB", None);
    report("highest resident memory", agent.memory("VmHWM")?, "MiB", None);
    println!("  {:44} {:>9}", "threads", agent.status("Threads")?);
    agent.end()
}

fn scrape(port: u16) -> Outcome<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) }
}

/// The agent at work.
struct Agent {
    child: Child,
}

/// CPU time, in milliseconds.
struct Used {
    /// Of each of the agent's threads.
    threads: BTreeMap<String, f64>,
    /// Of the child processes that have ended.
    children_ms: f64,
}

impl Used {
    /// What the threads used that were there before. One that has ended meanwhile had ended its work long before.
    fn since(&self, before: &Self) -> f64 {
        let used = |(thread, now): (&String, &f64)| now - before.threads.get(thread).unwrap_or(&0.0);
        self.threads.iter().map(used).sum()
    }
}

impl Agent {
    fn start(via: &str, arguments: &[&str], receiver: u16, port: u16) -> Outcome<Self> {
        let mut command = Command::new(AGENT);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(["run", "--interval", "1s", "--log-level", "warn", "--conntrack-source", via])
            .args(["--otlp-endpoint", &format!("http://127.0.0.1:{receiver}")])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { child })
    }

    fn read(&self, file: &str) -> Outcome<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, key: &str) -> Outcome<String> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Ok(line.ok_or("no such line in status")?.trim().to_owned())
    }

    fn memory(&self, key: &str) -> Outcome<f64> {
        let kibibytes: u64 = self.status(key)?.trim_end_matches(" kB").parse()?;
        Ok(mebibytes(kibibytes * 1024))
    }

    /// `schedstat` counts the time of a thread in nanoseconds; `stat` would count in hundredths of a second, which is
    /// more than all cycles of a run take. Children are only in `stat`.
    fn used(&self) -> Outcome<Used> {
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?;
            let schedstat = std::fs::read_to_string(task.path().join("schedstat"))?;
            let nanoseconds: f64 = schedstat.split_ascii_whitespace().next().unwrap_or("0").parse()?;
            threads.insert(task.file_name().to_string_lossy().into_owned(), nanoseconds / 1e6);
        }
        let stat = self.read("stat")?;
        let (_, rest) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let ticks: f64 =
            fields.get(13..15).ok_or("stat is short")?.iter().flat_map(|field| field.parse::<f64>()).sum();
        let hertz = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
        Ok(Used { threads, children_ms: ticks / hertz * 1e3 })
    }

    fn end(&mut self) -> Outcome<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no such process")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the agent ended with {status}").into()) }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After `end` there is nothing left to kill.
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// An OTLP receiver that counts.
struct Receiver {
    port: u16,
    pushed: Arc<AtomicU64>,
    _runtime: tokio::runtime::Runtime,
}

struct Counting(Arc<AtomicU64>);

#[tonic::async_trait]
impl MetricsService for Counting {
    async fn export(
        &self,
        _request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Receiver {
    fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let pushed = Arc::new(AtomicU64::new(0));
        let service = MetricsServiceServer::new(Counting(Arc::clone(&pushed)));
        let inside = runtime.enter();
        let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse()?)?;
        drop(inside);
        let port = incoming.local_addr()?.port();
        runtime.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(Self { port, pushed, _runtime: runtime })
    }
}
