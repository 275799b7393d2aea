//! The expected response: an expression that must match, or bytes that must be contained.
//!
//! The duration of a match is proportional to the size of the compiled expression times the length of the text. A short
//! one runs on the thread of the probes; a long one, which may take a second, on a blocking thread.

use crate::source::probes::config::text::{Expression, regular, unhex};
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::ProbeError;
use tokio::sync::Semaphore;

/// An expected response.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// An expression that matches a line or a datagram.
    Text(Expression),
    /// Bytes that are contained.
    Bytes(Vec<u8>),
}

impl Expectation {
    /// The expectation of two keys, of which at most one is set; `None` if neither is.
    pub fn new(text: Option<&String>, hex: Option<&String>) -> Result<Option<Self>, String> {
        Ok(match (text, hex) {
            (Some(text), _) => Some(Self::Text(regular(text)?)),
            (None, Some(hex)) => Some(Self::Bytes(unhex(hex)?)),
            (None, None) => None,
        })
    }

    /// Whether a whole response meets the expectation.
    pub async fn is_met(&self, answer: &[u8]) -> Result<bool, Fault> {
        let met = |expected: &Self, answer: &[u8]| match expected {
            Self::Text(expression) => expression.regex.is_match(&String::from_utf8_lossy(answer)),
            Self::Bytes(bytes) => find(answer, bytes).is_some(),
        };
        if !self.takes_long() {
            return Ok(met(self, answer));
        }
        let (expected, answer) = (self.clone(), answer.to_vec());
        off_thread(move || met(&expected, &answer)).await
    }

    /// Whether the match should run [`off_thread`].
    pub fn takes_long(&self) -> bool {
        matches!(self, Self::Text(Expression { long: true, .. }))
    }
}

/// Limits the number of concurrent long matches. A probe that times out while it waits starts no match.
static MATCHES: Semaphore = Semaphore::const_new(2);

/// Runs a long match on a blocking thread, so that it does not delay other probes.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    // The semaphore is never closed, so a permit always comes.
    let permit = MATCHES.acquire().await;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    })
    .await;
    done.map_err(|error| Fault::new(ProbeError::Other, format!("matching the response: {error}")))
}

/// The position of a part in some bytes.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|window| window == part)
}
