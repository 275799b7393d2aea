//! Reports: what a source can be asked for besides its readings.
//!
//! A source gives text or facts and says what went wrong; how that is sent and rendered is the caller's business.

use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

/// The reports of a source.
pub trait Reports: Debug + Send + Sync {
    /// Names of those that are switched on: lowercase words.
    fn names(&self) -> &'static [&'static str];

    /// The report of that name, to be made; `None` where the name is none of this source's.
    fn report(&self, request: &ReportRequest) -> Option<PendingReport>;
}

/// A report that is to be made.
pub enum PendingReport {
    /// By work, which may take a while.
    Work(Box<dyn FnOnce() -> Result<Report, ReportError> + Send>),
    /// By waiting. Does not depend on the runtime that polls it.
    Wait(ReportFuture),
}

/// See [`PendingReport::Wait`].
pub type ReportFuture = Pin<Box<dyn Future<Output = Result<Report, ReportError>> + Send>>;

/// What is asked of [`Reports`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ReportRequest {
    /// Name of the report.
    pub name: String,
    /// Parameters in the order they were given, decoded.
    pub parameters: Vec<(String, String)>,
    /// How long the caller waits, if it said so.
    pub timeout: Option<Duration>,
}

/// What a report consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Text for people.
    Text(String),
    /// Measurements of this moment, under names of their own; with notes, the notes for people come first.
    Gauges {
        /// The measurements of the probe.
        gauges: Vec<Gauge>,
        /// How it was measured, line by line, where that was asked for.
        notes: Option<Vec<String>>,
    },
}

/// Why there is no report; each with a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The parameters are wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing, or it is switched off.
    #[error("{0}")]
    Missing(String),
    /// Not now: too many are being made, or the machine lacks something.
    #[error("{0}")]
    Unavailable(String),
    /// A defect.
    #[error("{0}")]
    Defect(String),
}

/// Values of one name at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Name, fit for Prometheus as it is.
    pub name: &'static str,
    /// What it says, on one line.
    pub help: &'static str,
    /// Its samples, one for each set of labels.
    pub samples: Vec<Sample>,
}

/// A value, with at most one label.
pub type Sample = (Option<(&'static str, Cow<'static, str>)>, f64);

impl Gauge {
    /// One value without a label.
    pub fn single(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, samples: vec![(None, value)] }
    }
}
