//! `rate_limit`: a token bucket with one token per interval, up to the burst.

#![expect(clippy::disallowed_methods, reason = "tokens are added over time")]

use crate::settings::values::section;
use crate::token_bucket::TokenBucket;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The section `rate_limit` of the web configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// Interval at which one more request is allowed; 0 or less means no limit.
    #[serde(deserialize_with = "interval")]
    pub interval: Duration,
    /// Maximum number of requests at once.
    #[serde(deserialize_with = "section")]
    pub burst: u32,
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Duration::ZERO) };
    let wrong = || D::Error::custom(format!("`{text}` is not a duration with units, such as 100ms or 1h30m"));
    duration(&text).ok_or_else(wrong)
}

/// A duration as Go's `time.ParseDuration` has it: numbers with a fraction or without, each with its unit. A negative one is
/// zero, because it limits nothing either.
fn duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = (!rest.is_empty()).then_some(0.0)?;
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c| !digit(c))?)?;
        let (unit, after) = after.split_at_checked(after.find(digit).unwrap_or(after.len()))?;
        let (_, in_seconds) = UNITS.iter().find(|(known, _)| *known == unit)?;
        // `1.` and `.5` are numbers there and here, and `.` is none.
        seconds += number.parse::<f64>().ok()? * in_seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(if negative { 0.0 } else { seconds }).ok()
}

fn digit(character: char) -> bool {
    character.is_ascii_digit() || character == '.'
}

/// Go's units, and each in seconds. The second and the third are `µs` with either of two characters.
const UNITS: [(&str, f64); 8] = [
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ns", 1e-9),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

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

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("1.5s", 1500),
            (".5s", 500),
            ("1.s", 1000),
            ("+1s", 1000),
            ("1h30m", 5_400_000),
            ("1m0.5s", 60_500),
            ("1000us", 1),
            ("1000\u{b5}s", 1),
            ("1000\u{3bc}s", 1),
            ("1000000ns", 1),
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("-1s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "-", "100", "1", "s", "1d", "1sec", "1h 30m", " 1s", "1s ", ".s", "1.2.3s", "--1s", "1e3s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
