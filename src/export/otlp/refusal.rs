//! Error of sending a message.

use crate::export::error_type::ErrorType;
use crate::text;
use std::time::Duration;

/// Error of sending a message.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Value of `error.type`.
    pub error: ErrorType,
    /// Message of the receiver or the connection, for the log.
    pub message: String,
    /// Whether the message may be retried.
    pub retryable: bool,
    /// Delay requested by the receiver.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A permanent error.
    pub fn new(error: ErrorType, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), retryable: false, retry_after: None }
    }

    /// A connection that could not be established, or broke.
    pub(super) fn connection(why: &str) -> Self {
        Self { error: ErrorType::CONNECTION, message: clean(why), retryable: true, retry_after: None }
    }
}

/// A message of a receiver, truncated and cleaned for the log.
pub(super) fn clean(said: &str) -> String {
    text::bounded(said, text::LONGEST_ERROR)
}
