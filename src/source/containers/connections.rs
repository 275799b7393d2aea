//! TCP connections of containers by BPF programs: one cycle of reading their maps.

use super::config::tcp::{Public, Tcp as Settings};
use super::destinations::{DestinationShares, Folding};
use super::kernel::records::{Destination, Totals};
use super::listen::Listening;
use super::listeners::Listeners;
use super::programs::BpfCounters;
use super::tcp::Tcp;
use crate::host::ephemeral::EphemeralPortsFile;
use crate::host::inventory::{Container, Inventory};
use crate::reading::Readings;
use crate::reading::SourceError;
use crate::sys::namespace;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

/// Inode of the first pid namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// State between cycles.
pub(super) struct Connections {
    ports: EphemeralPortsFile,
    settings: Settings,
    /// Whether the PIDs that the kernel reports are valid in this `/proc`.
    processes: bool,
    /// Connections that were not looked up because of the rate.
    pub(super) unasked: u64,
    /// Openings and ends of connections that did not fit between two cycles, and connections of containers over the limit of
    /// the inventory.
    pub(super) uncounted: u64,
    /// What the ring said about groups that were met after the cycle had looked whose they are.
    waiting: HashMap<Destination, Totals>,
    /// Whether the sockets that were there before are to be looked for.
    unfound: bool,
    /// Groups over the limit that the kernel no longer knew in the last cycle.
    orphans: HashSet<u64>,
}

impl Connections {
    /// Nothing is read before the first cycle.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ports: EphemeralPortsFile::open(),
            settings: settings.clone(),
            processes: sees_all_processes(),
            unasked: 0,
            uncounted: 0,
            waiting: HashMap::new(),
            unfound: true,
            orphans: HashSet::new(),
        }
    }

    /// In the first cycle, finds the sockets from before the start; reads the counters of open connections since the
    /// last one.
    pub(super) fn look_again(&mut self, bpf: &mut BpfCounters) -> Result<(), SourceError> {
        // After the threads have begun: they answer for what is found.
        if self.unfound {
            bpf.kernel.find_existing()?;
            self.unfound = false;
        }
        bpf.kernel.look_at_open()
    }

    /// Reads the counts since the last cycle.
    pub(super) fn read(
        &mut self,
        bpf: &mut BpfCounters,
        tcp: &mut Tcp,
        inventory: &Inventory,
        now: Instant,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        tcp.fold_ports(self.settings.fold_ports.ports(self.ports.read(now)));
        let mut events = bpf.events();
        self.take(bpf, tcp, inventory, now)?;
        self.take_told(bpf, tcp, std::mem::take(&mut events.counted), inventory, now);
        forget(bpf, tcp, inventory, now);
        self.unasked += events.unasked;
        self.uncounted += events.uncounted;
        events.report(out);
        Ok(())
    }

    /// Reads the listening sockets.
    pub(super) fn listeners(
        &self,
        bpf: &BpfCounters,
        listeners: &mut Listeners,
        containers: &[Container],
    ) -> Result<(), SourceError> {
        let firsts: HashMap<u64, u32> = containers
            .iter()
            .filter_map(|container| Some((container.workload.number, container.process?)))
            .collect();
        bpf.kernel.listeners(|listener| {
            if let Some(workload) = bpf.known.workload(listener.group) {
                let listening =
                    Listening { at: listener.at, only: listener.only, host: listener.netns == bpf.netns };
                // Whoever began to listen may have ended since: a daemon that goes into the background.
                let processes: Vec<String> = if listening.host {
                    vec!["self".to_owned()]
                } else {
                    let own = self.processes.then_some(listener.process);
                    own.iter().chain(firsts.get(&workload.number)).map(u32::to_string).collect()
                };
                listeners.take(workload.number, listening, u64::from(listener.netns), &processes);
            }
        })
    }

    fn take(
        &mut self,
        bpf: &mut BpfCounters,
        tcp: &mut Tcp,
        inventory: &Inventory,
        now: Instant,
    ) -> Result<(), SourceError> {
        let BpfCounters { kernel, known, .. } = bpf;
        let (mut foreign, mut used, mut left_out) = (Vec::new(), 0, 0);
        kernel.destination_records(|key, value| {
            let group = Destination::group_of(key);
            match known.workload(group) {
                Some(workload) => {
                    used += 1;
                    tcp.take_record(workload.number, key, value, now);
                }
                None if known.ignored(group) || kernel.groups.get(group).is_none() => {
                    // The entry goes now, so its numbers are those since the last cycle.
                    if known.is_left_out(group, inventory) {
                        left_out += Totals::parse(value).map_or(0, |totals| totals.attempts());
                    }
                    foreign.extend(Destination::parse(key));
                }
                // It is read when it is known whose it is.
                None => used += 1,
            }
        })?;
        let mut orphans: HashMap<u64, u64> = HashMap::new();
        kernel.rest(|group, totals| match known.workload(group) {
            Some(workload) => tcp.take_rest(workload.number, group, &totals, now),
            None if known.ignored(group) || kernel.groups.get(group).is_none() => {
                orphans.insert(group, totals.attempts());
            }
            None => {}
        })?;
        for (group, attempts) in orphans.iter().filter(|(group, _)| self.orphans.contains(group)) {
            if known.is_left_out(*group, inventory) {
                left_out += attempts;
            }
            kernel.forget_rest(*group);
        }
        self.orphans = orphans.into_keys().collect();
        self.uncounted += left_out;
        for key in &foreign {
            kernel.forget_destination(key);
        }
        for group in foreign.iter().map(|key| key.group).collect::<HashSet<_>>() {
            kernel.groups.set_destinations(group, 0);
        }
        kernel.set_destinations(used);
        Ok(())
    }

    /// Takes what the ring told: connections that had ended before their translation was known.
    fn take_told(
        &mut self,
        bpf: &BpfCounters,
        tcp: &mut Tcp,
        told: HashMap<Destination, Totals>,
        inventory: &Inventory,
        now: Instant,
    ) {
        let waited = std::mem::take(&mut self.waiting);
        for ((key, more), again) in
            told.into_iter().map(|one| (one, false)).chain(waited.into_iter().map(|one| (one, true)))
        {
            if let Some(workload) = bpf.known.workload(key.group) {
                tcp.add(workload.number, &key, &more, now);
            } else if bpf.known.is_left_out(key.group, inventory) {
                self.uncounted += more.attempts();
            } else if !bpf.known.knows(key.group) && !again {
                self.waiting.insert(key, more);
            }
        }
    }
}

