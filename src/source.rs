//! What can be asked for numbers: the trait, the list of sources, their errors.
//!
//! A source knows the kernel and the metric table; it knows nothing of OpenTelemetry, readers or HTTP. Each has a
//! thread of its own ([`worker`]), so that one that blocks keeps nobody else waiting.

use crate::config::Config;
use crate::reading::Readings;
use crate::stop::Stop;
use serde::Serialize;
use std::error::Error;
use std::time::Duration;

pub mod conntrack;
pub mod netns;
pub mod worker;

/// Something that can be asked for numbers.
pub trait Source: Send {
    /// Asks and observes. May block: each source has its own thread, and a deadline.
    ///
    /// What was observed before an error is right and is kept: an error says that something is missing, not that
    /// something is wrong.
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError>;
}

/// Makes a source from the configuration.
pub type Build = fn(&Config, &Stop) -> Result<Box<dyn Source>, SourceError>;

/// A source as the agent knows it.
pub struct SourceSpec {
    /// Key in the configuration, label value, field in the log.
    pub name: &'static str,
    /// Whether it is on where the configuration does not say.
    pub default_on: bool,
    /// Whether this configuration has it on.
    pub enabled: fn(&Config) -> bool,
    /// How long a cycle waits for it.
    pub deadline: fn(&Config) -> Duration,
    /// Network namespaces it reads at once at most.
    pub namespaces: fn(&Config) -> usize,
    /// Makes it. What it starts ends when told to by [`Stop`].
    pub build: Build,
    /// Tries each way to ask it, for `connscope check`.
    pub check: fn(&Config, &Stop) -> Vec<Check>,
    /// Whether what a check found is enough for this configuration.
    pub suffices: fn(&Config, &[Check]) -> bool,
}

/// Every source there is. Adding one is adding a line here.
pub const SOURCES: &[SourceSpec] = &[conntrack::SPEC];

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

/// The cause of an error, as the library that noticed it reported it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a source could not be read, sorted by what the operator should do about it. `Display` says what was being
/// done; the cause is the error's source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kernel or the machine does not have it (a module that is not loaded, a tool that is not installed).
    #[error("{doing}")]
    Absent {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// It is there, and this process may not.
    #[error("{doing} (needs {capability})")]
    Denied {
        /// What was being done.
        doing: String,
        /// The capability that would allow it.
        capability: &'static str,
        /// What went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// Reading failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// The answer could not be understood.
    #[error("{doing}")]
    Parse {
        /// What was being done.
        doing: String,
        /// What went wrong.
        #[source]
        cause: Option<Cause>,
    },
    /// No answer came in time.
    #[error("{doing}: no answer within {}", humantime::format_duration(*.after))]
    Timeout {
        /// What was being done.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// The source itself broke; a defect of connscope.
    #[error("the source panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
}

/// The closed set of values of the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// [`SourceError::Absent`]
    Absent,
    /// [`SourceError::Denied`]
    Denied,
    /// [`SourceError::Io`]
    Io,
    /// [`SourceError::Parse`]
    Parse,
    /// [`SourceError::Timeout`]
    Timeout,
    /// [`SourceError::Panicked`]
    Panicked,
}

impl Reason {
    /// Every reason.
    pub const ALL: &[Self] =
        &[Self::Absent, Self::Denied, Self::Io, Self::Parse, Self::Timeout, Self::Panicked];

    /// The label value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Io => "io",
            Self::Parse => "parse",
            Self::Timeout => "timeout",
            Self::Panicked => "panicked",
        }
    }
}

impl SourceError {
    /// An [`SourceError::Absent`] with its cause.
    pub fn absent(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Absent { doing: doing.into(), cause: Some(cause.into()) }
    }

    /// An [`SourceError::Io`] with its cause.
    pub fn io(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Io { doing: doing.into(), cause: Some(cause.into()) }
    }

    /// An [`SourceError::Parse`] with its cause.
    pub fn parse(doing: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Parse { doing: doing.into(), cause: Some(cause.into()) }
    }

    /// An [`SourceError::Denied`] with its cause.
    pub fn denied(doing: impl Into<String>, capability: &'static str, cause: impl Into<Cause>) -> Self {
        Self::Denied { doing: doing.into(), capability, cause: Some(cause.into()) }
    }

    /// Sorts an error of the operating system: missing, forbidden (then `capability` is what is needed) or failed.
    pub fn from_io(doing: impl Into<String>, capability: &'static str, cause: std::io::Error) -> Self {
        match cause.kind() {
            std::io::ErrorKind::NotFound => Self::absent(doing, cause),
            std::io::ErrorKind::PermissionDenied => Self::denied(doing, capability, cause),
            _ => Self::io(doing, cause),
        }
    }

    /// Its place in the closed set of reasons.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Absent { .. } => Reason::Absent,
            Self::Denied { .. } => Reason::Denied,
            Self::Io { .. } => Reason::Io,
            Self::Parse { .. } => Reason::Parse,
            Self::Timeout { .. } => Reason::Timeout,
            Self::Panicked { .. } => Reason::Panicked,
        }
    }

    /// The capability that would have allowed it.
    pub fn capability(&self) -> Option<&'static str> {
        match self {
            Self::Denied { capability, .. } => Some(capability),
            _ => None,
        }
    }
}

/// An error with all its causes, outermost first, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = one_line(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&one_line(error));
        cause = error.source();
    }
    text
}

fn one_line(error: &dyn Error) -> String {
    error.to_string().trim_end().replace('\n', " / ")
}
