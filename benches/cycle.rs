//! What a cycle costs: the source by each of its three ways on the kernel of this machine, the three parsers, and the
//! exposition, for 2 and for 256 CPUs.
//!
//! A way that does not work here is left out, and its line says so. The numbers in docs/costs.md are from this program.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures")]
#![expect(clippy::print_stdout, reason = "a benchmark is run to read what it prints")]

use connscope::cycle::Sources;
use connscope::export::Shared;
use connscope::export::instruments::HistogramRecorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::metric::naming::Profile;
use connscope::metric::{Label, Table};
use connscope::reading::{Readings, SourceError, chain};
use connscope::source::conntrack::config::{Conntrack as Settings, Via};
use connscope::source::conntrack::fields::{STATISTICS, Statistics};
use connscope::source::conntrack::metrics::{CONNTRACK_TABLE_LIMIT, CONNTRACK_TABLE_USAGE};
use connscope::source::conntrack::{Conntrack, command, netlink, procfs, table};
use connscope::source::network::Network;
use connscope::source::network::ask::{NamespaceAnswer, ReadOptions};
use connscope::source::network::config::Network as NetworkSettings;
use connscope::source::node::Node;
use connscope::source::node::config::Node as NodeSettings;
use connscope::source::worker::Worker;
use connscope::source::{Mode, Source, SourceKind};
use connscope::stop::Stop;
use connscope::sys::namespace;
use criterion::Criterion;
use opentelemetry_sdk::Resource;
use std::fmt::Write;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A laptop's worth, and a large server's.
const CPUS: [u32; 2] = [2, 256];

/// The sequence number in the netlink bytes made here.
const SEQUENCE: u32 = 7;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    by_the_kernel(&mut criterion);
    let by_netlink = Settings { via: Via::Netlink, ..Settings::default() };
    goal("source/netlink", Duration::from_micros(50), &mut Conntrack::new(&by_netlink, &stop()));
    network(&mut criterion);
    node(&mut criterion);
    parts(&mut criterion);
    by_a_large_machine(&mut criterion);
    parsers(&mut criterion);
    exposition(&mut criterion);
    criterion.final_summary();
}

/// A counter's value: as long as counters of a busy machine are.
fn value(cpu: u32, field: usize) -> u32 {
    cpu.wrapping_mul(2_654_435_761).wrapping_add(u32::try_from(field).unwrap_or(0).wrapping_mul(40_503))
}

fn stop() -> Stop {
    Stop::new().expect("an eventfd can be had")
}

/// One read of the whole source: the counters of every CPU, the expectations, the table, unwrapped and labelled.
fn read(criterion: &mut Criterion, name: &str, settings: &Settings) {
    let mut source = Conntrack::new(settings, &stop());
    let mut once = || {
        let mut readings = Readings::default();
        source.read(&mut readings).map(|()| readings)
    };
    match once() {
        Err(error) => println!("{name}: NOT MEASURED, it does not work here: {}", chain(&error)),
        Ok(_) => {
            criterion.bench_function(name, |bencher| bencher.iter(&mut once));
        }
    }
}

/// One read of the network source on this machine: its cards, queueing disciplines and counters; and its parts.
fn network(criterion: &mut Criterion) {
    let mut source = Network::new(&NetworkSettings::default());
    criterion.bench_function("network, the whole source", |bencher| {
        bencher.iter(|| {
            let mut readings = Readings::default();
            source.read(&mut readings).map(|()| readings)
        });
    });
    criterion.bench_function("network, one network namespace", |bencher| {
        bencher.iter(|| NamespaceAnswer::ask(ReadOptions::default()));
    });
}

/// One cycle of the source of the node, beside a loop that only opens and reads the same files.
fn node(criterion: &mut Criterion) {
    let settings = NodeSettings { enabled: true, ..NodeSettings::default() };
    let host = connscope::host::Host::new(&connscope::host::inventory::config::Inventory::default());
    let mut source = Node::build(&settings, &host, Mode::Run, &stop()).expect("the source can be made");
    goal("source/node", Duration::from_millis(1), &mut *source);
    criterion.bench_function("node, the whole source", |bencher| {
        bencher.iter(|| {
            let mut readings = Readings::default();
            source.read(&mut readings).map(|()| readings)
        });
    });
    criterion.bench_function("node, a loop that opens and reads the same files", |bencher| {
        bencher.iter(|| {
            ["/proc/stat", "/proc/meminfo", "/proc/uptime", "/proc/diskstats"].map(std::fs::read_to_string)
        });
    });
}

