//! A dump of the sockets of one network namespace, and the processing of its records.

#![expect(clippy::disallowed_methods, reason = "a dump has one time: the time of its beginning")]

use super::attributes::Attribution;
use super::classic::Classic;
use super::delta::ConnectionDelta;
use super::diag::{Memory, Record, State};
use super::events::Shared;
use super::listen::Listeners;
use super::owners::{ByCgroup, Owners};
use super::sock_diag::SockDiag;
use super::states::States;
use super::subject::subject;
use super::top::Top;
use crate::filter::{Filter, FilteredSocket};
use crate::reading::SourceError;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

/// What is looked up about the owners of sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnerLookup {
    /// Whether the name of the process is needed for the groups.
    pub(super) process: bool,
    /// Whether the control group of the process is needed.
    pub(super) cgroup: bool,
    /// Whether a socket has no group until its process was looked up.
    pub(super) by_process: bool,
}

/// Maximum number of UDP sockets of a dump about whose ports the kernel is asked.
const UNCERTAIN: usize = 4096;

/// A UDP socket with drops whose port may be one that the kernel chose.
struct UncertainSocket {
    record: Record<'static>,
    memory: Vec<u8>,
}

impl UncertainSocket {
    fn of(record: &Record<'_>, memory: Memory<'_>) -> Self {
        let Record { cookie, uid, inode, cgroup, .. } = *record;
        let identity = Record::new(record.family, record.state, record.local, record.peer);
        Self { record: Record { cookie, uid, inode, cgroup, ..identity }, memory: memory.bytes().to_vec() }
    }
}

/// A dump in progress. It ends when dropped, also by a panic.
pub(super) struct Dump<'a> {
    namespace: u32,
    shared: &'a Shared,
    lookup: OwnerLookup,
    owners: Option<&'a mut Owners>,
    cgroups: &'a mut ByCgroup,
    /// Cookies of the sockets whose processes are needed.
    wanted: &'a mut HashSet<u64>,
    now: Instant,
    complete: bool,
}

impl<'a> Dump<'a> {
    /// Begins a dump of the network namespace with this number.
    pub(super) fn begin(
        namespace: u32,
        shared: &'a Shared,
        lookup: OwnerLookup,
        owners: Option<&'a mut Owners>,
        cgroups: &'a mut ByCgroup,
        wanted: &'a mut HashSet<u64>,
    ) -> Self {
        shared.tracker().begin_dump(namespace);
        Self { namespace, shared, lookup, owners, cgroups, wanted, now: Instant::now(), complete: false }
    }

    /// Reads the listening sockets. Those that pass the filter are also counted.
    pub(super) fn listeners(
        &mut self,
        sock_diag: &mut SockDiag,
        filter: &Filter,
        states: &mut States,
    ) -> Result<(), SourceError> {
        let mut listeners = Listeners::default();
        let names = Arc::clone(sock_diag.names());
        sock_diag.listeners(filter, &mut |record, autobound| {
            listeners.add(record);
            if filter.matches(&FilteredSocket { autobound, ..subject(record) }, &names) {
                states.tcp(record.family, record.state);
                self.take(record);
            }
        })?;
        self.shared.tracker().set_listeners(
            self.namespace,
            listeners,
            sock_diag.ephemeral_ports(self.now),
            self.now,
        );
        Ok(())
    }

