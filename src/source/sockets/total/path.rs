//! What is counted of the paths of a group's connections: sums of what TCP noticed, and how many stand still now.

use crate::metric::Labels;
use crate::reading::Readings;
use crate::source::sockets::metrics;
use crate::source::sockets::path::{PathCounters, PathFields, PathState};

/// What TCP noticed of the paths so far, of all connections of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct PathTotals {
    present: PathFields,
    /// Milliseconds.
    timeout_time: u64,
    timeouts: u64,
    spurious: u64,
    reordered: u64,
    out_of_order: u64,
    ecn_marked: u64,
    /// Connections that a window of 0 blocks, and those that are stalled, in this cycle.
    zero_window: u64,
    stalled: u64,
    /// The least path MTU of this cycle, bytes.
    least_mtu: Option<u32>,
}

impl PathTotals {
    /// Adds what TCP noticed of one connection since its last read.
    pub(super) fn add(&mut self, grown: &PathCounters, present: PathFields) {
        self.present = self.present.or(present);
        self.timeout_time += u64::from(grown.timeout_time);
        self.timeouts += u64::from(grown.timeouts);
        self.spurious += u64::from(grown.spurious);
        self.reordered += u64::from(grown.reordered);
        self.out_of_order += u64::from(grown.out_of_order);
        self.ecn_marked += u64::from(grown.ecn_marked);
    }

    /// Adds what is so of one connection in this cycle.
    pub(super) fn add_state(&mut self, state: PathState) {
        self.zero_window += u64::from(state.zero_window);
        self.stalled += u64::from(state.stalled);
        if state.mtu > 0 {
            self.least_mtu = Some(self.least_mtu.map_or(state.mtu, |least| least.min(state.mtu)));
        }
    }

    /// Forgets what was so in the last cycle.
    pub(super) fn begin_cycle(&mut self) {
        (self.zero_window, self.stalled, self.least_mtu) = (0, 0, None);
    }

    /// Observes all of it; what the kernel does not send is absent.
    #[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285,000 years")]
    pub(super) fn observe(&self, labels: &Labels, out: &mut Readings) {
        if self.present.timeouts {
            out.observe(metrics::TCP_RETRANSMISSION_TIMEOUTS, labels, self.timeouts);
            let seconds = self.timeout_time as f64 / 1e3;
            out.observe(metrics::TCP_RETRANSMISSION_TIMEOUT_TIME, labels, seconds);
        }
        if self.present.sack {
            out.observe(metrics::TCP_RETRANSMITS_SPURIOUS, labels, self.spurious);
            out.observe(metrics::TCP_SEGMENTS_REORDERED, labels, self.reordered);
        }
        if self.present.out_of_order {
            out.observe(metrics::TCP_SEGMENTS_OUT_OF_ORDER, labels, self.out_of_order);
            out.observe(metrics::TCP_ZERO_WINDOW_CONNECTIONS, labels, self.zero_window);
        }
        if self.present.ecn {
            out.observe(metrics::TCP_SEGMENTS_ECN_MARKED, labels, self.ecn_marked);
        }
        out.observe(metrics::TCP_STALLED_CONNECTIONS, labels, self.stalled);
        if let Some(mtu) = self.least_mtu {
            out.observe(metrics::TCP_PATH_MTU, labels, u64::from(mtu));
        }
    }
}
