//! Totals of a group: sums of changes, and distributions. Monotonic, whichever sockets come and go.

use super::delta::{Activity, ConnectionDelta, Delta};
use super::sample::{Measurements, SupportedFields};
use crate::metric::Label;
use crate::metric::distribution::Distribution;
use crate::metric::label::Event;
use crate::metric::{Handle, Histogram, Labels};
use crate::reading::Readings;
use crate::source::sockets::labels::LimitReason;
use crate::source::sockets::metrics;
use accept::AcceptTotals;
use connect::ConnectTotals;
use path::PathTotals;
use std::sync::Arc;
use std::time::Duration;

mod accept;
mod connect;
mod path;

/// Distributions of a group, created with the first value.
#[derive(Debug, Clone)]
struct Distributions {
    rtt: Distribution,
    min_rtt: Distribution,
    delivery_rate: Distribution,
    cwnd: Distribution,
}

impl Default for Distributions {
    fn default() -> Self {
        let of = |histogram: Histogram| Distribution::new(histogram.metric().boundaries.into());
        Self {
            rtt: of(metrics::TCP_RTT),
            min_rtt: of(metrics::TCP_RTT_MIN),
            delivery_rate: of(metrics::TCP_DELIVERY_RATE),
            cwnd: of(metrics::TCP_CWND),
        }
    }
}

/// Totals of a group.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    supported: SupportedFields,
    sent: u64,
    received: u64,
    segs_out: u64,
    segs_in: u64,
    retransmits: u64,
    busy: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    events: [u64; Event::ALL.len()],
    path: PathTotals,
    connect: ConnectTotals,
    distributions: Option<Box<Distributions>>,
    has_connections: bool,
    /// Whether the group has or had listening sockets.
    has_listened: bool,
    /// Connections that are open now.
    pub open: u64,
    /// Sums over the listening sockets of this cycle: connections in accept queues, and maximum lengths.
    queue: Option<(u64, u64)>,
    overflow: Option<u64>,
    accept: AcceptTotals,
    drops: Option<u64>,
}

/// Microseconds to seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

impl Totals {
    /// Adds the changes of a socket.
    pub fn add(&mut self, delta: &Delta) {
        self.open = self.open.saturating_add_signed(delta.open.into());
        for (count, more) in self.events.iter_mut().zip(delta.events) {
            *count += u64::from(more);
            self.has_connections |= more > 0;
        }
        match &delta.activity {
            Activity::None => {}
            Activity::Connection(delta) => self.add_connection(delta),
            Activity::Listener { usage, limit, dropped } => self.add_listener(*usage, *limit, *dropped),
            Activity::Datagrams { dropped } => *self.drops.get_or_insert_default() += dropped,
        }
    }