/// Removes what has not changed for a while.
fn forget(bpf: &mut BpfCounters, tcp: &mut Tcp, inventory: &Inventory, now: Instant) {
    let gone = idle(tcp, inventory, now);
    if gone.is_empty() {
        return;
    }
    let mut left: HashMap<u64, u32> = HashMap::new();
    for key in &gone {
        let latest = bpf.kernel.forget_destination(key);
        tcp.forget(key, latest, now);
        left.entry(key.group).or_default();
    }
    tcp.count_by_group(&mut left);
    for (group, used) in left {
        bpf.kernel.groups.set_destinations(group, used);
    }
}

/// Follows renamed containers, and removes the kernel's entries that have not changed for a while.
pub(super) fn idle(tcp: &mut Tcp, inventory: &Inventory, now: Instant) -> Vec<Destination> {
    let workloads = inventory.by_numbers();
    tcp.rename(|number| workloads.get(&number).map(|workload| workload.number));
    tcp.idle(inventory.settings().retention, now)
}

/// Whether the agent is in the initial PID namespace, from which all processes are visible.
pub(super) fn sees_all_processes() -> bool {
    namespace::inode(Path::new("/proc/self/ns/pid")).ok() == Some(FIRST_PID_NAMESPACE)
}

/// Connection counts and listen addresses, by whichever method they are read.
pub(super) fn totals(settings: &Settings) -> Tcp {
    let folding =
        Folding { public: settings.public == Public::Fold, networks: settings.networks.clone(), ports: None };
    Tcp::new(folding, DestinationShares::new(settings.destinations, settings.total))
}
