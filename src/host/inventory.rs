//! The inventory of containers and systemd services, shared by all sources.
//!
//! A container is a control group whose path has a container, with its descendants. Every cycle walks over the
//! hierarchies ([`Inventory::refresh`]); a container that lives between two cycles is added by the source that sees its
//! group ([`Inventory::workload`]). Its name is looked up in the files of its engine at once, and, while it is not
//! found, every 10 seconds for a minute. The key of an entry is its identity, so a container that is restarted, or
//! recreated under its name, keeps its entry, with one restart more.
//!
//! # Use by a source
//!
//! 1. At the beginning of a cycle: [`Inventory::refresh`].
//! 2. For a control group reported by the kernel, with hierarchy, id and path, also if it is gone by now:
//!    [`Inventory::workload`]. Store the [`Workload::number`] with the counts; it survives restarts.
//! 3. Before observing: [`Inventory::current`] of each stored number. `None`: the container has ended and its retention
//!    has passed, so the counts are dropped. Another number: its name was found later and is that of another entry, so the
//!    counts are added to that one's. The labels are those of the series.
//! 4. [`Inventory::containers`]: every container and service that runs or ended less than `retention` ago, with its
//!    restarts.

#![expect(
    clippy::disallowed_methods,
    reason = "retention and the retries of names depend on the time, which is read here only"
)]

use crate::host::cgroup::{self, Hierarchy};
use crate::reading::SourceError;
use entries::{Entries, HostLookup};
use entry::TopGroup;
use identity::{ContainerMetadata, Name};
use names::NameFiles;
use names::published::PublishedPorts;
use names::socket::Socket;
use over_limit::OverLimit;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys of a label set: the attributes that identify a container or service, and these.
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
mod container;
mod ended;
pub mod entries;
pub mod entry;
pub mod expiry;
pub mod identity;
pub mod names;
mod over_limit;
mod paths;
mod processes;

pub use container::{Container, Directory};
pub use entry::CgroupRef;
pub use identity::Workload;

/// Sources that refresh within this time share one walk.
const SHARED: Duration = Duration::from_millis(100);

/// How often the files of Docker's containers are looked at for a change of their names.
const RENAMED: Duration = Duration::from_secs(5);

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
    /// When the files of Docker's containers were looked at last.
    looked: Option<Instant>,
    limit: OverLimit,
}

/// Everything outside of this process: the hierarchies and the engines' files.
#[derive(Debug)]
struct HostSources {
    settings: config::Inventory,
    hierarchies: Vec<Hierarchy>,
    names: NameFiles,
    socket: Option<Socket>,
}

/// Numbers of containers and services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadCounts {
    /// Running containers.
    pub containers: u64,
    /// Running systemd services.
    pub units: u64,
    /// Running containers without a name.
    pub unnamed: u64,
    /// Containers and services over the limit so far.
    pub left_out: u64,
    /// Those of them that are there now.
    pub over_limit: u64,
    /// Control groups that the latest walks skipped.
    pub groups_left_out: u64,
    /// The hierarchies in which containers are looked up: `v2`, `memory`, `name=systemd`.
    pub hierarchies: Vec<&'static str>,
}

impl Inventory {
    /// Creates it. Nothing is read before the first [`Inventory::refresh`].
    pub fn new(settings: &config::Inventory) -> Self {
        let outside = HostSources {
            settings: settings.clone(),
            hierarchies: Vec::new(),
            names: NameFiles::below(&settings.root, &settings.names),
            socket: None,
        };
        let entries = Entries::new(settings.limit, settings.retention);
        let (published, limit) = (PublishedPorts::default(), OverLimit::default());
        let inner = Inner { entries, outside, published, refreshed: None, looked: None, limit };
        Self { settings: settings.clone(), inner: Mutex::new(inner) }
    }

