//! TCP of the containers by the programs in the kernel: one cycle of reading their maps.

use super::config::tcp::{Public, Tcp as Settings};
use super::destinations::{DestinationShares, Folding, entries};
use super::groups::GroupOwners;
use super::kernel::records::Destination;
use super::kernel::{Kernel, Limits, Numbers};
use super::listen::Listening;
use super::listeners::Listeners;
use super::news::{self, EventCounts, ReaderInputs, SharedCounts};
use super::tcp::Tcp;
use crate::host::ephemeral::EphemeralPortsFile;
use crate::host::inventory::Inventory;
use crate::reading::Readings;
use crate::reading::SourceError;
use crate::stop::Stop;
use crate::sys::namespace;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Inode of the first pid namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What is kept from one cycle to the next.
pub(super) struct Connections {
    kernel: Kernel,
    known: GroupOwners,
    shared: Arc<SharedCounts>,
    ports: EphemeralPortsFile,
    settings: Settings,
    netns: u32,
    /// Whether the processes that the kernel names can be looked for in `/proc`.
    processes: bool,
    /// Translations that were not asked for.
    pub(super) unasked: u64,
    /// Connections that found no room between two cycles.
    pub(super) uncounted: u64,
    /// Whether the sockets that were there before are to be looked for.
    unfound: bool,
    /// Groups of what found no room that the kernel no longer knew in the last cycle.
    orphans: HashSet<u64>,
}

impl Connections {
    /// Loads the programs, and finds what is there already.
    pub(super) fn new(
        settings: &Settings,
        inventory: &Arc<Inventory>,
        stop: &Stop,
    ) -> Result<Self, SourceError> {
        let netns = own_netns()?;
        let (kernel, answers, ring) = Kernel::load(limits(settings, netns))?;
        let work = ReaderInputs {
            ring,
            answers,
            groups: Arc::clone(&kernel.groups),
            inventory: Arc::clone(inventory),
            rate: settings.translate_rate,
        };
        let shared = news::start(work, settings.translate, stop)
            .map_err(|cause| SourceError::io("starting a thread of the source containers", cause))?;
        let processes = sees_all_processes();
        Ok(Self {
            kernel,
            known: GroupOwners::default(),
            shared,
            ports: EphemeralPortsFile::open(),
            settings: settings.clone(),
            netns,
            processes,
            unasked: 0,
            uncounted: 0,
            unfound: true,
            orphans: HashSet::new(),
        })
    }

    /// Reads what happened since the last cycle.
    pub(super) fn read(
        &mut self,
        tcp: &mut Tcp,
        listeners: &mut Listeners,
        inventory: &Inventory,
        now: Instant,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        // After the threads have begun: they answer for what is found.
        if self.unfound {
            self.kernel.find_existing()?;
            self.unfound = false;
        }
        tcp.fold_ports(self.settings.fold_ports.ports(self.ports.read(now)));
        self.kernel.look_at_open()?;
        let news = self.shared.take();
        let over = self.known.look(&self.kernel.groups, inventory, now);
        self.forget_groups(tcp, &over);
        self.take(tcp, &news, now)?;
        self.forget(tcp, inventory, now);
        let ended = self.known.ended(|| tcp.groups(), now);
        self.forget_groups(tcp, &ended);
        self.listeners(listeners)?;
        self.unasked += news.unasked;
        self.uncounted += news.uncounted;
        if let Some(error) = news.error {
            out.fail("translate", error.again("translations of connections are not told"));
        }
        if news.broken {
            let message = "the thread that waits for events has ended".to_owned();
            out.fail("news", SourceError::Panicked { message });
        }
        Ok(())
    }

    fn forget_groups(&mut self, tcp: &mut Tcp, groups: &[u64]) {
        for group in groups {
            self.kernel.forget_group(*group);
            tcp.forget_group(*group);
        }
    }

