//! Totals of the handshakes of a group, of connections that this machine opened.

use crate::metric::distribution::Distribution;
use crate::metric::{Handle, Labels};
use crate::reading::Readings;
use crate::source::sockets::connect::HandshakeDelta;
use crate::source::sockets::metrics;
use std::sync::Arc;

/// Totals of handshakes; `None` in a group without outgoing connections, and where the kernel does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectTotals {
    syn_retransmits: Option<u64>,
    /// Times of handshakes; created with the first.
    times: Option<Box<Distribution>>,
}

impl ConnectTotals {
    /// Adds what a connection did.
    pub(super) fn add(&mut self, delta: HandshakeDelta) {
        *self.syn_retransmits.get_or_insert_default() += u64::from(delta.syn_retransmits);
        if let Some(time) = delta.time {
            let new = || Box::new(Distribution::new(metrics::TCP_CONNECT_TIME.metric().boundaries.into()));
            self.times.get_or_insert_with(new).record(super::seconds(time));
        }
    }

    /// Observes the totals.
    pub(super) fn observe(&self, labels: &Labels, out: &mut Readings) {
        if let Some(count) = self.syn_retransmits {
            out.observe(metrics::TCP_SYN_RETRANSMITS, labels, count);
        }
        if let Some(times) = &self.times {
            out.observe(metrics::TCP_CONNECT_TIME, labels, Arc::new(Distribution::clone(times)));
        }
    }
}
