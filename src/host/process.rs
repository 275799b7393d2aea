//! The processes that have a socket open, by the inode of the socket: a walk over `/proc/PID/fd`.
//!
//! The descriptor of a socket is a link to `socket:[INODE]` (`sockfs_dname` in `net/socket.c`). The process of an inode
//! is found only by reading every descriptor of every process. That costs about three times as much as the kernel's
//! dump of the sockets, so a walk has a time budget, and the next one continues where it ended.
//!
//! Inodes of sockets are unique over all network namespaces, and have 32 bits (`get_next_ino` in `fs/inode.c`), so they
//! are reused eventually. A socket in transit in a message (`SCM_RIGHTS`) and a socket of the kernel have no process,
//! and one in a descriptor table private to a thread (`unshare(CLONE_FILES)`) is not visible.

#![expect(clippy::disallowed_methods, reason = "a walk has a budget")]

use crate::reading::SourceError;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, openat, readlinkat_raw, seek};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod identity;

pub use identity::{Process, parent, socket_inode, start_time};

/// Number of descriptors read between two checks of the time.
const STEP: usize = 64;

/// Size of the buffer for `getdents64(2)`, bytes; a descriptor takes 24.
const ENTRIES: usize = 32 * 1024;

/// Options of a walk over `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct WalkOptions {
    /// Time budget of the walk; exceeded by at most 64 descriptors or one process.
    pub budget: Duration,
    /// Whether every process with the socket is needed. If not, the walk ends when each socket has one.
    pub all_holders: bool,
    /// Whether command lines are needed. Reading one waits while the process changes its memory map.
    pub command: bool,
}

/// A process that has a socket open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Inode of the socket.
    pub inode: u32,
    /// The process that has the socket open.
    pub process: Arc<Process>,
}

/// Result of a walk over `/proc`.
#[derive(Debug, Default)]
pub struct WalkResult {
    /// Sorted by inode, then by PID; each pair once.
    holders: Vec<Holder>,
    /// Whether the walk read every process, or found every socket.
    pub complete: bool,
    /// Number of walks that have reached the end of `/proc`. A socket that was requested in every call and not found
    /// while this increased by two has no visible process.
    pub rounds: u64,
    /// Processes whose descriptors were read.
    pub processes_read: usize,
    /// Processes whose descriptors this process may not read.
    pub denied: usize,
    /// Descriptors that were read.
    pub descriptors: usize,
}

impl WalkResult {
    /// The processes that have a socket, lowest PID first. Without [`WalkOptions::all_holders`] only the first that was
    /// found, which has the lowest PID unless an earlier walk exceeded its budget.
    pub fn holders(&self, inode: u32) -> &[Holder] {
        let from = self.holders.partition_point(|holder| holder.inode < inode);
        let to = self.holders.partition_point(|holder| holder.inode <= inode);
        self.holders.get(from..to).unwrap_or_default()
    }

    /// All holders, sorted by inode, then by PID.
    pub fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter()
    }
}

/// The processes of this machine, as far as `/proc` shows them.
#[derive(Debug)]
pub struct Processes {
    proc: OwnedFd,
    position: ProcPosition,
    rounds: u64,
    wanted: Vec<u32>,
    found: Vec<bool>,
    buffers: Buffers,
}

#[derive(Debug)]
struct Buffers {
    processes: Box<[MaybeUninit<u8>]>,
    descriptors: Box<[MaybeUninit<u8>]>,
    text: Vec<u8>,
}

/// Position at which the next walk begins.
#[derive(Debug, Clone, Copy, Default)]
struct ProcPosition {
    /// Position in `/proc` of the process. Processes are in the order of their PIDs, and the positions are computed
    /// from the PIDs (`proc_pid_readdir` in `fs/proc/base.c`), so a position stays valid when processes come and go.
    position: u64,
    pid: u32,
    /// Position in `fd` of the process, computed from the number of the descriptor (`proc_readfd_common` in
    /// `fs/proc/fd.c`).
    descriptor: u64,
}

/// Result of reading one process.
enum ProcessVisit {
    Done,
    /// Every socket was found.
    Enough,
    /// The budget is exceeded; continue at this position.
    Late(u64),
}

/// A walk in progress.
struct SocketSearch<'a> {
    ask: WalkOptions,
    ends: Instant,
    wanted: &'a [u32],
    found: &'a mut [bool],
    missing: usize,
    /// Maximum number of descriptors read per process.
    each: usize,
    outcome: WalkResult,
}

