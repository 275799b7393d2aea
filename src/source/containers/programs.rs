//! What the parts that use BPF share: the programs, the owners of control groups, and the threads that wait
//! for events.

#![expect(
    clippy::disallowed_methods,
    reason = "what is known of groups is told the time, and loading is tried again after a while"
)]

use super::config::tcp::Tcp;
use super::config::{Containers as Settings, Delay, Oom};
use super::destinations::entries;
use super::events::{self, EventCounts, ReaderInputs, SharedCounts};
use super::groups::GroupOwners;
use super::kernel::{DELAY_PROGRAMS, Kernel, Limits, ProgramSelection};
use super::spent::WorkloadTotals;
use crate::host::inventory::Inventory;
use crate::reading::{Readings, SourceError, chain};
use crate::stop::Stop;
use crate::sys::namespace;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The loaded programs, and state between cycles.
pub(super) struct BpfCounters {
    pub(super) kernel: Kernel,
    pub(super) known: GroupOwners,
    shared: Arc<SharedCounts>,
    /// Inode of the agent's own network namespace.
    pub(super) netns: u32,
}

impl BpfCounters {
    /// Loads the programs, and starts the threads.
    pub(super) fn new(
        settings: &Settings,
        inventory: &Arc<Inventory>,
        stop: &Stop,
    ) -> Result<Self, SourceError> {
        let netns = own_netns()?;
        let (kernel, answers, ring) = Kernel::load(&wanted(settings, netns))?;
        if let Some(why) = &kernel.by_calls {
            let why = chain(why);
            tracing::info!(
                why,
                "connections that fail immediately are counted by the tracepoints of system calls, which makes each of them slower"
            );
        }
        let inputs = ReaderInputs {
            ring,
            answers,
            groups: Arc::clone(&kernel.groups),
            inventory: Arc::clone(inventory),
            rate: settings.tcp.translate_rate,
        };
        let shared = events::start(inputs, settings.tcp.enabled && settings.tcp.translate, stop)
            .map_err(|cause| SourceError::io("starting a thread of the source containers", cause))?;
        Ok(Self { kernel, known: GroupOwners::default(), shared, netns })
    }

    /// Begins to credit delays: earlier ones are not counted. The first pass registers the groups, so that nothing is
    /// kept of threads that are in no container.
    pub(super) fn begin_delays(&mut self, inventory: &Inventory) -> Result<(), SourceError> {
        if let Some(error) = self.kernel.refused_any(DELAY_PROGRAMS) {
            return Err(error.again("loading the programs for delays"));
        }
        self.kernel.look_at_tasks()?;
        self.update_owners(inventory, Instant::now());
        self.kernel.begin_delays();
        self.kernel.look_at_tasks()
    }

    /// Credits the delays of tasks since the last cycle.
    pub(super) fn look_at_tasks(&mut self, out: &mut Readings) {
        if let Err(error) = self.kernel.look_at_tasks() {
            out.fail("delay", error);
        }
    }

    /// Looks up the owners of the groups that the kernel has seen; returns those to be forgotten.
    pub(super) fn update_owners(&mut self, inventory: &Inventory, now: Instant) -> Vec<u64> {
        self.known.update_owners(&self.kernel.groups, inventory, now)
    }

    /// Adds the delays and kills of control groups to their containers.
    pub(super) fn spent(&self, totals: &mut WorkloadTotals, out: &mut Readings) {
        let take = |group, spent| {
            if let Some(workload) = self.known.workload(group) {
                totals.take(workload.number, group, spent);
            }
        };
        if let Err(error) = self.kernel.spent(take) {
            out.fail("delay", error);
        }
    }

    /// What the threads counted since the last cycle.
    pub(super) fn events(&self) -> EventCounts {
        self.shared.take()
    }
}

/// State of the BPF programs.
pub(super) enum BpfState {
    /// Not loaded yet; the first cycle loads them.
    Untried,
    Loaded(Box<BpfCounters>),
    /// There are none, why, and when that is tried again; `None`: never.
    Absent(SourceError, Option<Retry>),
}

/// From the first failure to load programs to the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_secs(5);
/// Most that the pause grows to.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// When programs are loaded again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    at: Instant,
    pause: Duration,
}

impl Retry {
    /// What the kernel does not have or does not allow stays so; memory or descriptors that were not there may be there later.
    fn after(error: &SourceError, last: Option<Self>, now: Instant) -> Option<Self> {
        let pause = last.map_or(PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        matches!(error, SourceError::Io { .. }).then(|| Self { at: now + pause, pause })
    }
}

impl BpfState {
    /// Loads what the settings want, in the first cycle and whenever it is due after a failure; whether there is news for
    /// the parts.
    pub(super) fn load(&mut self, settings: &Settings, inventory: &Arc<Inventory>, stop: &Stop) -> bool {
        let now = Instant::now();
        let last = match self {
            Self::Loaded(_) | Self::Absent(_, None) => return false,
            Self::Absent(_, Some(retry)) if now < retry.at => return false,
            Self::Absent(_, retry) => *retry,
            Self::Untried => None,
        };
        let loaded = if is_wanted(settings) {
            BpfCounters::new(settings, inventory, stop)
        } else {
            Err(SourceError::absent("loading programs", "the settings want none"))
        };
        *self = match loaded {
            Ok(bpf) => Self::Loaded(Box::new(bpf)),
            Err(error) => {
                let retry = Retry::after(&error, last, now);
                Self::Absent(error, retry)
            }
        };
        // The parts have another way already if it failed before.
        last.is_none() || matches!(self, Self::Loaded(_))
    }

    /// The loaded programs, or the error; `None` before the first cycle.
    pub(super) fn loaded(&mut self) -> Option<Result<&mut BpfCounters, &SourceError>> {
        match self {
            Self::Untried => None,
            Self::Loaded(bpf) => Some(Ok(bpf)),
            Self::Absent(error, _) => Some(Err(error)),
        }
    }
}

/// The programs that these settings require.
pub(super) fn wanted(settings: &Settings, netns: u32) -> ProgramSelection {
    ProgramSelection {
        tcp: settings.tcp.enabled.then(|| limits(&settings.tcp, netns)),
        immediate_failures: settings.tcp.immediate_failures,
        delay: matches!(settings.delay, Delay::Auto | Delay::Bpf),
        oom: matches!(settings.oom, Oom::Auto | Oom::Bpf),
    }
}

/// Whether these settings require a program.
pub(super) fn is_wanted(settings: &Settings) -> bool {
    let ProgramSelection { tcp, delay, oom, .. } = wanted(settings, 0);
    tcp.is_some() || delay || oom
}

/// Inode of the agent's own network namespace.
pub(super) fn own_netns() -> Result<u32, SourceError> {
    let inode = namespace::inode(Path::new("/proc/self/ns/net"))
        .map_err(|cause| SourceError::io("looking at the agent's own network namespace", cause))?;
    Ok(u32::try_from(inode).unwrap_or_default())
}

/// Parameters of the programs for TCP.
pub(super) fn limits(settings: &Tcp, netns: u32) -> Limits {
    Limits {
        destinations: u32::try_from(entries(settings.total)).unwrap_or(u32::MAX),
        connections: settings.connections,
        loopback: settings.loopback,
        translate: settings.translate,
        netns,
    }
}
