//! Which containers and systemd services there are, and who they are: one inventory for every source that asks.
//!
//! A container is a control group whose path says so, with the groups below it. In every cycle the hierarchies are walked
//! over ([`Inventory::refresh`]); what lives between two cycles is told to the inventory by whoever sees its group
//! ([`Inventory::workload`]). Its name comes from the files of its engine, at once and, where nobody knows it, again every 10
//! seconds for a minute. An entry is known by its identity, so that a container that is restarted, or recreated under
//! its name, is the same one with one restart more.
//!
//! # Use by a source
//!
//! 1. Once a cycle, first: [`Inventory::refresh`].
//! 2. For a control group that the kernel named, with hierarchy, id and path, also when it is gone by now:
//!    [`Inventory::workload`]. Keep the [`Workload::number`] with what is counted; it survives restarts.
//! 3. Before observing: [`Inventory::current`] of each number kept. `None`: it has ended and its retention is over, so
//!    what was counted goes. Another number than the one asked for: its name was found late and it is that container, so
//!    what was counted is added to that one's. Its labels are those of the series.
//! 4. [`Inventory::containers`]: every one that is there or ended less than `retention` ago, with its restarts.

#![expect(
    clippy::disallowed_methods,
    reason = "what ended and what is asked again is told by the clock, here alone"
)]

use crate::host::cgroup::{self, Hierarchy};
use crate::reading::SourceError;
use entries::{Entries, HostLookup};
use entry::{Entry, TopGroup};
use identity::{ContainerMetadata, Name};
use names::NameFiles;
use names::published::PublishedPorts;
use names::socket::Socket;
use over_limit::OverLimit;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys of a label set: the attributes that identify a container or service, and further ones.
macro_rules! workload_and {
    ($($label:ident),*) => {
        &[
            Label::ContainerId,
            Label::ContainerName,
            Label::K8sContainerName,
            Label::K8sNamespaceName,
            Label::K8sPodName,
            Label::SystemdUnit,
            $(Label::$label,)*
        ]
    };
}
pub(crate) use workload_and;

pub mod config;
mod ended;
pub mod entries;
pub mod entry;
pub mod expiry;
pub mod identity;
pub mod names;
mod over_limit;
mod paths;
mod processes;

pub use entry::CgroupRef;
pub use identity::Workload;

/// Sources that ask in the same cycle share one walk.
const SHARED: Duration = Duration::from_millis(100);

/// The containers and services of this machine.
#[derive(Debug)]
pub struct Inventory {
    settings: config::Inventory,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    entries: Entries,
    outside: HostSources,
    published: PublishedPorts,
    refreshed: Option<Instant>,
    limit: OverLimit,
}

/// What is outside of this process: the hierarchies, and the engines.
#[derive(Debug)]
struct HostSources {
    settings: config::Inventory,
    hierarchies: Vec<Hierarchy>,
    names: NameFiles,
    socket: Option<Socket>,
}

/// One container or service.
#[derive(Debug, Clone)]
pub struct Container {
    /// Name and attributes.
    pub workload: Arc<Workload>,
    /// Its id; `None` of what has none.
    pub id: Option<Arc<str>>,
    /// Its image as the engine writes it, at most 256 bytes; empty where that is not known.
    pub image: Arc<str>,
    /// What runs it (`docker`, `containerd`, `cri-o`, `podman`, `lxc`); empty where that is not known.
    pub runtime: &'static str,
    /// Path of its control group.
    pub cgroup: Arc<str>,
    /// How often it was restarted since the agent knows it.
    pub restarts: u64,
    /// For how long its first process has been running, in seconds; `None` where there is none, or it cannot be seen.
    pub uptime: Option<f64>,
    /// Its first process, in the agent's pid namespace; `None` where there is none, or it cannot be seen.
    pub process: Option<u32>,
    /// Whether it has ended, less than the retention ago.
    pub ended: bool,
    /// Whether it was there before the agent, and was not restarted since.
    pub before: bool,
    /// The directories of its own control groups, one for each hierarchy that is looked at; empty once it has ended.
    pub groups: Vec<Directory>,
}

impl Container {
    /// Whether it is a service of systemd and no container.
    pub fn is_unit(&self) -> bool {
        self.id.is_none() && self.runtime.is_empty()
    }
}

/// The directory of a control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Number of its hierarchy; 0 is version 2.
    pub hierarchy: u32,
    /// Id of the control group: the inode of its directory.
    pub id: u64,
    /// Path of the directory.
    pub path: PathBuf,
    /// Path of the control group from the root of its hierarchy.
    pub group: Arc<str>,
}

/// Numbers of containers, services and those without a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadCounts {
    /// Containers that are there.
    pub containers: u64,
    /// Systemd services that are there.
    pub units: u64,
    /// Of the containers, those that nobody knows a name of.
    pub unnamed: u64,
    /// Containers and services over the limit so far.
    pub left_out: u64,
    /// Those of them that are there now.
    pub over_limit: u64,
    /// Control groups that the latest walks knew of and did not look at.
    pub groups_left_out: u64,
    /// Where containers are looked for: `v2`, `memory`, `name=systemd`.
    pub hierarchies: Vec<&'static str>,
}

