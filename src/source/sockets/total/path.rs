//! Totals of the network paths of a group: sums of counters, and the connections that are blocked now.

use crate::metric::Labels;
use crate::reading::Readings;
use crate::source::sockets::metrics;
use crate::source::sockets::path::{PathCounters, PathFields, PathState};

/// Totals of the counters of the network path, over all connections of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct PathTotals {
    supported: PathFields,
    /// Milliseconds in recovery from retransmission timeouts.
    timeout_time: u64,
    timeouts: u64,
    spurious: u64,
    reordered: u64,
    out_of_order: u64,
    ecn_marked: u64,
    /// Connections blocked by a window of 0, and stalled connections, in this cycle.
    zero_window: u64,
    stalled: u64,
    /// Minimum path MTU of this cycle, bytes.
    least_mtu: Option<u32>,
}

impl PathTotals {
    /// Adds the increase of the counters of a connection.
    pub(super) fn add(&mut self, increase: &PathCounters, supported: PathFields) {
        self.supported = self.supported.or(supported);
        self.timeout_time += u64::from(increase.timeout_time);
        self.timeouts += u64::from(increase.timeouts);
        self.spurious += u64::from(increase.spurious);
        self.reordered += u64::from(increase.reordered);
        self.out_of_order += u64::from(increase.out_of_order);
        self.ecn_marked += u64::from(increase.ecn_marked);
    }

    /// Adds the present state of a connection.
    pub(super) fn add_state(&mut self, state: PathState) {
        self.zero_window += u64::from(state.zero_window);
        self.stalled += u64::from(state.stalled);
        if state.mtu > 0 {
            self.least_mtu = Some(self.least_mtu.map_or(state.mtu, |least| least.min(state.mtu)));
        }
    }

    /// Resets the values of the last cycle.
    pub(super) fn begin_cycle(&mut self) {
        (self.zero_window, self.stalled, self.least_mtu) = (0, 0, None);
    }

    /// Observes the sums; a field that the kernel does not send is absent.
    #[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285,000 years")]
    pub(super) fn observe(&self, labels: &Labels, out: &mut Readings) {
        if self.supported.timeouts {
            out.observe(metrics::TCP_RETRANSMISSION_TIMEOUTS, labels, self.timeouts);
            let seconds = self.timeout_time as f64 / 1e3;
            out.observe(metrics::TCP_RETRANSMISSION_TIMEOUT_TIME, labels, seconds);
        }
        if self.supported.sack {
            out.observe(metrics::TCP_RETRANSMITS_SPURIOUS, labels, self.spurious);
            out.observe(metrics::TCP_SEGMENTS_REORDERED, labels, self.reordered);
        }
        if self.supported.out_of_order {
            out.observe(metrics::TCP_SEGMENTS_OUT_OF_ORDER, labels, self.out_of_order);
        }
        if self.supported.ecn {
            out.observe(metrics::TCP_SEGMENTS_ECN_MARKED, labels, self.ecn_marked);
        }
    }

    /// Observes the states of this cycle.
    pub(super) fn observe_states(&self, labels: &Labels, out: &mut Readings) {
        if self.supported.window {
            out.observe(metrics::TCP_ZERO_WINDOW_CONNECTIONS, labels, self.zero_window);
        }
        out.observe(metrics::TCP_STALLED_CONNECTIONS, labels, self.stalled);
        if let Some(mtu) = self.least_mtu {
            out.observe(metrics::TCP_PATH_MTU, labels, u64::from(mtu));
        }
    }
}
