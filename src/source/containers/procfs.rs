//! Open connections and listening sockets without BPF programs: `/proc/PID/net/tcp{,6}` of one process of each
//! network namespace that is not the agent's own.
//!
//! They belong to the container whose process that is; of a pod, whose containers share the namespace, to the one that the
//! inventory has first. A connection is one that the container opened if nobody listens at its port in that namespace.

#![expect(clippy::disallowed_methods, reason = "a cycle reads for a bounded time")]

use super::addresses::{self, LISTEN, OPEN, Socket};
use super::kernel::records::{Destination, Totals};
use super::listen::Listening;
use super::listeners::Listeners;
use super::namespaces::FILE;
use super::tcp::Tcp;
use crate::host::inventory::Container;
use crate::reading::SourceError;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How long one cycle reads; what is left is read in later ones. The kernel walks its whole hash table of sockets for each file,
/// some 8 ms where it has 262,144 buckets.
const BUDGET: Duration = Duration::from_millis(500);

/// State between cycles: the sockets of each network namespace, and open connections by container and destination.
#[derive(Debug, Default)]
pub(super) struct Procfs {
    known: HashMap<u64, NamespaceSockets>,
    last: HashMap<(u64, Destination), u32>,
}

/// What a network namespace had when it was read.
#[derive(Debug)]
struct NamespaceSockets {
    read: Instant,
    listening: Vec<SocketAddr>,
    /// Connections that were opened there, by the peer.
    open: HashMap<SocketAddr, u32>,
}

/// A network namespace, with the container it is counted for.
struct ContainerNamespace {
    namespace: u64,
    process: u32,
    container: u64,
}

impl Procfs {
    /// Reads the namespaces that were read longest ago, for as long as the budget allows and one at least; the others are as they
    /// were.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        tcp: &mut Tcp,
        listeners: &mut Listeners,
        loopback: bool,
        now: Instant,
    ) {
        let subjects = subjects(containers);
        let there: HashSet<u64> = subjects.iter().map(|subject| subject.namespace).collect();
        self.known.retain(|namespace, _| there.contains(namespace));
        let mut order: Vec<&ContainerNamespace> = subjects.iter().collect();
        order.sort_by_key(|subject| self.known.get(&subject.namespace).map(|known| known.read));
        let until = Instant::now() + BUDGET;
        for subject in order {
            self.known.insert(subject.namespace, NamespaceSockets::of(subject.process, now));
            if Instant::now() >= until {
                break;
            }
        }
        let mut open: HashMap<(u64, Destination), u32> = HashMap::new();
        for ContainerNamespace { namespace, process, container } in &subjects {
            let Some(known) = self.known.get(namespace) else { continue };
            for at in &known.listening {
                let listening = Listening { at: *at, only: false, host: false };
                listeners.take(*container, listening, *namespace, &[process.to_string()]);
            }
            for (peer, count) in known.open.iter().filter(|(peer, _)| loopback || !peer.ip().is_loopback()) {
                let key = Destination { group: *container, requested: *peer, actual: *peer };
                *open.entry((*container, key)).or_default() += count;
            }
        }
        self.take(open, tcp, now);
    }

    /// Takes back what is open: another way counts it from now on.
    pub(super) fn end(&mut self, tcp: &mut Tcp, now: Instant) {
        self.take(HashMap::new(), tcp, now);
    }

    fn take(&mut self, open: HashMap<(u64, Destination), u32>, tcp: &mut Tcp, now: Instant) {
        let gone = self.last.keys().filter(|key| !open.contains_key(key)).map(|key| (*key, 0));
        let all: Vec<((u64, Destination), u32)> =
            gone.chain(open.iter().map(|(key, count)| (*key, *count))).collect();
        for ((number, key), count) in all {
            let last = self.last.get(&(number, key)).copied().unwrap_or_default();
            let more = Totals { open: count.wrapping_sub(last), ..Totals::default() };
            tcp.add(number, &key, &more, now);
        }
        self.last = open;
    }
}

impl NamespaceSockets {
    fn of(process: u32, now: Instant) -> Self {
        let sockets = sockets(process);
        let listening: Vec<SocketAddr> =
            sockets.iter().filter(|socket| socket.state == LISTEN).map(|socket| socket.local).collect();
        let ports: HashSet<u16> = listening.iter().map(SocketAddr::port).collect();
        let mut open: HashMap<SocketAddr, u32> = HashMap::new();
        let outgoing = sockets
            .iter()
            .filter(|socket| OPEN.contains(&socket.state) && !ports.contains(&socket.local.port()));
        for socket in outgoing {
            *open.entry(socket.peer).or_default() += 1;
        }
        Self { read: now, listening, open }
    }
}

/// Every network namespace but the agent's own, with the first container that is in it.
fn subjects(containers: &[Container]) -> Vec<ContainerNamespace> {
    let mut seen: HashSet<u64> = namespace("self").into_iter().collect();
    let running = containers.iter().filter(|container| !container.ended);
    let subjects = running.filter_map(|container| {
        let process = container.process?;
        let namespace = namespace(&process.to_string())?;
        seen.insert(namespace).then_some(ContainerNamespace {
            namespace,
            process,
            container: container.workload.number,
        })
    });
    subjects.collect()
}

/// What can be read, for `connscope check`.
pub(super) fn check(containers: &[Container]) -> Result<String, SourceError> {
    let running: Vec<&Container> = containers.iter().filter(|container| !container.ended).collect();
    let readable = running.iter().filter_map(|container| namespace(&container.process?.to_string()));
    let all: HashSet<u64> = readable.collect();
    if all.is_empty() && !running.is_empty() {
        let doing = "reading /proc/PID/net/tcp of containers and services";
        let cause = format!(
            "no process of {} is visible in /proc: it takes the host's PID namespace, and a /proc without hidepid",
            running.len()
        );
        return Err(SourceError::absent(doing, cause));
    }
    let own = namespace("self");
    let others = all.iter().filter(|namespace| Some(**namespace) != own).count();
    Ok(format!(
        "instead of BPF programs: open connections and listening sockets of {others} network namespaces; no connection is counted"
    ))
}

/// Identity of a network namespace that can be read without a privilege: each has files of its own in procfs.
pub(super) fn namespace(process: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{process}/net/tcp")).ok().map(|file| file.ino())
}

fn sockets(process: u32) -> Vec<Socket> {
    let read =
        |name| crate::sys::read_limited(format!("/proc/{process}/net/{name}"), FILE).unwrap_or_default();
    [read("tcp"), read("tcp6")].iter().flat_map(|text| addresses::tcp(text)).collect()
}
