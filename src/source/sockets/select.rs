//! Selection of the flows of the classic profile: includes and excludes by process, peer and port (pure).
//!
//! A flow is included if every kind of condition has a matching entry. It is excluded if any entry of `exclude`
//! matches, also if it is included. The addresses of host names are an argument, because resolving them takes the
//! network and time.

use crate::source::sockets::config::classic::Classic;
use crate::source::sockets::config::select::Conditions;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Addresses of the names in [`Selection::hosts`]. A name that is not a key has none.
pub type Addresses = HashMap<String, Vec<IpAddr>>;

/// The fields of a flow that conditions compare.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'a> {
    /// Address of the peer. `::ffff:a.b.c.d` is compared as `a.b.c.d`.
    pub peer: SocketAddr,
    /// Processes that have the socket; empty if unknown.
    pub processes: &'a [Process<'a>],
}

/// A process that has a socket.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// PID in the agent's PID namespace.
    pub pid: u32,
    /// Name: `/proc/PID/comm`, at most 15 bytes, without the newline.
    pub comm: &'a str,
    /// Arguments, from `/proc/PID/cmdline`; the first is the command as it was called. Empty if unknown.
    pub arguments: &'a [String],
}

/// Selection of the flows that get a series.
#[derive(Debug, Clone)]
pub struct Selection {
    include: Rules,
    exclude: Rules,
}

/// Conditions in the form in which they are evaluated.
#[derive(Debug, Clone)]
struct Rules {
    conditions: Conditions,
    /// The addresses of the conditions, for a lookup in constant time.
    addresses: HashSet<IpAddr>,
}

impl Selection {
    /// Creates it from the settings.
    pub fn new(settings: &Classic) -> Self {
        Self { include: Rules::new(&settings.include), exclude: Rules::new(&settings.exclude) }
    }

    /// Whether a flow is selected. If there are conditions on processes and those of the flow are unknown, no process
    /// includes or excludes it.
    pub fn selects(&self, flow: &Flow, addresses: &Addresses) -> bool {
        self.may_select(flow.peer, addresses)
            && (!self.include.asks_for_processes() || self.include.names_process_of(flow))
            && !self.exclude.names_process_of(flow)
    }

    /// Whether a flow with this peer may be selected, depending on its processes. If not, its process is not needed;
    /// looking it up is the most expensive part.
    pub fn may_select(&self, peer: SocketAddr, addresses: &Addresses) -> bool {
        let (ip, port) = (peer.ip().to_canonical(), peer.port());
        (!self.include.asks_for_ports() || self.include.names_port(port))
            && !self.exclude.names_port(port)
            && (!self.include.asks_for_peers() || self.include.names_peer(ip, addresses))
            && !self.exclude.names_peer(ip, addresses)
    }

    /// Whether a condition needs the processes of flows.
    pub fn needs_processes(&self) -> bool {
        self.include.asks_for_processes() || self.exclude.asks_for_processes()
    }

    /// Whether a condition needs the names and command lines of processes.
    pub fn needs_command_lines(&self) -> bool {
        [&self.include, &self.exclude].iter().any(|rules| !rules.conditions.processes.commands.is_empty())
    }

    /// The host names whose addresses [`Self::selects`] needs, each once.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let sides = [&self.include, &self.exclude].into_iter();
        let hosts = sides.flat_map(|rules| &rules.conditions.peers.hosts);
        hosts.map(String::as_str).collect::<BTreeSet<_>>().into_iter()
    }
}

impl Rules {
    fn new(conditions: &Conditions) -> Self {
        let addresses = conditions.peers.addresses.iter().map(IpAddr::to_canonical).collect();
        Self { conditions: conditions.clone(), addresses }
    }

    fn asks_for_processes(&self) -> bool {
        let processes = &self.conditions.processes;
        !(processes.pids.is_empty() && processes.commands.is_empty())
    }

    fn asks_for_peers(&self) -> bool {
        let peers = &self.conditions.peers;
        !(peers.addresses.is_empty() && peers.networks.is_empty() && peers.hosts.is_empty())
    }

    fn asks_for_ports(&self) -> bool {
        !self.conditions.ports.is_empty()
    }

    fn names_process_of(&self, flow: &Flow) -> bool {
        let wanted = &self.conditions.processes;
        flow.processes.iter().any(|process| {
            wanted.pids.contains(&process.pid)
                || wanted.commands.iter().any(|command| is_command(command, process))
        })
    }

    fn names_peer(&self, ip: IpAddr, addresses: &Addresses) -> bool {
        let wanted = &self.conditions.peers;
        let of = |host: &String| addresses.get(host).map(Vec::as_slice).unwrap_or_default();
        self.addresses.contains(&ip)
            || wanted.networks.iter().any(|network| network.contains(ip))
            || wanted.hosts.iter().flat_map(of).any(|address| address.to_canonical() == ip)
    }

    fn names_port(&self, port: u16) -> bool {
        self.conditions.ports.iter().any(|ports| ports.contains(port))
    }
}

/// Whether a process has this command: its name, its program with or without directories, or its whole command line.
/// Names are truncated to 15 bytes, and scripts have the name of their interpreter: none of these is enough alone.
fn is_command(command: &str, process: &Process) -> bool {
    let program = process.arguments.first().map(String::as_str).unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    [process.comm, program, file].contains(&command) || is_line(command, process.arguments)
}

/// Whether a text equals these arguments, separated by spaces.
fn is_line(text: &str, arguments: &[String]) -> bool {
    let mut rest = Some(text);
    for (index, argument) in arguments.iter().enumerate() {
        if index > 0 {
            rest = rest.and_then(|rest| rest.strip_prefix(' '));
        }
        rest = rest.and_then(|rest| rest.strip_prefix(argument.as_str()));
    }
    rest == Some("")
}
