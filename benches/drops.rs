//! What counting dropped packets costs: the programs for a packet that is dropped, and a bulk transfer of which nothing is.
//!
//! It loads the programs, for which it needs to be root, in a network namespace of its own. It prints what was measured beside what is
//! aimed at, and never fails because of a number.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]
#![expect(clippy::cast_precision_loss, reason = "what is printed is rounded")]

use connscope::host::ephemeral::EphemeralPorts;
use connscope::host::netns::{Finder, FoundNamespaces};
use connscope::source::network::drops::kernel::{Kernel, Limits};
use connscope::source::network::drops::names::Names;
use connscope::source::network::drops::ports::Ports;
use connscope::source::network::drops::record::Kind;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

#[path = "support/programs.rs"]
mod programs;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The argument of this program in a network namespace of its own.
const INSIDE: &str = "--inside";
/// Datagrams to a socket whose buffer is full.
const DATAGRAMS: u32 = 100_000;
/// Bytes of a bulk transfer, and how often it is made each way.
const BYTES: usize = 2 << 30;
const PAIRS: usize = 9;
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// All are looked at.
const ALL: Limits = Limits { window: u32::MAX, ports: 3072 };

fn main() -> Outcome<()> {
    if std::env::args().nth(1).as_deref() == Some(INSIDE) {
        return dropped().and_then(|()| transfer());
    }
    if !rustix::process::geteuid().is_root() {
        println!("drops: NOT MEASURED, loading programs needs root");
        return Ok(());
    }
    let again = "ip link set lo up && exec \"$0\" \"$1\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "sh", "-c", again]).arg(std::env::current_exe()?).arg(INSIDE);
    let status = command.status()?;
    status.success().then_some(()).ok_or_else(|| format!("unshare: {status}").into())
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let reached = if measured <= goal { "reached" } else { "MISSED" };
        format!("   goal: at most {goal} {unit}, {reached}")
    });
    println!("  {what:64} {measured:10.3} {unit:4}{goal}");
}

fn load(limits: Limits) -> Outcome<Kernel> {
    let mut kernel = Kernel::load(limits)?;
    kernel.name_ports(Ports::new(EphemeralPorts::default(), []));
    Ok(kernel)
}

/// Runs something while the kernel measures its programs; their time and runs.
fn measured<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64, u64)> {
    let before = std::fs::read_to_string(STATISTICS)?;
    std::fs::write(STATISTICS, "1")?;
    let done = work();
    let (time, runs) = programs::program_time();
    std::fs::write(STATISTICS, before.trim())?;
    Ok((done?, time, runs))
}

/// Sends to a socket that nobody reads; what a datagram took, nanoseconds.
fn send(to: &UdpSocket) -> Outcome<f64> {
    let (socket, to) = (UdpSocket::bind("127.0.0.1:0")?, to.local_addr()?);
    let begun = Instant::now();
    for _ in 0..DATAGRAMS {
        socket.send_to(&[0; 64], to)?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / f64::from(DATAGRAMS))
}

/// A packet that is dropped.
fn dropped() -> Outcome<()> {
    names()?;
    println!("datagrams to a socket whose buffer is full");
    let full = UdpSocket::bind("127.0.0.1:5555")?;
    set_socket_recv_buffer_size(&full, 1)?;
    let (mut without, mut with, mut ran) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        without.push(send(&full)?);
        let kernel = load(ALL)?;
        with.push(send(&full)?);
        let (_, time, runs) = measured(|| send(&full))?;
        ran.push(time as f64 / runs.max(1) as f64);
        drop(kernel);
    }
    report("the program, a dropped packet", median(ran), "ns", Some(200.0));
    report("a datagram without", median(without), "ns", None);
    report("a datagram with", median(with), "ns", None);
    let kernel = load(Limits { window: 64, ..ALL })?;
    send(&full)?;
    let (_, time, runs) = measured(|| send(&full))?;
    report("the program where one in 2^n is looked at", time as f64 / runs.max(1) as f64, "ns", None);
    println!("  {:64} {:10}", "of 200000, not looked at", kernel.skipped(Kind::Drop));
    let mut entries = 0;
    let begun = Instant::now();
    kernel.counts(|_, _| entries += 1)?;
    println!(
        "  {:64} {:10.3} ms   {entries} entries",
        "reading the map once",
        begun.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// The names of the network namespaces of the machine, which are not searched for in every cycle.
fn names() -> Outcome<()> {
    println!("the names of network namespaces");
    let mut finder = Finder::new(&["all".to_owned()]);
    let begun = Instant::now();
    let found = finder.find();
    let searched = begun.elapsed();
    let (mut names, inodes) = (Names::default(), found.namespaces.iter().map(|one| one.file.1));
    let inodes: Vec<u32> = inodes.map(u32::try_from).collect::<Result<_, _>>()?;
    let processes = std::fs::read_dir("/proc")?.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    });
    println!("  {:64} {:10}", "processes", processes.count());
    report("a search, when one is not known", searched.as_secs_f64() * 1e3, "ms", None);
    names.begin(None, inodes.iter().copied(), begun, || found);
    let again = Instant::now();
    names.begin(None, inodes.iter().copied(), begun, FoundNamespaces::default);
    report("a cycle in which all are known", again.elapsed().as_secs_f64() * 1e3, "ms", None);
    println!();
    Ok(())
}

/// Sends so many bytes over a connection; how long it took.
fn bulk(listener: &TcpListener) -> Outcome<Duration> {
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let begun = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 18];
        while receiver.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let part = vec![0; 1 << 18];
    for _ in 0..BYTES / part.len() {
        sender.write_all(&part)?;
    }
    drop(sender);
    reader.join().map_err(|_| "the reader panicked")?;
    Ok(begun.elapsed())
}

/// A transfer of which nothing is dropped.
fn transfer() -> Outcome<()> {
    println!("\na bulk transfer over loopback, with the programs and without in turn");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    bulk(&listener)?;
    let rate = |took: Duration| BYTES as f64 / took.as_secs_f64() / 1e9;
    let (mut without, mut with, mut again, mut more) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let first = rate(bulk(&listener)?);
        let kernel = load(ALL)?;
        let second = rate(bulk(&listener)?);
        drop(kernel);
        let third = rate(bulk(&listener)?);
        without.push(first);
        with.push(second);
        more.push((first / second - 1.0) * 100.0);
        again.push((first / third - 1.0) * 100.0);
    }
    report("without", median(without), "GB/s", None);
    report("with", median(with), "GB/s", None);
    report("slower, median of the pairs", median(more), "%", None);
    report("the same, of two without: noise", median(again), "%", None);
    let kernel = load(ALL)?;
    let (_, time, runs) = measured(|| bulk(&listener))?;
    println!(
        "  {:64} {runs:10}      {:.3} ms in all",
        "runs of the programs, a transfer of 2 GiB",
        time as f64 / 1e6
    );
    drop(kernel);
    Ok(())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}
