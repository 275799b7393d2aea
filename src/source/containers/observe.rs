//! The readings of the TCP connections and of the listening sockets.

use super::classic::Classic;
use super::destinations::{ReportedDestination, ReportedEndpoint};
use super::failure::Failure;
use super::labels::{LeftOut, SourcePart, Via};
use super::listeners::{DOCKER, ListenAddress, Listeners};
use super::metrics;
use super::tcp::{Counts, Tcp};
use crate::host::inventory::{Inventory, Workload};
use crate::metric::label::Event;
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use std::collections::HashMap;
use std::sync::Arc;

/// Observes every reported destination, and every listen address.
pub(super) fn observe(
    tcp: &Tcp,
    listeners: &Listeners,
    inventory: &Inventory,
    classic: Option<&Classic>,
    out: &mut Readings,
) {
    let mut latency: HashMap<(u64, Arc<str>), f64> = HashMap::new();
    for (number, destination, counts) in tcp.iter() {
        let Some(workload) = inventory.current(number) else { continue };
        observe_destination(&workload, destination, &counts, out);
        if let Some(classic) = classic {
            classic.destination(&workload, destination, &counts, out);
            if let Some(rtt) = counts.rtt() {
                let least = latency.entry((number, destination.actual.address())).or_insert(rtt);
                *least = least.min(rtt);
            }
        }
    }
    for (at, open) in listeners.iter() {
        let Some(workload) = inventory.current(at.workload) else { continue };
        if open {
            out.observe(metrics::CONTAINER_TCP_LISTEN, listen(&workload, at), 1);
        }
        if let Some(classic) = classic {
            classic.listener(&workload, at, open, out);
        }
    }
    for ((number, address), seconds) in latency {
        if let (Some(classic), Some(workload)) = (classic, inventory.current(number)) {
            classic.latency(&workload, address, seconds, out);
        }
    }
}

fn observe_destination(
    workload: &Workload,
    destination: ReportedDestination,
    counts: &Counts,
    out: &mut Readings,
) {
    let requested = end(&workload.labels, destination.requested, Label::ServerAddress, Label::ServerPort);
    for (reason, count) in Failure::ALL.iter().zip(counts.failed) {
        if count > 0 {
            let event = (Label::Event, Event::Failed.word().into());
            let labels = requested.with_all([Some(event), Some((Label::ErrorType, reason.word().into()))]);
            out.observe(metrics::CONTAINER_TCP_CONNECTIONS, &labels, count);
        }
    }
    let ends = [(Event::Opened, counts.opened), (Event::Closed, counts.closed), (Event::Reset, counts.reset)];
    let reached = counts.open() > 0 || ends.iter().any(|(_, count)| *count > 0);
    // Of a destination that was never reached only the failures are told.
    if !reached && counts.retransmits == 0 {
        return;
    }
    let labels = end(&requested, destination.actual, Label::PeerAddress, Label::PeerPort);
    if reached {
        for (event, count) in ends {
            out.observe(metrics::CONTAINER_TCP_CONNECTIONS, labels.with(Label::Event, event.word()), count);
        }
        out.observe(metrics::CONTAINER_TCP_OPEN_CONNECTIONS, &labels, counts.open());
        out.observe(metrics::CONTAINER_TCP_CONNECT_TIME, &labels, Arc::new(counts.connect()));
        for (direction, bytes) in [("transmit", counts.sent), ("receive", counts.received)] {
            out.observe(metrics::CONTAINER_TCP_IO, labels.with(Label::IoDirection, direction), bytes);
        }
        if let Some(rtt) = counts.rtt() {
            out.observe(metrics::CONTAINER_TCP_RTT, &labels, rtt);
        }
    }
    out.observe(metrics::CONTAINER_TCP_RETRANSMITS, &labels, counts.retransmits);
}

fn end(labels: &Labels, at: ReportedEndpoint, address: Label, port: Label) -> Labels {
    labels.with_all([Some((address, at.address())), at.port().map(|number| (port, number))])
}

fn listen(workload: &Workload, at: ListenAddress) -> Labels {
    let labels = workload.labels.with(Label::LocalAddress, at.at.ip().to_string());
    let labels = labels.with(Label::LocalPort, at.at.port().to_string());
    if at.published { labels.with(Label::Proxy, DOCKER) } else { labels }
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