/// The median of many reads of a source, beside what is aimed at.
fn goal(name: &str, goal: Duration, source: &mut dyn Source) {
    let mut reads = Vec::new();
    for _ in 0..2000 {
        let mut readings = Readings::default();
        let started = Instant::now();
        let read = source.read(&mut readings);
        reads.push(started.elapsed());
        if read.is_err() {
            return; // it is said elsewhere that it does not work here
        }
    }
    reads.sort_unstable();
    let median = reads.get(reads.len() / 2).copied().unwrap_or_default();
    let verdict = if median < goal { "reached" } else { "MISSED" };
    println!("{name}: median {median:?}, goal: under {goal:?}, {verdict}\n");
}

/// What a read by netlink is made of.
fn parts(criterion: &mut Criterion) {
    if let Ok(mut socket) = netlink::Socket::open()
        && socket.statistics().is_ok()
    {
        criterion.bench_function("part/netlink, counters", |bencher| bencher.iter(|| socket.statistics()));
        criterion
            .bench_function("part/netlink, expectations", |bencher| bencher.iter(|| socket.expectations()));
    }
    criterion.bench_function("part/identity of the namespace", |bencher| bencher.iter(namespace::identity));
    let sysctls = table::Sysctls::new(&connscope::source::conntrack::config::Table::default());
    criterion.bench_function("part/sysctls of the table", |bencher| {
        bencher.iter(|| sysctls.read(|| None));
    });
}

fn by_the_kernel(criterion: &mut Criterion) {
    for (name, via) in [("netlink", Via::Netlink), ("procfs", Via::Procfs), ("command", Via::Command)] {
        read(criterion, &format!("source/{name}"), &Settings { via, ..Settings::default() });
    }
}

/// The whole source with a program that prints what `conntrack -S` prints on a machine with that many CPUs.
fn by_a_large_machine(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    for cpus in CPUS {
        let program = conntrack_of(dir.path().join(format!("conntrack-{cpus}")), cpus);
        let settings = Settings {
            via: Via::Command,
            command: program.to_str().expect("the path is text").to_owned(),
            ..Settings::default()
        };
        read(criterion, &format!("source/command, a script for {cpus} CPUs"), &settings);
    }
}

