//! Totals of the accept queues of a group.

use crate::metric::distribution::Distribution;
use crate::metric::{Handle, Labels};
use crate::reading::Readings;
use crate::source::sockets::metrics;
use std::sync::Arc;
use std::time::Duration;

/// Totals of the connections in accept queues.
#[derive(Debug, Clone, Default)]
pub(super) struct AcceptTotals {
    /// Longest time in the queue in this cycle.
    oldest: Duration,
    /// Times in the queue, one value for each connection in each cycle; created with the first.
    waits: Option<Box<Distribution>>,
    /// Connections that their clients closed, or will send nothing more on, before they were accepted.
    abandoned: u64,
}

impl AcceptTotals {
    /// Adds a connection in the accept queue; `abandoned` says that the client has closed it since the last cycle.
    pub(super) fn add(&mut self, age: Duration, abandoned: bool) {
        self.oldest = self.oldest.max(age);
        let new = || Box::new(Distribution::new(metrics::TCP_ACCEPT_WAIT.metric().boundaries.into()));
        self.waits.get_or_insert_with(new).record(age.as_secs_f64());
        self.abandoned += u64::from(abandoned);
    }

    /// Resets the values of the last cycle.
    pub(super) fn begin_cycle(&mut self) {
        self.oldest = Duration::ZERO;
    }

    /// Observes the longest time in the queue in this cycle.
    pub(super) fn observe_oldest(&self, labels: &Labels, out: &mut Readings) {
        out.observe(metrics::TCP_ACCEPT_OLDEST, labels, self.oldest.as_secs_f64());
    }

    /// Observes the sums over all cycles of a group that has or had listening sockets.
    pub(super) fn observe_sums(&self, labels: &Labels, out: &mut Readings) {
        out.observe(metrics::TCP_ACCEPT_ABANDONED, labels, self.abandoned);
        if let Some(waits) = &self.waits {
            out.observe(metrics::TCP_ACCEPT_WAIT, labels, Arc::new(Distribution::clone(waits)));
        }
    }
}
