//! What groups have counted, read from their metrics.

use super::Numbers;
use connscope::metric::label::Event;
use connscope::metric::{Handle, Metric, Value};
use connscope::reading::Readings;
use connscope::source::sockets::group::Group;
use connscope::source::sockets::metrics;

/// What groups say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) open: u64,
    pub(super) events: [u64; Event::ALL.len()],
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) retransmits: u64,
    pub(super) segments: u64,
}

impl Counted {
    pub(super) fn add(&mut self, group: &Group) {
        let mut readings = Readings::default();
        group.totals.observe(&group.labels, true, &mut readings);
        self.open += group.totals.open;
        for event in Event::ALL {
            self.events[*event as usize] += group.totals.event_count(*event);
        }
        for reading in readings.iter() {
            let Value::U64(value) = reading.value else { continue };
            let is = |metric: &Metric| std::ptr::eq(reading.metric, metric);
            let transmit = reading.labels.iter().any(|(_, text)| &**text == "transmit");
            if is(metrics::TCP_IO.metric()) {
                *(if transmit { &mut self.sent } else { &mut self.received }) += value;
            } else if is(metrics::TCP_RETRANSMITS.metric()) {
                self.retransmits += value;
            } else if is(metrics::TCP_SEGMENTS.metric()) && transmit {
                self.segments += value;
            }
        }
    }

    pub(super) fn of(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    pub(super) fn noted(&mut self, event: Event) {
        self.events[event as usize] += 1;
    }

    /// Counts what a connection did.
    pub(super) fn count(&mut self, before: Numbers, now: Numbers) {
        self.sent += now.sent - before.sent;
        self.received += now.received - before.received;
        self.retransmits += now.retransmits - before.retransmits;
        self.segments += now.segments - before.segments;
    }

    pub(super) fn at_least(&self, before: &Self) -> bool {
        self.sent >= before.sent
            && self.received >= before.received
            && self.retransmits >= before.retransmits
            && self.segments >= before.segments
            && self.events.iter().zip(before.events).all(|(now, before)| *now >= before)
    }
}
