//! Which flows the classic profile shows: includes and excludes by process, peer and port (pure).
//!
//! An include is a list of conditions that must all hold; of the entries of one kind, one is enough. An exclude is a
//! list of entries of which one is enough to leave a flow out, whatever the includes say. The addresses behind the names
//! of hosts are handed in: looking them up takes the network, and time.

use crate::source::sockets::config::classic::Classic;
use crate::source::sockets::config::select::Conditions;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// The addresses behind the names that [`Selection::hosts`] lists. A name that is not in it has none.
pub type Addresses = HashMap<String, Vec<IpAddr>>;

/// One flow, as far as it is selected by.
#[derive(Debug, Clone, Copy)]
pub struct Flow<'a> {
    /// The other end. `::ffff:a.b.c.d` is `a.b.c.d`.
    pub peer: SocketAddr,
    /// The processes that hold the socket; empty where that is not known.
    pub processes: &'a [Process<'a>],
}

/// A process that holds a socket.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// Process id, in the agent's PID namespace.
    pub pid: u32,
    /// Its name: `/proc/PID/comm`, 15 bytes at most, without the line's end.
    pub comm: &'a str,
    /// Its arguments, from `/proc/PID/cmdline`, the first of which is what it was called as. Empty where they are not
    /// known.
    pub arguments: &'a [String],
}

/// Selection of the flows that get a series.
#[derive(Debug, Clone)]
pub struct Selection {
    include: Rules,
    exclude: Rules,
}

/// Conditions as they are asked about flow by flow.
#[derive(Debug, Clone)]
struct Rules {
    conditions: Conditions,
    /// Those of the conditions, to be found at once.
    addresses: HashSet<IpAddr>,
}

impl Selection {
    /// The selection of the settings.
    pub fn new(settings: &Classic) -> Self {
        Self { include: Rules::new(&settings.include), exclude: Rules::new(&settings.exclude) }
    }

    /// Whether a flow is shown. Where processes are asked for and those of the flow are not known, it is included by no
    /// process and excluded by none.
    pub fn selects(&self, flow: &Flow, addresses: &Addresses) -> bool {
        self.may_select(flow.peer, addresses)
            && (!self.include.asks_for_processes() || self.include.names_process_of(flow))
            && !self.exclude.names_process_of(flow)
    }

    /// Whether a flow with this peer can be shown, depending on its processes. Finding the process of a socket is what
    /// costs most; that of a flow for which this is false need not be found.
    pub fn may_select(&self, peer: SocketAddr, addresses: &Addresses) -> bool {
        let (ip, port) = (peer.ip().to_canonical(), peer.port());
        (!self.include.asks_for_ports() || self.include.names_port(port))
            && !self.exclude.names_port(port)
            && (!self.include.asks_for_peers() || self.include.names_peer(ip, addresses))
            && !self.exclude.names_peer(ip, addresses)
    }

    /// Whether the processes of a flow matter at all.
    pub fn needs_processes(&self) -> bool {
        self.include.asks_for_processes() || self.exclude.asks_for_processes()
    }

    /// Whether their names and command lines do.
    pub fn needs_command_lines(&self) -> bool {
        [&self.include, &self.exclude].iter().any(|rules| !rules.conditions.processes.commands.is_empty())
    }

    /// The names whose addresses [`Self::selects`] is to be handed, each once.
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

/// Whether a process has this command: as its name, as what it was called as or the file name of that, or as its whole
/// command line. Names end after 15 bytes, and scripts have the name of their interpreter: none of them is enough alone.
fn is_command(command: &str, process: &Process) -> bool {
    let program = process.arguments.first().map(String::as_str).unwrap_or_default();
    let file = program.rsplit('/').next().unwrap_or_default();
    [process.comm, program, file].contains(&command) || is_line(command, process.arguments)
}

/// Whether a text is these arguments with spaces between them.
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
