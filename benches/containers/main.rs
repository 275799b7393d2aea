//! What the connections of containers cost: the programs in the kernel, one cycle of the source, and memory on both sides.
//!
//! It loads the programs, for which it needs to be root, makes control groups of its own, and connects over loopback. It prints
//! what was measured beside what is aimed at, and never fails because of a number.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures, and starts what it measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]
#![expect(clippy::cast_precision_loss, reason = "what is printed is rounded")]

use child::Container;
use connscope::host::inventory::{Inventory, config};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::containers::Containers;
use connscope::source::containers::config::tcp::{FoldPorts, Public, Tcp};
use connscope::source::containers::config::{Containers as Settings, Oom};
use connscope::source::containers::kernel::{Kernel, Limits, ProgramSelection};
use connscope::stop::Stop;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[allow(dead_code, clippy::cast_possible_wrap, reason = "shared with the benchmark of the logs")]
#[path = "../support/allocations.rs"]
mod allocations;
mod child;
mod echoes;
#[path = "../support/groups.rs"]
mod groups;
#[expect(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "shared with the tests, which use all of it"
)]
#[path = "../../tests/support/maps.rs"]
mod maps;
#[path = "../support/programs.rs"]
mod programs;
mod resources;

type Outcome<T> = Result<T, Box<dyn Error>>;

const LIMITS: Limits =
    Limits { destinations: 8000, connections: 65_536, loopback: true, translate: false, netns: 0 };
const WANTED: ProgramSelection =
    ProgramSelection { tcp: Some(LIMITS), immediate_failures: false, delay: false, oom: false };
/// The argument of this program in a network namespace of its own.
const INSIDE: &str = "--inside";
const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(child::CHILD) => return child::run(&arguments.next().ok_or("where?")?),
        Some(INSIDE) => return measure(),
        _ => {}
    }
    if !rustix::process::geteuid().is_root() {
        println!("containers: NOT MEASURED, loading programs needs root");
        return Ok(());
    }
    // `-- echoes` and `-- resources` measure these alone.
    if std::env::args().any(|argument| argument == "echoes") {
        return echoes::run();
    }
    if std::env::args().any(|argument| argument == "resources") {
        return resources::run();
    }
    let again = "ip link set lo up && exec \"$0\" \"$1\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "sh", "-c", again]).arg(std::env::current_exe()?).arg(INSIDE);
    let status = command.status()?;
    status.success().then_some(()).ok_or_else(|| format!("unshare: {status}").into())
}

fn measure() -> Outcome<()> {
    let result = start()
        .and_then(|()| programs())
        .and_then(|()| cycle())
        .and_then(|()| delays())
        .and_then(|()| inventory())
        .and_then(|()| echoes::run())
        .and_then(|()| resources::run());
    groups::remove_groups();
    result
}

fn report(what: &str, measured: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let reached = if measured <= goal { "reached" } else { "MISSED" };
        format!("   goal: at most {goal} {unit}, {reached}")
    });
    println!("  {what:64} {measured:10.3} {unit:4}{goal}");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// A number of `/proc/self/status`, KiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// CPU time of this thread, milliseconds: beside other work the clock says more. `schedstat` has it as of the last tick.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    milliseconds(Duration::try_from(time).unwrap_or_default())
}

