//! Reports of a source, in addition to its readings.
//!
//! A source returns text or facts, or an error; the caller renders and sends them.

use std::borrow::Cow;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

/// The reports of a source.
pub trait Reports: Debug + Send + Sync {
    /// Names of the enabled reports: lowercase words.
    fn names(&self) -> &'static [&'static str];

    /// Prepares the report of that name; `None` if the source has no report of that name.
    fn report(&self, request: &ReportRequest) -> Option<PendingReport>;
}

/// A report in preparation.
pub enum PendingReport {
    /// Computed by a blocking function.
    Work(Box<dyn FnOnce() -> Result<Report, ReportError> + Send>),
    /// Computed by a future, which does not depend on the runtime that polls it.
    Wait(ReportFuture),
}

/// See [`PendingReport::Wait`].
pub type ReportFuture = Pin<Box<dyn Future<Output = Result<Report, ReportError>> + Send>>;

/// A request to [`Reports`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ReportRequest {
    /// Name of the report.
    pub name: String,
    /// Parameters in the order they were given, decoded.
    pub parameters: Vec<(String, String)>,
    /// How long the caller waits, if known.
    pub timeout: Option<Duration>,
}

/// Contents of a report.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Text for people.
    Text(String),
    /// Measurements of this moment, under names of their own; with notes, the notes for people come first.
    Gauges {
        /// The measurements of the probe.
        gauges: Vec<Gauge>,
        /// Steps of the measurement, line by line, if requested.
        notes: Option<Vec<String>>,
    },
}

/// Why there is no report; each with a sentence that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The parameters are wrong.
    #[error("{0}")]
    Invalid(String),
    /// The report does not exist, or is disabled.
    #[error("{0}")]
    Missing(String),
    /// Too many reports are being made, or the machine lacks a resource.
    #[error("{0}")]
    Unavailable(String),
    /// A defect of the agent.
    #[error("{0}")]
    Defect(String),
}

/// Values of one name at this moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Name, fit for Prometheus as it is.
    pub name: &'static str,
    /// The error on one line.
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
