//! What is counted of a group: sums of differences, and distributions. Monotonic however sockets come and go.

use super::tcp_info::TcpInfo;
use crate::metric::distribution::Distribution;
use crate::metric::label::{Event, Label, Limited};
use crate::metric::table as metrics;
use crate::metric::{Handle, Histogram, Labels};
use crate::reading::Readings;
use std::sync::Arc;

/// What `tcp_info` says of one connection at one moment, as far as it is counted. 0 where the kernel did not send it;
/// [`Present`] says which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// What only grows.
    pub counters: Counters,
    /// Smoothed round trip, microseconds.
    pub rtt: Option<u32>,
    /// Least round trip, microseconds.
    pub min_rtt: Option<u32>,
    /// Congestion window, segments.
    pub cwnd: Option<u32>,
    /// Delivery rate, bytes a second.
    pub delivery_rate: Option<u64>,
    /// Whether the connection was ever made.
    pub established: bool,
    /// Which fields the kernel sends.
    pub present: Present,
}

/// What only grows while a connection lasts. The 32-bit ones wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload sent, each byte once.
    pub sent: u64,
    /// Payload received; a FIN counts as one byte.
    pub received: u64,
    /// Bytes acknowledged; SYN and FIN count as one each.
    pub acked: u64,
    /// Microseconds with something to send.
    pub busy: u64,
    /// Microseconds held up by the receiver's window.
    pub rwnd_limited: u64,
    /// Microseconds held up by the send buffer.
    pub sndbuf_limited: u64,
    /// Segments sent.
    pub segs_out: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent again.
    pub retransmits: u32,
}

/// Which of the younger fields a kernel sends; what it does not is not reported, rather than reported as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Present {
    /// Bytes: Linux 4.1.
    pub bytes: bool,
    /// Segments: Linux 4.2.
    pub segments: bool,
    /// Times: Linux 4.10.
    pub times: bool,
}

impl Present {
    fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes || other.bytes,
            segments: self.segments || other.segments,
            times: self.times || other.times,
        }
    }
}

impl Sample {
    /// Takes from a `tcp_info` what is counted.
    pub fn of(tcp: TcpInfo<'_>) -> Self {
        let acked = tcp.bytes_acked();
        let received = tcp.bytes_received();
        let min_rtt = tcp.min_rtt();
        Self {
            counters: Counters {
                sent: tcp.payload_sent().or(acked).unwrap_or_default(),
                received: received.unwrap_or_default(),
                acked: acked.unwrap_or_default(),
                busy: tcp.busy_time().unwrap_or_default(),
                rwnd_limited: tcp.rwnd_limited().unwrap_or_default(),
                sndbuf_limited: tcp.sndbuf_limited().unwrap_or_default(),
                segs_out: tcp.segs_out().unwrap_or_default(),
                segs_in: tcp.segs_in().unwrap_or_default(),
                retransmits: tcp.total_retrans().unwrap_or_default(),
            },
            rtt: tcp.rtt(),
            min_rtt,
            cwnd: tcp.snd_cwnd(),
            delivery_rate: tcp.delivery_rate(),
            // A connection that was reset from here has lost its counters and kept its least round trip.
            established: min_rtt.is_some()
                || acked.is_some_and(|bytes| bytes > 0)
                || received.is_some_and(|bytes| bytes > 0)
                || tcp.options().is_some_and(|options| options != 0),
            present: Present {
                bytes: acked.is_some(),
                segments: tcp.segs_out().is_some(),
                times: tcp.busy_time().is_some(),
            },
        }
    }
}

/// The distributions of a group, made when the first value comes.
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

/// What was counted of a group so far.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    present: Present,
    sent: u64,
    received: u64,
    segs_out: u64,
    segs_in: u64,
    retransmits: u64,
    busy: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    events: [u64; Event::ALL.len()],
    distributions: Option<Box<Distributions>>,
    has_connections: bool,
    /// Connections that are open now.
    pub open: u64,
    /// Of the listening sockets of this cycle: how many wait, and how many may.
    pub queue: Option<(u64, u64)>,
    overflow: Option<u64>,
    drops: Option<u64>,
}

