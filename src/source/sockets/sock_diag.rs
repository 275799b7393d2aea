//! `sock_diag` in one network namespace: requests, and the meaning of the names in the filter.
//!
//! A netlink socket belongs to the network namespace in which it was created and can be used from any thread. So a
//! namespace is entered once, and a cycle costs no more than its dumps.

use super::diag::{self, Record, State, extension};
use super::dumper::{Dumper, Query};
use super::states;
use crate::filter::{Compiled, Filter, KernelCan, Names};
use crate::host::cgroup::Mount;
use crate::host::ephemeral::{EphemeralPorts, EphemeralPortsFile};
use crate::reading::SourceError;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

/// Requested states of TCP other than listening: those that `ss` calls connected, and connections being established.
pub const CONNECTIONS: [State; 8] = [
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::LastAck,
    State::Closing,
];

/// Requested states of UDP: connected to a peer, and not connected.
pub const DATAGRAMS: [State; 2] = [State::Established, State::Close];

/// Size of the read buffer for `/proc/net/sockstat`, bytes; the file is shorter.
const SOCKSTAT: usize = 4096;

/// Called with a socket, and whether the kernel chose its port, if that is needed and known.
pub type SocketVisitor<'a> = &'a mut dyn FnMut(&Record<'_>, Option<bool>);

/// A `sock_diag` client in one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    dumper: Dumper,
    sockstat: Option<File>,
    ephemeral_ports: EphemeralPortsFile,
    /// Socket for the indexes of the interfaces that the filter names.
    interfaces: Option<OwnedFd>,
    /// Cgroup mount for the ids of the control groups that the filter names.
    cgroups: Option<Mount>,
    names: Arc<Names>,
    compiled: Compiled,
    mark: bool,
}

impl SockDiag {
    /// Opens the sockets and files in the calling thread's network namespace. Needs no privilege.
    pub fn open(filter: &Filter) -> Result<Self, SourceError> {
        let dumper = Dumper::open()?;
        let interfaces = match filter.interfaces().next() {
            None => None,
            Some(_) => Some(
                socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(
                    |cause| {
                        let doing = "opening a socket to look up interfaces with";
                        SourceError::io(doing, std::io::Error::from(cause))
                    },
                )?,
            ),
        };
        // Without the file, the sockets in TIME_WAIT are dumped.
        let sockstat = File::open("/proc/thread-self/net/sockstat").ok();
        let mut opened = Self {
            dumper,
            sockstat,
            ephemeral_ports: EphemeralPortsFile::open(),
            interfaces,
            // Without a mount, no socket is in a control group.
            cgroups: filter.cgroups().next().and_then(|_| Mount::widest().ok()),
            names: Arc::new(Names::default()),
            compiled: Compiled { bytecode: Vec::new(), complete: true },
            mark: true,
        };
        opened.compile(filter);
        opened.name(filter);
        // Comparing marks needs CAP_NET_ADMIN; without it the filter would fail in the middle of a cycle, after other
        // sockets were read.
        if filter.asks_for_marks() && matches!(opened.marks(filter), Err(SourceError::Denied { .. })) {
            opened.mark = false;
            opened.compile(filter);
        }
        Ok(opened)
    }

    /// The meaning of the names in the filter in this namespace.
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Resolves the names in the filter again. Returns whether the meaning of one has changed.
    pub fn name(&mut self, filter: &Filter) -> bool {
        let mut names = Names::default();
        for interface in filter.interfaces() {
            if let Some(socket) = &self.interfaces
                && let Ok(index) = rustix::net::netdevice::name_to_index(socket, interface)
            {
                names.interfaces.insert(interface.to_owned(), index);
            }
        }
        for path in filter.cgroups() {
            if let Some(id) = self.cgroups.as_ref().and_then(|mount| mount.id(path)) {
                names.cgroups.insert(path.to_owned(), id);
            }
        }
        let changed = names != *self.names;
        if changed {
            self.names = Arc::new(names);
            self.compile(filter);
        }
        changed
    }

    fn compile(&mut self, filter: &Filter) {
        let since = |first| crate::sys::kernel_release().is_some_and(|release| release >= first);
        let kernel =
            KernelCan { device: since((4, 4)), mark: self.mark && since((4, 8)), cgroup: since((5, 8)) };
        self.compiled = filter.compile(&self.names, kernel);
    }

