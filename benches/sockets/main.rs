//! What the sockets cost: a cycle of the source with 1,000, 10,000 and 50,000 real sockets beside a bare receive loop, `ss`
//! and the tool that it replaces; memory; a million sockets that are made up; and the end of connections.
//!
//! It works in a network namespace of its own, for which it needs to be root. It prints what was measured beside what is
//! aimed at, and never fails because of a number. `CONNSCOPE_BENCH_SECONDS` sets how long the cycles of each size are
//! repeated: 3 if it is not set. pip installs pyroute2 into a folder that is removed.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]

use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::sockets::config::{GroupBy, Sockets as Settings};
use connscope::source::sockets::{Sockets, diag, sample::Sample};
use connscope::stop::Stop;
use crowd::Crowd;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

#[expect(dead_code, reason = "the logs measure CPU time, too")]
#[path = "../support/agent.rs"]
mod agent;
mod bare;
mod closing;
mod crowd;
mod path;
mod simulated;
mod tools;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Sockets, both ends counted.
const SIZES: [usize; 3] = [1_000, 10_000, 50_000];
/// Scrapes before memory is measured.
const SCRAPES: usize = 5;
/// Sockets that the old tool is measured with.
const OLD_SIZE: usize = 10_000;

/// What is aimed at: times the bare receive loop, times faster than the old tool, more memory than idle.
const GOAL_RATIO: f64 = 2.0;
const GOAL_OLD: f64 = 100.0;
const GOAL_MORE_MIB: f64 = 20.0;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(crowd::HOLD) {
        return crowd::hold(arguments.next().ok_or("which child?")?.parse()?);
    }
    let seconds = std::env::var("CONNSCOPE_BENCH_SECONDS").ok().and_then(|value| value.parse().ok());
    let watched = Duration::from_secs(seconds.unwrap_or(3));
    // The network of this namespace is used while there is one.
    let old_tool = tools::OldTool::install();
    if let Err(why) = crowd::enter_own_namespace() {
        println!("sockets: NOT MEASURED, a network namespace of its own needs root: {why}");
        return Ok(());
    }
    println!("1,000,000 sockets that are made up");
    simulated::measure()?;
    let agent = agent::Agent::start(None)?;
    let idle = resident_mib(&agent)?;
    let mut crowd = Crowd::default();
    for size in SIZES {
        println!("\n{size} sockets");
        if let Err(why) = crowd.grow(size) {
            println!("  NOT MEASURED: {why}");
            break;
        }
        let cycle = cycles(&mut crowd, size, watched)?;
        with_processes()?;
        let ss = tools::ss()?;
        println!("  {:56} {:9.3} ms", "ss -tin", milliseconds(ss));
        if size == OLD_SIZE {
            match old_tool.as_ref().map(tools::OldTool::run) {
                Ok(Ok(took)) => {
                    println!("  {:56} {:9.3} ms", "ss2 --tcp --process (pyroute2)", milliseconds(took));
                    let faster = took.as_secs_f64() / cycle.as_secs_f64();
                    report("cycles in the time of it", faster, "", Some(("at least", GOAL_OLD)));
                }
                Ok(Err(why)) => println!("  ss2 of pyroute2: NOT MEASURED, {why}"),
                Err(why) => println!("  ss2 of pyroute2: NOT MEASURED, it could not be installed: {why}"),
            }
        }
        let now = resident_mib(&agent)?;
        report("resident memory of the running agent", now, "MiB", None);
        report("  more than without sockets", now - idle, "MiB", Some(("under", GOAL_MORE_MIB)));
    }
    drop(agent);
    println!("\nthe end of connections");
    closing::measure(&mut crowd)
}

/// Resident memory of the agent after some scrapes, so that what is allocated once has been.
fn resident_mib(agent: &agent::Agent) -> Outcome<f64> {
    for _ in 0..SCRAPES {
        if !agent.scrape()?.contains("connscope_sockets_tracked") {
            return Err("a scrape without the sockets".into());
        }
    }
    Ok(agent.resident()?.0)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<(&str, f64)>) {
    let goal = goal.map_or_else(String::new, |(which, goal)| {
        let reached = if which == "under" { measured < goal } else { measured >= goal };
        format!("   goal: {which} {goal} {unit}, {}", if reached { "reached" } else { "MISSED" })
    });
    println!("  {what:56} {measured:9.3} {unit:4}{goal}");
}