impl Processes {
    /// Opens `/proc`.
    pub fn new() -> Result<Self, SourceError> {
        let proc =
            rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|cause| {
                    SourceError::from_io("opening /proc", "the permission to open it", cause.into())
                })?;
        let buffers = Buffers {
            processes: Box::new_uninit_slice(ENTRIES),
            descriptors: Box::new_uninit_slice(ENTRIES),
            text: Vec::new(),
        };
        Ok(Self {
            proc,
            position: ProcPosition::default(),
            rounds: 0,
            wanted: Vec::new(),
            found: Vec::new(),
            buffers,
        })
    }

    /// Looks up the processes of these sockets, until all are found, every process was read, or the budget is exceeded.
    /// Inode 0, which `sock_diag` reports for a socket without a process, is ignored.
    pub fn look_up(&mut self, wanted: impl IntoIterator<Item = u32>, ask: WalkOptions) -> WalkResult {
        self.wanted.clear();
        self.wanted.extend(wanted.into_iter().filter(|inode| *inode != 0));
        self.wanted.sort_unstable();
        self.wanted.dedup();
        if self.wanted.is_empty() {
            return WalkResult { complete: true, rounds: self.rounds, ..WalkResult::default() };
        }
        self.walk(ask, usize::MAX)
    }

    fn walk(&mut self, ask: WalkOptions, each: usize) -> WalkResult {
        self.found.clear();
        self.found.resize(self.wanted.len(), false);
        let mut search = SocketSearch {
            ask,
            ends: Instant::now() + ask.budget,
            wanted: &self.wanted,
            found: &mut self.found,
            missing: self.wanted.len(),
            each,
            outcome: WalkResult::default(),
        };
        let began = self.position;
        let mut stopped = search.pass(&self.proc, &mut self.buffers, began, None);
        if stopped.is_none() {
            self.rounds += 1;
            if began.pid > 0 {
                // The part before the beginning of this walk; of its first process, the earlier descriptors.
                stopped = search.pass(&self.proc, &mut self.buffers, ProcPosition::default(), Some(began));
            }
        }
        let mut outcome = search.outcome;
        outcome.complete = stopped.is_none_or(|position| position.pid == 0);
        outcome.rounds = self.rounds;
        outcome.holders.sort_unstable_by_key(|holder| (holder.inode, holder.process.pid));
        outcome.holders.dedup_by_key(|holder| (holder.inode, holder.process.pid));
        self.position = stopped.unwrap_or_default();
        outcome
    }
}

