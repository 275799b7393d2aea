//! TCP of the containers, and how it is read: by programs in the kernel, and from procfs where there can be none.

use super::classic::Classic;
use super::config::tcp::{self as config, Tcp as Settings};
use super::connections::{self, Connections};
use super::kernel::TCP;
use super::labels::{LeftOut, SourcePart, Via};
use super::latency::Latency;
use super::listeners::Listeners;
use super::procfs::Procfs;
use super::programs::{BpfCounters, BpfState};
use super::{metrics, observe, programs, tcp};
use crate::host::inventory::{Container, Inventory};
use crate::reading::{Readings, SourceError};
use std::collections::HashSet;
use std::time::Instant;

/// TCP, and how it is read.
pub(super) struct TcpPart {
    settings: Settings,
    totals: tcp::Tcp,
    listeners: Listeners,
    /// Inode of the agent's own network namespace.
    netns: u32,
    /// `None` where there are no echoes.
    latency: Option<Latency>,
    method: TcpMethod,
}

/// How TCP is read.
enum TcpMethod {
    /// Not chosen yet; the first cycle chooses.
    Untried,
    /// By programs in the kernel.
    Bpf(Connections),
    /// From procfs, and why.
    Procfs(Procfs, SourceError),
}

impl TcpPart {
    /// Nothing is read before the first cycle.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            totals: connections::totals(settings),
            listeners: Listeners::default(),
            netns: programs::own_netns().unwrap_or_default(),
            latency: (settings.latency == config::Latency::Icmp).then(Latency::default),
            method: TcpMethod::Untried,
        }
    }

    /// Finds out what works. `bpf`: the programs, or why there are none.
    pub(super) fn choose(&mut self, bpf: Result<&mut BpfCounters, &SourceError>, now: Instant) {
        let refused = |error: &SourceError| error.again("loading the programs for TCP");
        let connections = bpf.map_err(refused).and_then(|bpf| match bpf.kernel.refused_any(&[TCP]) {
            Some(error) => Err(refused(error)),
            None => Ok(Connections::new(&self.settings)),
        });
        // Programs find what is open by themselves.
        if let TcpMethod::Procfs(procfs, _) = &mut self.method {
            procfs.end(&mut self.totals, now);
        }
        self.method = match connections {
            Ok(connections) => TcpMethod::Bpf(connections),
            Err(error) => TcpMethod::Procfs(Procfs::default(), error),
        };
    }

    /// Credits what open connections have done since the last cycle.
    pub(super) fn look_again(&mut self, bpf: &mut BpfCounters, out: &mut Readings) {
        if let TcpMethod::Bpf(connections) = &mut self.method
            && let Err(error) = connections.look_again(bpf)
        {
            out.fail("tcp", error);
        }
    }

    /// Reads the counts since the last cycle.
    pub(super) fn read(
        &mut self,
        state: &mut BpfState,
        inventory: &Inventory,
        containers: &[Container],
        now: Instant,
        out: &mut Readings,
    ) {
        let Self { settings, totals, listeners, netns, latency, method } = self;
        totals.begin();
        listeners.begin(inventory.settings().retention, now);
        listeners.rename(|number| inventory.current(number).map(|workload| workload.number));
        for (number, published) in inventory.published() {
            published.iter().for_each(|at| listeners.publish(number, *at, u64::from(*netns)));
        }
        match (method, state) {
            (TcpMethod::Bpf(connections), BpfState::Loaded(bpf)) => {
                if let Err(error) = connections
                    .read(bpf, totals, inventory, now, out)
                    .and_then(|()| connections.listeners(bpf, listeners, containers))
                {
                    out.fail("tcp", error);
                }
                if let Some(error) = bpf.kernel.immediate_failures_refused() {
                    let error = error.again("connections that fail immediately are not all counted");
                    out.fail("immediate_failures", error);
                }
                let numbers = bpf.kernel.numbers();
                observe::via(SourcePart::Tcp, Via::Bpf, out);
                observe::left_out(LeftOut::Destination, numbers.no_destination + totals.left_out, out);
                observe::left_out(LeftOut::Connection, numbers.no_connection + connections.uncounted, out);
                observe::left_out(LeftOut::Listener, numbers.no_listener + listeners.left_out, out);
                observe::left_out(LeftOut::Translation, connections.unasked, out);
            }
            (TcpMethod::Procfs(procfs, error), _) => {
                procfs.read(containers, totals, listeners, settings.loopback, now);
                connections::idle(totals, inventory, now);
                out.fail(
                    "tcp",
                    error.again("of TCP connections of containers, only open ones are reported, from procfs"),
                );
                observe::via(SourcePart::Tcp, Via::Procfs, out);
                observe::left_out(LeftOut::Destination, totals.left_out, out);
                observe::left_out(LeftOut::Listener, listeners.left_out, out);
            }
            (TcpMethod::Untried | TcpMethod::Bpf(_), _) => {}
        }
        if let Some(Err(error)) = latency.as_mut().map(|latency| latency.look(totals, containers, now)) {
            out.fail("icmp", error);
        }
        out.observe(metrics::CONNSCOPE_CONTAINERS_DESTINATIONS, &[], totals.destinations() as u64);
    }

    /// Observes every destination and every listening socket.
    pub(super) fn observe(&self, inventory: &Inventory, classic: Option<&Classic>, out: &mut Readings) {
        // What was not counted is absent, and not 0.
        let counted = !matches!(self.method, TcpMethod::Procfs(..));
        let tcp = observe::Observed {
            tcp: &self.totals,
            counted,
            passive: self.settings.latency != config::Latency::Off,
            latency: self.latency.as_ref(),
        };
        observe::observe(&tcp, &self.listeners, inventory, classic, out);
    }

    /// Control groups that have something here.
    pub(super) fn groups(&self) -> HashSet<u64> {
        self.totals.groups()
    }

    /// These control groups are gone.
    pub(super) fn forget_groups(&mut self, groups: &[u64]) {
        for group in groups {
            self.totals.forget_group(*group);
        }
    }
}
