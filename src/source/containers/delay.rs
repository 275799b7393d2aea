//! Time that the threads of a container wait: for a CPU while they are runnable, and for disks.
//!
//! BPF programs credit it to control groups, exactly; taskstats is the fallback. The part of disks is only
//! counted of what was started while `kernel.task_delayacct` was 1 (`kernel/delayacct.c`, Linux 5.14; before, it was counted
//! unless the kernel was started with `nodelayacct`).

use super::config::Delay;
use super::kernel::{DELAY_PROGRAMS, Kernel};
use super::labels::Via;
use super::programs::BpfCounters;
use super::spent::WorkloadTotals;
use crate::host::inventory::{Container, Inventory};
use crate::reading::{Readings, SourceError};
use crate::stop::Stop;
use exits::ExitReader;
use std::time::Duration;

pub mod credit;
mod exits;
mod family;
pub mod taskstats;

/// Whether the time that tasks wait for disks is counted.
const ACCOUNTING: &str = "/proc/sys/kernel/task_delayacct";

/// How delays are measured, with its state.
pub(super) struct Delays {
    settings: Delay,
    method: DelayMethod,
    accounting: bool,
    /// Whether the log has that disk delays are not counted.
    logged: bool,
}

enum DelayMethod {
    /// Not chosen yet; the first cycle chooses.
    Untried,
    Bpf,
    Taskstats(Box<ExitReader>),
    /// Not measured, and why.
    Absent(SourceError),
}

/// Delays of a container, seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContainerDelays {
    pub(super) cpu: f64,
    /// Delay by disks; `None` while it is not counted.
    pub(super) disk: Option<f64>,
}

impl Delays {
    /// Nothing is read before the first cycle; `None` if delays are not to be measured.
    pub(super) fn new(settings: Delay) -> Option<Self> {
        (settings != Delay::Off).then_some(Self {
            settings,
            method: DelayMethod::Untried,
            accounting: false,
            logged: false,
        })
    }

    /// Whether BPF programs measure them.
    pub(super) fn by_programs(&self) -> bool {
        matches!(self.method, DelayMethod::Bpf)
    }

    /// Chooses the method. `bpf`: the programs, or why there are none.
    pub(super) fn choose(
        &mut self,
        bpf: Result<&mut BpfCounters, &SourceError>,
        inventory: &Inventory,
        stop: &Stop,
    ) {
        let begun = || match bpf {
            Ok(bpf) => bpf.begin_delays(inventory),
            Err(error) => Err(error.again("loading the programs for delays")),
        };
        let taskstats = || match ExitReader::open(stop) {
            Ok(exits) => DelayMethod::Taskstats(Box::new(exits)),
            Err(error) => DelayMethod::Absent(error),
        };
        self.method = match self.settings {
            Delay::Taskstats => taskstats(),
            Delay::Bpf => begun().map_or_else(DelayMethod::Absent, |()| DelayMethod::Bpf),
            Delay::Auto | Delay::Off => begun().map_or_else(|_| taskstats(), |()| DelayMethod::Bpf),
        };
    }

    /// Adds the delays since the last cycle, and returns how they were measured; those of programs are read with their other
    /// counts.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        totals: &mut WorkloadTotals,
        out: &mut Readings,
    ) -> Option<Via> {
        self.accounting = is_accounting();
        let via = match &mut self.method {
            DelayMethod::Untried => return None,
            DelayMethod::Bpf => Via::Bpf,
            DelayMethod::Taskstats(exits) => {
                if let Err(error) = exits.read(containers, totals) {
                    out.fail("delay", error);
                }
                Via::Taskstats
            }
            DelayMethod::Absent(error) => {
                out.fail(
                    "delay",
                    error.again("time that containers wait for CPUs and disks is not reported"),
                );
                return None;
            }
        };
        // The default since Linux 5.14, so it is no failure of the source.
        if !std::mem::replace(&mut self.logged, !self.accounting) && !self.accounting {
            tracing::info!(
                source = super::NAME,
                "time that containers wait for disks is not reported: kernel.task_delayacct is 0"
            );
        }
        Some(via)
    }

    /// Delays of a container.
    pub(super) fn of(&self, workload: u64, totals: &WorkloadTotals) -> Option<ContainerDelays> {
        if matches!(self.method, DelayMethod::Untried | DelayMethod::Absent(_)) {
            return None;
        }
        let spent = totals.of(workload);
        let seconds = |nanoseconds| Duration::from_nanos(nanoseconds).as_secs_f64();
        Some(ContainerDelays { cpu: seconds(spent.cpu), disk: self.accounting.then(|| seconds(spent.disk)) })
    }

    /// Number of lost exit messages.
    pub(super) fn lost(&self) -> u64 {
        if let DelayMethod::Taskstats(exits) = &self.method { exits.lost() } else { 0 }
    }
}

/// Whether the kernel counts disk delays.
fn is_accounting() -> bool {
    crate::sys::read_limited(ACCOUNTING, 16).map_or(true, |text| text.trim() != "0")
}

/// The check of delays for `connscope check`. `kernel`: the programs, or why there are none.
pub(super) fn check(settings: Delay, kernel: Result<&Kernel, &SourceError>) -> Result<String, SourceError> {
    let refused = kernel.map_or_else(Some, |kernel| kernel.refused_any(DELAY_PROGRAMS));
    let programs = || match refused {
        None => Ok("bpf"),
        Some(error) => Err(error.again("loading the programs for delays")),
    };
    let taskstats = || family::Family::open().map(|_| "taskstats");
    let method = match settings {
        Delay::Taskstats => taskstats(),
        Delay::Bpf => programs(),
        Delay::Auto | Delay::Off => programs().or_else(|_| taskstats()),
    }?;
    let disk = if is_accounting() { ": CPU and disk" } else { "; disk: absent, kernel.task_delayacct is 0" };
    Ok(format!("{method}{disk}"))
}
