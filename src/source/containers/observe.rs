//! The readings of the TCP connections and of the listening sockets.

use super::applications::Applications;
use super::classic::Classic;
use super::destinations::{ReportedDestination, ReportedEndpoint};
use super::failure::Failure;
use super::labels::{LeftOut, SourcePart, Via};
use super::latency::Latency;
use super::listeners::{DOCKER, ListenAddress, Listeners};
use super::metrics;
use super::tcp::{Counts, Tcp};
use crate::host::inventory::{Container, Inventory, Workload};
use crate::metric::label::Event;
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

/// What is known of the destinations.
pub(super) struct Observed<'a> {
    pub(super) tcp: &'a Tcp,
    /// Whether connections are counted; otherwise only those that are open are known.
    pub(super) counted: bool,
    /// Whether the round trips of connections are reported.
    pub(super) passive: bool,
    /// `None` where there are no echoes.
    pub(super) latency: Option<&'a Latency>,
}

/// Observes every reported destination, and every listen address.
pub(super) fn observe(
    observed: &Observed<'_>,
    listeners: &Listeners,
    inventory: &Inventory,
    classic: Option<&Classic>,
    out: &mut Readings,
) {
    let Observed { tcp, counted, passive, .. } = *observed;
    let mut latency: HashMap<(u64, Arc<str>), f64> = HashMap::new();
    let workloads = inventory.by_numbers();
    let mut texts = EndpointTexts::default();
    for (number, destination, counts) in tcp.iter() {
        let Some(workload) = workloads.get(&number) else { continue };
        let rtt = counts.rtt().filter(|_| passive);
        observe_destination(workload, destination, &counts, counted, rtt, &mut texts, out);
        if let Some(classic) = classic {
            classic.destination(workload, destination, &counts, counted, out);
            if let Some(rtt) = rtt {
                let least = latency.entry((number, destination.actual.address())).or_insert(rtt);
                *least = least.min(rtt);
            }
        }
    }
    for (number, ip, round_trip) in observed.latency.iter().flat_map(|latency| latency.round_trips()) {
        let Some(workload) = workloads.get(&number) else { continue };
        let (address, seconds) = (Arc::<str>::from(ip.to_string()), round_trip.as_secs_f64());
        let labels = workload.labels.with(Label::PeerAddress, Arc::clone(&address));
        out.observe(metrics::CONTAINER_ICMP_RTT, labels, seconds);
        latency.insert((number, address), seconds);
    }
    for (at, open) in listeners.iter() {
        let Some(workload) = workloads.get(&at.workload) else { continue };
        if open {
            out.observe(metrics::CONTAINER_TCP_LISTEN, listen(workload, at), 1);
        }
        if let Some(classic) = classic {
            classic.listener(workload, at, open, out);
        }
    }
    for ((number, address), seconds) in latency {
        if let (Some(classic), Some(workload)) = (classic, workloads.get(&number)) {
            classic.latency(workload, address, seconds, out);
        }
    }
}

/// Endpoints as label values.
#[derive(Default)]
struct EndpointTexts {
    /// The ports of a cycle: many destinations have the same.
    ports: HashMap<u16, Arc<str>>,
    /// The address that is written, in memory that is used again.
    address: String,
}

impl EndpointTexts {
    fn port(&mut self, endpoint: ReportedEndpoint) -> Option<Arc<str>> {
        let ReportedEndpoint::At(at) = endpoint else { return endpoint.port() };
        Some(Arc::clone(self.ports.entry(at.port()).or_insert_with(|| at.port().to_string().into())))
    }

    fn address(&mut self, endpoint: ReportedEndpoint) -> Arc<str> {
        let Some(ip) = endpoint.ip() else { return endpoint.address() };
        self.address.clear();
        let _infallible = write!(self.address, "{ip}");
        self.address.as_str().into()
    }
}

/// Label values that the readings of every destination share.
struct SharedLabels {
    opened: Arc<str>,
    closed: Arc<str>,
    reset: Arc<str>,
    failed: Arc<str>,
    reasons: Vec<Arc<str>>,
    transmit: Arc<str>,
    receive: Arc<str>,
}

static WORDS: LazyLock<SharedLabels> = LazyLock::new(|| SharedLabels {
    opened: Event::Opened.word().into(),
    closed: Event::Closed.word().into(),
    reset: Event::Reset.word().into(),
    failed: Event::Failed.word().into(),
    reasons: Failure::ALL.iter().map(|reason| reason.word().into()).collect(),
    transmit: "transmit".into(),
    receive: "receive".into(),
});

