//! What it costs to read the entries of a large connection tracking table: time beside a bare receive loop, memory, and the
//! part of the kernel; and what it costs to count new connections by the kernel's events.
//!
//! It works in a network namespace of its own, where it makes 1,000,000 entries (`CONNSCOPE_BENCH_ENTRIES` sets another number)
//! with datagrams that are dropped on arrival; for this it raises `nf_conntrack_max`, which is put back. It needs to be root. It
//! prints what was measured beside what is aimed at, and never fails because of a number.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]

use connscope::source::conntrack::entries::config::{Entries, TopBy};
use connscope::source::conntrack::entries::dump::{self, Options};
use connscope::source::conntrack::entries::message::Filter;
use connscope::stop::Stop;
use connscope::sys::netlink::NetlinkSocket;
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

mod events;

type Outcome<T> = Result<T, Box<dyn Error>>;

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const NLMSG_DONE: u16 = 3;
const NLMSG_ERROR: u16 = 2;
/// Ports of one destination that datagrams are sent to.
const PORTS: u16 = 50_000;
/// Connections a second that events are counted of, at most, and for how long.
const FASTEST: u32 = 100_000;
const SECONDS: u32 = 3;
/// Rounds, of which the fastest counts.
const ROUNDS: usize = 5;

/// What is aimed at: times the bare receive loop, and more memory than before.
const GOAL_RATIO: f64 = 1.5;
const GOAL_MORE_MIB: f64 = 16.0;

fn main() -> Outcome<()> {
    let wanted = std::env::var("CONNSCOPE_BENCH_ENTRIES").ok().and_then(|value| value.parse().ok());
    let wanted: u32 = wanted.unwrap_or(1_000_000);
    let Ok(before) = std::fs::read_to_string(MAX) else {
        println!("conntrack: NOT MEASURED, there is no {MAX}");
        return Ok(());
    };
    let limit = before.trim().parse::<u32>()?.max(wanted + 65_536).max(FASTEST * SECONDS + 65_536);
    if let Err(why) = std::fs::write(MAX, limit.to_string()) {
        println!("conntrack: NOT MEASURED, raising nf_conntrack_max needs root: {why}");
        return Ok(());
    }
    // On a thread of its own, which takes the namespace and its entries with it.
    let measured = std::thread::spawn(move || measure(wanted).map_err(|error| error.to_string())).join();
    let measured = measured.map_err(|_| "the thread has panicked".to_owned()).flatten();
    let counted = measured.and_then(|()| events::measure().map_err(|error| error.to_string()));
    std::fs::write(MAX, before.trim())?;
    Ok(counted?)
}

fn measure(wanted: u32) -> Outcome<()> {
    enter_own_namespace()?;
    let nothing = resident_mib("VmRSS")?;
    let settings = Entries {
        enabled: true,
        top_by: vec![TopBy::Source, TopBy::Destination, TopBy::Port, TopBy::Pair],
        ..Entries::default()
    };
    let plain = Entries { top_by: Vec::new(), ..settings.clone() };
    dumped(&plain)?;
    let small = resident_mib("VmRSS")?;
    fill(wanted)?;
    let mut socket = NetlinkSocket::open(rustix::net::netlink::NETFILTER, Duration::from_secs(5))?;
    let mut fastest = [f64::MAX; 3];
    let mut kernel = f64::MAX;
    let mut entries = 0;
    std::fs::write("/proc/self/clear_refs", "5")?;
    for _ in 0..ROUNDS {
        let (started, cpu) = (Instant::now(), dump::cpu_time());
        entries = receive(&mut socket)?;
        fastest[0] = fastest[0].min(started.elapsed().as_secs_f64());
        kernel = kernel.min((dump::cpu_time().saturating_sub(cpu)).as_secs_f64());
        for (place, settings) in [(1, &plain), (2, &settings)] {
            let started = Instant::now();
            dumped(settings)?;
            if let Some(fastest) = fastest.get_mut(place) {
                *fastest = fastest.min(started.elapsed().as_secs_f64());
            }
        }
    }
    let peak = resident_mib("VmHWM")?;
    let [bare, plain_took, all_took] = fastest;
    println!("{entries} entries, of {wanted} wanted");
    report("bare receive loop", bare * 1e3, "ms", None);
    report(
        "  CPU time of it, nearly all of the kernel, for an entry",
        kernel * 1e9 / f64::from(entries.max(1)),
        "ns",
        None,
    );
    report("a dump", plain_took * 1e3, "ms", None);
    report("  times the bare receive loop", plain_took / bare, "", Some(GOAL_RATIO));
    report("a dump with every ranking", all_took * 1e3, "ms", None);
    report("  times the bare receive loop", all_took / bare, "", Some(GOAL_RATIO));
    report(
        "resident memory at most, more than with an empty table",
        peak - small,
        "MiB",
        Some(GOAL_MORE_MIB),
    );
    report("  more than without a dump", peak - nothing, "MiB", None);
    let other = std::thread::spawn(|| {
        let empty = enter_own_namespace().and_then(|()| {
            let started = Instant::now();
            dumped(&Entries::default())?;
            Ok(started.elapsed())
        });
        empty.map_err(|error| error.to_string())
    });
    let other = other.join().map_err(|_| "the thread has panicked")??;
    report(
        "a dump of another, empty namespace, which shares the table",
        other.as_secs_f64() * 1e3,
        "ms",
        None,
    );
    others(&plain)
}