/// By how much a counter of 32 bits has grown, wrapped or not. One that fell is that of a socket that was connected
/// anew: what it had before is not known any more, and nothing is counted of it.
pub fn grown(before: u32, now: u32) -> u32 {
    let more = now.wrapping_sub(before);
    if more <= u32::MAX / 2 { more } else { 0 }
}

/// Microseconds to seconds.
#[allow(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

impl Totals {
    /// Counts what a connection did since `before`; whether it got data acknowledged.
    pub fn count(&mut self, before: &Counters, now: &Sample, ended: bool) -> bool {
        let counters = &now.counters;
        self.has_connections = true;
        self.present = self.present.or(now.present);
        self.sent += counters.sent.saturating_sub(before.sent);
        self.received += counters.received.saturating_sub(before.received);
        self.busy += counters.busy.saturating_sub(before.busy);
        self.rwnd_limited += counters.rwnd_limited.saturating_sub(before.rwnd_limited);
        self.sndbuf_limited += counters.sndbuf_limited.saturating_sub(before.sndbuf_limited);
        self.segs_out += u64::from(grown(before.segs_out, counters.segs_out));
        self.segs_in += u64::from(grown(before.segs_in, counters.segs_in));
        self.retransmits += u64::from(grown(before.retransmits, counters.retransmits));
        let progress = counters.acked > before.acked;
        if progress || ended {
            self.record(now);
        }
        progress
    }

    #[allow(clippy::cast_precision_loss, reason = "rates stay far below 2^53 bytes a second")]
    fn record(&mut self, now: &Sample) {
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

    /// Counts what became of a connection.
    pub fn note(&mut self, event: Event) {
        self.has_connections = true;
        if let Some(count) = self.events.get_mut(event as usize) {
            *count += 1;
        }
    }

    /// How many connections this became of.
    pub fn noted(&self, event: Event) -> u64 {
        self.events.get(event as usize).copied().unwrap_or_default()
    }

    /// Counts a listening socket: how many wait, how many may, how many more it has dropped.
    pub fn listen(&mut self, usage: u64, limit: u64, dropped: Option<u64>) {
        let queue = self.queue.get_or_insert_default();
        queue.0 += usage;
        queue.1 += limit;
        if let Some(dropped) = dropped {
            *self.overflow.get_or_insert_default() += dropped;
        }
    }

    /// Counts what a UDP socket has dropped.
    pub fn drop(&mut self, dropped: u64) {
        *self.drops.get_or_insert_default() += dropped;
    }

    /// Observes all of it.
    pub fn observe(&self, labels: &Labels, out: &mut Readings) {
        if self.has_connections {
            self.observe_connections(labels, out);
        }
        if let Some((usage, limit)) = self.queue {
            out.observe(metrics::TCP_LISTEN_QUEUE_USAGE, labels, usage);
            out.observe(metrics::TCP_LISTEN_QUEUE_LIMIT, labels, limit);
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
        out.observe(metrics::TCP_CONNECTION_COUNT, labels, self.open);
        for event in Event::ALL {
            out.observe(metrics::TCP_CONNECTIONS, with(Label::Event, event.word()), self.noted(*event));
        }
        out.observe(metrics::TCP_RETRANSMITS, labels, self.retransmits);
        let (transmit, receive) = (with(Label::IoDirection, "transmit"), with(Label::IoDirection, "receive"));
        if self.present.segments {
            out.observe(metrics::TCP_SEGMENTS, &transmit, self.segs_out);
            out.observe(metrics::TCP_SEGMENTS, &receive, self.segs_in);
        }
        if self.present.bytes {
            out.observe(metrics::TCP_IO, &transmit, self.sent);
            out.observe(metrics::TCP_IO, &receive, self.received);
        }
        if self.present.times {
            out.observe(metrics::TCP_BUSY_TIME, labels, seconds(self.busy));
            let limited =
                [(Limited::ReceiveWindow, self.rwnd_limited), (Limited::SendBuffer, self.sndbuf_limited)];
            for (by, time) in limited {
                out.observe(metrics::TCP_LIMITED_TIME, with(Label::Limited, by.word()), seconds(time));
            }
        }
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