fn conntrack_of(path: PathBuf, cpus: u32) -> PathBuf {
    let script = format!("#!/bin/sh\ncat <<'END'\n{}END\n", command_text(cpus));
    std::fs::write(&path, script).expect("the script can be written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("the script can be made executable");
    path
}

fn parsers(criterion: &mut Criterion) {
    for cpus in CPUS {
        let text = command_text(cpus);
        criterion.bench_function(&format!("parse/command, {cpus} CPUs"), |bencher| {
            bencher.iter(|| command::parse(black_box(text.as_bytes())).expect("it is what the tool prints"));
        });
        let datagrams = netlink_datagrams(cpus);
        criterion.bench_function(&format!("parse/netlink, {cpus} CPUs"), |bencher| {
            bencher.iter(|| {
                let mut statistics = Statistics::default();
                for datagram in black_box(&datagrams) {
                    netlink::parse_dump(datagram, SEQUENCE, STATISTICS, &mut statistics)
                        .expect("it is what the kernel sends");
                }
                statistics
            });
        });
        let text = procfs_text(cpus);
        let possible: Vec<u32> = (0..cpus).collect();
        criterion.bench_function(&format!("parse/procfs, {cpus} CPUs"), |bencher| {
            bencher.iter(|| {
                procfs::parse(black_box(&text), Some((6, 18)), &possible)
                    .expect("it is what the kernel prints")
            });
        });
    }
}

/// `conntrack -S` of conntrack-tools 1.4.7 on Linux 6.18.
fn command_text(cpus: u32) -> String {
    let fields =
        ["found", "invalid", "insert", "insert_failed", "drop", "early_drop", "error", "search_restart"];
    let mut text = String::new();
    for cpu in 0..cpus {
        let _infallible = write!(text, "cpu={cpu:<4}\t");
        for (index, field) in fields.iter().chain(&["clash_resolve", "chaintoolong"]).enumerate() {
            let _infallible = write!(text, "{field}={} ", value(cpu, index));
        }
        text.push('\n');
    }
    text
}

/// `/proc/net/stat/nf_conntrack` of Linux 6.18.
fn procfs_text(cpus: u32) -> String {
    let mut text = String::from(
        "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
         icmp_error  expect_new expect_create expect_delete search_restart\n",
    );
    for cpu in 0..cpus {
        let row: Vec<String> = (0..17).map(|column| format!("{:08x}", value(cpu, column))).collect();
        let _infallible = writeln!(text, "{}", row.join(" "));
    }
    text
}

/// The dump of `IPCTNL_MSG_CT_GET_STATS_CPU`, in datagrams of up to 32 KiB as the kernel makes them.
fn netlink_datagrams(cpus: u32) -> Vec<Vec<u8>> {
    const NLM_F_MULTI: u16 = 2;
    /// `enum ctattr_stats_cpu`: found, invalid, then insert to chaintoolong.
    const NUMBERS: [u16; 10] = [2, 4, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut datagrams = vec![Vec::new()];
    for cpu in 0..cpus {
        let mut payload = vec![0, 0]; // any family, version 0
        payload.extend_from_slice(&u16::try_from(cpu).unwrap_or(u16::MAX).to_be_bytes());
        for (index, number) in NUMBERS.iter().enumerate() {
            payload.extend_from_slice(&8u16.to_ne_bytes());
            payload.extend_from_slice(&number.to_ne_bytes());
            payload.extend_from_slice(&value(cpu, index).to_be_bytes());
        }
        let length = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
        let mut message = Vec::new();
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&0x0104u16.to_ne_bytes());
        message.extend_from_slice(&NLM_F_MULTI.to_ne_bytes());
        message.extend_from_slice(&SEQUENCE.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(&payload);
        if datagrams.last().is_none_or(|last: &Vec<u8>| last.len() + message.len() > 32 * 1024) {
            datagrams.push(Vec::new());
        }
        if let Some(last) = datagrams.last_mut() {
            last.extend_from_slice(&message);
        }
    }
    datagrams
}

/// A source that has every counter of every CPU at hand.
struct AtHand {
    cpus: Vec<Arc<str>>,
}

impl Source for AtHand {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        out.observe(CONNTRACK_TABLE_USAGE, &[], 40_000);
        out.observe(CONNTRACK_TABLE_LIMIT, &[], 262_144);
        for (number, cpu) in (0u32..).zip(&self.cpus) {
            let labels = [(Label::Cpu, Arc::clone(cpu))];
            for (index, known) in STATISTICS.iter().enumerate() {
                out.observe(known.metric, &labels, u64::from(value(number, index)));
            }
        }
        Ok(())
    }
}

/// One scrape: a cycle with a source that costs next to nothing, the SDK's collection, the bridge and the text.
fn exposition(criterion: &mut Criterion) {
    for cpus in CPUS {
        let source = AtHand { cpus: (0..cpus).map(|cpu| cpu.to_string().into()).collect() };
        let config = connscope::catalog::Config::default();
        let host = connscope::host::Host::new(&config.inventory);
        let specs = connscope::catalog::SOURCES;
        let mut bounds = connscope::source::list::bounds(specs, &config.sources, &host);
        bounds.push((&connscope::source::conntrack::metrics::CPU, cpus as usize));
        let table = Table::of(&connscope::agent::parts(), &bounds).map(Arc::new).expect("a table");
        let worker = Worker::start("conntrack", Duration::from_secs(5), Box::new(source))
            .expect("a thread can be started");
        let shared = Shared {
            resource: Resource::builder_empty().build().into(),
            sources: Arc::new(Sources::of(vec![worker], table, None, &stop())),
            recorder: HistogramRecorder::default(),
        };
        let pull = Pull::new(&shared, Profile::Otel).expect("the table fits the bridge");
        if let Scrape::Exposition(text) = pull.scrape() {
            println!("exposition, {cpus} CPUs: {} lines, {} bytes", text.lines().count(), text.len());
        }
        criterion
            .bench_function(&format!("exposition, {cpus} CPUs"), |bencher| bencher.iter(|| pull.scrape()));
    }
}
