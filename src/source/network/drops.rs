//! Packets that the kernel dropped, by the kernel's own reasons, in all network namespaces at once: BPF programs count them
//! (`bpf/drops.bpf.c`), which run for nothing but what is dropped.
//!
//! A port is told apart where it is not ephemeral, by the range of the agent's network namespace, or where TCP listens on it in a
//! namespace that the source reads. Others are `~other`.

use super::labels::IcmpError;
use super::metrics;
use crate::host::ephemeral::EphemeralPortsFile;
use crate::host::netns::{Finder, Namespace};
use crate::metric::Label;
use crate::reading::{Readings, SourceError};
use crate::sys::namespace;
use kernel::{DROP, ICMP, Kernel, Limits, RESET, RESET_RECEIVED};
use ports::Ports;
use record::{Key, Kind, Transport};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use totals::{Series, Totals};

pub mod kernel;
pub mod ports;
pub mod record;
pub mod totals;
pub mod words;

/// Value of a label for everything that is not told apart.
const OTHER: &str = "~other";
/// Cycles until programs are loaded again that could not be loaded for want of memory or the like.
const AGAIN: u32 = 30;

/// Counts dropped packets, from the first cycle on.
pub struct Drops {
    limits: Limits,
    state: State,
    ephemeral: EphemeralPortsFile,
    names: Names,
    totals: Totals,
}

enum State {
    Untried,
    Loaded(Box<Kernel>),
    /// The reason why the programs are not loaded, and the cycles until the next attempt; `None`: never.
    Absent(SourceError, Option<u32>),
}

impl Drops {
    /// Nothing is loaded before the first cycle.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Untried,
            ephemeral: EphemeralPortsFile::open(),
            names: Names::default(),
            totals: Totals::default(),
        }
    }

    /// Observes what was dropped. `listened` are ports that TCP listens on, `namespaces` those that are read, with their labels; none
    /// where the source reads the agent's own alone.
    ///
    /// # Errors
    ///
    /// The programs could not be loaded, or their maps not be read.
    pub fn observe(
        &mut self,
        listened: impl IntoIterator<Item = u16>,
        namespaces: &[Namespace],
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        let limits = self.limits;
        if let State::Absent(_, Some(cycles)) = &mut self.state {
            *cycles -= 1;
            if *cycles == 0 {
                self.state = State::Untried;
            }
        }
        if let State::Untried = self.state {
            self.totals = Totals::default();
            self.state = match Kernel::load(limits) {
                Ok(kernel) => State::Loaded(Box::new(kernel)),
                Err(error) => {
                    let again = matches!(error, SourceError::Io { .. }).then_some(AGAIN);
                    State::Absent(error, again)
                }
            };
        }
        let kernel = match &mut self.state {
            State::Loaded(kernel) => kernel,
            State::Absent(error, _) => return Err(error.again("counting dropped packets by reason (drops)")),
            State::Untried => return Ok(()),
        };
        if let Some(error) = kernel.refused(DROP) {
            return Err(error.again("counting dropped packets by reason (drops)"));
        }
        #[expect(clippy::disallowed_methods, reason = "the range of ephemeral ports is read once a minute")]
        let ephemeral = self.ephemeral.read(Instant::now());
        kernel.name_ports(Ports::new(ephemeral, listened));
        let mut counted = Vec::new();
        kernel.counts(|key, packets| counted.push((key, packets)))?;
        let foreign = |key: &Key| key.netns != 0 && key.netns != self.names.own;
        let is_new =
            counted.iter().any(|(key, packets)| foreign(key) && self.totals.news(*key, *packets) > 0);
        self.names.begin(namespaces, is_new);
        for (key, packets) in counted {
            let netns = self.names.of(key.netns);
            self.totals.take(key, packets, netns.as_ref());
        }
        for key in self.totals.end_cycle() {
            if let Some(packets) = kernel.forget(key) {
                // It may have been counted since.
                let netns = self.names.of(key.netns);
                self.totals.take(key, packets, netns.as_ref());
            }
            self.totals.forget(key);
        }
        kernel.set_used(self.totals.keys());
        for (series, packets) in self.totals.series() {
            observe(series, packets, kernel, out);
        }
        for kind in Kind::ALL {
            let labels = [(Label::Kind, kind.word().into())];
            out.observe(metrics::CONNSCOPE_NETWORK_SAMPLED, &labels, kernel.skipped(*kind));
        }
        let lost = kernel.lost() + self.totals.left_out();
        out.observe(metrics::CONNSCOPE_NETWORK_UNCOUNTED, &[], lost);
        Ok(())
    }
}

