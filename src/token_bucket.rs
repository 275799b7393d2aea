//! A token bucket: so many events in a second, and so many at once (pure).

use std::time::Instant;

/// Tokens that come with time and are taken by events. The clock is the caller's.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    /// When the tokens were counted.
    counted: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket. `per_second` tokens come in a second, up to `burst`, which is how many may be taken at once.
    pub fn full(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, counted: None }
    }

    /// Takes a token; false where there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let since = self.counted.replace(now).map(|then| now.saturating_duration_since(then));
        let came = since.map_or(0.0, |since| since.as_secs_f64() * self.per_second);
        self.tokens = (self.tokens + came).min(self.burst);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests;
