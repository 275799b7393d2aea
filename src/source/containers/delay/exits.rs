//! Delays by taskstats: each process of a container is asked about once a cycle, and a thread receives the messages of exits.
//!
//! A container that begins and ends between two cycles is not counted, and of a process that does the parent must be known.

use super::credit::Credits;
use super::family::Family;
use super::taskstats::{self, Exit, ProcessDelays};
use crate::host::cgroup::descendants;
use crate::host::inventory::Container;
use crate::netlink::timeouts::DATAGRAM;
use crate::reading::SourceError;
use crate::source::containers::kernel::records::GroupTotals;
use crate::source::containers::spent::WorkloadTotals;
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Exits that are kept between two cycles.
const MAX_EXITS: usize = 65_536;
/// Receive buffer, some thousands of messages; it takes memory only while it is used.
const ROOM: usize = 4 * 1024 * 1024;
/// Most that is read of a list of processes: ten thousand.
const LIST: u64 = 64 * 1024;

/// What the thread has received.
#[derive(Default)]
struct Received {
    exits: Mutex<Vec<Exit>>,
    lost: AtomicU64,
}

impl Received {
    fn lock(&self) -> MutexGuard<'_, Vec<Exit>> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, exit: Exit) {
        let mut exits = self.lock();
        if exits.len() < MAX_EXITS {
            exits.push(exit);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Asks about processes, and receives messages of those that exit.
pub(super) struct ExitReader {
    family: Family,
    received: Arc<Received>,
    credits: Credits,
}

impl ExitReader {
    /// Registers for exits, and starts the thread; it ends with the agent or with this.
    pub(super) fn open(stop: &Stop) -> Result<Self, SourceError> {
        let family = Family::open()?;
        let socket = register(&family)?;
        let received = Arc::new(Received::default());
        let (told, stop) = (Arc::downgrade(&received), stop.clone());
        std::thread::Builder::new()
            .name("containers-exits".to_owned())
            .spawn(move || receive(socket, &told, &stop))
            .map_err(|cause| SourceError::io("starting a thread of the source containers", cause))?;
        Ok(Self { family, received, credits: Credits::default() })
    }

    /// Adds what was waited since the last cycle.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        totals: &mut WorkloadTotals,
    ) -> Result<(), SourceError> {
        let mut alive: HashMap<u32, (u64, ProcessDelays)> = HashMap::new();
        for container in containers {
            for pid in processes(container) {
                if let Some(waited) = self.family.waited(pid)? {
                    alive.insert(pid, (container.workload.number, waited));
                }
            }
        }
        // In this order: of what exits meanwhile there is a message.
        let exits = std::mem::take(&mut *self.received.lock());
        self.credits.update(&alive, &exits, |workload, ProcessDelays { cpu, disk }| {
            totals.add(workload, &GroupTotals { cpu, disk, oom_kills: 0 });
        });
        Ok(())
    }

    /// Messages that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.received.lost.load(Ordering::Relaxed)
    }
}

/// The processes of a container, in the agent's pid namespace.
fn processes(container: &Container) -> Vec<u32> {
    for group in &container.groups {
        let mut found = list(&group.path);
        for below in descendants(&group.path) {
            found.extend(list(&below));
        }
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn list(directory: &Path) -> Vec<u32> {
    let text = crate::sys::read_limited(directory.join("cgroup.procs"), LIST).unwrap_or_default();
    // A process of another pid namespace is 0.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// A socket that receives the exits of all CPUs.
fn register(family: &Family) -> Result<NetlinkSocket, SourceError> {
    const SEQUENCE: u32 = 1;
    let failed = |cause| {
        SourceError::from_io("registering for the exits of tasks with taskstats", "CAP_NET_ADMIN", cause)
    };
    let mut socket = NetlinkSocket::open(rustix::net::netlink::GENERIC, DATAGRAM).map_err(failed)?;
    socket.make_room(ROOM).map_err(failed)?;
    let request = taskstats::exits_request(family.number, SEQUENCE, &crate::sys::possible_cpus());
    socket.send(&request).map_err(failed)?;
    loop {
        let datagram = socket.receive().map_err(failed)?;
        match crate::netlink::messages(datagram, SEQUENCE, |_| Ok::<(), crate::netlink::Malformed>(())) {
            Ok(crate::netlink::Progress::Done) => return Ok(socket),
            Ok(crate::netlink::Progress::Refused(number)) => {
                return Err(failed(std::io::Error::from_raw_os_error(number)));
            }
            // An exit, before the acknowledgement.
            _ => {}
        }
    }
}

fn receive(mut socket: NetlinkSocket, told: &Weak<Received>, stop: &Stop) {
    let mut lost_before = 0;
    while !stop.draining() {
        let result = socket.receive().map(|datagram| {
            if let Some(received) = told.upgrade() {
                // What cannot be read is of a kernel that is not known.
                let _read = taskstats::parse_exits(datagram, |exit| received.add(exit));
            }
        });
        let Some(received) = told.upgrade() else { return };
        if result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOBUFS)) {
            let lost = socket.lost().unwrap_or(lost_before + 1);
            received.lost.fetch_add(u64::from(lost.wrapping_sub(lost_before)), Ordering::Relaxed);
            lost_before = lost;
        }
    }
}
