//! The programs in the kernel: loading them, what works, and reading their maps. The library for it (aya) is only here.
//!
//! The sources of the programs are in `bpf/`. Each is loaded by itself, so that what a kernel refuses takes only its part:
//! without `set_state` there is nothing, without one of the others there is a line in [`Kernel::missing`].

use crate::reading::SourceError;
use crate::sys::{bpf, process};
use aya::maps::{Array, HashMap, IterableMap, MapData, RingBuf};
use aya::programs::{BtfTracePoint, Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};
use records::{
    DESTINATION, Destination, ENDPOINT, GROUP, Group, LISTENER, Listener, QUESTION, Question, TOTALS, Totals,
};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod limits;
pub mod records;

pub use limits::{Limits, Numbers};

/// The object that `make bpf` makes of `bpf/`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../bpf/connscope.bpf.o");

/// What the kernel wants of whoever loads these programs.
const CAPABILITIES: &str = "CAP_BPF and CAP_PERFMON";

/// Control groups that are known at once; `groups` and `rest` in `bpf/`.
pub const GROUPS: usize = 4096;

type Map<const K: usize, const V: usize> = HashMap<MapData, [u8; K], [u8; V]>;

/// The programs and the maps that are read once a cycle.
pub struct Kernel {
    ebpf: Ebpf,
    destinations: Map<DESTINATION, TOTALS>,
    rest: Map<8, TOTALS>,
    /// The control groups that it has met.
    pub groups: Arc<Groups>,
    listeners: Map<8, LISTENER>,
    numbers: Array<MapData, u64>,
    /// Programs that the kernel did not take, with what it said.
    pub missing: Vec<(&'static str, String)>,
}

/// The control groups that the kernel has met.
pub struct Groups(Mutex<Map<8, GROUP>>);

/// The maps that answers to questions go into.
pub struct Answers {
    answers: Map<QUESTION, ENDPOINT>,
    direct: Map<ENDPOINT, 8>,
}

/// What the kernel reports at once.
pub struct Ring(RingBuf<MapData>);

impl Kernel {
    /// Loads and attaches the programs.
    pub fn load(limits: Limits) -> Result<(Self, Answers, Ring), SourceError> {
        let loaded = load(limits);
        process::give_memory_back();
        loaded
    }

    /// Finds the sockets that are open already; where it is called again, those that were missed since.
    pub fn find_existing(&mut self) -> Result<(), SourceError> {
        self.pass("existing_sockets", "looking for sockets that are open already")
    }

    /// Credits what open connections have done since the last time.
    pub fn look_at_open(&mut self) -> Result<(), SourceError> {
        self.pass("open_connections", "looking at open connections")
    }

    /// Whether the kernel took a program.
    pub fn has(&self, program: &str) -> bool {
        self.missing.iter().all(|(missing, _)| *missing != program)
    }

    fn pass(&mut self, program: &'static str, doing: &'static str) -> Result<(), SourceError> {
        if !self.has(program) {
            return Ok(());
        }
        let mut pass = || -> Result<(), ProgramError> {
            let iter: &mut Iter = program_mut(&mut self.ebpf, program)?;
            let link = iter.attach()?;
            let mut file = iter
                .take_link(link)?
                .into_file()
                .map_err(|error| ProgramError::IOError(io::Error::other(error)))?;
            // Nothing is written; reading is what makes the kernel go on.
            let mut nothing = [0; 64];
            while file.read(&mut nothing).map_err(ProgramError::IOError)? > 0 {}
            Ok(())
        };
        pass().map_err(|error| refused(doing, error))
    }

    /// Every destination with its numbers.
    pub fn destinations(&self, mut take: impl FnMut(Destination, Totals)) -> Result<(), SourceError> {
        read(&self.destinations, "destinations", |key, value| {
            if let (Some(key), Some(value)) = (Destination::parse(key), Totals::parse(value)) {
                take(key, value);
            }
        })
    }

    /// What found no room, by control group.
    pub fn rest(&self, mut take: impl FnMut(u64, Totals)) -> Result<(), SourceError> {
        read(&self.rest, "rest", |key, value| {
            if let Some(value) = Totals::parse(value) {
                take(u64::from_ne_bytes(*key), value);
            }
        })
    }

    /// Every listening socket.
    pub fn listeners(&self, mut take: impl FnMut(Listener)) -> Result<(), SourceError> {
        read(&self.listeners, "listeners", |_, value| {
            if let Some(listener) = Listener::parse(value) {
                take(listener);
            }
        })
    }

