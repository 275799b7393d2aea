//! A day in fast-forward: 10,000 cycles at the shortest interval, which at the default one are 28 hours. What the
//! agent holds at the end is what it held in the middle.

use crate::parity::{PUSHED, equal_to_kernel};
use crate::readings::{exports, scrape, traffic};
use crate::stack::{Collector, Prometheus, agent, end, quiet_namespace};
use std::time::{Duration, Instant};

const CYCLES: f64 = 10_000.0;

/// The cycles take about two minutes where nothing else runs.
const DEADLINE: Duration = Duration::from_secs(400);

/// Most that resident memory may grow in a cycle, in bytes; measured were 3 to 16, and less than 1 from the 20,000th
/// cycle on. Less than the smallest thing that a cycle makes and could forget
/// (its snapshot is kilobytes); more than an allocator that keeps another hundred kilobytes in this half than in the
/// other.
const MOST_BYTES_A_CYCLE: f64 = 100.0;

/// What the agent holds at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) cycles: f64,
    /// Bytes of resident memory.
    pub(crate) resident: f64,
    /// Of these the ones that no file backs: what the agent has allocated. Pages of the program come and go.
    pub(crate) anonymous: f64,
    /// Open files.
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

/// What the agent holds now, after so many cycles.
pub(crate) fn sample(pid: u32, cycles: f64) -> Sample {
    let count = |folder: &str| std::fs::read_dir(format!("/proc/{pid}/{folder}")).unwrap().count();
    let memory = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let page = f64::from(u32::try_from(rustix::param::page_size()).unwrap());
    let bytes = |field: usize| memory.split(' ').nth(field).unwrap().parse::<f64>().unwrap() * page;
    let (resident, of_files) = (bytes(1), bytes(2));
    Sample { cycles, resident, anonymous: resident - of_files, files: count("fd"), threads: count("task") }
}

/// Bytes per cycle, by least squares.
fn slope(samples: &[Sample]) -> f64 {
    let count = f64::from(u32::try_from(samples.len()).unwrap());
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (cycles, resident) = (mean(|sample| sample.cycles), mean(|sample| sample.resident));
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        above += (sample.cycles - cycles) * (sample.resident - resident);
        below += (sample.cycles - cycles).powi(2);
    }
    above / below
}

#[test]
fn ten_thousand_cycles_leave_memory_files_and_threads_as_they_were() {
    let Some(namespace) = quiet_namespace() else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    traffic(&namespace, 1);
    let agent = agent(&namespace, &["--interval", "10ms"], &[]);
    let started = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    loop {
        if let Ok(text) = scrape(&namespace) {
            let sample = sample(agent.pid(), exports(&text, None));
            assert!(!text.contains("error_type="), "an export failed: {text}");
            samples.push(sample);
            if sample.cycles >= CYCLES {
                break;
            }
        }
        assert!(started.elapsed() < DEADLINE, "{:?} after {DEADLINE:?}", samples.last());
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = started.elapsed();
    equal_to_kernel(&prometheus, &namespace, &[PUSHED]);

    let between = |from: f64, to: f64| -> Vec<Sample> {
        let (from, to) = (from * CYCLES, to * CYCLES);
        samples.iter().copied().filter(|sample| (from..=to).contains(&sample.cycles)).collect()
    };
    let (early, late) = (between(0.25, 0.5), between(0.75, 1.0));
    let half = between(0.5, 1.1);
    let slope = slope(&half);
    // A cycle under way has a child process and its pipes; the least of many looks is what stays.
    let least = |samples: &[Sample], of: fn(&Sample) -> usize| samples.iter().map(of).min().unwrap();
    let files = [&early, &late].map(|samples| least(samples, |sample| sample.files));
    let threads = [&early, &late].map(|samples| least(samples, |sample| sample.threads));
    println!(
        "{CYCLES} cycles in {took:?}: resident memory {:.0} KiB at the end, {slope:+.2} bytes per cycle over the second half \
         ({} samples); open files {files:?}, threads {threads:?} (second quarter, last quarter)",
        samples.last().unwrap().resident / 1024.0,
        half.len(),
    );
    assert!(slope < MOST_BYTES_A_CYCLE, "resident memory grows by {slope} bytes a cycle");
    assert!(files[1] <= files[0], "open files: {files:?}");
    assert!(threads[1] <= threads[0], "threads: {threads:?}");
    let log = end(agent);
    assert!(log.iter().all(|line| line.starts_with("INFO")), "{log:#?}");
}