/// What new connections take while nobody dumps, and while somebody does without a pause.
fn others(settings: &Entries) -> Outcome<()> {
    let sender = UdpSocket::bind("127.0.0.1:0")?;
    let mut port = 0;
    let mut connections = || -> Outcome<Vec<Duration>> {
        let mut times = Vec::new();
        for _ in 0..20_000 {
            port += 1;
            let started = Instant::now();
            sender.send_to(b"x", (Ipv4Addr::new(127, 99, 0, 1), port))?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    };
    let print = |what: &str, times: &[Duration]| {
        for (name, part) in [("median", 500), ("99 %", 990), ("99.9 %", 999)] {
            let time = times.get(times.len() * part / 1000).copied().unwrap_or_default();
            report(&format!("new connection {what}, {name}"), time.as_secs_f64() * 1e6, "µs", None);
        }
    };
    print("without a dump", &connections()?);
    let over = std::sync::atomic::AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let dumping = scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                dumped(settings).map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        let times = connections();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        dumping.join().map_err(|_| "the thread has panicked")??;
        times
    })?;
    print("during dumps", &times);
    Ok(())
}

/// One dump, without a budget.
fn dumped(settings: &Entries) -> Outcome<u64> {
    let stop = Stop::new()?;
    let found = dump::dump(&Options { settings, budget: Duration::from_mins(10), stop: &stop })?;
    Ok(found.tally.entries)
}

/// The least that a dump can cost: the same request, and a walk over the headers of the answer.
fn receive(socket: &mut NetlinkSocket) -> Outcome<u32> {
    socket.send(&Filter::default().request(1))?;
    let mut entries = 0;
    loop {
        let mut datagram = socket.receive()?;
        while let Some(([l0, l1, l2, l3, k0, k1], _)) = datagram.split_first_chunk() {
            match u16::from_ne_bytes([*k0, *k1]) {
                NLMSG_DONE => return Ok(entries),
                NLMSG_ERROR => return Err("ctnetlink refused".into()),
                _ => entries += 1,
            }
            let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3]))?.max(4);
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Makes entries: a datagram for each, which is dropped after it was tracked.
fn fill(wanted: u32) -> Outcome<()> {
    let socket = track()?;
    for number in 0..wanted {
        socket.send_to(b"x", destination(number)?)?;
    }
    Ok(())
}

/// The destination of the datagram that makes this entry.
fn destination(number: u32) -> Outcome<(Ipv4Addr, u16)> {
    let [_, _, high, low] = (number / u32::from(PORTS)).to_be_bytes();
    let port = 1 + u16::try_from(number % u32::from(PORTS))?;
    Ok((Ipv4Addr::new(127, 1, high, low.saturating_add(1)), port))
}

/// Makes the namespace track datagrams, and drop them on arrival; a socket to send them from.
fn track() -> Outcome<UdpSocket> {
    std::fs::write("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "3600")?;
    let rules = "add table ip t; add chain ip t out { type filter hook output priority 0; }; \
                 add rule ip t out ct state new accept; add chain ip t in { type filter hook prerouting priority 0; }; \
                 add rule ip t in drop";
    if !Command::new("nft").arg(rules).status()?.success() {
        return Err("nft failed".into());
    }
    Ok(UdpSocket::bind("127.0.0.1:0")?)
}

#[expect(unsafe_code, reason = "a benchmark makes the namespace that it works in")]
fn enter_own_namespace() -> Outcome<()> {
    // SAFETY: unshare takes no pointers; with CLONE_NEWNET it changes the calling thread and nothing else.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err("ip link set lo up failed".into()) }
}

/// A size of this process in `/proc/self/status`.
fn resident_mib(what: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).ok_or("no such size")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

fn report(what: &str, measured: f64, unit: &str, most: Option<f64>) {
    let goal = most.map_or_else(String::new, |most| {
        let reached = if measured <= most { "reached" } else { "MISSED" };
        format!("   goal: at most {most} {unit}, {reached}")
    });
    println!("  {what:62} {measured:9.3} {unit:4}{goal}");
}