/// Loading, and the memory of the maps.
fn start() -> Outcome<()> {
    println!("start");
    let before = status("VmRSS");
    let ran = cpu();
    connscope::host::bpf::btf()?;
    report("types of the kernel alone, CPU time", cpu() - ran, "ms", None);
    let (begun, ran) = (Instant::now(), cpu());
    let (kernel, answers, ring) = Kernel::load(&WANTED)?;
    report("types, object and programs", milliseconds(begun.elapsed()), "ms", Some(200.0));
    report("  of it CPU time", cpu() - ran, "ms", None);
    report("resident memory at most", status("VmHWM") / KIB, "MiB", Some(48.0));
    report("resident memory more than before", (status("VmRSS") - before) / KIB, "MiB", Some(6.0));
    report("memory of the maps, idle", kernel.memory() as f64 / MIB, "MiB", Some(3.0));
    let maps = maps::all();
    // Nearly: what connects meanwhile needs room too.
    for (name, entries) in [
        ("destinations", 7900),
        ("connections", 65_000),
        ("groups", 4000),
        ("rest", 4000),
        ("listeners", 4000),
        ("direct", 4000),
        ("answers", 4000),
    ] {
        let map = maps::named(&maps, name);
        for number in 0..entries {
            // Other connections of the machine take the rest.
            if map.try_write(&map.key_of(number), &vec![0; map.value()]).is_err() {
                break;
            }
        }
    }
    report("memory of the maps, full", kernel.memory() as f64 / MIB, "MiB", Some(24.0));
    for map in maps::all() {
        let (name, _, memory) = map.memory();
        report(&format!("  of it {name}"), memory as f64 / MIB, "MiB", None);
    }
    drop((kernel, answers, ring));
    Ok(())
}

/// What the programs take, and what they make of many connections.
fn programs() -> Outcome<()> {
    println!("\nconnections over loopback, made and reset, both ends");
    let mut container = Container::start(1)?;
    container.order("many 20000")?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut ran = (0, 0);
    for _ in 0..5 {
        without.push(container.order("many 20000")?.as_nanos() as f64 / 20_000.0);
        let loaded = Kernel::load(&WANTED)?;
        let statistics = std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?;
        with.push(container.order("many 20000")?.as_nanos() as f64 / 20_000.0);
        std::fs::write("/proc/sys/kernel/bpf_stats_enabled", "1")?;
        let made = container.order("many 20000");
        std::fs::write("/proc/sys/kernel/bpf_stats_enabled", statistics.trim())?;
        made?;
        let (time, runs) = programs::program_time();
        ran = (ran.0 + time, ran.1 + runs);
        drop(loaded);
    }
    report("programs, a connection", ran.0 as f64 / 100_000.0 / 1e3, "µs", Some(2.0));
    println!("  {:64} {:10.3}", "runs of them, a connection", ran.1 as f64 / 100_000.0);
    let (without, with) = (median(without), median(with));
    report("a connection without", without / 1e3, "µs", None);
    report("a connection with", with / 1e3, "µs", None);
    report("more", (with / without - 1.0) * 100.0, "%", Some(10.0));
    let (kernel, _answers, _ring) = Kernel::load(&WANTED)?;
    let took = container.order("many 200000")?;
    let mut opened = 0;
    // All to one destination; others on the machine connect elsewhere.
    kernel.destinations(|_, totals| opened = opened.max(totals.opened))?;
    println!(
        "  {:64} {:10}      of 200000 in {:.1} s, events.lost {}",
        "opened",
        opened,
        took.as_secs_f64(),
        kernel.numbers().lost
    );
    Ok(())
}

/// The source, with every destination as it is.
fn source(tcp: Tcp) -> Outcome<(Containers, Stop)> {
    let names =
        config::Names { docker: Vec::new(), containerd: Vec::new(), crio: Vec::new(), ..Default::default() };
    let inventory = config::Inventory { units: false, limit: 10_000, names, ..Default::default() };
    let settings = Settings { enabled: true, tcp, oom: Oom::Off, ..Settings::default() };
    let stop = Stop::new()?;
    Ok((Containers::new(&settings, Arc::new(Inventory::new(&inventory)), None, &stop), stop))
}

fn read(source: &mut Containers) -> Outcome<(Duration, Readings)> {
    let mut out = Readings::default();
    let begun = Instant::now();
    source.read(&mut out)?;
    Ok((begun.elapsed(), out))
}

/// The highest number of a metric.
fn number(out: &Readings, name: &str) -> f64 {
    let found = out.iter().filter(|reading| reading.metric.name == name);
    let numbers = found.map(|reading| match &reading.value {
        Value::U64(number) => *number as f64,
        Value::I64(number) => *number as f64,
        Value::F64(number) => *number,
        Value::Distribution(_) => 0.0,
    });
    numbers.fold(0.0, f64::max)
}

