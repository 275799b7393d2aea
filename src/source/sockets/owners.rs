//! Whose sockets they are: processes and control groups of the sockets that are there, each looked for once.

use super::diag::{Record, State};
use crate::host::cgroup::{self, Cgroups};
use crate::host::process::{Process, Processes, WalkOptions};
use crate::reading::SourceError;
use paths::Paths;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

mod paths;

/// The end of the second walk after a socket was first looked for: who was not seen then is not to be seen.
const WALKS: u64 = 2;

/// Owners of a socket.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    /// The processes that hold it, lowest pid first.
    pub processes: Vec<Arc<Process>>,
    /// Control group of the first, where the kernel does not tell that of the socket.
    pub cgroup: Option<Arc<str>>,
}

/// A socket whose owner is looked up.
#[derive(Debug, Clone, Copy)]
struct SocketQuery {
    inode: u32,
    /// Walks that had ended when it was first looked for.
    since: u64,
}

/// The owners of the sockets that are there.
#[derive(Debug)]
pub struct Owners {
    processes: Processes,
    ask: WalkOptions,
    /// Whether the control group is that of the process.
    by_process: bool,
    known: HashMap<u64, Option<Arc<Owner>>>,
    wanted: HashMap<u64, SocketQuery>,
    /// In the queue of who listens: no process has them yet.
    queued: HashSet<u64>,
    rounds: u64,
    /// Those of [`Owner::cgroup`].
    paths: Paths,
    /// Sockets without a process to be found, so far.
    pub unattributed: u64,
}

impl Owners {
    /// Nobody is known yet.
    pub fn new(ask: WalkOptions, by_process: bool) -> Result<Self, SourceError> {
        Ok(Self {
            processes: Processes::new()?,
            ask,
            by_process,
            known: HashMap::new(),
            wanted: HashMap::new(),
            queued: HashSet::new(),
            rounds: 0,
            paths: Paths::default(),
            unattributed: 0,
        })
    }

    /// Wants to know whose socket this is.
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
        // Not accepted yet; in the other states its process has closed it, and there is none any more.
        if matches!(record.state, State::Established | State::CloseWait) {
            self.queued.insert(cookie);
        }
    }

    /// Looks for those that are wanted, within the budget.
    pub fn look_up(&mut self) {
        if self.wanted.is_empty() {
            return;
        }
        let outcome = self.processes.look_up(self.wanted.values().map(|wanted| wanted.inode), self.ask);
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

    /// Whose socket it is: `None` while that is not known, `Some(None)` where nobody is to be found.
    pub fn of(&self, cookie: u64) -> Option<Option<&Arc<Owner>>> {
        match self.known.get(&cookie) {
            Some(owner) => Some(owner.as_ref()),
            None if self.wanted.contains_key(&cookie) || self.queued.contains(&cookie) => None,
            None => Some(None),
        }
    }

    /// Forgets all sockets but these.
    pub fn keep(&mut self, there: &HashSet<u64>) {
        self.known.retain(|cookie, _| there.contains(cookie));
        self.wanted.retain(|cookie, _| there.contains(cookie));
        self.queued.retain(|cookie| there.contains(cookie));
        self.paths.sweep();
    }
}

/// How control groups are told: by the id in each message, or by the process.
#[derive(Debug)]
pub enum ByCgroup {
    /// Not asked for.
    No,
    /// By id.
    Id(Box<Cgroups>),
    /// By process: the machine uses control groups of version 1.
    Process,
}

impl ByCgroup {
    /// The best way that this machine has.
    pub fn found() -> Self {
        let Ok(mut cgroups) = Cgroups::new() else { return Self::Process };
        cgroups.look();
        // Version 2 can be mounted beside version 1 without anybody using it: every socket is in its root then.
        if cgroups.latest().known <= 1 && cgroup::has_version_1() {
            return Self::Process;
        }
        Self::Id(Box::new(cgroups))
    }

    /// The path of the control group with an id.
    pub fn path(&mut self, id: Option<u64>) -> Option<Arc<str>> {
        match self {
            Self::Id(cgroups) => id.and_then(|id| cgroups.path(id)),
            Self::No | Self::Process => None,
        }
    }

    /// Whether it can be said only later whose path an id is.
    pub fn waits(&self, id: Option<u64>) -> bool {
        match self {
            Self::Id(cgroups) => id.is_some_and(|id| cgroups.waits(id)),
            Self::No | Self::Process => false,
        }
    }
}

/// What a look at processes is to find out.
pub fn ask(budget: Duration, all_holders: bool, command: bool) -> WalkOptions {
    WalkOptions { budget, all_holders, command }
}