/// How long something took, each time.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0.push(started.elapsed());
        result
    }

    fn best(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn print(&self, what: &str, sockets: usize) {
        let each = self.best().as_secs_f64() * 1e9 / f64::from(u32::try_from(sockets).unwrap_or(u32::MAX));
        println!(
            "  {what:56} {:9.3} ms best {:9.3} ms median {each:7.0} ns a socket",
            milliseconds(self.best()),
            milliseconds(self.median())
        );
    }
}

/// The cycle and the bare loop in turns, so that both have the machine as it is at that moment. The median cycle.
fn cycles(crowd: &mut Crowd, size: usize, watched: Duration) -> Outcome<Duration> {
    let mut bare = bare::Loop::open()?;
    let settings = Settings::default();
    let stop = Stop::new()?;
    let mut source = Sockets::new(&settings, &stop)?;
    let mut read = || {
        let mut readings = Readings::default();
        source.read(&mut readings).map(|()| readings)
    };
    let first = read()?;
    let sockets = bare.run()?;
    let mut kept = Vec::new();
    bare.run_keeping(&mut |datagram| kept.push(datagram.to_vec()))?;
    println!("  {sockets} in the dump, {} readings", first.iter().count());
    let (mut loops, mut whole, mut decode) = (Times::default(), Times::default(), Times::default());
    let (mut busy_loops, mut busy) = (Times::default(), Times::default());
    let until = Instant::now() + watched;
    while Instant::now() < until || whole.0.len() < 5 {
        loops.take(|| bare.run())?;
        whole.take(&mut read)?;
        decode.take(|| decode_all(&kept));
    }
    // Who has just sent is elsewhere in the caches, for the kernel too.
    for _ in 0..5 {
        crowd.talk()?;
        busy_loops.take(|| bare.run())?;
        crowd.talk()?;
        busy.take(&mut read)?;
    }
    loops.print("bare receive loop", size);
    whole.print("cycle of the source, connections idle", size);
    busy_loops.print("bare receive loop, all have sent since", size);
    busy.print("cycle of the source, all have sent since", size);
    decode.print("of it decoding", size);
    let goal = Some(("under", GOAL_RATIO));
    let of = |times: Duration, by: Duration| times.as_secs_f64() / by.as_secs_f64();
    report("cycle / loop, best of each", of(whole.best(), loops.best()), "", goal);
    report("cycle / loop, medians", of(whole.median(), loops.median()), "", goal);
    report("cycle / loop, all have sent, medians", of(busy.median(), busy_loops.median()), "", goal);
    path::measure(&kept, whole.median())?;
    stop.kill();
    Ok(whole.median())
}

/// The sequence number of a message: that of the request it answers.
fn sequence(datagram: &[u8]) -> u32 {
    datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// Reads everything that the source uses of what the kernel sent.
fn decode_all(datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        let progress = diag::parse(datagram, sequence(datagram), |record| {
            black_box(record.tcp.map(|tcp| Sample::of(tcp, record.state)));
        });
        black_box(progress.is_ok());
    }
}

/// The same with the process of each: the cycle that has to look for all of them, and those that know them.
fn with_processes() -> Outcome<()> {
    let settings = Settings {
        group_by: vec![GroupBy::Direction, GroupBy::ServicePort, GroupBy::Process],
        process_budget: Duration::from_secs(10),
        ..Settings::default()
    };
    let stop = Stop::new()?;
    let mut source = Sockets::new(&settings, &stop)?;
    let mut read = || {
        let mut readings = Readings::default();
        source.read(&mut readings)
    };
    let (mut first, mut later) = (Times::default(), Times::default());
    first.take(&mut read)?;
    for _ in 0..5 {
        later.take(&mut read)?;
    }
    println!("  {:56} {:9.3} ms", "with processes, the first cycle", milliseconds(first.median()));
    println!("  {:56} {:9.3} ms median", "with processes, later cycles", milliseconds(later.median()));
    // A budget that is not enough for all: they wait for their processes over several cycles.
    let settings = Settings { process_budget: Duration::from_millis(1), ..settings };
    let mut source = Sockets::new(&settings, &stop)?;
    let mut waiting = Times::default();
    for _ in 0..3 {
        waiting.take(|| source.read(&mut Readings::default()))?;
    }
    let longest = waiting.0.iter().max().copied().unwrap_or_default();
    println!(
        "  {:56} {:9.3} ms",
        "with processes, 1 ms to look for them, longest cycle",
        milliseconds(longest)
    );
    stop.kill();
    Ok(())
}
