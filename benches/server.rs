//! What a server's answers lose to the agent: nginx, asked by wrk, with a running agent and without, in turn. The agent has the
//! sources `sockets` with destroy events, `containers` with its BPF programs, and `network` with drops by reason, and is scraped
//! every two seconds. nginx is in the control group of a container; wrk, whose machine would be another, is in no container and in
//! a network namespace of its own, behind a pair of veth interfaces. The kernel makes destroy events of its sockets all the same.
//!
//! It needs root, `nginx` and `wrk`, and says which is missing: it installs nothing. It makes network namespaces and control
//! groups of its own. It prints what was measured, and never fails because of a number.
//! `CONNSCOPE_BENCH_SECONDS` is how long each run is (3), `CONNSCOPE_BENCH_PAIRS` how many there are each way (9).

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]

use agent::Agent;
use groups::{directory, remove_groups};
use std::error::Error;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "support/agent.rs"]
#[expect(dead_code, reason = "its memory and CPU time are other benchmarks'")]
mod agent;
#[path = "support/groups.rs"]
mod groups;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The argument of this program in a network namespace of its own.
const INSIDE: &str = "--inside";
const SERVER: &str = "198.51.100.1:8000";
const SCRAPES: Duration = Duration::from_secs(2);

const AGENT: &str = "resource: {cloud: {detect: 'off'}}
sources:
  sockets: {enabled: true, close_events: true}
  containers: {enabled: true}
  network: {enabled: true, drops: true}
";

fn main() -> Outcome<()> {
    if std::env::args().nth(1).as_deref() == Some(INSIDE) {
        let result = measure();
        remove_groups();
        return result;
    }
    let missing: Vec<&str> = ["nginx", "wrk"].into_iter().filter(|name| !is_installed(name)).collect();
    if !missing.is_empty() {
        println!("server: NOT MEASURED, without {} (Debian: nginx-light, wrk)", missing.join(" and "));
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        println!("server: NOT MEASURED, loading programs needs root");
        return Ok(());
    }
    let again = "ip link set lo up && exec \"$0\" \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", again]).arg(std::env::current_exe()?).arg(INSIDE);
    let status = command.status()?;
    status.success().then_some(()).ok_or_else(|| format!("unshare: {status}").into())
}

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// A command in the control group of a container.
fn in_container(program: &str) -> Outcome<Command> {
    let group = directory(1);
    std::fs::create_dir_all(&group)?;
    let mut command = Command::new("sh");
    let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    command.args(["-c", enter]).arg(group).arg(program).stdin(Stdio::null());
    Ok(command)
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts the server.
fn serve(folder: &Path) -> Outcome<Running> {
    let config = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            keepalive_requests 1000000000;
            server {{ listen {SERVER} backlog=1024; location / {{ return 200 hello; }} }}
        }}",
        folder.display()
    );
    std::fs::write(&config, text)?;
    let child = in_container("nginx")?.arg("-p").arg(folder).arg("-c").arg(config).spawn()?;
    let server = Running(child);
    let until = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(SERVER).is_err() {
        if Instant::now() > until {
            let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            return Err(format!("nginx does not listen: {log}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(server)
}

/// What wrk says: the 99th percentile of the time of a request in milliseconds, and requests a second.
#[derive(Debug, Clone, Copy)]
struct Load {
    p99: f64,
    rate: f64,
}

/// The network namespace of the client, held by a process.
struct Client(Running);

impl Client {
    fn start() -> Outcome<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo && exec sleep infinity"]);
        let mut holder = command.stdout(Stdio::piped()).spawn()?;
        let mut line = [0];
        holder.stdout.take().ok_or("no output")?.read_exact(&mut line)?;
        let client = Self(Running(holder));
        let made = "set -e
            ip link add server type veth peer name client netns \"$0\"
            ip addr add 198.51.100.1/24 dev server
            ip link set server up";
        let status = Command::new("sh").args(["-c", made, &client.0.0.id().to_string()]).status()?;
        let inside = "ip addr add 198.51.100.2/24 dev client && ip link set client up";
        let inside = client.command("sh").args(["-c", &format!("{inside} && {PORTS}")]).status()?;
        if status.success() && inside.success() {
            Ok(client)
        } else {
            Err("no network for the client".into())
        }
    }

    /// A command in the namespace.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.0.id())).arg(program).stdin(Stdio::null());
        command
    }
}

/// Connections one after the other use up the ports otherwise.
const PORTS: &str = "cd /proc/sys/net/ipv4 && echo 1024 65535 >ip_local_port_range && echo 1 >tcp_tw_reuse";

/// One run of wrk.
fn load(client: &Client, options: &[&str]) -> Outcome<Load> {
    let seconds = setting("CONNSCOPE_BENCH_SECONDS", 3);
    let mut wrk = client.command("wrk");
    wrk.args(["--latency", "-t1", &format!("-d{seconds}s")]).args(options);
    let output = wrk.arg(format!("http://{SERVER}/")).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |word: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(word));
        found.map(str::trim).ok_or_else(|| format!("wrk: {text}"))
    };
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(format!("wrk: {text}").into());
    }
    Ok(Load { p99: milliseconds(after("99%")?)?, rate: after("Requests/sec:")?.parse()? })
}

