//! When a message is retried, and when nothing is sent (pure; `specification/protocol/otlp.md`, "OTLP/gRPC Throttling",
//! "OTLP/HTTP Throttling").

use super::refusal::Refusal;
use crate::export::timeouts;
use std::time::{Duration, Instant};

/// Pauses between the tries of one message where the receiver names none: doubled each time, and jittered between half and
/// the whole, so that agents that lost their receiver together do not come back together.
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
    /// The pause before the next try. `random` is any number.
    pub fn pause(&mut self, random: u64) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(timeouts::RETRY_MOST);
        half + half * thousandths(random) / 1000
    }
}

/// What the receiver has said of when it takes messages again. It holds for every message, those of later cycles too.
#[derive(Debug, Default)]
pub struct Throttle {
    until: Option<Instant>,
    /// What was refused with it.
    refusal: Option<Refusal>,
    /// Times it was said since a message was taken.
    times: u32,
}

impl Throttle {
    /// The receiver refused and named a delay: the pause that follows. A delay that is named repeatedly is doubled each
    /// time, up to a minute or what was named if that is longer; up to a quarter is added, never taken away. `None` where
    /// the delay is none: zero, in the past, or longer than an hour, which is a clock that is wrong.
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

    /// The receiver took a message.
    pub fn taken(&mut self) {
        *self = Self::default();
    }

    /// The refusal that still holds, if nothing is to be sent now.
    pub fn holds(&self, now: Instant) -> Option<&Refusal> {
        self.refusal.as_ref().filter(|_| self.until.is_some_and(|until| now < until))
    }
}

fn thousandths(random: u64) -> u32 {
    u32::try_from(random % 1000).unwrap_or(0)
}

/// When a message is to be sent at the latest, of several that share the time until `deadline`: what is left is divided
/// equally among it and those that follow, so that none of them is left without time. `following` includes itself.
pub fn share(now: Instant, deadline: Instant, following: usize) -> Instant {
    let left = deadline.saturating_duration_since(now);
    now + left / u32::try_from(following.max(1)).unwrap_or(u32::MAX)
}
