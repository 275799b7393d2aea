//! What is counted of the accept queues of a group's listening sockets.

use crate::metric::distribution::Distribution;
use crate::metric::{Handle, Labels};
use crate::reading::Readings;
use crate::source::sockets::metrics;
use std::sync::Arc;
use std::time::Duration;

/// The connections that waited to be accepted.
#[derive(Debug, Clone, Default)]
pub(super) struct AcceptTotals {
    /// Longest wait of this cycle.
    oldest: Duration,
    /// How long they had waited, of each in each cycle that found it waiting; made when the first comes.
    waits: Option<Box<Distribution>>,
    /// How many were closed by their clients first.
    abandoned: u64,
}

impl AcceptTotals {
    /// Adds a connection that waits; `abandoned` says that its client has closed it since the last cycle.
    pub(super) fn add(&mut self, age: Duration, abandoned: bool) {
        self.oldest = self.oldest.max(age);
        let new = || Box::new(Distribution::new(metrics::TCP_ACCEPT_WAIT.metric().boundaries.into()));
        self.waits.get_or_insert_with(new).record(age.as_secs_f64());
        self.abandoned += u64::from(abandoned);
    }

    /// Forgets who waited in the last cycle.
    pub(super) fn begin_cycle(&mut self) {
        self.oldest = Duration::ZERO;
    }

    /// Observes all of it, where somebody listens.
    pub(super) fn observe(&self, labels: &Labels, out: &mut Readings) {
        out.observe(metrics::TCP_ACCEPT_OLDEST, labels, self.oldest.as_secs_f64());
        out.observe(metrics::TCP_ACCEPT_ABANDONED, labels, self.abandoned);
        if let Some(waits) = &self.waits {
            out.observe(metrics::TCP_ACCEPT_WAIT, labels, Arc::new(Distribution::clone(waits)));
        }
    }
}
