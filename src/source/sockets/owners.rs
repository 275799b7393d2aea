//! Processes and control groups of sockets, each looked up once.

use super::accept::is_queued;
use super::diag::Record;
use crate::host::cgroup::{self, Cgroups};
use crate::host::process::{Process, Processes, WalkOptions};
use crate::reading::SourceError;
use paths::Paths;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

mod paths;

/// Number of walks over `/proc` after which the process of a socket counts as not found.
const WALKS: u64 = 2;

/// Owner of a socket.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// The processes that have the socket open, lowest PID first.
    pub processes: Vec<Arc<Process>>,
    /// Control group of the first process, if the kernel does not report that of the socket.
    pub cgroup: Option<Arc<str>>,
}

/// A socket whose owner is looked up.
#[derive(Debug, Clone, Copy)]
struct SocketQuery {
    inode: u32,
    /// Number of walks that had ended when the socket was first requested.
    since: u64,
}

/// Owners of the sockets of the last cycle.
#[derive(Debug)]
pub struct Owners {
    processes: Processes,
    options: WalkOptions,
    /// Whether the control group is that of the process.
    by_process: bool,
    known: HashMap<u64, Option<Arc<Owner>>>,
    wanted: HashMap<u64, SocketQuery>,
    /// Cookies of connections in accept queues: no process has them yet.
    queued: HashSet<u64>,
    rounds: u64,
    /// Shared texts of [`Owner::cgroup`].
    paths: Paths,
    /// Number of sockets whose process was not found, so far.
    pub unattributed: u64,
}

impl Owners {
    /// Creates it without owners.
    pub fn new(options: WalkOptions, by_process: bool) -> Result<Self, SourceError> {
        Ok(Self {
            processes: Processes::new()?,
            options,
            by_process,
            known: HashMap::new(),
            wanted: HashMap::new(),
            queued: HashSet::new(),
            rounds: 0,
            paths: Paths::default(),
            unattributed: 0,
        })
    }

    /// Requests the owner of a socket.
    pub fn want(&mut self, record: &Record<'_>) {
        let Record { cookie, inode, .. } = *record;
        if self.known.contains_key(&cookie) {
            return;
        }
        self.queued.remove(&cookie);
        if inode != 0 {
            self.wanted.entry(cookie).or_insert(SocketQuery { inode, since: self.rounds });
            return;
        }
        self.wanted.remove(&cookie);
        // The connection is not accepted yet; in other states its process has closed it, and it has no owner.
        if is_queued(record) {
            self.queued.insert(cookie);
        }
    }

    /// Looks up the requested owners, within the budget.
    pub fn look_up(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let outcome = self.processes.look_up(self.wanted.values().map(|wanted| wanted.inode), self.options);
        self.rounds = outcome.rounds;
        let (known, by_process, rounds) = (&mut self.known, self.by_process, self.rounds);
        let mut paths: HashMap<u32, Option<Arc<str>>> = HashMap::new();
        let shared = &mut self.paths;
        let mut missing = 0;
        self.wanted.retain(|cookie, wanted| {
            let processes: Vec<Arc<Process>> =
                outcome.holders(wanted.inode).iter().map(|holder| Arc::clone(&holder.process)).collect();
            match processes.first() {
                Some(first) => {
                    let path = by_process.then(|| {
                        let found = || cgroup::of_process(first.pid).map(|path| shared.share(&path));
                        paths.entry(first.pid).or_insert_with(found).clone()
                    });
                    known.insert(*cookie, Some(Arc::new(Owner { processes, cgroup: path.flatten() })));
                    false
                }
                None if outcome.complete || rounds >= wanted.since + WALKS => {
                    known.insert(*cookie, None);
                    missing += 1;
                    false
                }
                None => true,
            }
        });
        self.unattributed += missing;
    }

    /// The owner of a socket: `None` while unknown, `Some(None)` if there is none.
    pub fn of(&self, cookie: u64) -> Option<Option<&Arc<Owner>>> {
        match self.known.get(&cookie) {
            Some(owner) => Some(owner.as_ref()),
            None if self.wanted.contains_key(&cookie) || self.queued.contains(&cookie) => None,
            None => Some(None),
        }
    }

    /// Removes all sockets but these.
    pub fn keep(&mut self, there: &HashSet<u64>) {
        self.known.retain(|cookie, _| there.contains(cookie));
        self.wanted.retain(|cookie, _| there.contains(cookie));
        self.queued.retain(|cookie| there.contains(cookie));
        self.paths.sweep();
    }
}

/// How the control group of a socket is determined.
#[derive(Debug)]
pub enum ByCgroup {
    /// The control group is not looked up: no setting needs it.
    No,
    /// By the cgroup id in each message.
    Id(Box<Cgroups>),
    /// By the process: the machine uses cgroup v1.
    Process,
}

impl ByCgroup {
    /// The best method that this machine has.
    pub fn detect() -> Self {
        let Ok(mut cgroups) = Cgroups::new() else { return Self::Process };
        cgroups.walk();
        // Cgroup v2 may be mounted beside v1 and unused: then every socket is in its root.
        if cgroups.latest().directories <= 1 && cgroup::has_version_1() {
            return Self::Process;
        }
        Self::Id(Box::new(cgroups))
    }

    /// The path of the control group with this id.
    pub fn path(&mut self, id: Option<u64>) -> Option<Arc<str>> {
        match self {
            Self::Id(cgroups) => id.and_then(|id| cgroups.path(id)),
            Self::No | Self::Process => None,
        }
    }

    /// Whether the path of an id is still being looked up.
    pub fn is_pending(&self, id: Option<u64>) -> bool {
        match self {
            Self::Id(cgroups) => id.is_some_and(|id| cgroups.is_pending(id)),
            Self::No | Self::Process => false,
        }
    }
}

/// Options of the walk over processes.
pub fn walk_options(budget: Duration, all_holders: bool, command: bool) -> WalkOptions {
    WalkOptions { budget, all_holders, command }
}
