//! Start times that hold when the clock is set.
//!
//! A point of OTLP says since when it is counted, by the clock of the machine at that time. If that clock is set back
//! afterwards (NTP, a machine that resumes), points would begin after they end, which the data model does not allow and
//! receivers refuse. The boot clock, which nobody sets and which goes on while the machine sleeps, says how long ago the
//! start was: start times are moved by as much as the clock was. They are moved once, and stay where they are then: a start
//! that differs from the one before means a counter that was reset.

#![expect(clippy::disallowed_methods, reason = "this is about the clock of the machine")]

use crate::catalog::{SOURCES, Sources};
use crate::source::SourceSpec;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use rustix::time::{ClockId, clock_gettime};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both clocks at one time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The machine's clock (`CLOCK_REALTIME`), since 1970.
    pub real: u64,
    /// The boot clock (`CLOCK_BOOTTIME`), since the machine was started.
    pub boot: u64,
}

impl Clocks {
    /// Both clocks as they are now.
    pub fn now() -> Self {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        Self { real: nanoseconds(real), boot: nanoseconds(boot) }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// By how much start times are moved.
#[derive(Debug)]
pub struct StartTimes {
    /// The clocks when the first start was noted, or before.
    anchor: Clocks,
    /// Nanoseconds that the clock was set back by since then, as far as it made a start later than its point.
    back: u64,
}

impl StartTimes {
    /// Nothing has been set yet.
    pub fn new(anchor: Clocks) -> Self {
        Self { anchor, back: 0 }
    }

    /// Where a start belongs, of a point with this time that was taken when the clocks showed `now`.
    pub fn place(&mut self, start: u64, time: u64, now: Clocks) -> u64 {
        if start == 0 || time == 0 {
            return start; // not known
        }
        if start.saturating_sub(self.back) > time {
            // The start as the boot clock has it: so long after the anchor as the clock showed then, so long ago now.
            let began = self.anchor.boot.saturating_add(start.saturating_sub(self.anchor.real));
            let ago = now.boot.saturating_sub(began);
            let right = now.real.saturating_sub(ago).min(time);
            self.back = start.saturating_sub(right);
        }
        start.saturating_sub(self.back)
    }
}

/// Start times of the series of this process.
static START_TIMES: LazyLock<Mutex<StartTimes>> =
    LazyLock::new(|| Mutex::new(StartTimes::new(Clocks::now())));

/// Notes the clocks; called before the first start.
pub fn note() {
    LazyLock::force(&START_TIMES);
}

/// Since when a counter counts: since its source began. The SDK knows only when the provider was made: a reload may make another
/// while a source goes on, and may restart a source under a provider that stays. `None` where the metric is no source's.
pub fn of_source(metric: &str, began: &[(&'static str, SystemTime)]) -> Option<SystemTime> {
    let has = |spec: &&SourceSpec<Sources>| spec.part.rows.iter().any(|row| row.name == metric);
    let source = SOURCES.iter().find(has)?.name;
    began.iter().find(|(name, _)| *name == source).map(|(_, since)| *since)
}

/// Moves the start times of one collection that would be after their points.
pub struct Correction {
    known: MutexGuard<'static, StartTimes>,
    now: Clocks,
}

/// Begins with the start times of a collection.
pub fn correction() -> Correction {
    Correction { known: START_TIMES.lock().unwrap_or_else(PoisonError::into_inner), now: Clocks::now() }
}

impl Correction {
    /// Where a start belongs, of a point with this time. Both are in nanoseconds since 1970.
    pub fn place(&mut self, start: u64, time: u64) -> u64 {
        self.known.place(start, time, self.now)
    }

    /// Moves the start times of a metric; how many data points it has.
    pub fn correct(&mut self, metric: &mut Metric) -> u64 {
        macro_rules! place {
            ($data:expr) => {{
                for point in &mut $data.data_points {
                    point.start_time_unix_nano = self.place(point.start_time_unix_nano, point.time_unix_nano);
                }
                $data.data_points.len() as u64
            }};
        }
        match &mut metric.data {
            Some(Data::Gauge(gauge)) => place!(gauge),
            Some(Data::Sum(sum)) => place!(sum),
            Some(Data::Histogram(histogram)) => place!(histogram),
            Some(Data::ExponentialHistogram(histogram)) => place!(histogram),
            Some(Data::Summary(summary)) => place!(summary),
            None => 0,
        }
    }
}
