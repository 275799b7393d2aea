//! One series per flow, with the names of prometheus_ss_exporter: selection, limit, and the count of flows over the
//! limit.
//!
//! Intended differences: the histogram has cumulative buckets, a true sum, and never decreases; IPv6 is included; each
//! flow has one series; the series of a flow ends with the flow.

use super::delta::ConnectionDelta;
use super::diag::Record;
use super::owners::{Owner, Owners};
use super::select::{Addresses, Flow, Process, Selection};
use crate::metric::Label;
use crate::metric::distribution::Distribution;
use crate::reading::Readings;
use crate::source::sockets::config::classic::{Classic as Settings, Family, FlowLabel};
use crate::source::sockets::metrics;
use crate::source::sockets::timeouts;
use crate::stop::Stop;
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of flows that are kept until their processes are known; flows over the limit are left out.
const CANDIDATES: usize = 100_000;

/// A flow of this cycle that may be reported.
#[derive(Debug)]
struct Candidate {
    cookie: u64,
    local: SocketAddr,
    peer: SocketAddr,
    rtt: Option<u32>,
    cwnd: Option<u32>,
    delivery_rate: Option<u64>,
    segments: (u32, u32),
    progress: bool,
}

/// The series of one value of the label `flow`.
#[derive(Debug, Default)]
struct FlowSeries {
    rtt: Option<u32>,
    cwnd: Option<u32>,
    delivery_rate: Option<u64>,
    /// Data segments received and sent, summed over all flows that had this label.
    segments: (u64, u64),
    reported: bool,
}

/// The flows of the classic profile.
#[derive(Debug)]
pub struct Classic {
    settings: Settings,
    selection: Selection,
    addresses: Arc<Mutex<Addresses>>,
    candidates: Vec<Candidate>,
    /// Data segments received and sent by each reported flow at the last read, by cookie.
    reported: HashMap<u64, (u32, u32)>,
    series: HashMap<Arc<str>, FlowSeries>,
    left_out: u64,
    rtt: Arc<Mutex<Distribution>>,
}

impl Classic {
    /// Creates it without flows; `None` if disabled. Starts a thread that resolves host names until the agent stops.
    pub fn new(settings: &Settings, stop: &Stop) -> std::io::Result<Option<Self>> {
        if !settings.enabled {
            return Ok(None);
        }
        let selection = Selection::new(settings);
        let addresses = Arc::new(Mutex::new(Addresses::new()));
        let hosts: Vec<String> = selection.hosts().map(str::to_owned).collect();
        if !hosts.is_empty() {
            let (addresses, stop) = (Arc::clone(&addresses), stop.clone());
            let look = move || look_up(&hosts, &addresses, &stop);
            std::thread::Builder::new().name("sockets-hosts".to_owned()).spawn(look)?;
        }
        Ok(Some(Self {
            settings: settings.clone(),
            selection,
            addresses,
            candidates: Vec::new(),
            reported: HashMap::new(),
            series: HashMap::new(),
            left_out: 0,
            rtt: Arc::new(Mutex::new(Distribution::new(settings.buckets.as_slice().into()))),
        }))
    }

    /// Whether the processes of flows are needed.
    pub fn needs_processes(&self) -> bool {
        self.selection.needs_processes() || self.settings.flow == FlowLabel::PidCondensed
    }

    /// Whether all processes of a flow are needed, and not only one.
    pub fn needs_all_holders(&self) -> bool {
        self.selection.needs_processes()
    }

    /// Whether the command lines of the processes are needed.
    pub fn needs_command_lines(&self) -> bool {
        self.selection.needs_command_lines()
    }

    /// The histogram of all flows; the events thread adds the flows that end between two cycles.
    pub fn rtt(&self) -> Arc<Mutex<Distribution>> {
        Arc::clone(&self.rtt)
    }

    /// Removes the candidates of a cycle that failed.
    pub fn clear(&mut self) {
        self.candidates.clear();
    }

    /// Adds a connection to the candidates if it may be selected. Returns whether its processes are needed.
    pub fn take(&mut self, record: &Record<'_>, delta: Option<ConnectionDelta>) -> bool {
        let Some(tcp) = record.tcp else { return false };
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.selection.may_select(record.peer, &addresses) {
            return false;
        }
        if self.candidates.len() >= CANDIDATES {
            self.left_out += 1;
            return false;
        }
        self.candidates.push(Candidate {
            cookie: record.cookie,
            local: record.local,
            peer: record.peer,
            rtt: tcp.rtt(),
            cwnd: tcp.snd_cwnd(),
            delivery_rate: tcp.delivery_rate(),
            segments: (tcp.data_segs_in().unwrap_or_default(), tcp.data_segs_out().unwrap_or_default()),
            progress: delta.is_some_and(|delta| delta.progress()),
        });
        self.needs_processes()
    }

