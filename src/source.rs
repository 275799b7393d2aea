//! What can be asked for numbers: the contract of the sources. The list of them is in [`catalog`](crate::catalog).
//!
//! A source knows the kernel and the metric table; it knows nothing of OpenTelemetry, readers or HTTP. What it can
//! tell besides its numbers is a report ([`report`]): text or facts, however they are sent. Each has a thread of its own ([`worker`]), so that one
//! that blocks keeps nobody else waiting.

use crate::config::Config;
use crate::metric::{Bounds, Part};
use crate::reading::Readings;
use crate::stop::Stop;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

pub mod conntrack;
pub mod metrics;
pub mod netns;
pub mod probes;
pub mod report;
pub mod sockets;
pub mod worker;

pub use crate::metric::label::Reason;
pub use crate::reading::{Cause, SourceError, chain};
pub use report::Reports;

/// Something that can be asked for numbers.
pub trait Source: Send {
    /// Asks and observes. May block: each source has its own thread, and a deadline.
    ///
    /// What was observed before an error is right and is kept: an error says that something is missing, not that
    /// something is wrong.
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError>;

    /// What it can be asked for besides its readings; called once, before the first reading.
    fn reports(&self) -> Option<Arc<dyn Reports>> {
        None
    }
}

/// Makes a source from the configuration.
pub type Build = fn(&Config, &Stop) -> Result<Box<dyn Source>, SourceError>;

/// A source as the agent knows it.
pub struct SourceSpec {
    /// Key in the configuration, label value, field in the log.
    pub name: &'static str,
    /// Whether this configuration has it on.
    pub enabled: fn(&Config) -> bool,
    /// How long a cycle waits for it.
    pub deadline: fn(&Config) -> Duration,
    /// Its part of the table.
    pub part: &'static Part,
    /// What a configuration makes of the bounds of its labels.
    pub bounds: fn(&Config) -> Bounds,
    /// Makes it. What it starts ends when told to by [`Stop`].
    pub build: Build,
    /// Tries each way to ask it, for `connscope check`.
    pub check: fn(&Config, &Stop) -> Vec<Check>,
    /// Whether what a check found is enough for this configuration.
    pub suffices: fn(&Config, &[Check]) -> bool,
}

/// What `connscope check` found out about one way to ask a source.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Name of the source.
    pub source: &'static str,
    /// The way it was asked.
    pub via: &'static str,
    /// `works`, or the reason why it does not.
    pub status: &'static str,
    /// The capability that is missing, if that is what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<&'static str>,
    /// What was found, or what went wrong, in words.
    pub detail: String,
}

impl Check {
    /// The check of one way, from what asking that way gave.
    pub fn new(source: &'static str, via: &'static str, result: Result<String, SourceError>) -> Self {
        match result {
            Ok(detail) => Self { source, via, status: "works", capability: None, detail },
            Err(error) => Self {
                source,
                via,
                status: error.reason().word(),
                capability: error.capability(),
                detail: chain(&error),
            },
        }
    }

    /// Whether this way works.
    pub fn works(&self) -> bool {
        self.status == "works"
    }
}
