//! The programs in the kernel that the containers are counted by: which there are, and reading their maps.
//!
//! The sources of the programs are in `bpf/`. What the kernel refuses takes only its part, and [`Kernel::refused`] says
//! why.

use crate::host::bpf::{
    self, Abilities, Loader, Map, Numbers as Array, Programs, Ring as Told, include_bytes_aligned,
};
use crate::metric::label::Reason;
use crate::reading::SourceError;
use records::{
    CONNECTION, ConnectionId, DESTINATION, Destination, ENDPOINT, GROUP, Group, GroupTotals, LISTENER,
    Listener, QUESTION, SPENT, TOTALS, Totals,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod limits;
pub mod records;

pub use limits::{Limits, Numbers, ProgramSelection};

/// The object that `make bpf` makes of `bpf/`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connscope.bpf.o");

/// Control groups that are known at once; `groups` and `rest` in `bpf/`.
pub const GROUPS: usize = 4096;

/// The program that TCP cannot be counted without.
pub const TCP: &str = "set_state";
/// The programs that credit delays.
pub const DELAY_PROGRAMS: &[&str] = &["task_delays", "exit_delays"];
const DELAY: &str = "task_delays";
/// The program that counts processes that are killed because memory ran out.
pub const OOM: &str = "mark_victim";
/// The programs for connections that fail at once.
const IMMEDIATE_FAILURES: &[&str] = &["enter_connect", "exit_call", "enter_call", DENY];
/// The one of them for connections that a security module refuses. A kernel without `CONFIG_SECURITY_NETWORK` has no place for it.
pub const DENY: &str = "deny_connect";

/// How many places of `scratch` in `bpf/group.h` are not of the programs for connections that fail at once.
const SCRATCHES_WITHOUT_CONNECT: u32 = 3;
/// The place of a number in `bpf/group.h`.
const DELAYS_BEGUN: u32 = 7;

/// The programs and the maps that are read once a cycle.
pub struct Kernel {
    programs: Programs,
    /// Why connections that fail at once are counted by the tracepoints of system calls; `None` if they are not.
    pub by_calls: Option<SourceError>,
    destinations: Map<DESTINATION, TOTALS>,
    rest: Map<8, TOTALS>,
    /// The control groups that it has met.
    pub groups: Arc<Groups>,
    listeners: Map<8, LISTENER>,
    spent: Map<8, SPENT>,
    numbers: Array,
}

/// The control groups that the kernel has met.
pub struct Groups(Mutex<Map<8, GROUP>>);

/// The maps that answers to questions go into.
pub struct AnswerMaps {
    /// Connections that are followed.
    followed: Map<8, CONNECTION>,
    given: Map<QUESTION, ENDPOINT>,
    /// Answers whose connection was not there when it was last looked at.
    left: HashSet<ConnectionId>,
    direct: Map<ENDPOINT, 8>,
}

/// An event, which the kernel reports immediately.
pub struct Ring(Told);

/// Attaches the programs for connections that fail at once: where `connect()` begins and ends, or, where the kernel attaches nothing to
/// functions, to all system calls. The latter has a reason.
fn attach_to_connect(loader: &mut Loader) -> Option<SourceError> {
    match loader.function(["enter_connect", "exit_connect"], "inet_stream_connect") {
        Ok(()) => {
            loader.end(DENY, "security_socket_connect");
            None
        }
        // For want of memory or the like: every system call is not made slower for that.
        Err(error) if error.reason() == Reason::Io && bpf::traces_functions() => {
            loader.refuse("enter_connect", error);
            None
        }
        Err(error) => {
            loader.trace_both([("exit_call", "sys_exit"), ("enter_call", "sys_enter")]).then_some(error)
        }
    }
}

impl Kernel {
    /// Loads and attaches the programs that are wanted; [`Self::refused`] says which the kernel did not take.
    pub fn load(wanted: &ProgramSelection) -> Result<(Self, AnswerMaps, Ring), SourceError> {
        let limits = wanted.tcp.unwrap_or(Limits::NONE);
        let immediate = wanted.immediate_failures && wanted.tcp.is_some();
        let globals = |kernel: Abilities| {
            vec![
                ("destination_limit", limits.destinations),
                ("connection_limit", limits.tracked()),
                ("agent_netns", limits.netns),
                ("all_loopback", u32::from(limits.loopback)),
                // Without `open_connections`, nothing takes the answers for open connections.
                ("translate", u32::from(limits.translate && kernel.visits_maps)),
                ("immediate_failures", u32::from(immediate)),
            ]
        };
        let mut entries = vec![("destinations", limits.destinations), ("connections", limits.connections)];
        if wanted.tcp.is_none() {
            entries.extend(["listeners", "direct", "answers"].map(|name| (name, 1)));
        }
        if !immediate {
            entries.extend([("calls", 1), ("scratch", SCRATCHES_WITHOUT_CONNECT)]);
        }
        if !wanted.delay && !wanted.oom {
            entries.push(("spent_by_group", 1));
        }
        let mut loader = Loader::new(OBJECT, globals, &entries)?;
        if wanted.tcp.is_some() {
            loader.trace_any(TCP, &["set_state", "set_state_before"], "inet_sock_set_state");
            loader.trace_any("retransmit", &["retransmit", "retransmit_before"], "tcp_retransmit_skb");
            loader.iterator("existing_sockets", "task_file");
            loader.iterator("open_connections", "bpf_map");
        }
        let by_calls = if immediate { attach_to_connect(&mut loader) } else { None };
        // An exit credits what the passes have not, so the one is of no use without the other.
        if wanted.delay && loader.iterator(DELAY, "task") {
            loader.trace("exit_delays", "sched_process_exit");
        }
        if wanted.oom
            && loader.trace_any(OOM, &["mark_victim", "mark_victim_before"], "mark_victim") == Some(1)
        {
            loader.trace("exit_victim", "sched_process_exit");
        }
        let answers = AnswerMaps {
            followed: loader.map("connections")?,
            given: loader.map("answers")?,
            left: HashSet::new(),
            direct: loader.map("direct")?,
        };
        let ring = Ring(loader.ring("ring")?);
        let destinations = loader.map("destinations")?;
        let (rest, listeners) = (loader.map("rest")?, loader.map("listeners")?);
        let groups = Arc::new(Groups(Mutex::new(loader.map("groups")?)));
        let (spent, numbers) = (loader.map("spent_by_group")?, loader.numbers("numbers")?);
        let programs = loader.finish();
        Ok((
            Self { programs, by_calls, destinations, rest, groups, listeners, spent, numbers },
            answers,
            ring,
        ))
    }

    /// Why the kernel did not take one of these programs.
    pub fn refused_any(&self, programs: &[&str]) -> Option<&SourceError> {
        programs.iter().find_map(|program| self.programs.refused(program))
    }

    /// Why not all connections that fail at once are counted.
    pub fn immediate_failures_refused(&self) -> Option<&SourceError> {
        let counts = |program: &str, error: &SourceError| program != DENY || error.reason() != Reason::Absent;
        let refused = |program: &&str| self.programs.refused(program).filter(|error| counts(program, error));
        IMMEDIATE_FAILURES.iter().find_map(refused)
    }

    /// From now on delays are counted: what was waited by then is not.
    pub fn begin_delays(&mut self) {
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        self.numbers.set(DELAYS_BEGUN, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Credits what all tasks have waited since the last pass. Before [`Self::begin_delays`] it only meets their groups.
    pub fn look_at_tasks(&mut self) -> Result<(), SourceError> {
        self.programs.pass(DELAY, |_| {})
    }

    /// What each control group spent.
    pub fn spent(&self, mut take: impl FnMut(u64, GroupTotals)) -> Result<(), SourceError> {
        self.spent.entries(|key, value| {
            if let Some(value) = GroupTotals::parse(value) {
                take(u64::from_ne_bytes(*key), value);
            }
        })
    }

    /// Finds the sockets that are open already; where it is called again, those that were missed since.
    pub fn find_existing(&mut self) -> Result<(), SourceError> {
        self.pass("existing_sockets")
    }

    /// Credits what open connections have done since the last time.
    pub fn look_at_open(&mut self) -> Result<(), SourceError> {
        self.pass("open_connections")
    }

    /// Every program that the kernel did not take, and why.
    pub fn refused(&self) -> &[(&'static str, SourceError)] {
        self.programs.all_refused()
    }

    fn pass(&mut self, program: &str) -> Result<(), SourceError> {
        if self.programs.refused(program).is_some() {
            return Ok(());
        }
        self.programs.pass(program, |_| {})
    }

    /// Every destination with its numbers, as the map has them.
    pub fn destination_records(
        &self,
        take: impl FnMut(&[u8; DESTINATION], &[u8; TOTALS]),
    ) -> Result<(), SourceError> {
        self.destinations.entries(take)
    }

    /// Every destination with its numbers.
    pub fn destinations(&self, mut take: impl FnMut(Destination, Totals)) -> Result<(), SourceError> {
        self.destination_records(|key, value| {
            if let (Some(key), Some(value)) = (Destination::parse(key), Totals::parse(value)) {
                take(key, value);
            }
        })
    }

    /// Counts over the limit of destinations, by control group.
    pub fn rest(&self, mut take: impl FnMut(u64, Totals)) -> Result<(), SourceError> {
        self.rest.entries(|key, value| {
            if let Some(value) = Totals::parse(value) {
                take(u64::from_ne_bytes(*key), value);
            }
        })
    }

    /// Every listening socket.
    pub fn listeners(&self, mut take: impl FnMut(Listener)) -> Result<(), SourceError> {
        self.listeners.entries(|_, value| {
            if let Some(listener) = Listener::parse(value) {
                take(listener);
            }
        })
    }

    /// Forgets a destination that nothing happened with for a while; its latest numbers, if it was there.
    pub fn forget_destination(&mut self, key: &Destination) -> Option<Totals> {
        let key = key.bytes();
        let latest = self.destinations.get(&key);
        self.destinations.remove(&key);
        latest.and_then(|value| Totals::parse(&value))
    }

    /// Forgets the counts over the limit of a control group.
    pub fn forget_rest(&mut self, group: u64) {
        self.rest.remove(&group.to_ne_bytes());
    }

    /// Forgets a control group that is gone.
    pub fn forget_group(&mut self, key: u64) {
        // In this order: the kernel makes the second only where the first is there.
        self.spent.remove(&key.to_ne_bytes());
        self.groups.lock().remove(&key.to_ne_bytes());
        self.forget_rest(key);
    }

    /// Says how many destinations there are: the kernel counts those that come, and not those that are forgotten.
    pub fn set_destinations(&mut self, used: u64) {
        self.numbers.set(0, used);
    }

    /// Numbers of the whole.
    pub fn numbers(&self) -> Numbers {
        let number = |index| self.numbers.get(index);
        Numbers {
            destinations: number(0),
            followed: number(1),
            lost: number(2) + self.programs.interrupted(),
            no_destination: number(3),
            no_connection: number(4),
            no_group: number(5),
            no_listener: number(6),
        }
    }

    /// Memory of all maps of the programs as the kernel tells it, bytes.
    pub fn memory(&self) -> u64 {
        self.programs.memory()
    }
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, Map<8, GROUP>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A control group that the kernel has met.
    pub fn get(&self, key: u64) -> Option<Group> {
        self.lock().get(&key.to_ne_bytes()).and_then(|value| Group::parse(&value))
    }

    /// The keys of all.
    pub fn keys(&self) -> Vec<u64> {
        self.lock().keys().map(u64::from_ne_bytes).collect()
    }

    /// Has the kernel count no more of a control group.
    pub fn ignore(&self, key: u64) {
        self.lock().change(key.to_ne_bytes(), Group::ignored());
    }

    /// Says how many destinations a group has: the kernel counts those that come, and not those that are forgotten.
    pub fn set_destinations(&self, key: u64, used: u32) {
        let mut groups = self.lock();
        if let Some(value) = groups.get(&key.to_ne_bytes()) {
            groups.change(key.to_ne_bytes(), Group::with_destinations(value, used));
        }
    }
}

impl AnswerMaps {
    /// Says what a connection got; whether there was room for it.
    pub fn answer(&mut self, question: ConnectionId, got: SocketAddr) -> bool {
        self.given.insert(question.bytes(), records::endpoint(got))
    }

    /// Takes an answer back that the kernel had no use for.
    pub fn withdraw(&mut self, question: ConnectionId) -> Option<SocketAddr> {
        let key = question.bytes();
        let got = self.given.get(&key)?;
        self.given.remove(&key).then_some(())?;
        records::parse_endpoint(&got)
    }

    /// A destination that is not asked about until then, nanoseconds of the monotonic clock.
    pub fn direct(&mut self, asked: SocketAddr, until: u64) -> bool {
        self.direct.insert(records::endpoint(asked), until.to_ne_bytes())
    }

    /// Forgets that a destination is not to be asked about.
    pub fn forget_direct(&mut self, asked: SocketAddr) {
        self.direct.remove(&records::endpoint(asked));
    }

    /// Takes the answers away that nobody will look at: their connections have ended, or are not followed.
    ///
    /// # Errors
    ///
    /// The map cannot be read.
    pub fn sweep(&mut self) -> Result<(), SourceError> {
        let mut left = HashSet::new();
        self.given.entries(|key, _| {
            let Some(question) = ConnectionId::parse(key) else { return };
            let connection = self.followed.get(&question.socket.to_ne_bytes());
            if !connection.is_some_and(|connection| question.is_of(&connection)) {
                left.insert(question);
            }
        })?;
        // The end of a connection may still be on its way here, and wants the answer.
        for question in left.intersection(&self.left) {
            self.given.remove(&question.bytes());
        }
        self.left = left;
        Ok(())
    }
}

impl Ring {
    /// Takes the next event; `None` if there is none.
    pub fn take(&mut self) -> Option<records::Event> {
        self.0.take(records::Event::parse)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