/// A time as wrk prints it.
fn milliseconds(text: &str) -> Outcome<f64> {
    let digits = text.trim_end_matches(|sign: char| sign.is_ascii_alphabetic());
    let number: f64 = digits.parse()?;
    match text.strip_prefix(digits) {
        Some("us") => Ok(number / 1e3),
        Some("ms") => Ok(number),
        Some("s") => Ok(number * 1e3),
        _ => Err(format!("not a time: {text}").into()),
    }
}

/// The same with a running agent, which is scraped meanwhile.
fn load_with_agent(client: &Client, config: &Path, options: &[&str]) -> Outcome<Load> {
    let agent = Agent::start(Some(config))?;
    let text = agent.scrape()?;
    for needed in ["connscope_sockets_tracked", "part=\"tcp\",via=\"bpf\"", "connscope_network_sampled_total"]
    {
        if !text.contains(needed) {
            println!("  NOT WHOLE: the agent has no {needed}");
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut next = Instant::now();
            while !over.load(Ordering::Relaxed) {
                if Instant::now() >= next {
                    next += SCRAPES;
                    let _late_or_not = agent.scrape();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let load = load(client, options);
        over.store(true, Ordering::Relaxed);
        load
    })
}

fn measure() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("agent.yaml");
    std::fs::write(&config, AGENT)?;
    let client = Client::start()?;
    let server = serve(folder.path())?;
    let pause = folder.path().join("pause.lua");
    std::fs::write(&pause, PAUSE)?;
    let pause = pause.to_str().ok_or("the folder's name is not text")?;
    for (what, options) in [
        ("32 connections that stay, as fast as it answers", &["-c32"][..]),
        ("a connection for each request, 32 at a time, as fast as it answers", &["-c32", "-H", CLOSE]),
        (
            "a connection for each request, 4 at a time, 2 ms after the last",
            &["-c4", "-H", CLOSE, "-s", pause],
        ),
    ] {
        println!("\nnginx, one process, asked by wrk: {what}");
        load(&client, options)?;
        let (mut without, mut with, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..setting("CONNSCOPE_BENCH_PAIRS", 9) {
            without.push(load(&client, options)?);
            with.push(load_with_agent(&client, &config, options)?);
            again.push(load(&client, options)?);
        }
        print("p99", "ms", |load| load.p99, &without, &with, &again);
        print("requests a second", "/s", |load| load.rate, &without, &with, &again);
    }
    drop(server);
    Ok(())
}

const CLOSE: &str = "Connection: close";

/// What wrk runs where the server shall have time left: milliseconds that a connection waits before its request.
const PAUSE: &str = "function delay() return 2 end";

/// Prints the medians, and the ratio of what was measured one after the other.
fn print(what: &str, unit: &str, of: fn(&Load) -> f64, without: &[Load], with: &[Load], again: &[Load]) {
    let all = |loads: &[Load]| median(loads.iter().map(of).collect());
    let ratios = |loads: &[Load]| -> Vec<f64> {
        loads.iter().zip(without).map(|(load, without)| of(load) / of(without)).collect()
    };
    let (ratio, noise) = (ratios(with), ratios(again));
    println!("  {what:22} without {:9.3} {unit}, with {:9.3} {unit}", all(without), all(with));
    let reached = is_noise(&ratio, &noise);
    println!("  {:22} ratio {} (of two without: {})", "", range(ratio), range(noise));
    println!("  {:22} goal: within the noise, {}", "", if reached { "reached" } else { "MISSED" });
}

/// Whether the median ratio is among those of two runs without an agent.
fn is_noise(ratio: &[f64], noise: &[f64]) -> bool {
    let middle = median(ratio.to_vec());
    noise.iter().any(|one| *one <= middle) && noise.iter().any(|one| *one >= middle)
}

/// The median, and the least and the most.
fn range(numbers: Vec<f64>) -> String {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(0.0, f64::max);
    format!("{:.3}, {least:.3} to {most:.3}", median(numbers))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