    fn take(&mut self, tcp: &mut Tcp, news: &EventCounts, now: Instant) -> Result<(), SourceError> {
        let (known, mut foreign, mut used) = (&self.known, Vec::new(), 0);
        let groups = &self.kernel.groups;
        self.kernel.destinations(|key, totals| match known.who(key.group) {
            Some(who) => {
                used += 1;
                tcp.take(who.number, &key, &totals, now);
            }
            None if known.ignored(key.group) || groups.get(key.group).is_none() => foreign.push(key),
            // It is read when it is known whose it is.
            None => used += 1,
        })?;
        for (key, more) in &news.counted {
            if let Some(who) = known.who(key.group) {
                tcp.add(who.number, key, more, now);
            }
        }
        let mut orphans = HashSet::new();
        self.kernel.rest(|group, totals| match known.who(group) {
            Some(who) => tcp.take_rest(who.number, group, &totals, now),
            None if known.ignored(group) || groups.get(group).is_none() => drop(orphans.insert(group)),
            None => {}
        })?;
        for group in orphans.intersection(&self.orphans) {
            self.kernel.forget_rest(*group);
        }
        self.orphans = orphans;
        for key in &foreign {
            self.kernel.forget_destination(key);
        }
        for group in foreign.iter().map(|key| key.group).collect::<HashSet<_>>() {
            self.kernel.groups.set_destinations(group, 0);
        }
        self.kernel.set_destinations(used);
        Ok(())
    }

    /// Forgets what nothing happened with for a while.
    fn forget(&mut self, tcp: &mut Tcp, inventory: &Inventory, now: Instant) {
        let gone = idle(tcp, inventory, now);
        if gone.is_empty() {
            return;
        }
        let mut left: HashMap<u64, u32> = HashMap::new();
        for key in &gone {
            let latest = self.kernel.forget_destination(key);
            tcp.forget(key, latest, now);
            left.entry(key.group).or_default();
        }
        tcp.count_by_group(&mut left);
        for (group, used) in left {
            self.kernel.groups.set_destinations(group, used);
        }
    }

    fn listeners(&mut self, listeners: &mut Listeners) -> Result<(), SourceError> {
        let (known, own, processes) = (&self.known, self.netns, self.processes);
        self.kernel.listeners(|listener| {
            if let Some(who) = known.who(listener.group) {
                let listening =
                    Listening { at: listener.at, only: listener.only, host: listener.netns == own };
                let process = processes.then_some(listener.process);
                listeners.take(who.number, listening, u64::from(listener.netns), process);
            }
        })
    }

    /// Numbers of the whole.
    pub(super) fn numbers(&self) -> Numbers {
        self.kernel.numbers()
    }

    /// Memory of the maps, bytes.
    pub(super) fn memory(&self) -> u64 {
        self.kernel.memory()
    }
}

/// Notes who the containers are now, and forgets what nothing happened with for a while: the kernel's entries of it.
pub(super) fn idle(tcp: &mut Tcp, inventory: &Inventory, now: Instant) -> Vec<Destination> {
    tcp.rename(|number| inventory.current(number).map(|who| who.number));
    tcp.idle(inventory.settings().retention, now)
}

/// Inode of the agent's own network namespace.
pub(super) fn own_netns() -> Result<u32, SourceError> {
    let inode = namespace::inode(Path::new("/proc/self/ns/net"))
        .map_err(|cause| SourceError::io("looking at the agent's own network namespace", cause))?;
    Ok(u32::try_from(inode).unwrap_or_default())
}

/// Whether the agent is in the first pid namespace, from which all processes are seen.
pub(super) fn sees_all_processes() -> bool {
    namespace::inode(Path::new("/proc/self/ns/pid")).ok() == Some(FIRST_PID_NAMESPACE)
}

/// What the programs are told.
pub(super) fn limits(settings: &Settings, netns: u32) -> Limits {
    Limits {
        destinations: u32::try_from(entries(settings.total)).unwrap_or(u32::MAX),
        connections: settings.connections,
        loopback: settings.loopback,
        translate: settings.translate,
        netns,
    }
}

/// What is kept of connections, whichever way they are read.
pub(super) fn totals(settings: &Settings) -> Tcp {
    let folding =
        Folding { public: settings.public == Public::Fold, networks: settings.networks.clone(), ports: None };
    Tcp::new(folding, DestinationShares::new(settings.destinations, settings.total))
}