    /// The settings under the key `inventory`.
    pub fn settings(&self) -> &config::Inventory {
        &self.settings
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Walks over the control groups, unless that was done less than 100 ms ago. Takes some milliseconds for thousands
    /// of groups, and at most 100 ms per hierarchy. The error is that no hierarchy is mounted.
    pub fn refresh(&self) -> Result<(), SourceError> {
        let now = Instant::now();
        let mut inner = self.inner();
        if inner.looked.is_none_or(|at| now.saturating_duration_since(at) >= RENAMED) {
            inner.look_at_docker(now);
        }
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
            hierarchy.groups.walk();
        }
        let mut groups: Vec<(u32, u64, Arc<str>)> = Vec::new();
        for hierarchy in &outside.hierarchies {
            groups.extend(hierarchy.groups.iter().map(|(id, path)| (hierarchy.number, id, Arc::clone(path))));
        }
        // At the limit, older groups take precedence.
        groups.sort_unstable_by_key(|(hierarchy, id, _)| (*hierarchy, *id));
        for (hierarchy, id, path) in &groups {
            entries.record_group(CgroupRef { hierarchy: *hierarchy, id: *id, path }, now, outside);
        }
        outside.add_answers(entries, now);
        entries.sweep(now, outside);
        // Denied access is reported as long as a running container has no name, and not only when names are looked up.
        outside.names.denied &= entries.iter().any(|entry| entry.ended.is_none() && !entry.named);
        if refreshed.is_none() {
            entries.mark_preexisting();
        }
        processes::find_first(entries, &outside.hierarchies);
        limit.record(entries.over_limit(), self.settings.limit, now);
        *refreshed = Some(now);
        Ok(())
    }

    /// The container or service of a control group; `None` if it is excluded or over the limit. The group may be gone
    /// by now. Its id distinguishes a restarted container from the one before; its path is relative to the root of the
    /// hierarchy. The name of a new container is looked up, which reads up to a dozen small files.
    pub fn workload(&self, group: CgroupRef<'_>) -> Option<Arc<Workload>> {
        let mut inner = self.inner();
        let Inner { entries, outside, .. } = &mut *inner;
        let now = Instant::now();
        outside.add_answers(entries, now);
        let number = entries.record_group(group, now, outside)?;
        entries.get(number).map(|entry| Arc::clone(&entry.workload))
    }

    /// Whether the control group still exists, and was not replaced by another with its path.
    pub fn is_there(&self, group: CgroupRef<'_>) -> bool {
        let CgroupRef { hierarchy, id, path } = group;
        self.inner().outside.is_there(&TopGroup { hierarchy, id, path: path.into() })
    }

    /// Whether the container or service of a control group is over the limit.
    pub fn is_left_out(&self, group: CgroupRef<'_>) -> bool {
        self.inner().entries.is_left_out(group)
    }

    /// The workload that has this number now: the same, or the one that it was merged into; `None` if it is gone.
    pub fn current(&self, number: u64) -> Option<Arc<Workload>> {
        self.inner().entries.get(number).map(|entry| Arc::clone(&entry.workload))
    }

    /// The workload of every number, as [`Self::current`] returns it, for callers with many numbers.
    pub fn by_numbers(&self) -> HashMap<u64, Arc<Workload>> {
        self.inner().entries.by_numbers()
    }

    /// Every container and service that runs, and those that ended less than the retention ago.
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
        inner.entries.iter().map(|entry| Container::of(entry, uptime, groups(entry))).collect()
    }

    /// The TCP ports that Docker publishes for each running container, by workload number. An address may be
    /// unspecified.
    pub fn published(&self) -> Vec<(u64, Arc<[SocketAddr]>)> {
        let mut inner = self.inner();
        inner.look_at_docker(Instant::now());
        let Inner { entries, published, .. } = &*inner;
        running_of_docker(entries).map(|(number, id)| (number, published.of(id))).collect()
    }

    /// Numbers of containers and services.
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

    /// The error if a container has no name and a file that may have it is not readable; it names what is needed.
    pub fn denied(&self) -> Option<SourceError> {
        let inner = self.inner();
        inner.outside.names.denied.then(|| names::denied("the files in which engines keep names"))
    }

    /// The directories that names are read from, in words; the error names those that are closed, or that the settings name and that are
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

/// Number and id of each running container of Docker.
fn running_of_docker(entries: &Entries) -> impl Iterator<Item = (u64, &Arc<str>)> {
    let running = entries.iter().filter(|entry| entry.ended.is_none() && entry.runtime == "docker");
    running.filter_map(|entry| Some((entry.workload.number, entry.container.as_ref()?)))
}

impl Inner {
    /// Reads the files of Docker's containers that have changed: their ports, and their names.
    fn look_at_docker(&mut self, now: Instant) {
        let Self { entries, outside, published, looked, .. } = self;
        *looked = Some(now);
        let ids: Vec<Arc<str>> = running_of_docker(entries).map(|(_, id)| Arc::clone(id)).collect();
        for (id, found) in published.read(outside.names.docker_directories(), &ids) {
            entries.renamed(&id, &found, now, outside);
        }
    }
}

impl HostSources {
    /// Adds the answers of Docker's socket.
    fn add_answers(&mut self, entries: &mut Entries, now: Instant) {
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
            // The kubelet has no link for a sandbox, and the other files may not be readable.
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
