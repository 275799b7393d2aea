//! Open connections and listening sockets without BPF programs: `/proc/PID/net/tcp{,6}` of one process of each
//! network namespace that is not the agent's own.
//!
//! They belong to the container whose process that is; of a pod, whose containers share the namespace, to the one that the
//! inventory has first. A connection is one that the container opened if nobody listens at its port in that namespace.

use super::addresses::{self, LISTEN, OPEN, Socket};
use super::kernel::records::{Destination, Totals};
use super::listen::Listening;
use super::listeners::Listeners;
use super::namespaces::FILE;
use super::tcp::Tcp;
use crate::host::inventory::Container;
use crate::reading::SourceError;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// State between cycles: open connections by container and destination.
#[derive(Debug, Default)]
pub(super) struct Procfs {
    last: HashMap<(u64, Destination), u32>,
}

impl Procfs {
    /// Reads what is there now.
    pub(super) fn read(
        &mut self,
        containers: &[Container],
        tcp: &mut Tcp,
        listeners: &mut Listeners,
        loopback: bool,
        now: Instant,
    ) {
        let mut namespaces: HashSet<u64> = namespace("self").into_iter().collect();
        let mut open: HashMap<(u64, Destination), u32> = HashMap::new();
        for container in containers.iter().filter(|container| !container.ended) {
            let Some(process) = container.process else { continue };
            let Some(namespace) = namespace(&process.to_string()) else { continue };
            if !namespaces.insert(namespace) {
                continue;
            }
            let number = container.workload.number;
            let sockets = sockets(process);
            let ports: HashSet<u16> = sockets
                .iter()
                .filter(|socket| socket.state == LISTEN)
                .map(|socket| socket.local.port())
                .collect();
            for socket in sockets {
                if socket.state == LISTEN {
                    let listening = Listening { at: socket.local, only: false, host: false };
                    listeners.take(number, listening, namespace, &[process.to_string()]);
                } else if OPEN.contains(&socket.state)
                    && !ports.contains(&socket.local.port())
                    && (loopback || !socket.peer.ip().is_loopback())
                {
                    let key = Destination { group: number, requested: socket.peer, actual: socket.peer };
                    *open.entry((number, key)).or_default() += 1;
                }
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
fn namespace(process: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{process}/net/tcp")).ok().map(|file| file.ino())
}

fn sockets(process: u32) -> Vec<Socket> {
    let read =
        |name| crate::sys::read_limited(format!("/proc/{process}/net/{name}"), FILE).unwrap_or_default();
    [read("tcp"), read("tcp6")].iter().flat_map(|text| addresses::tcp(text)).collect()
}
