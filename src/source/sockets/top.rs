//! The flows that rank highest in a cycle, each with its addresses.

use super::delta::ConnectionDelta;
use super::diag::Record;
use super::tcp_info::TcpInfo;
use crate::metric::Label;
use crate::reading::Readings;
use crate::source::sockets::config::{Top as Settings, TopBy};
use crate::source::sockets::metrics;
use std::net::SocketAddr;
use std::sync::Arc;

/// The flows that rank highest in this cycle.
#[derive(Debug)]
pub struct Top {
    settings: Settings,
    /// The flows, in descending order.
    flows: Vec<Flow>,
}

#[derive(Debug)]
struct Flow {
    score: u64,
    namespace: Option<Arc<str>>,
    local: SocketAddr,
    peer: SocketAddr,
    retransmits: u64,
    rtt: Option<u32>,
    queue: u64,
}

impl Top {
    /// Creates it without flows.
    pub fn new(settings: Settings) -> Self {
        Self { settings, flows: Vec::with_capacity(settings.count) }
    }

    /// Whether flows are reported at all.
    pub fn is_enabled(&self) -> bool {
        self.settings.count > 0
    }

    /// Adds a connection if it ranks high enough. A score of 0 is never added.
    pub fn take(
        &mut self,
        namespace: Option<&Arc<str>>,
        record: &Record<'_>,
        delta: Option<ConnectionDelta>,
    ) {
        let rtt = record.tcp.and_then(TcpInfo::rtt);
        let retransmits = delta.map_or(0, |delta| delta.increase.retransmits).into();
        let queue = u64::from(record.receive_queue) + u64::from(record.write_queue);
        let score = match self.settings.by {
            TopBy::Retransmits => retransmits,
            TopBy::Rtt => rtt.unwrap_or_default().into(),
            TopBy::Queue => queue,
        };
        let full = self.flows.len() >= self.settings.count;
        if score == 0 || (full && self.flows.first().is_none_or(|best| best.score >= score)) {
            return;
        }
        if full {
            self.flows.remove(0);
        }
        let index = self.flows.partition_point(|flow| flow.score < score);
        let (local, peer) = (record.local, record.peer);
        self.flows.insert(
            index,
            Flow { score, namespace: namespace.cloned(), local, peer, retransmits, rtt, queue },
        );
    }

    /// Clears the flows for the next cycle.
    pub fn clear(&mut self) {
        self.flows.clear();
    }

    /// Observes the flows, and clears them for the next cycle.
    pub fn observe(&mut self, out: &mut Readings) {
        for flow in std::mem::take(&mut self.flows) {
            let mut labels = vec![
                (Label::LocalAddress, flow.local.ip().to_string().into()),
                (Label::LocalPort, flow.local.port().to_string().into()),
                (Label::PeerAddress, flow.peer.ip().to_string().into()),
                (Label::PeerPort, flow.peer.port().to_string().into()),
            ];
            labels.extend(flow.namespace.map(|name| (Label::Netns, name)));
            out.observe(metrics::TCP_TOP_RETRANSMITS, &labels, flow.retransmits);
            out.observe(metrics::TCP_TOP_QUEUE, &labels, flow.queue);
            if let Some(rtt) = flow.rtt {
                out.observe(metrics::TCP_TOP_RTT, &labels, f64::from(rtt) / 1e6);
            }
        }
    }
}