    /// Forgets a destination that nothing happened with for a while.
    pub fn forget_destination(&mut self, key: &Destination) {
        drop(self.destinations.remove(&key.bytes()));
    }

    /// Forgets a control group that is gone.
    pub fn forget_group(&mut self, key: u64) {
        // In this order: the kernel makes both where the group is not there.
        drop(self.rest.remove(&key.to_ne_bytes()));
        drop(self.groups.lock().remove(&key.to_ne_bytes()));
    }

    /// Says how many destinations there are: the kernel counts those that come, and not those that are forgotten.
    pub fn set_destinations(&mut self, used: u64) {
        drop(self.numbers.set(0, used, 0));
    }

    /// Numbers of the whole.
    pub fn numbers(&self) -> Numbers {
        let number = |place| self.numbers.get(&place, 0).unwrap_or_default();
        Numbers {
            destinations: number(0),
            followed: number(1),
            lost: number(2) + self.interrupted(),
            no_destination: number(3),
            no_connection: number(4),
            no_group: number(5),
            no_listener: number(6),
        }
    }

    /// Runs that were left out because a program is not run while it runs on the same CPU.
    fn interrupted(&self) -> u64 {
        let programs = self.ebpf.programs().filter_map(|(_, program)| program.fd().ok());
        programs.filter_map(|program| bpf::number(program.as_fd(), "recursion_misses")).sum()
    }

    /// Memory of the maps of this and of the answers, bytes.
    pub fn memory(&self) -> u64 {
        let own = [map(&self.destinations), map(&self.rest), map(&self.listeners)];
        let own: u64 = own.iter().filter_map(|map| bpf::number(*map, "memlock")).sum();
        own + self.groups.memory()
    }
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, Map<8, GROUP>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A control group that the kernel has met.
    pub fn get(&self, key: u64) -> Option<Group> {
        self.lock().get(&key.to_ne_bytes(), 0).ok().and_then(|value| Group::parse(&value))
    }

    /// The keys of all.
    pub fn keys(&self) -> Vec<u64> {
        self.lock().keys().filter_map(Result::ok).map(u64::from_ne_bytes).collect()
    }

    /// Has the kernel count no more of a control group.
    pub fn ignore(&self, key: u64) {
        self.write(key, &Group::ignored());
    }

    /// Says how many destinations a group has: the kernel counts those that come, and not those that are forgotten.
    pub fn set_destinations(&self, key: u64, used: u32) {
        let value = self.lock().get(&key.to_ne_bytes(), 0);
        if let Ok(value) = value {
            self.write(key, &Group::with_destinations(value, used));
        }
    }

    fn write(&self, key: u64, value: &[u8; GROUP]) {
        // It may be gone.
        drop(self.lock().insert(key.to_ne_bytes(), value, BPF_EXIST));
    }

    fn memory(&self) -> u64 {
        bpf::number(map(&self.lock()), "memlock").unwrap_or_default()
    }
}

impl Answers {
    /// Says what a connection got; whether there was room for it.
    pub fn answer(&mut self, question: Question, got: SocketAddr) -> bool {
        self.answers.insert(question.bytes(), records::endpoint(got), 0).is_ok()
    }

    /// Takes an answer back that the kernel had no use for.
    pub fn withdraw(&mut self, question: Question) -> Option<SocketAddr> {
        let key = question.bytes();
        let got = self.answers.get(&key, 0).ok()?;
        self.answers.remove(&key).ok()?;
        records::parse_endpoint(&got)
    }

    /// A destination that is not asked about until then, nanoseconds of the monotonic clock.
    pub fn direct(&mut self, asked: SocketAddr, until: u64) -> bool {
        self.direct.insert(records::endpoint(asked), until.to_ne_bytes(), 0).is_ok()
    }

    /// Forgets that a destination is not to be asked about.
    pub fn forget_direct(&mut self, asked: SocketAddr) {
        drop(self.direct.remove(&records::endpoint(asked)));
    }