/// One cycle, and what is found when the source starts.
fn cycle() -> Outcome<()> {
    println!("\na cycle with 16,384 destinations and 20,000 open connections");
    let mut containers = (2..10).map(Container::start).collect::<Outcome<Vec<_>>>()?;
    for container in containers.iter_mut().take(4) {
        container.order("hold 5000")?;
    }
    let (mut kernel, answers, ring) = Kernel::load(&WANTED)?;
    let (begun, ran) = (Instant::now(), cpu());
    kernel.find_existing()?;
    report("looking for what was there before", milliseconds(begun.elapsed()), "ms", Some(50.0));
    report("  of it CPU time", cpu() - ran, "ms", None);
    println!("  {:64} {:10}", "connections found", kernel.numbers().followed);
    let shown = Tcp { public: Public::Each, fold_ports: FoldPorts::None, loopback: true, ..Tcp::default() };
    let tcp = Tcp { destinations: 10_000, total: 24_000, translate: false, ..shown };
    let (mut source, stop) = source(tcp)?;
    read(&mut source)?;
    let (_, out) = read(&mut source)?;
    let begun_with = number(&out, "connscope.containers.destinations");
    drop(out);
    let before = allocations::bytes();
    for container in containers.iter_mut().skip(4) {
        container.order("scan 4096")?;
    }
    let (mut times, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let before = cpu();
        times.push(milliseconds(read(&mut source)?.0));
        ran.push(cpu() - before);
    }
    let (_, out) = read(&mut source)?;
    let destinations = number(&out, "connscope.containers.destinations");
    drop(out);
    println!("  {:64} {destinations:10.0}", "destinations");
    report("one cycle", median(times), "ms", Some(30.0));
    report("  of it CPU time", median(ran), "ms", None);
    let part = |what: &str, part: &mut dyn FnMut() -> Outcome<()>| -> Outcome<()> {
        let mut ran = Vec::new();
        for _ in 0..9 {
            let before = cpu();
            part()?;
            ran.push(cpu() - before);
        }
        report(what, median(ran), "ms", None);
        Ok(())
    };
    part("  what open connections have done, in the kernel", &mut || Ok(kernel.look_at_open()?))?;
    part("  reading the destinations", &mut || Ok(kernel.destinations(|_, _| {})?))?;
    drop((kernel, answers, ring));
    let more = (allocations::bytes() - before) as f64 / (destinations - begun_with);
    report("memory in user space, a destination", more, "B", Some(400.0));
    stop.drain();
    Ok(())
}

/// The pass over all tasks, which credits what each has waited.
fn delays() -> Outcome<()> {
    println!("\ndelays of 10,000 threads");
    let mut container = Container::start(20)?;
    container.order("threads 10000")?;
    let wanted = ProgramSelection { tcp: None, delay: true, ..WANTED };
    let (mut kernel, _answers, _ring) = Kernel::load(&wanted)?;
    kernel.begin_delays();
    let (mut times, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let (begun, before) = (Instant::now(), cpu());
        kernel.look_at_tasks()?;
        kernel.spent(|_, _| {})?;
        times.push(milliseconds(begun.elapsed()));
        ran.push(cpu() - before);
    }
    report("one pass over all tasks, the first", times.first().copied().unwrap_or_default(), "ms", None);
    report("one pass over all tasks", median(times), "ms", Some(15.0));
    report("  of it CPU time", median(ran), "ms", None);
    Ok(())
}

/// What the inventory takes.
fn inventory() -> Outcome<()> {
    println!("\n4,000 containers");
    let (mut source, stop) = source(Tcp { enabled: false, ..Tcp::default() })?;
    read(&mut source)?;
    let before = allocations::bytes();
    for number in 100..4100 {
        std::fs::create_dir_all(groups::directory(number))?;
    }
    for _ in 0..3 {
        read(&mut source)?;
    }
    let (took, out) = read(&mut source)?;
    println!("  {:64} {:10.0}", "containers", number(&out, "connscope.containers.tracked"));
    report("one cycle", milliseconds(took), "ms", None);
    drop(out);
    let more = (allocations::bytes() - before) as f64 / KIB / 4000.0;
    report("memory in user space, a container", more, "KiB", Some(2.0));
    stop.drain();
    Ok(())
}
