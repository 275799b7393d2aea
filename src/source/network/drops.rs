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
use crate::metric::label::Reason;
use crate::reading::{Readings, SourceError};
use kernel::{DROP, ICMP, Kernel, Limits, RESET, RESET_RECEIVED};
use names::Names;
use ports::Ports;
use record::{Key, Kind, Transport};
use std::sync::Arc;
use std::time::Instant;
use totals::{Counted, Series, Totals};

pub mod kernel;
pub mod names;
pub mod ports;
pub mod record;
pub mod totals;
pub mod words;

/// Value of a label for everything that is not told apart.
const OTHER: &str = "~other";
/// Cycles until programs are loaded again that could not be loaded for want of memory or the like.
pub const AGAIN: u32 = 30;
const DOING: &str = "counting dropped packets by reason (drops)";
/// What the names of network namespaces are called where they fail.
pub(super) const NAMES: &str = "names";
const NAMING: &str = "naming the network namespaces of dropped packets (drops)";

/// Counts dropped packets, from the first cycle on.
pub struct Drops {
    limits: Limits,
    state: State,
    /// Cycles until programs are loaded again; `None`: never, all are loaded or cannot be.
    again: Option<u32>,
    ephemeral: EphemeralPortsFile,
    finder: Finder,
    names: Names,
    searches: u64,
    totals: Totals,
}

enum State {
    Untried,
    Loaded(Box<Kernel>),
    /// The reason why the programs are not loaded.
    Absent(SourceError),
}

impl Drops {
    /// Nothing is loaded before the first cycle.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Untried,
            again: None,
            ephemeral: EphemeralPortsFile::open(),
            finder: all_namespaces(),
            names: Names::default(),
            searches: 0,
            totals: Totals::default(),
        }
    }

    /// Searches for the names of network namespaces so far. Each looks at every process.
    pub fn searches(&self) -> u64 {
        self.searches
    }

    /// Observes what was dropped. `listened` are ports that TCP listens on, `namespaces` those that are read, with their labels; `None`
    /// where the source reads the agent's own by default.
    ///
    /// # Errors
    ///
    /// Programs could not be loaded, or their maps not be read. What the others counted is observed.
    pub fn observe(
        &mut self,
        listened: impl IntoIterator<Item = u16>,
        namespaces: Option<&[Namespace]>,
        now: Instant,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        let is_due = self.is_due();
        let loaded = match std::mem::replace(&mut self.state, State::Untried) {
            State::Absent(error) if !is_due => Err(error),
            State::Untried | State::Absent(_) => Kernel::load(self.limits).map(Box::new),
            State::Loaded(mut kernel) => {
                // The programs that are there count, whether or not the others can be loaded.
                let _refused_again = is_due && kernel.retry().is_err();
                Ok(kernel)
            }
        };
        let is_for_now = loaded
            .as_ref()
            .map_or_else(|error| error.reason() == Reason::Io, |kernel| kernel.may_be_retried());
        self.again = self.again.or(is_for_now.then_some(AGAIN));
        let mut kernel = match loaded {
            Ok(kernel) => kernel,
            Err(error) => {
                let again = error.again(DOING);
                self.state = State::Absent(error);
                return Err(again);
            }
        };
        kernel.name_ports(Ports::new(self.ephemeral.read(now), listened));
        let taken = self.take(&mut kernel, namespaces, now);
        self.report(&kernel, out);
        let result = taken.and_then(|()| kernel.incomplete().map_or(Ok(()), |error| Err(error.again(DOING))));
        self.state = State::Loaded(kernel);
        result
    }

    /// Counts a cycle; whether programs are to be loaded again in it.
    fn is_due(&mut self) -> bool {
        self.again = self.again.map(|cycles| cycles - 1);
        self.again.take_if(|cycles| *cycles == 0).is_some()
    }

    /// Takes what the programs counted into the totals.
    fn take(
        &mut self,
        kernel: &mut Kernel,
        namespaces: Option<&[Namespace]>,
        now: Instant,
    ) -> Result<(), SourceError> {
        let mut counted = Vec::new();
        kernel.counts(|key, packets| counted.push((key, packets)))?;
        let news = counted.iter().filter(|(key, packets)| self.totals.news(*key, *packets) > 0);
        self.names.begin(namespaces, news.map(|(key, _)| key.netns), now, || {
            self.searches += 1;
            self.finder.find()
        });
        let Self { names, totals, .. } = self;
        let named = |(key, packets): (Key, u64)| Counted { key, packets, netns: names.of(key.netns) };
        totals.take(counted.into_iter().map(named));
        for key in totals.end_cycle(usize::try_from(self.limits.ports / 2).unwrap_or(usize::MAX)) {
            // It may have been counted since.
            let last = kernel.forget(key);
            totals.take(last.map(|packets| named((key, packets))));
            totals.forget(key);
        }
        kernel.set_used(totals.keys());
        Ok(())
    }

    fn report(&mut self, kernel: &Kernel, out: &mut Readings) {
        for (series, packets) in self.totals.series(out.readers()) {
            observe(series, packets, kernel, out);
        }
        for kind in Kind::ALL {
            let labels = [(Label::Kind, kind.word().into())];
            out.observe(metrics::CONNSCOPE_NETWORK_SAMPLED, &labels, kernel.skipped(*kind));
        }
        let lost = kernel.lost() + self.totals.left_out();
        out.observe(metrics::CONNSCOPE_NETWORK_UNCOUNTED, &[], lost);
        if let Some(error) = self.names.incomplete() {
            out.fail(NAMES, error.again(NAMING));
        }
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

/// Loads the programs as a cycle would, for `connscope check`.
///
/// # Errors
///
/// They could not be loaded.
pub(super) fn check() -> Result<String, SourceError> {
    let kernel = Kernel::load(Limits::default())?;
    if let Some(error) = kernel.refused(DROP) {
        return Err(error.again(DOING));
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

/// Searches for the names of network namespaces as a cycle would, for `connscope check`.
///
/// # Errors
///
/// Some cannot be found.
pub(super) fn check_names() -> Result<String, SourceError> {
    let found = all_namespaces().find();
    if let Some(error) = found.incomplete {
        return Err(error.again(NAMING));
    }
    let count = found.namespaces.len();
    let plural = if count == 1 { "" } else { "s" };
    let note = found.note.map_or_else(String::new, |note| format!("; {note}"));
    Ok(format!("{count} network namespace{plural} found{note}"))
}

fn all_namespaces() -> Finder {
    Finder::new(&["all".to_owned()])
}