    /// Memory of its maps, bytes.
    pub fn memory(&self) -> u64 {
        [map(&self.answers), map(&self.direct)].iter().filter_map(|map| bpf::number(*map, "memlock")).sum()
    }
}

impl Ring {
    /// Takes the next event; `None` if there is none.
    pub fn take(&mut self) -> Option<records::Event> {
        while let Some(item) = self.0.next() {
            if let Some(event) = records::Event::parse(&item) {
                return Some(event);
            }
        }
        None
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `BPF_EXIST`: only where there is an entry.
const BPF_EXIST: u64 = 2;

fn map<const K: usize, const V: usize>(map: &Map<K, V>) -> BorrowedFd<'_> {
    map.map().fd().as_fd()
}

fn read<const K: usize, const V: usize>(
    from: &Map<K, V>,
    name: &str,
    take: impl FnMut(&[u8; K], &[u8; V]),
) -> Result<(), SourceError> {
    let doing = || format!("reading the BPF map {name}");
    bpf::entries(map(from), take)
        .map(drop)
        .map_err(|cause| SourceError::from_io(doing(), CAPABILITIES, cause))
}

/// The kernel's types, which the programs are fitted to.
fn types() -> Result<Btf, SourceError> {
    Btf::from_sys_fs().map_err(|cause| {
        SourceError::absent(
            "reading the kernel's types (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)",
            cause,
        )
    })
}

/// Whether the kernel tells its types.
pub fn btf() -> Result<String, SourceError> {
    let read = types().map(|_| "the kernel tells its types".to_owned());
    process::give_memory_back();
    read
}

fn load(limits: Limits) -> Result<(Kernel, Answers, Ring), SourceError> {
    const DOING: &str = "loading the programs for TCP into the kernel";
    let btf = types()?;
    let (loopback, translate) = (u32::from(limits.loopback), u32::from(limits.translate));
    let mut ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("destination_limit", &limits.destinations, true)
        .override_global("connection_limit", &limits.connections, true)
        .override_global("agent_netns", &limits.netns, true)
        .override_global("all_loopback", &loopback, true)
        .override_global("translate", &translate, true)
        .map_max_entries("destinations", limits.destinations)
        // Those that connect while so many are followed already.
        .map_max_entries("connections", limits.connections + 1024)
        .load(OBJECT)
        .map_err(|cause| refused(DOING, cause))?;
    let mut missing = Vec::new();
    trace(&mut ebpf, &btf, "set_state", "inet_sock_set_state").map_err(|cause| refused(DOING, cause))?;
    // Which of the two fits depends on the arguments of the tracepoint; the kernel compares them with its BTF.
    let retransmit = trace(&mut ebpf, &btf, "retransmit", "tcp_retransmit_skb")
        .or_else(|_| trace(&mut ebpf, &btf, "retransmit_before", "tcp_retransmit_skb"));
    let mut optional = |name, result: Result<(), ProgramError>| {
        if let Err(error) = result {
            missing.push((name, short(&error)));
        }
    };
    optional("retransmit", retransmit);
    for (name, kind) in [("existing_sockets", "task_file"), ("open_connections", "bpf_map")] {
        let load = program_mut::<Iter>(&mut ebpf, name).and_then(|iter| iter.load(kind, &btf));
        optional(name, load);
    }
    let answers = Answers { answers: take(&mut ebpf, "answers")?, direct: take(&mut ebpf, "direct")? };
    let ring = Ring(take(&mut ebpf, "ring")?);
    let kernel = Kernel {
        destinations: take(&mut ebpf, "destinations")?,
        rest: take(&mut ebpf, "rest")?,
        groups: Arc::new(Groups(Mutex::new(take(&mut ebpf, "groups")?))),
        listeners: take(&mut ebpf, "listeners")?,
        numbers: take(&mut ebpf, "numbers")?,
        ebpf,
        missing,
    };
    Ok((kernel, answers, ring))
}

fn take<T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &mut Ebpf,
    name: &str,
) -> Result<T, SourceError> {
    let doing = || format!("opening the BPF map {name}");
    let map =
        ebpf.take_map(name).ok_or_else(|| SourceError::absent(doing(), "the object has no such map"))?;
    T::try_from(map).map_err(|cause| SourceError::io(doing(), cause))
}

fn program_mut<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn trace(ebpf: &mut Ebpf, btf: &Btf, program: &str, tracepoint: &str) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = program_mut(ebpf, program)?;
    program.load(tracepoint, btf)?;
    program.attach().map(drop)
}

/// Sorts an error of the library by the error number that is under it.
fn refused(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            let error = io::Error::from_raw_os_error(error);
            return match error.raw_os_error() {
                // A kernel without the program type, the map type or the system call.
                Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP) => SourceError::absent(doing, error),
                _ => SourceError::from_io(doing, CAPABILITIES, error),
            };
        }
        cause = error.source();
    }
    SourceError::io(doing, short(&error))
}

/// An error without what the verifier says line by line.
fn short(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