fn observe(series: &Series, packets: u64, kernel: &Kernel, out: &mut Readings) {
    let netns = series.netns.as_ref().map(|label| (Label::Netns, Arc::clone(label)));
    let port = match (series.transport, series.port) {
        (Transport::Tcp | Transport::Udp, 0) => Some(OTHER.into()),
        (Transport::Tcp | Transport::Udp, port) => Some(port.to_string().into()),
        _ => None,
    };
    let port = port.map(|port| (Label::ServerPort, port));
    match series.kind {
        Kind::Drop => {
            let labels = [
                netns,
                Some((Label::Reason, kernel.words.drop(series.reason))),
                Some((Label::Transport, series.transport.word().into())),
                port,
            ];
            let labels: Vec<(Label, Arc<str>)> = labels.into_iter().flatten().collect();
            out.observe(metrics::NETWORK_PACKET_DROPS, &labels, packets);
        }
        Kind::ResetSent | Kind::ResetReceived => {
            let sent = series.kind == Kind::ResetSent;
            let reason = kernel.words.reset(series.reason).filter(|_| sent);
            let labels = [
                netns,
                Some((Label::IoDirection, if sent { "transmit" } else { "receive" }.into())),
                reason.map(|reason| (Label::Reason, reason)),
                port,
            ];
            let labels: Vec<(Label, Arc<str>)> = labels.into_iter().flatten().collect();
            out.observe(metrics::TCP_RESETS, &labels, packets);
        }
        Kind::IcmpSent => {
            let (kind, code) = series.icmp;
            let Some(error) = IcmpError::of_ipv4(kind) else { return };
            let labels = [
                netns,
                Some((Label::IcmpType, error.word().into())),
                Some((Label::IcmpCode, code.to_string().into())),
            ];
            let labels: Vec<(Label, Arc<str>)> = labels.into_iter().flatten().collect();
            out.observe(metrics::ICMP_ERRORS_SENT, &labels, packets);
        }
    }
}

/// Labels of network namespaces by their inodes.
struct Names {
    finder: Finder,
    /// Inode of the agent's own.
    own: u32,
    known: HashMap<u32, Arc<str>>,
    /// Whether the agent's own is the only one that the source reads, and has no label.
    alone: bool,
}

impl Default for Names {
    fn default() -> Self {
        let own =
            namespace::inode(Path::new("/proc/self/ns/net")).ok().and_then(|inode| u32::try_from(inode).ok());
        Self {
            finder: Finder::new(&["all".to_owned()]),
            own: own.unwrap_or_default(),
            known: HashMap::new(),
            alone: true,
        }
    }
}

impl Names {
    /// Begins a cycle. `search`: something was counted in another namespace than the agent's own, which may be another one than in the
    /// last cycle, since inodes are used again.
    fn begin(&mut self, read: &[Namespace], search: bool) {
        self.alone = read.is_empty();
        let found = search.then(|| self.finder.find().namespaces);
        if found.is_some() {
            self.known.clear();
        }
        // What is configured has the name that the configuration gives it.
        for namespace in found.iter().flatten().chain(read) {
            if let Ok(inode) = u32::try_from(namespace.file.1) {
                self.known.insert(inode, Arc::clone(&namespace.label));
            }
        }
    }

    fn of(&self, inode: u32) -> Option<Arc<str>> {
        match inode {
            0 => Some(OTHER.into()),
            own if own == self.own && self.alone => None,
            inode => Some(self.known.get(&inode).map_or_else(|| format!("net:[{inode}]").into(), Arc::clone)),
        }
    }
}

/// Loads the programs as a cycle would, for `connscope check`.
///
/// # Errors
///
/// They could not be loaded.
pub(super) fn check() -> Result<String, SourceError> {
    let kernel = Kernel::load(Limits::default())?;
    if let Some(error) = kernel.refused(DROP) {
        return Err(error.again("counting dropped packets by reason (drops)"));
    }
    let mut said = format!("the kernel names {} reasons", kernel.words.count());
    if kernel.refused(RESET).or_else(|| kernel.refused(RESET_RECEIVED)).is_some() {
        said += "; no resets";
    } else if !kernel.words.has_resets() {
        said += "; of resets only those of sockets, without a reason (Linux 6.10)";
    }
    if kernel.refused(ICMP).is_some() {
        said += "; no ICMP errors (Linux 6.10)";
    }
    Ok(said)
}
