//! Why a message was not taken.

use crate::export::error_type::ErrorType;
use crate::text;
use std::time::Duration;

/// Why a message was not taken.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For `error.type`.
    pub error: ErrorType,
    /// For the log: what the receiver or the connection said.
    pub message: String,
    /// Whether the same message may be taken later.
    pub retryable: bool,
    /// When, if the receiver said.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One that is final.
    pub fn new(error: ErrorType, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), retryable: false, retry_after: None }
    }

    /// A connection that could not be made, or broke.
    pub(super) fn connection(why: &str) -> Self {
        Self { error: ErrorType::CONNECTION, message: clean(why), retryable: true, retry_after: None }
    }
}

/// What a receiver said, fit for a line of the log.
pub(super) fn clean(said: &str) -> String {
    text::bounded(said, text::LONGEST_ERROR)
}
