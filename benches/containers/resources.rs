//! What it costs to read the use and the limits of 500 containers, beside a loop that opens and reads the same files.

use crate::{KIB, Outcome, allocations, cpu, median, milliseconds, number, read, report};
use connscope::host::inventory::{Inventory, config};
use connscope::source::containers::Containers;
use connscope::source::containers::config::tcp::Tcp;
use connscope::source::containers::config::{Containers as Settings, Delay, Oom};
use connscope::stop::Stop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const CONTAINERS: usize = 500;
const ROUNDS: usize = 15;

/// Hierarchies of version 1, each with the files that are read of a group; the last is version 2 beside them.
const VERSION_1: [(&str, &[&str]); 5] = [
    ("cpuacct", &["cpuacct.usage"]),
    ("cpu", &["cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us"]),
    ("memory", &["memory.usage_in_bytes", "memory.stat"]),
    ("blkio", &["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"]),
    ("unified", &["cpu.pressure", "memory.pressure", "io.pressure"]),
];
const VERSION_2: &[&str] = &[
    "cpu.stat",
    "cpu.max",
    "memory.current",
    "memory.stat",
    "memory.max",
    "io.stat",
    "cpu.pressure",
    "memory.pressure",
    "io.pressure",
];

/// The groups of the containers, which go with this.
struct Groups {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
    is_version_1: bool,
}

impl Groups {
    fn make() -> Outcome<Self> {
        let top = Path::new("/sys/fs/cgroup");
        let name = format!("connscope-bench-resources-{}", std::process::id());
        let is_version_1 = top.join("memory").is_dir();
        let roots: Vec<(PathBuf, &[&str])> = if is_version_1 {
            VERSION_1
                .iter()
                .map(|(root, files)| (top.join(root), *files))
                .filter(|(root, _)| root.is_dir())
                .collect()
        } else {
            vec![(top.to_owned(), VERSION_2)]
        };
        let mut groups = Self { directories: Vec::new(), files: Vec::new(), is_version_1 };
        for (root, files) in roots {
            let parent = root.join(&name);
            std::fs::create_dir_all(&parent)?;
            if !is_version_1 {
                for group in [&root, &parent] {
                    let _some_are_off =
                        std::fs::write(group.join("cgroup.subtree_control"), "+cpu +memory +io");
                }
            }
            for number in 0..CONTAINERS {
                let directory = parent.join(format!("{number:064x}"));
                std::fs::create_dir_all(&directory)?;
                groups.files.extend(files.iter().map(|file| directory.join(file)));
                groups.directories.push(directory);
            }
            groups.directories.push(parent);
        }
        Ok(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for directory in &self.directories {
            let _busy_or_not = std::fs::remove_dir(directory);
        }
    }
}

fn source(wanted: bool) -> Outcome<(Containers, Stop)> {
    let names =
        config::Names { docker: Vec::new(), containerd: Vec::new(), crio: Vec::new(), ..Default::default() };
    let inventory = config::Inventory { units: false, names, ..Default::default() };
    let settings = Settings {
        enabled: true,
        tcp: Tcp { enabled: false, ..Tcp::default() },
        delay: Delay::Off,
        oom: Oom::Off,
        resources: wanted,
        pressure: wanted,
        volumes: false,
        application: false,
        ..Settings::default()
    };
    let stop = Stop::new()?;
    Ok((Containers::new(&settings, Arc::new(Inventory::new(&inventory)), None, &stop), stop))
}

/// Times of a cycle: by the clock, and CPU time.
fn cycles(source: &mut Containers) -> Outcome<(f64, f64)> {
    let (mut times, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Cycles that follow each other within 100 ms share a look at the groups.
        std::thread::sleep(std::time::Duration::from_millis(110));
        let before = cpu();
        times.push(milliseconds(read(source)?.0));
        ran.push(cpu() - before);
    }
    Ok((median(times), median(ran)))
}

fn slab() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// A cycle with resources and one without, and the loop.
pub(crate) fn run() -> Outcome<()> {
    println!("\nresources of {CONTAINERS} containers");
    let groups = Groups::make()?;
    let (mut without, stop) = source(false)?;
    read(&mut without)?;
    let (clock_without, cpu_without) = cycles(&mut without)?;
    stop.drain();
    let (mut with, stop) = source(true)?;
    let (bytes, kernel) = (allocations::bytes(), slab());
    read(&mut with)?;
    let (_, out) = read(&mut with)?;
    println!("  {:64} {:10.0}", "containers", number(&out, "connscope.containers.tracked"));
    drop(out);
    let (clock, ran) = cycles(&mut with)?;
    let goal = if groups.is_version_1 { 25.0 } else { 15.0 };
    report("one cycle, more than without", clock - clock_without, "ms", Some(goal));
    report("  of it CPU time", ran - cpu_without, "ms", None);
    report("memory in user space, all", (allocations::bytes() - bytes) as f64 / KIB / KIB, "MiB", Some(4.0));
    report("memory of the kernel (Slab), all, what else runs included", (slab() - kernel) / KIB, "MiB", None);
    stop.drain();
    let (mut times, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (begun, before) = (Instant::now(), cpu());
        for file in &groups.files {
            std::hint::black_box(std::fs::read(file).ok());
        }
        times.push(milliseconds(begun.elapsed()));
        ran.push(cpu() - before);
    }
    report("a loop that opens and reads the same files", median(times), "ms", None);
    report("  of it CPU time", median(ran), "ms", None);
    Ok(())
}
