//! Start times that stay valid when the clock is set.
//!
//! A point of OTLP has the start time of its counter, by the machine's clock at that time. If the clock is set back
//! afterwards (NTP, a machine that resumes), points would begin after they end, which the data model does not allow and
//! receivers refuse. The boot clock, which cannot be set and continues while the machine sleeps, gives the true age of
//! the start. So start times are moved by as much as the clock was. They are moved only if necessary: a start time that
//! differs from the previous one means a counter reset.

#![expect(clippy::disallowed_methods, reason = "this file corrects times of the machine's clock")]

use crate::metric::{Metric, Part};
use opentelemetry_proto::tonic::metrics::v1::Metric as OtlpMetric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use rustix::time::{ClockId, clock_gettime};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both clocks at one moment, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The machine's clock (`CLOCK_REALTIME`), since the Unix epoch.
    pub real: u64,
    /// The boot clock (`CLOCK_BOOTTIME`), since boot.
    pub boot: u64,
}

impl Clocks {
    /// The present values of both clocks.
    pub fn now() -> Self {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        Self { real: nanoseconds(real), boot: nanoseconds(boot) }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The correction of start times.
#[derive(Debug)]
pub struct StartTimes {
    /// The clocks at or before the first start time.
    anchor: Clocks,
    /// Nanoseconds by which the clock was set back since then, as far as that put a start time after its point.
    back: u64,
}

impl StartTimes {
    /// Creates it without a correction.
    pub fn new(anchor: Clocks) -> Self {
        Self { anchor, back: 0 }
    }

    /// The corrected start time of a point that has this time and was collected when the clocks showed `now`.
    pub fn corrected(&mut self, start: u64, time: u64, now: Clocks) -> u64 {
        if start == 0 || time == 0 {
            return start; // unset
        }
        if start.saturating_sub(self.back) > time {
            // The start time by the boot clock: its distance from the anchor is the same on both clocks.
            let began = self.anchor.boot.saturating_add(start.saturating_sub(self.anchor.real));
            let ago = now.boot.saturating_sub(began);
            let right = now.real.saturating_sub(ago).min(time);
            self.back = start.saturating_sub(right);
        }
        start.saturating_sub(self.back)
    }
}

/// The start times of this process.
static START_TIMES: LazyLock<Mutex<StartTimes>> =
    LazyLock::new(|| Mutex::new(StartTimes::new(Clocks::now())));

/// Records the clocks; called before the first start time.
pub fn note() {
    LazyLock::force(&START_TIMES);
}

/// Start time of a counter: that of its part, which is the start of the process unless `began` has another. The SDK knows
/// only when the provider was created: a reload may recreate the provider while the part continues, or restart the part
/// while the provider stays.
pub fn of(metric: &Metric, began: &[(&'static Part, SystemTime)], correction: &Correction) -> SystemTime {
    let own = began.iter().find(|(part, _)| std::ptr::eq(*part, metric.part)).map(|(_, since)| *since);
    own.unwrap_or_else(|| UNIX_EPOCH + Duration::from_nanos(correction.known.anchor.real))
}

/// Corrects the start times of a collection that would be after their points.
pub struct Correction {
    known: MutexGuard<'static, StartTimes>,
    now: Clocks,
}

/// Locks the start times for a collection.
pub fn correction() -> Correction {
    Correction { known: START_TIMES.lock().unwrap_or_else(PoisonError::into_inner), now: Clocks::now() }
}

impl Correction {
    /// The corrected start time of a point. Both times are nanoseconds since the Unix epoch.
    pub fn corrected(&mut self, start: u64, time: u64) -> u64 {
        self.known.corrected(start, time, self.now)
    }

    /// Corrects the start times of a metric. Returns its number of data points.
    pub fn correct(&mut self, metric: &mut OtlpMetric) -> u64 {
        macro_rules! place {
            ($data:expr) => {{
                for point in &mut $data.data_points {
                    point.start_time_unix_nano =
                        self.corrected(point.start_time_unix_nano, point.time_unix_nano);
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
