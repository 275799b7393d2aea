//! Log lines about the receiver: when it fails, when the cause changes, and when it accepts messages again.

use super::refusal::Refusal;
use crate::export::error_type::ErrorType;
use crate::export::timeouts;
use std::time::{Duration, Instant};

/// Maximum number of causes of an outage that are logged at once; further ones are logged as seldom as known ones.
const MAX_CAUSES: usize = 16;

/// State of the receiver as last logged.
#[derive(Debug, Default)]
pub(super) struct ReceiverStatus {
    state: State,
    failed: u64,
    /// Causes of failures since the last success; the current one is the last.
    causes: Vec<Cause>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Untried,
    Up,
    Rejecting,
    Down,
}

/// When the next attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next cycle.
    Cycle,
    /// With the first cycle after this time, which the receiver asked for.
    After(Duration),
    /// Never: the agent is stopping.
    Leaving,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cause {
    error: ErrorType,
    /// Empty if the type is sufficient: the text of a refusal may be different every time.
    message: String,
    logged: Option<Instant>,
}

impl Cause {
    fn of(refusal: &Refusal) -> Self {
        let told_apart = refusal.error == ErrorType::CONNECTION;
        let message = if told_apart { refusal.message.clone() } else { String::new() };
        Self { error: refusal.error, message, logged: None }
    }

    fn is(&self, other: &Self) -> bool {
        self.error == other.error && self.message == other.message
    }
}

impl ReceiverStatus {
    /// Records the outcome of an export.
    pub(super) fn note(&mut self, outcome: &Result<(), Refusal>, endpoint: &str, next: Next, now: Instant) {
        let state = match outcome {
            Ok(()) => State::Up,
            Err(refusal) if refusal.error == ErrorType::REJECTED => State::Rejecting,
            Err(_) => State::Down,
        };
        let before = std::mem::replace(&mut self.state, state);
        match outcome {
            Ok(()) => self.up(before, endpoint),
            Err(refusal) => self.down(before, refusal, endpoint, next, now),
        }
    }

    fn up(&mut self, before: State, endpoint: &str) {
        match before {
            State::Untried => tracing::info!(endpoint, "pushing over OTLP"),
            State::Up => {}
            State::Down | State::Rejecting => {
                let failed = self.failed;
                tracing::info!(
                    endpoint,
                    failed,
                    "pushing over OTLP again; counters are cumulative, so no counts were lost"
                );
            }
        }
        self.failed = 0;
        self.causes.clear();
    }

    fn down(&mut self, before: State, refusal: &Refusal, endpoint: &str, next: Next, now: Instant) {
        self.failed += 1;
        let went = before != self.state;
        if !self.is_news(refusal, now) && !went {
            return;
        }
        let error_type = refusal.error.word();
        let what = match self.state {
            _ if next == Next::Leaving => "the last push over OTLP failed",
            State::Rejecting => "the OTLP receiver rejects data points",
            _ if went => "cannot push over OTLP",
            _ => "still cannot push over OTLP, now for another reason",
        };
        let then = match next {
            Next::Leaving => "it is not retried".to_owned(),
            Next::Cycle if self.state == State::Rejecting => "every cycle sends all of them again".to_owned(),
            Next::Cycle => "every cycle tries again".to_owned(),
            Next::After(pause) => {
                // Rounded up, so that it is not said to be over before it is.
                let pause = Duration::from_secs(pause.as_secs().saturating_add(1));
                format!(
                    "the receiver asked for a pause: nothing is sent for {}",
                    humantime::format_duration(pause)
                )
            }
        };
        tracing::warn!(endpoint, error.r#type = error_type, "{what}: {}; {then}", refusal.message);
    }

    /// Whether the cause of a failure is to be logged: always if it is new in this outage, and once a minute if it
    /// comes back (two causes that alternate).
    fn is_news(&mut self, refusal: &Refusal, now: Instant) -> bool {
        let cause = Cause::of(refusal);
        if self.causes.last().is_some_and(|last| last.is(&cause)) {
            return false;
        }
        let known = self.causes.iter().position(|known| known.is(&cause));
        let mut cause = known.map(|known| self.causes.remove(known)).unwrap_or(cause);
        let full = self.causes.len() >= MAX_CAUSES;
        if full {
            self.causes.remove(0);
        }
        let last =
            if full { self.causes.iter().filter_map(|cause| cause.logged).max() } else { cause.logged };
        let due = last.is_none_or(|last| now.duration_since(last) >= timeouts::CAUSE_AGAIN);
        if due {
            cause.logged = Some(now);
        }
        self.causes.push(cause);
        due
    }
}