    /// Dumps all listening sockets, whatever the filter, because they give the direction of connections. The caller
    /// evaluates the filter; if it compares `autobound`, `take` gets whether the kernel chose the port.
    pub fn listeners(&mut self, filter: &Filter, take: SocketVisitor<'_>) -> Result<(), SourceError> {
        let states = State::Listen.mask();
        let autobound =
            if filter.asks_for_autobound() { Some(self.autobound(diag::TCP, states)?) } else { None };
        let query = Query { protocol: diag::TCP, states, extensions: extension::MEMORY, bytecode: &[] };
        self.dumper.dump(query, &mut |record| {
            take(record, autobound.as_ref().map(|autobound| autobound.contains(&record.cookie)));
        })
    }

    /// Cookies of the sockets whose port the kernel chose. The kernel compares this in a filter and does not report it.
    fn autobound(&mut self, protocol: u16, states: u32) -> Result<HashSet<u64>, SourceError> {
        self.cookies(protocol, states, &Filter::autobound())
    }

    /// Cookies of the UDP sockets whose program chose the port.
    pub fn bound(&mut self) -> Result<HashSet<u64>, SourceError> {
        self.cookies(diag::UDP, State::masks(&DATAGRAMS), &Filter::bound())
    }

    fn cookies(&mut self, protocol: u16, states: u32, bytecode: &[u8]) -> Result<HashSet<u64>, SourceError> {
        let mut cookies = HashSet::new();
        let query = Query { protocol, states, extensions: 0, bytecode };
        self.dumper.dump(query, &mut |record| {
            cookies.insert(record.cookie);
        })?;
        Ok(cookies)
    }

    /// Dumps the connections that pass the part of the filter that the kernel runs, with those in TIME_WAIT if
    /// `time_wait`.
    pub fn connections(
        &mut self,
        filter: &Filter,
        time_wait: bool,
        take: SocketVisitor<'_>,
    ) -> Result<(), SourceError> {
        let states = State::masks(&CONNECTIONS) | if time_wait { State::TimeWait.mask() } else { 0 };
        self.filtered(filter, diag::TCP, states, extension::INFO, take)
    }

    /// Dumps the UDP sockets that pass the part of the filter that the kernel runs.
    pub fn datagrams(&mut self, filter: &Filter, take: SocketVisitor<'_>) -> Result<(), SourceError> {
        self.filtered(filter, diag::UDP, State::masks(&DATAGRAMS), extension::MEMORY, take)
    }

    /// Sends a request with the marks of the filter; an error if the kernel denies it.
    pub fn marks(&mut self, filter: &Filter) -> Result<(), SourceError> {
        let kernel = KernelCan { device: false, mark: true, cgroup: false };
        let bytecode = filter.compile(&self.names, kernel).bytecode;
        let states = State::Established.mask();
        self.dumper
            .dump(Query { protocol: diag::TCP, states, extensions: 0, bytecode: &bytecode }, &mut |_| {})
    }

    fn filtered(
        &mut self,
        filter: &Filter,
        protocol: u16,
        states: u32,
        extensions: u8,
        take: SocketVisitor<'_>,
    ) -> Result<(), SourceError> {
        let states = states & filter.states();
        if states == 0 {
            return Ok(());
        }
        // Sockets are evaluated again in this process if the kernel does not run the whole filter.
        let autobound = if filter.asks_for_autobound() && !self.compiled.complete {
            Some(self.autobound(protocol, states)?)
        } else {
            None
        };
        let bytecode = &self.compiled.bytecode;
        self.dumper.dump(Query { protocol, states, extensions, bytecode }, &mut |record| {
            take(record, autobound.as_ref().map(|autobound| autobound.contains(&record.cookie)));
        })
    }

    /// The range of ephemeral ports (`ip_local_port_range`).
    pub fn ephemeral_ports(&mut self, now: Instant) -> EphemeralPorts {
        self.ephemeral_ports.read(now)
    }

    /// Number of sockets in TIME_WAIT, without a dump; `None` if the kernel does not report it.
    pub fn time_wait(&self) -> Option<u64> {
        let mut text = [0; SOCKSTAT];
        // The kernel creates the text again when it is read from the beginning.
        let length = self.sockstat.as_ref()?.read_at(&mut text, 0).ok()?;
        states::time_wait(std::str::from_utf8(text.get(..length)?).ok()?)
    }

    /// Whether the kernel runs the whole filter.
    pub fn filters_all(&self) -> bool {
        self.compiled.complete
    }
}
