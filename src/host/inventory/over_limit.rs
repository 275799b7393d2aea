//! Logs that containers are left out because of `inventory.limit`.

use std::time::{Duration, Instant};

/// Minimum interval between two lines, since containers may come and go at the limit.
const QUIET: Duration = Duration::from_hours(1);

/// State of the log line about containers over the limit.
#[derive(Debug, Default)]
pub(super) struct OverLimit {
    over: bool,
    said: Option<Instant>,
}

impl OverLimit {
    /// Records the number of containers over the limit now.
    pub(super) fn record(&mut self, over: u64, limit: usize, now: Instant) {
        if self.is_news(over, now) {
            tracing::warn!(
                left_out = over,
                limit,
                "more containers and services run than inventory.limit allows, and further ones are left out: raise it, or \
                 leave some out by inventory.exclude or inventory.units"
            );
        }
    }

    fn is_news(&mut self, over: u64, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.over, over > 0);
        let quiet = self.said.is_some_and(|said| now.saturating_duration_since(said) < QUIET);
        let news = self.over && !before && !quiet;
        if news {
            self.said = Some(now);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::{OverLimit, QUIET};
    use std::time::Instant;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some time, from which others are counted")]
    fn it_is_said_when_it_begins_and_at_most_once_an_hour() {
        let (mut limit, now) = (OverLimit::default(), Instant::now());
        assert!(!limit.is_news(0, now));
        assert!(limit.is_news(3, now) && !limit.is_news(4, now));
        assert!(!limit.is_news(0, now) && !limit.is_news(1, now), "they come and go");
        assert!(!limit.is_news(1, now + QUIET), "it lasts");
        assert!(!limit.is_news(0, now + QUIET) && limit.is_news(1, now + QUIET));
    }
}