    /// Selects among the candidates and observes them. Returns the cookies of the selected flows, so that their ends
    /// are counted.
    pub fn finish(&mut self, owners: Option<&Owners>, out: &mut Readings) -> HashSet<u64> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.retain(|candidate| self.selects(candidate, owner(owners, candidate.cookie), &addresses));
        let selected: HashSet<u64> = candidates.iter().map(|candidate| candidate.cookie).collect();
        self.record(&candidates);
        out.observe(metrics::TCP_FLOWS, &[], candidates.len() as u64);
        // Flows that were reported come first, so that series do not alternate when there are too many.
        candidates.sort_by_key(|candidate| !self.reported.contains_key(&candidate.cookie));
        self.left_out += candidates.len().saturating_sub(self.settings.limit) as u64;
        candidates.truncate(self.settings.limit);
        for series in self.series.values_mut() {
            *series = FlowSeries { segments: series.segments, ..FlowSeries::default() };
        }
        for candidate in &candidates {
            let label = self.label(candidate, owner(owners, candidate.cookie));
            let (before_in, before_out) =
                self.reported.insert(candidate.cookie, candidate.segments).unwrap_or_default();
            let (segs_in, segs_out) = candidate.segments;
            let series = self.series.entry(label).or_default();
            series.reported = true;
            // The largest value of all flows with one label; rates and segments are summed.
            series.rtt = series.rtt.max(candidate.rtt);
            series.cwnd = match (series.cwnd, candidate.cwnd) {
                (Some(least), Some(cwnd)) => Some(least.min(cwnd)),
                (least, cwnd) => least.or(cwnd),
            };
            if let Some(rate) = candidate.delivery_rate {
                *series.delivery_rate.get_or_insert_default() += rate;
            }
            series.segments.0 += u64::from(segs_in.wrapping_sub(before_in));
            series.segments.1 += u64::from(segs_out.wrapping_sub(before_out));
        }
        let there: HashSet<u64> = candidates.iter().map(|candidate| candidate.cookie).collect();
        self.reported.retain(|cookie, _| there.contains(cookie));
        self.series.retain(|_, series| series.reported);
        self.observe(out);
        selected
    }

    fn selects(&self, candidate: &Candidate, owner: Option<&Arc<Owner>>, addresses: &Addresses) -> bool {
        if !self.selection.needs_processes() {
            return true; // all other conditions were tested in `take`
        }
        let holders = owner.map(|owner| owner.processes.as_slice()).unwrap_or_default();
        let processes: Vec<Process<'_>> = holders
            .iter()
            .map(|process| Process {
                pid: process.pid,
                comm: &process.comm,
                arguments: process.command.as_deref().unwrap_or_default(),
            })
            .collect();
        self.selection.selects(&Flow { peer: candidate.peer, processes: &processes }, addresses)
    }

    /// The value of the label `flow`. Without a known process, both formats give the addresses and ports of both ends.
    fn label(&self, candidate: &Candidate, owner: Option<&Arc<Owner>>) -> Arc<str> {
        let Candidate { local, peer, .. } = candidate;
        let pid = owner.and_then(|owner| owner.processes.first()).map(|process| process.pid);
        let own = match (self.settings.flow, pid) {
            (FlowLabel::PidCondensed, Some(pid)) => format!("({pid})"),
            _ => format!("(SRC#{}|{})", local.ip(), local.port()),
        };
        format!("{own}(DST#{}|{})", peer.ip(), peer.port()).into()
    }

    fn record(&self, candidates: &[Candidate]) {
        let mut distribution = self.rtt.lock().unwrap_or_else(PoisonError::into_inner);
        for rtt in
            candidates.iter().filter(|candidate| candidate.progress).filter_map(|candidate| candidate.rtt)
        {
            distribution.record(milliseconds(rtt));
        }
    }

    fn observe(&self, out: &mut Readings) {
        let wanted = |family| self.settings.metrics.contains(&family);
        for (label, series) in &self.series {
            let labels = [(Label::Flow, Arc::clone(label))];
            if let (Some(rtt), true) = (series.rtt, wanted(Family::Rtt)) {
                out.observe(metrics::TCP_FLOW_RTT, &labels, milliseconds(rtt));
            }
            if let (Some(cwnd), true) = (series.cwnd, wanted(Family::Cwnd)) {
                out.observe(metrics::TCP_FLOW_CWND, &labels, cwnd.into());
            }
            if let (Some(rate), true) = (series.delivery_rate, wanted(Family::DeliveryRate)) {
                out.observe(metrics::TCP_FLOW_DELIVERY_RATE, &labels, rate);
            }
            if wanted(Family::DataSegsIn) {
                out.observe(metrics::TCP_FLOW_DATA_SEGS_IN, &labels, series.segments.0);
            }
            if wanted(Family::DataSegsOut) {
                out.observe(metrics::TCP_FLOW_DATA_SEGS_OUT, &labels, series.segments.1);
            }
        }
        if wanted(Family::RttHistMs) {
            let distribution = self.rtt.lock().unwrap_or_else(PoisonError::into_inner).clone();
            out.observe(metrics::TCP_FLOW_RTT_HISTOGRAM, &[], Arc::new(distribution));
        }
        out.observe(metrics::TCP_FLOWS_LEFT_OUT, &[], self.left_out);
    }
}

/// Converts the kernel's microseconds to the milliseconds of the classic metrics.
pub fn milliseconds(microseconds: u32) -> f64 {
    f64::from(microseconds) / 1e3
}

fn owner(owners: Option<&Owners>, cookie: u64) -> Option<&Arc<Owner>> {
    owners.and_then(|owners| owners.of(cookie).flatten())
}

/// Resolves host names repeatedly until the agent stops. A name that cannot be resolved keeps its last addresses.
fn look_up(hosts: &[String], addresses: &Mutex<Addresses>, stop: &Stop) {
    let mut failing = HashSet::new();
    loop {
        for host in hosts {
            match (host.as_str(), 0).to_socket_addrs() {
                Ok(found) => {
                    let found = found.map(|address| address.ip()).collect();
                    addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), found);
                    failing.remove(host);
                }
                Err(error) if failing.insert(host.clone()) => {
                    tracing::warn!(host, %error, "a host name in include or exclude cannot be looked up; retried every minute");
                }
                Err(_) => {}
            }
        }
        if stop.killed_within(timeouts::HOSTS) {
            return;
        }
    }
}
