//! What is expected of a response: an expression that it matches, or bytes that it contains.
//!
//! The time of a match grows with the compiled expression times the text. That of a short one is done on the thread of the
//! probes; that of a long one, which may take a second, on another.

use crate::source::probes::config::text::{Expression, regular, unhex};
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::ProbeError;
use tokio::sync::Semaphore;

/// Bytes or text that a response has to contain.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// A line, or a datagram, that matches.
    Text(Expression),
    /// Bytes that are in it.
    Bytes(Vec<u8>),
}

impl Expectation {
    /// The expectation of two keys, of which at most one is set.
    pub fn new(text: Option<&String>, hex: Option<&String>) -> Result<Option<Self>, String> {
        Ok(match (text, hex) {
            (Some(text), _) => Some(Self::Text(regular(text)?)),
            (None, Some(hex)) => Some(Self::Bytes(unhex(hex)?)),
            (None, None) => None,
        })
    }

    /// Whether a whole answer is as expected.
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

    /// Whether the match is to run [`off_thread`].
    pub fn takes_long(&self) -> bool {
        matches!(self, Self::Text(Expression { long: true, .. }))
    }
}

/// Long matches that run at the same time. A probe that times out while it waits leaves no work behind.
static MATCHES: Semaphore = Semaphore::const_new(2);

/// Runs a long match on another thread, so that it does not delay other probes.
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

/// Where a part is in some bytes.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|window| window == part)
}