fn observe_destination(
    workload: &Workload,
    destination: ReportedDestination,
    counts: &Counts,
    counted: bool,
    rtt: Option<f64>,
    texts: &mut EndpointTexts,
    out: &mut Readings,
) {
    let words = &*WORDS;
    let (address, port) = (texts.address(destination.requested), texts.port(destination.requested));
    let server = [Some((Label::ServerAddress, address)), port.map(|port| (Label::ServerPort, port))];
    for (reason, count) in words.reasons.iter().zip(counts.failed) {
        if count > 0 {
            let [address, port] = server.clone();
            let event = Some((Label::Event, Arc::clone(&words.failed)));
            let reason = Some((Label::ErrorType, Arc::clone(reason)));
            let labels = workload.labels.with_all([reason, event, address, port]);
            out.observe(metrics::CONTAINER_TCP_CONNECTIONS, labels, count);
        }
    }
    let ends = [(&words.opened, counts.opened), (&words.closed, counts.closed), (&words.reset, counts.reset)];
    let reached = counts.open() > 0 || ends.iter().any(|(_, count)| *count > 0);
    // Of a destination that was never reached only the failures are told.
    if !reached && counts.retransmits == 0 {
        return;
    }
    let text = |label: &Option<(Label, Arc<str>)>| label.as_ref().map(|(_, text)| Arc::clone(text));
    let (address, port) = if destination.actual == destination.requested {
        (text(&server[0]), text(&server[1]))
    } else {
        (Some(texts.address(destination.actual)), texts.port(destination.actual))
    };
    let [server_address, server_port] = server;
    let labels = workload.labels.with_all([
        address.map(|address| (Label::PeerAddress, address)),
        port.map(|port| (Label::PeerPort, port)),
        server_address,
        server_port,
    ]);
    if !counted {
        out.observe(metrics::CONTAINER_TCP_OPEN_CONNECTIONS, &labels, counts.open());
        return;
    }
    if reached {
        for (event, count) in ends {
            let labels = labels.with(Label::Event, Arc::clone(event));
            out.observe(metrics::CONTAINER_TCP_CONNECTIONS, labels, count);
        }
        out.observe(metrics::CONTAINER_TCP_OPEN_CONNECTIONS, &labels, counts.open());
        out.observe(metrics::CONTAINER_TCP_CONNECT_TIME, &labels, Arc::new(counts.connect()));
        for (direction, bytes) in [(&words.transmit, counts.sent), (&words.receive, counts.received)] {
            let labels = labels.with(Label::IoDirection, Arc::clone(direction));
            out.observe(metrics::CONTAINER_TCP_IO, labels, bytes);
        }
        if let Some(rtt) = rtt {
            out.observe(metrics::CONTAINER_TCP_RTT, &labels, rtt);
        }
    }
    out.observe(metrics::CONTAINER_TCP_RETRANSMITS, &labels, counts.retransmits);
    out.observe(metrics::CONTAINER_TCP_SYN_RETRANSMITS, &labels, counts.syn_retransmits);
}

fn listen(workload: &Workload, at: ListenAddress) -> Labels {
    let labels = workload.labels.with(Label::LocalAddress, at.at.ip().to_string());
    let labels = labels.with(Label::LocalPort, at.at.port().to_string());
    if at.published { labels.with(Label::Proxy, DOCKER) } else { labels }
}

/// Reports the types of application of each container that runs.
pub(super) fn applications(
    applications: &Applications,
    containers: &[Container],
    classic: Option<&Classic>,
    out: &mut Readings,
) {
    for container in containers.iter().filter(|container| !container.ended) {
        let workload = &container.workload;
        for word in applications.of(workload.number) {
            let word: Arc<str> = (*word).into();
            let labels = workload.labels.with(Label::ApplicationType, Arc::clone(&word));
            out.observe(metrics::CONTAINER_APPLICATION, labels, 1);
            if let Some(classic) = classic {
                classic.application(workload, &word, out);
            }
        }
    }
}

/// Counts what is over a limit.
pub(super) fn left_out(key: LeftOut, count: u64, out: &mut Readings) {
    out.observe(metrics::CONNSCOPE_CONTAINERS_LEFT_OUT, &[(Label::Key, key.word().into())], count);
}

/// Reports by which method a part is read.
pub(super) fn via(part: SourcePart, via: Via, out: &mut Readings) {
    let labels = [(Label::SourcePart, part.word().into()), (Label::Via, via.word().into())];
    out.observe(metrics::CONNSCOPE_CONTAINERS_SOURCE, &labels, 1);
}