    fn add_connection(&mut self, delta: &ConnectionDelta) {
        let increase = &delta.increase;
        self.has_connections = true;
        self.supported = self.supported.or(delta.supported);
        self.sent += increase.sent;
        self.received += increase.received;
        self.busy += increase.busy;
        self.rwnd_limited += increase.rwnd_limited;
        self.sndbuf_limited += increase.sndbuf_limited;
        self.segs_out += u64::from(increase.segs_out);
        self.segs_in += u64::from(increase.segs_in);
        self.retransmits += u64::from(increase.retransmits);
        self.path.add(&increase.path, delta.supported.path);
        if let Some(state) = delta.path {
            self.path.add_state(state);
        }
        if let Some(handshake) = delta.handshake {
            self.connect.add(handshake);
        }
        if let Some(measured) = &delta.measured {
            self.record(measured);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bytes a second")]
    fn record(&mut self, now: &Measurements) {
        let distributions = self.distributions.get_or_insert_default();
        if let Some(rtt) = now.rtt {
            distributions.rtt.record(seconds(rtt.into()));
            if let Some(cwnd) = now.cwnd {
                distributions.cwnd.record(cwnd.into());
            }
        }
        if let Some(rtt) = now.min_rtt {
            distributions.min_rtt.record(seconds(rtt.into()));
        }
        if let Some(rate) = now.delivery_rate {
            distributions.delivery_rate.record(rate as f64);
        }
    }

    fn add_listener(&mut self, usage: u64, limit: u64, dropped: Option<u64>) {
        self.has_listened = true;
        let queue = self.queue.get_or_insert_default();
        queue.0 += usage;
        queue.1 += limit;
        if let Some(dropped) = dropped {
            *self.overflow.get_or_insert_default() += dropped;
        }
    }

    /// Resets the values of the last cycle: accept queues and blocked connections are summed from 0 in each cycle.
    pub fn begin_cycle(&mut self) {
        self.queue = None;
        self.accept.begin_cycle();
        self.path.begin_cycle();
    }

    /// Adds a connection in the accept queue; `abandoned` says that the client has closed it since the last cycle.
    pub fn add_waiting(&mut self, age: Duration, abandoned: bool) {
        self.accept.add(age, abandoned);
    }

    /// Number of connections with this event.
    pub fn event_count(&self, event: Event) -> u64 {
        self.events.get(event as usize).copied().unwrap_or_default()
    }

    /// Observes the totals. Those of this cycle are left out unless it is `current`: every socket of the group was read.
    pub fn observe(&self, labels: &Labels, current: bool, out: &mut Readings) {
        if self.has_connections {
            self.observe_connections(labels, out);
            if current {
                self.path.observe_states(labels, out);
            }
        }
        if let Some((usage, limit)) = self.queue.filter(|_| current) {
            out.observe(metrics::TCP_LISTEN_QUEUE_USAGE, labels, usage);
            out.observe(metrics::TCP_LISTEN_QUEUE_LIMIT, labels, limit);
            self.accept.observe_oldest(labels, out);
        }
        if self.has_listened {
            self.accept.observe_sums(labels, out);
        }
        if let Some(overflow) = self.overflow {
            out.observe(metrics::TCP_LISTEN_QUEUE_OVERFLOW, labels, overflow);
        }
        if let Some(drops) = self.drops {
            out.observe(metrics::UDP_DROPS, labels, drops);
        }
    }

    fn observe_connections(&self, labels: &Labels, out: &mut Readings) {
        let with = |label: Label, value: &str| labels.with(label, value);
        out.observe(metrics::TCP_OPEN_CONNECTIONS, labels, self.open);
        for event in Event::ALL {
            out.observe(metrics::TCP_CONNECTIONS, with(Label::Event, event.word()), self.event_count(*event));
        }
        out.observe(metrics::TCP_RETRANSMITS, labels, self.retransmits);
        let (transmit, receive) = (with(Label::IoDirection, "transmit"), with(Label::IoDirection, "receive"));
        if self.supported.segments {
            out.observe(metrics::TCP_SEGMENTS, &transmit, self.segs_out);
            out.observe(metrics::TCP_SEGMENTS, &receive, self.segs_in);
        }
        if self.supported.bytes {
            out.observe(metrics::TCP_IO, &transmit, self.sent);
            out.observe(metrics::TCP_IO, &receive, self.received);
        }
        if self.supported.times {
            out.observe(metrics::TCP_BUSY_TIME, labels, seconds(self.busy));
            let limited = [
                (LimitReason::ReceiveWindow, self.rwnd_limited),
                (LimitReason::SendBuffer, self.sndbuf_limited),
            ];
            for (by, time) in limited {
                out.observe(metrics::TCP_LIMITED_TIME, with(Label::Reason, by.word()), seconds(time));
            }
        }
        self.path.observe(labels, out);
        self.connect.observe(labels, out);
        if let Some(distributions) = &self.distributions {
            for (metric, distribution) in [
                (metrics::TCP_RTT, &distributions.rtt),
                (metrics::TCP_RTT_MIN, &distributions.min_rtt),
                (metrics::TCP_DELIVERY_RATE, &distributions.delivery_rate),
                (metrics::TCP_CWND, &distributions.cwnd),
            ] {
                if distribution.count() > 0 {
                    out.observe(metric, labels, Arc::new(distribution.clone()));
                }
            }
        }
    }
}