impl Inventory {
    /// Nothing is looked at before the first [`Inventory::refresh`].
    pub fn new(settings: &config::Inventory) -> Self {
        let outside = HostSources {
            settings: settings.clone(),
            hierarchies: Vec::new(),
            names: NameFiles::below(&settings.root, &settings.names),
            socket: None,
        };
        let entries = Entries::new(settings.limit, settings.retention);
        let (published, limit) = (PublishedPorts::default(), OverLimit::default());
        let inner = Inner { entries, outside, published, refreshed: None, limit };
        Self { settings: settings.clone(), inner: Mutex::new(inner) }
    }

    /// The settings under the key `inventory`.
    pub fn settings(&self) -> &config::Inventory {
        &self.settings
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks over the control groups, unless that was done less than 100 ms ago. Takes some milliseconds for thousands of
    /// groups, and no more than 100 ms a hierarchy. The error says that no hierarchy is mounted.
    pub fn refresh(&self) -> Result<(), SourceError> {
        let now = Instant::now();
        let mut inner = self.inner();
        let Inner { entries, outside, refreshed, limit, .. } = &mut *inner;
        if refreshed.is_some_and(|at| now.saturating_duration_since(at) < SHARED) {
            return Ok(());
        }
        if outside.hierarchies.is_empty() {
            outside.hierarchies = cgroup::hierarchies()?;
        }
        if outside.socket.is_none()
            && let Some(path) = outside.names.socket()
        {
            let started = Socket::new(path.to_owned());
            outside.socket =
                Some(started.map_err(|cause| {
                    SourceError::io("starting the thread that asks Docker's socket", cause)
                })?);
        }
        for hierarchy in &mut outside.hierarchies {
            hierarchy.groups.look();
        }
        let mut groups: Vec<(u32, u64, Arc<str>)> = Vec::new();
        for hierarchy in &outside.hierarchies {
            groups.extend(hierarchy.groups.iter().map(|(id, path)| (hierarchy.number, id, Arc::clone(path))));
        }
        // What was there first is kept where there is no room for all.
        groups.sort_unstable_by_key(|(hierarchy, id, _)| (*hierarchy, *id));
        for (hierarchy, id, path) in &groups {
            entries.meet(CgroupRef { hierarchy: *hierarchy, id: *id, path }, now, outside);
        }
        outside.hear(entries, now);
        entries.sweep(now, outside);
        // It is said for as long as somebody is without a name for it, and not only when names are asked for.
        outside.names.denied &= entries.iter().any(|entry| entry.ended.is_none() && !entry.named);
        if refreshed.is_none() {
            entries.all_were_there_before();
        }
        processes::look(entries, &outside.hierarchies);
        limit.look(entries.over_limit(), self.settings.limit, now);
        *refreshed = Some(now);
        Ok(())
    }

    /// Who a control group belongs to; `None`: nobody that is wanted, or there was no room. The group may be gone by now;
    /// its id tells a container that was restarted from the one before, and its path is that from the root of its
    /// hierarchy. One that is not known yet is asked for its name, which reads up to a dozen small files.
    pub fn workload(&self, group: CgroupRef<'_>) -> Option<Arc<Workload>> {
        let mut inner = self.inner();
        let Inner { entries, outside, .. } = &mut *inner;
        let now = Instant::now();
        outside.hear(entries, now);
        let number = entries.meet(group, now, outside)?;
        entries.get(number).map(|entry| Arc::clone(&entry.workload))
    }

    /// Whether the directory of a control group is there, and no other one in its place.
    pub fn is_there(&self, group: CgroupRef<'_>) -> bool {
        let CgroupRef { hierarchy, id, path } = group;
        self.inner().outside.is_there(&TopGroup { hierarchy, id, path: path.into() })
    }

    /// Whether a control group is of something over the limit (`limit`).
    pub fn is_left_out(&self, group: CgroupRef<'_>) -> bool {
        self.inner().entries.is_left_out(group)
    }

    /// Who has this number now: the same, or the one that it turned out to be; `None` once it is gone.
    pub fn current(&self, number: u64) -> Option<Arc<Workload>> {
        self.inner().entries.get(number).map(|entry| Arc::clone(&entry.workload))
    }

    /// What [`Self::current`] says of every number now, for who asks about many.
    pub fn by_numbers(&self) -> HashMap<u64, Arc<Workload>> {
        self.inner().entries.by_numbers()
    }

    /// Every container and service that is there, and those that ended less than the retention ago.
    pub fn containers(&self) -> Vec<Container> {
        let uptime = processes::since_boot();
        let inner = self.inner();
        let groups = |entry| {
            let tops = inner.entries.tops(entry).iter();
            let directory = |top: &TopGroup| {
                let path = inner.outside.hierarchy(top)?.mount.directory(&top.path);
                Some(Directory { hierarchy: top.hierarchy, id: top.id, path, group: Arc::clone(&top.path) })
            };
            tops.filter_map(directory).collect()
        };
        inner.entries.iter().map(|entry| container(entry, uptime, groups(entry))).collect()
    }

    /// The TCP ports that Docker publishes for each container that is running, by its number. An address may be unspecified.
    pub fn published(&self) -> Vec<(u64, Arc<[SocketAddr]>)> {
        let mut inner = self.inner();
        let Inner { entries, outside, published, .. } = &mut *inner;
        let running = entries.iter().filter(|entry| entry.ended.is_none() && entry.runtime == "docker");
        let running: Vec<(u64, Arc<str>)> = running
            .filter_map(|entry| Some((entry.workload.number, Arc::clone(entry.container.as_ref()?))))
            .collect();
        let ids: Vec<Arc<str>> = running.iter().map(|(_, id)| Arc::clone(id)).collect();
        published.look(outside.names.docker_directories(), &ids);
        running.into_iter().map(|(number, id)| (number, published.of(&id))).collect()
    }

    /// Numbers of containers, services and those without a name.
    pub fn tally(&self) -> WorkloadCounts {
        let inner = self.inner();
        let Entries { left_out, .. } = inner.entries;
        let over_limit = inner.entries.over_limit();
        let mut tally = WorkloadCounts { left_out, over_limit, ..WorkloadCounts::default() };
        for entry in inner.entries.iter().filter(|entry| entry.ended.is_none()) {
            let unit = entry.container.is_none() && entry.runtime.is_empty();
            *(if unit { &mut tally.units } else { &mut tally.containers }) += 1;
            tally.unnamed += u64::from(!entry.named);
        }
        for hierarchy in &inner.outside.hierarchies {
            tally.hierarchies.push(hierarchy.word);
            tally.groups_left_out += hierarchy.groups.latest().left_out as u64;
        }
        tally
    }

    /// Whether a container is without a name, and a file that may have one is closed to this process; the error says what
    /// it takes.
    pub fn denied(&self) -> Option<SourceError> {
        let inner = self.inner();
        inner.outside.names.denied.then(|| names::denied("the files in which engines keep names"))
    }

    /// The places that have names, in words; the error names those that are closed, or that the settings name and that are
    /// not there.
    pub fn check_names(&self) -> Result<Vec<String>, SourceError> {
        self.missing_paths().map_or_else(|| self.inner().outside.names.check(), Err)
    }

    /// The paths that the settings name, other than the defaults, and that are not there.
    pub fn missing_paths(&self) -> Option<SourceError> {
        let missing = paths::missing(&self.settings);
        let doing = "looking for the names of containers";
        (!missing.is_empty()).then(|| SourceError::io(doing, missing.join(", ")))
    }
}

fn container(entry: &Entry, now: u64, groups: Vec<Directory>) -> Container {
    let ticks = entry.first.map(|first| now.saturating_sub(first.started));
    Container {
        workload: Arc::clone(&entry.workload),
        id: entry.container.clone(),
        image: Arc::clone(&entry.image),
        runtime: entry.runtime,
        cgroup: Arc::clone(&entry.cgroup),
        restarts: entry.restarts,
        uptime: ticks.map(processes::seconds),
        process: entry.first.map(|first| first.pid),
        ended: entry.ended.is_some(),
        before: entry.before,
        groups,
    }
}

impl HostSources {
    /// Takes the answers of Docker's socket.
    fn hear(&mut self, entries: &mut Entries, now: Instant) {
        let answers: Vec<(String, ContainerMetadata)> =
            self.socket.iter().flat_map(Socket::answers).collect();
        for (id, found) in answers {
            entries.found(&id, &found, now, self);
        }
    }

