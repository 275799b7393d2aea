//! Why a source could not be read, sorted by what the operator should do about it.

use crate::metric::label::Reason;
use std::any::Any;
use std::error::Error;
use std::time::Duration;

/// The cause of an error, as the library that noticed it reported it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a source could not be read, sorted by what the operator should do about it. `Display` says what was being
/// done; the cause is the error's source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The kernel or the machine does not have it (a module that is not loaded, a tool that is not installed).
    #[error("{doing}")]
    Absent {
        /// The operation that failed, as a phrase: `reading /proc/net/stat/nf_conntrack`.
        doing: String,
        /// The underlying error.
        #[source]
        cause: Option<Cause>,
    },
    /// It is there, and this process may not.
    #[error("{doing} (needs {capability})")]
    Denied {
        /// The operation that failed, as a phrase: `reading /proc/net/stat/nf_conntrack`.
        doing: String,
        /// The capability that would allow it.
        capability: &'static str,
        /// The underlying error.
        #[source]
        cause: Option<Cause>,
    },
    /// Reading failed.
    #[error("{doing}")]
    Io {
        /// The operation that failed, as a phrase: `reading /proc/net/stat/nf_conntrack`.
        doing: String,
        /// The underlying error.
        #[source]
        cause: Option<Cause>,
    },
    /// The answer could not be understood.
    #[error("{doing}")]
    Parse {
        /// The operation that failed, as a phrase: `reading /proc/net/stat/nf_conntrack`.
        doing: String,
        /// The underlying error.
        #[source]
        cause: Option<Cause>,
    },
    /// No answer came in time.
    #[error("{doing}: no answer within {}", humantime::format_duration(*.after))]
    Timeout {
        /// The operation that failed, as a phrase: `reading /proc/net/stat/nf_conntrack`.
        doing: String,
        /// Time waited before giving up.
        after: Duration,
    },
    /// The source itself broke; a defect of connscope.
    #[error("the source panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: String,
    },
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

    /// What a thread panicked with (`catch_unwind`).
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Self::Panicked { message }
    }

    /// Sorts an error of the operating system: missing, forbidden (then `capability` is what is needed) or failed.
    pub fn from_io(doing: impl Into<String>, capability: &'static str, cause: std::io::Error) -> Self {
        match cause.kind() {
            std::io::ErrorKind::NotFound => Self::absent(doing, cause),
            std::io::ErrorKind::PermissionDenied => Self::denied(doing, capability, cause),
            _ => Self::io(doing, cause),
        }
    }

    /// An error of the same kind about something larger, with this one as its cause.
    #[must_use]
    pub fn again(&self, doing: &str) -> Self {
        let text = match self {
            // The larger one names the capability.
            Self::Denied { doing, cause, .. } => {
                let causes = cause.as_deref().map(|cause| format!(": {}", chain(cause)));
                doing.clone() + &causes.unwrap_or_default()
            }
            _ => chain(self),
        };
        let (doing, cause) = (doing.to_owned(), Some(text.into()));
        match self {
            Self::Absent { .. } => Self::Absent { doing, cause },
            Self::Denied { capability, .. } => Self::Denied { doing, capability, cause },
            Self::Parse { .. } => Self::Parse { doing, cause },
            Self::Timeout { after, .. } => Self::Timeout { doing, after: *after },
            Self::Io { .. } | Self::Panicked { .. } => Self::Io { doing, cause },
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
