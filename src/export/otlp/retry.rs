//! Delays of retries and throttling (pure; `specification/protocol/otlp.md`, "OTLP/gRPC Throttling", "OTLP/HTTP
//! Throttling").

use super::refusal::Refusal;
use crate::export::timeouts;
use std::time::{Duration, Instant};

/// Delays between the attempts of a message if the receiver requests none: doubled each time, with jitter between half
/// and the whole, so that agents that lost their receiver together do not return together.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: timeouts::RETRY_FIRST }
    }
}

impl Backoff {
    /// The delay before the next attempt. `random` is any number.
    pub fn pause(&mut self, random: u64) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(timeouts::RETRY_MOST);
        half + half * thousandths(random) / 1000
    }
}

/// The delay that the receiver requested. It holds for every message, including those of later cycles.
#[derive(Debug, Default)]
pub struct Throttle {
    until: Option<Instant>,
    /// The error with which it was requested.
    refusal: Option<Refusal>,
    /// Number of requests for a delay since a message was accepted.
    times: u32,
}

impl Throttle {
    /// Records an error with a requested delay. Returns the delay to wait: doubled for each repeated request, up to a
    /// minute or the requested delay if that is longer, plus up to a quarter of jitter. `None` if the requested delay
    /// is zero, in the past, or longer than an hour, as with a wrong clock.
    pub fn refused(&mut self, refusal: &Refusal, now: Instant, random: u64) -> Option<Duration> {
        let named =
            refusal.retry_after.filter(|named| !named.is_zero() && *named <= timeouts::THROTTLE_LONGEST)?;
        let most = named.max(timeouts::THROTTLE_MOST);
        let grown = named.saturating_mul(1 << self.times.min(12)).min(most);
        let pause = grown + grown / 4 * thousandths(random) / 1000;
        self.times = self.times.saturating_add(1);
        self.until = Some(now + pause);
        self.refusal = Some(refusal.clone());
        Some(pause)
    }

    /// Records that the receiver accepted a message.
    pub fn taken(&mut self) {
        *self = Self::default();
    }

    /// Time until messages may be sent; `None` if they may be sent now.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The error whose delay has not passed; `None` if messages may be sent.
    pub fn holds(&self, now: Instant) -> Option<&Refusal> {
        self.refusal.as_ref().filter(|_| self.until.is_some_and(|until| now < until))
    }
}

fn thousandths(random: u64) -> u32 {
    u32::try_from(random % 1000).unwrap_or(0)
}

/// Deadline of a message among several that share the time until `deadline`: the remaining time is divided equally
/// among the message and those that follow, so that none is left without time. `following` includes the message.
pub fn share(now: Instant, deadline: Instant, following: usize) -> Instant {
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(following.max(1)).unwrap_or(u32::MAX)
}