    fn hierarchy(&self, top: &TopGroup) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.number == top.hierarchy)
    }
}

impl HostLookup for HostSources {
    fn name(&mut self, id: &str, top: &str) -> Option<ContainerMetadata> {
        let found = self.names.of(id);
        if found.is_none() {
            if let Some(socket) = &self.socket {
                socket.ask(id);
            }
            // The kubelet has no link for a sandbox, and the other files may be closed.
            let tops = self.hierarchies.iter().map(|hierarchy| hierarchy.mount.directory(top));
            if cgroup::pod(top).is_some() && tops.into_iter().any(|directory| processes::is_pause(&directory))
            {
                return Some(ContainerMetadata {
                    name: Name::Sandbox(None),
                    runtime: "",
                    image: String::new(),
                });
            }
        }
        found
    }

    fn is_there(&self, top: &TopGroup) -> bool {
        let id = self.hierarchy(top).and_then(|hierarchy| hierarchy.mount.id(&top.path));
        id == Some(top.id)
    }

    fn wants(&self, identity: &str) -> bool {
        let config::Inventory { include, exclude, units, .. } = &self.settings;
        let unit = identity.split('/').nth(1).is_some_and(identity::is_slice);
        (*units || !unit)
            && (include.is_empty() || include.iter().any(|expression| expression.matches(identity)))
            && !exclude.iter().any(|expression| expression.matches(identity))
    }
}