impl SocketSearch<'_> {
    /// Reads the processes from a position to the end of `/proc`, or to `to`. Returns the position of the next walk if
    /// this one ends early: the beginning, if every socket was found.
    fn pass(
        &mut self,
        proc: &OwnedFd,
        buffers: &mut Buffers,
        from: ProcPosition,
        to: Option<ProcPosition>,
    ) -> Option<ProcPosition> {
        seek(proc, SeekFrom::Start(from.position)).ok()?;
        let mut position = from.position;
        let mut visited = false;
        let mut entries = RawDir::new(proc, &mut buffers.processes);
        while let Some(Ok(entry)) = entries.next() {
            let here = std::mem::replace(&mut position, entry.next_entry_cookie());
            let name = entry.file_name();
            let Some(pid) = name.to_str().ok().and_then(|name| name.parse().ok()) else { continue };
            if to.is_some_and(|to| pid > to.pid || pid == to.pid && to.descriptor == 0) {
                return None;
            }
            if visited && Instant::now() >= self.ends {
                return Some(ProcPosition { position: here, pid, descriptor: 0 });
            }
            visited = true;
            let descriptor = if pid == from.pid { from.descriptor } else { 0 };
            let visit = self.visit(proc, pid, name, descriptor, &mut buffers.descriptors, &mut buffers.text);
            match visit {
                // The process has ended, or is not accessible.
                Ok(ProcessVisit::Done) | Err(_) => {}
                Ok(ProcessVisit::Enough) => return Some(ProcPosition::default()),
                Ok(ProcessVisit::Late(descriptor)) => {
                    return Some(ProcPosition { position: here, pid, descriptor });
                }
            }
        }
        None
    }

    fn visit(
        &mut self,
        proc: &OwnedFd,
        pid: u32,
        name: &std::ffi::CStr,
        from: u64,
        buffer: &mut [MaybeUninit<u8>],
        text: &mut Vec<u8>,
    ) -> Result<ProcessVisit, Errno> {
        // Files opened below this directory belong to this process, even if its PID is reused meanwhile.
        let directory =
            openat(proc, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let visit = openat(&directory, c"fd", list, Mode::empty())
            .and_then(|descriptors| self.descriptors(&directory, &descriptors, pid, from, buffer, text));
        match visit {
            Ok(_) => self.outcome.processes_read += 1,
            Err(Errno::ACCESS | Errno::PERM) => self.outcome.denied += 1,
            Err(_) => {}
        }
        visit
    }

    fn descriptors(
        &mut self,
        directory: &OwnedFd,
        descriptors: &OwnedFd,
        pid: u32,
        from: u64,
        buffer: &mut [MaybeUninit<u8>],
        text: &mut Vec<u8>,
    ) -> Result<ProcessVisit, Errno> {
        if from > 0 {
            seek(descriptors, SeekFrom::Start(from))?;
        }
        let mut process = None;
        let mut read = 0;
        let mut position = from;
        let mut link = [MaybeUninit::uninit(); 32];
        let mut entries = RawDir::new(descriptors, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let here = std::mem::replace(&mut position, entry.next_entry_cookie());
            if entry.file_name().to_bytes().first() == Some(&b'.') {
                continue;
            }
            if read == self.each {
                break;
            }
            if read > 0 && read % STEP == 0 && Instant::now() >= self.ends {
                return Ok(ProcessVisit::Late(here));
            }
            read += 1;
            self.outcome.descriptors += 1;
            let target = match readlinkat_raw(descriptors, entry.file_name(), &mut link[..]) {
                Ok((target, _)) => target,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            let Some(inode) = socket_inode(target) else { continue };
            let Ok(index) = self.wanted.binary_search(&inode) else { continue };
            let Some(found) = self.found.get_mut(index) else { continue };
            if *found && !self.ask.all_holders {
                continue;
            }
            let process = if let Some(process) = &process {
                Arc::clone(process)
            } else {
                let read = identity::read(directory, pid, self.ask.command, text)?;
                Arc::clone(process.insert(Arc::new(read)))
            };
            self.missing -= usize::from(!std::mem::replace(found, true));
            self.outcome.holders.push(Holder { inode, process });
            if self.missing == 0 && !self.ask.all_holders {
                return Ok(ProcessVisit::Enough);
            }
        }
        Ok(ProcessVisit::Done)
    }
}

/// Whether `/proc` hides the processes that this one may not inspect (`hidepid=2`, `ProtectProc=invisible`): it has not the
/// capability that sees them, and process 1, which exists in every PID namespace, is not there.
pub fn are_hidden() -> bool {
    let sees = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE));
    !sees && Path::new("/proc/self").exists() && !Path::new("/proc/1").exists()
}

/// Whether the processes of other users can be inspected, as a sentence; the error names what is missing.
pub fn check() -> Result<String, SourceError> {
    let mut processes = Processes::new()?;
    let doing = "looking for the processes that have the sockets open";
    let held = rustix::thread::capabilities(None)
        .map_err(|cause| SourceError::io(doing, std::io::Error::from(cause)))?
        .effective;
    let hidden = are_hidden();
    let ask = WalkOptions { budget: Duration::from_secs(1), all_holders: true, command: false };
    let outcome = processes.walk(ask, 1);
    let (open, closed) = (outcome.processes_read, outcome.denied);
    if open == 0 && closed == 0 {
        return Err(SourceError::absent(doing, "/proc shows no processes; is it mounted?"));
    }
    // CAP_DAC_OVERRIDE includes CAP_DAC_READ_SEARCH.
    let opens = held.intersects(CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE);
    let missing = match (opens, held.contains(CapabilitySet::SYS_PTRACE)) {
        (false, false) => Some("CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"),
        (false, true) => Some("CAP_DAC_READ_SEARCH"),
        (true, false) => Some("CAP_SYS_PTRACE"),
        (true, true) => None,
    };
    match missing {
        Some(capability) if closed > 0 || hidden => {
            let how_many = if hidden {
                "those of others are hidden (hidepid)".to_owned()
            } else {
                format!("{closed} of {} cannot be inspected", open + closed)
            };
            Err(SourceError::Denied { doing: format!("{doing}: {how_many}"), capability, cause: None })
        }
        _ if closed > 0 => Ok(format!(
            "{open} of {} processes can be inspected; the others cannot, although the agent has every capability",
            open + closed
        )),
        _ => Ok(format!("all {open} processes can be inspected")),
    }
}