    /// Reads the connections, after the listening sockets, and passes each to the top flows and the classic profile.
    pub(super) fn connections(
        &mut self,
        sock_diag: &mut SockDiag,
        filter: &Filter,
        label: Option<&Arc<str>>,
        states: &mut States,
        top: &mut Top,
        mut classic: Option<&mut Classic>,
    ) -> Result<(), SourceError> {
        let names = Arc::clone(sock_diag.names());
        let matches_again = !sock_diag.filters_all();
        // The kernel counts TIME_WAIT as a whole, so its number is used only without a filter.
        let counted = if filter.is_everything() { sock_diag.time_wait() } else { None };
        states.time_wait = counted;
        sock_diag.connections(filter, counted.is_none(), &mut |record, autobound| {
            if matches_again && !filter.matches(&FilteredSocket { autobound, ..subject(record) }, &names) {
                return;
            }
            // FIN_WAIT_2 without a process is kept as TIME_WAIT is, and is included in the kernel's number.
            if record.state == State::FinWait2 && record.tcp.is_none() {
                states.time_wait = states.time_wait.map(|count| count.saturating_sub(1));
            }
            states.tcp(record.family, record.state);
            let delta = self.take(record);
            if top.is_enabled() {
                top.take(label, record, delta);
            }
            if let Some(classic) = &mut classic
                && classic.take(record, delta)
            {
                self.want_owner(record);
            }
        })?;
        self.shared.tracker().end_connections(self.namespace);
        Ok(())
    }

    /// Reads the UDP sockets.
    pub(super) fn datagrams(
        &mut self,
        sock_diag: &mut SockDiag,
        filter: &Filter,
        states: &mut States,
    ) -> Result<(), SourceError> {
        let names = Arc::clone(sock_diag.names());
        let matches_again = !sock_diag.filters_all();
        let ephemeral = sock_diag.ephemeral_ports(self.now);
        let mut uncertain: Vec<UncertainSocket> = Vec::new();
        sock_diag.datagrams(filter, &mut |record, autobound| {
            if !matches_again || filter.matches(&FilteredSocket { autobound, ..subject(record) }, &names) {
                states.udp(record.family, record.state, record.receive_queue, record.write_queue);
                let memory = record.memory.filter(|memory| memory.drops().is_some_and(|drops| drops > 0));
                let Some(memory) = memory else { return };
                let asks = ephemeral.contains(record.local.port())
                    && uncertain.len() < UNCERTAIN
                    && !self.shared.tracker().is_tracked(record.cookie);
                if asks {
                    uncertain.push(UncertainSocket::of(record, memory));
                } else {
                    self.take(record);
                }
            }
        })?;
        if !uncertain.is_empty() {
            // Without the answer the port is not certain, and the drops are still counted.
            let bound = sock_diag.bound().ok();
            for socket in &uncertain {
                let autobound = bound.as_ref().map(|bound| !bound.contains(&socket.record.cookie));
                let memory = Some(Memory::new(&socket.memory));
                self.take(&Record { memory, autobound, ..socket.record });
            }
        }
        Ok(())
    }

    /// Ends the dump, with every socket read that the kernel shows.
    pub(super) fn complete(mut self) {
        self.complete = true;
    }

    /// Passes a record to the tracker, with what is known of its owner without its process. If that is not enough, the
    /// process is looked up.
    fn take(&mut self, record: &Record<'_>) -> Option<ConnectionDelta> {
        let mut attribution = Attribution::default();
        if self.lookup.cgroup {
            attribution.cgroup = self.cgroups.path(record.cgroup);
            attribution.cgroup_pending =
                attribution.cgroup.is_none() && self.cgroups.is_pending(record.cgroup);
        }
        let mut tracker = self.shared.tracker();
        let delta = tracker.update(self.namespace, record, &attribution, self.now);
        tracker.note_waiting(self.namespace, record, self.now);
        let pending = self.lookup.by_process && tracker.is_pending(record.cookie);
        drop(tracker);
        if pending {
            self.want_owner(record);
        }
        delta
    }

    /// Requests the processes of a socket.
    fn want_owner(&mut self, record: &Record<'_>) {
        if let Some(owners) = &mut self.owners {
            owners.want(record);
            self.wanted.insert(record.cookie);
        }
    }
}

impl Drop for Dump<'_> {
    fn drop(&mut self) {
        self.shared.tracker().end_dump(self.namespace, self.complete);
    }
}
