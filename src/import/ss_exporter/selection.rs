//! What `prometheus_ss_exporter`'s `selection` selects, wherever in the file its parts are, and where ours differs.

use super::keys::{Listing, PortRange, Selection, Stack};
use crate::import::ConfigDraft;
use crate::settings::network::Address;
use crate::source::sockets::config::select::{Command, Conditions, ENTRIES, HOSTS, Host, Pid};

/// The whole selection, as our conditions.
#[derive(Default)]
pub(super) struct Selected {
    include: Conditions,
    exclude: Conditions,
}

impl Selected {
    pub(super) fn new(selection: Selection) -> Self {
        let Selection { process, peering, stack, ports } = selection;
        let process = process.unwrap_or_default();
        let Stack { peers, ports: of_stack } = stack.unwrap_or_default();
        let mut selected = Self::default();
        selected.add(process.pids, |side| &mut side.processes.pids, |Pid(pid)| pid);
        selected.add(process.cmds, |side| &mut side.processes.commands, |Command(command)| command);
        let mut ranges = vec![ports, of_stack];
        for peers in [peering, peers].into_iter().flatten() {
            selected.add(peers.addresses, |side| &mut side.peers.addresses, |Address(address)| address);
            selected.add(peers.networks, |side| &mut side.peers.networks, |network| network);
            selected.add(peers.hosts, |side| &mut side.peers.hosts, |Host(host)| host);
            ranges.push(peers.ports);
        }
        for ports in ranges {
            selected.add(ports, |side| &mut side.ports, |PortRange(ports)| ports);
        }
        selected
    }

    fn add<E, T>(&mut self, listing: Listing<E>, of: fn(&mut Conditions) -> &mut Vec<T>, plain: fn(E) -> T) {
        of(&mut self.include).extend(listing.include.into_iter().map(plain));
        of(&mut self.exclude).extend(listing.exclude.into_iter().map(plain));
    }

    /// The first list that has more entries than ours may have: its key, and what is wrong.
    pub(super) fn too_long(&self) -> Option<(&'static str, String)> {
        let lists = |Conditions { processes, peers, ports }: &Conditions| {
            [
                ("logic.selection.process.pids", processes.pids.len(), ENTRIES),
                ("logic.selection.process.cmds", processes.commands.len(), ENTRIES),
                ("logic.selection.peering.addresses", peers.addresses.len(), ENTRIES),
                ("logic.selection.peering.networks", peers.networks.len(), ENTRIES),
                ("logic.selection.peering.hosts", peers.hosts.len(), HOSTS),
                ("logic.selection.portRanges", ports.len(), ENTRIES),
            ]
        };
        let (key, _, most) =
            [&self.include, &self.exclude].into_iter().flat_map(lists).find(|(_, len, most)| len > most)?;
        Some((key, format!("has more than {most} entries")))
    }

    pub(super) fn put(&self, draft: &mut ConfigDraft) {
        let Conditions { processes, peers, .. } = &self.include;
        if !processes.pids.is_empty() && !processes.commands.is_empty() {
            draft.note("Version 3 requires both pid and command. Here, as in version 2, either is enough.");
        }
        put_processes(draft, "include", &self.include);
        if !peers.addresses.is_empty() && !peers.networks.is_empty() {
            draft.note(
                "Version 3 requires both address and network. Here, as in version 2, either is enough.",
            );
        }
        put_peers(draft, "include", &self.include, Some(NETWORKS));
        if self.exclude != Conditions::default() {
            draft.note(
                "`exclude` is in the README of version 3; neither version reads it. Here it has an effect.",
            );
            put_processes(draft, "exclude", &self.exclude);
            put_peers(draft, "exclude", &self.exclude, None);
        }
    }
}

fn put_processes(draft: &mut ConfigDraft, side: &str, conditions: &Conditions) {
    let key = |name| format!("sources.sockets.classic.{side}.processes.{name}");
    let processes = &conditions.processes;
    if !processes.pids.is_empty() {
        draft.put_list(&key("pids"), &processes.pids);
    }
    if !processes.commands.is_empty() {
        draft.note(
            "No flow ever matched `cmds`: both versions compare a name with a list of arguments. Here a process has \
             its name, the file name of its program and its command line, and each of them matches.",
        );
        draft.put_list(&key("commands"), &processes.commands);
    }
}

const NETWORKS: &str = "Version 3 compares the text before the slash: 10.0.0.0/8 is 10.0.0.0 to it, and nothing else. \
                        Here it is the network.";

/// What is to be said of networks depends on the side.
fn put_peers(draft: &mut ConfigDraft, side: &str, conditions: &Conditions, of_networks: Option<&str>) {
    let key = |name| format!("sources.sockets.classic.{side}.{name}");
    let Conditions { peers, ports, .. } = conditions;
    if !peers.addresses.is_empty() {
        draft.put_list(&key("peers.addresses"), &peers.addresses);
    }
    if !peers.networks.is_empty() {
        if let Some(note) = of_networks {
            draft.note(note);
        }
        draft.put_list(&key("peers.networks"), &peers.networks);
    }
    if !peers.hosts.is_empty() {
        draft.note(
            "Version 2 compares the name that the peer's address has in the DNS, version 3 does not read `hosts`. \
             Here it is the addresses that the name has.",
        );
        draft.put_list(&key("peers.hosts"), &peers.hosts);
    }
    if !ports.is_empty() {
        draft.put_list(&key("ports"), ports);
    }
}
