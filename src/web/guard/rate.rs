//! `rate_limit`: a token bucket with one token per interval, up to the burst.

#![expect(clippy::disallowed_methods, reason = "tokens are added over time")]

use crate::token_bucket::TokenBucket;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The section `rate_limit` of the web configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Interval at which one more request is allowed; 0 means no limit.
    #[serde(deserialize_with = "interval")]
    pub interval: Duration,
    /// Maximum number of requests at once.
    pub burst: u32,
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(&text)
        .map_err(|error| D::Error::custom(format!("`{text}` is not a duration: {error}")))
}

impl RateLimit {
    /// The limiter; `None` without a limit.
    pub fn limiter(&self) -> Option<Limiter> {
        let per_second = self.interval.as_secs_f64().recip();
        let bucket = || TokenBucket::full(per_second, f64::from(self.burst));
        (!self.interval.is_zero()).then(|| Limiter(Mutex::new(bucket())))
    }
}

/// The tokens of all requests.
#[derive(Debug)]
pub struct Limiter(Mutex<TokenBucket>);

impl Limiter {
    /// Takes a token. Returns whether there was one.
    pub fn allows(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}
