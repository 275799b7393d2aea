//! Sends a collection to the receiver: its messages, their retries, and their outcomes.

#![expect(
    clippy::disallowed_methods,
    reason = "the deadline of an export is divided among its messages and their retries"
)]

use super::instruments::HistogramRecorder;
use super::link::{Next, ReceiverStatus};
use super::refusal::Refusal;
use super::retry::{Backoff, Throttle, share};
use super::transport::{Rejected, Transport};
use crate::config::{Otlp, endpoint};
use crate::export::encode::Message;
use crate::export::error_type::ErrorType;
use crate::export::jitter::random;
use crate::export::metrics;
use crate::export::outcomes::Exports;
use crate::export::timeouts::UNLIMITED;
use crate::stop::Stop;
use crate::timeouts;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of attempts of a message.
const TRIES: u32 = 5;

/// Sends collections to one receiver.
pub(super) struct Sender {
    transport: Transport,
    /// The receiver, for the log.
    endpoint: String,
    timeout: Duration,
    exports: Arc<Exports>,
    recorder: HistogramRecorder,
    link: Mutex<ReceiverStatus>,
    throttle: Mutex<Throttle>,
    stop: Stop,
}

impl Sender {
    pub(super) fn new(
        otlp: &Otlp,
        exports: &Arc<Exports>,
        recorder: &HistogramRecorder,
        stop: &Stop,
    ) -> Result<Self, String> {
        Ok(Self {
            transport: Transport::new(otlp, &|name| std::env::var_os(name))?,
            endpoint: endpoint::shown(otlp.endpoint.as_deref().unwrap_or_default()),
            timeout: if otlp.timeout.is_zero() { UNLIMITED } else { otlp.timeout },
            exports: Arc::clone(exports),
            recorder: recorder.clone(),
            link: Mutex::default(),
            throttle: Mutex::default(),
            stop: stop.clone(),
        })
    }

    /// Reloads certificates whose files have changed. May block on the file system.
    pub(super) fn refresh(&self) {
        self.transport.refresh();
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the messages of one collection.
    pub(super) async fn send(&self, messages: Vec<Message>) -> Result<(), Refusal> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut worst: Result<(), Refusal> = Ok(());
        let mut left = messages.len();
        for message in messages {
            let points = message.points;
            self.exports.begin(points);
            let sent = self.send_message(message, share(Instant::now(), deadline, left)).await;
            left -= 1;
            match sent {
                Ok(rejected) if rejected.points == 0 => {
                    self.exports.end(points, None);
                    if !rejected.message.is_empty() {
                        // Nothing was rejected: the message is a warning of the receiver.
                        tracing::debug!(endpoint = self.endpoint, advice = rejected.message);
                    }
                }
                Ok(rejected) => {
                    let lost = rejected.points.min(points);
                    self.exports.end(points - lost, None);
                    self.exports.end(lost, Some(ErrorType::REJECTED));
                    let text = format!("rejected {lost} of {points} data points: {}", rejected.message);
                    worst = worst.and(Err(Refusal::new(ErrorType::REJECTED, text)));
                }
                Err(refusal) => {
                    self.exports.end(points, Some(refusal.error));
                    worst = worst.and(Err(refusal));
                }
            }
        }
        let error = worst.as_ref().err().map(|refusal| refusal.error);
        let took = started.elapsed().as_secs_f64();
        self.recorder.record(metrics::OTEL_OPERATION_DURATION, &self.exports.labels(error), took);
        let now = Instant::now();
        let pause = self.throttle().left(now);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match pause {
            _ if self.stop.draining() => Next::Leaving,
            Some(pause) => Next::After(pause),
            None => Next::Cycle,
        };
        link.note(&worst, &self.endpoint, next, now);
        drop(link);
        worst
    }

    /// Sends a message, with retries, until the deadline.
    async fn send_message(&self, message: Message, deadline: Instant) -> Result<Rejected, Refusal> {
        let began = Instant::now();
        // The last values of an agent that is stopping are sent once, despite throttling.
        if let Some(refusal) = self.throttle().holds(began).filter(|_| !self.stop.draining()) {
            return Err(refusal.clone());
        }
        let mut backoff = Backoff::default();
        let mut tried = 0;
        let mut said: Option<Refusal> = None;
        loop {
            tried += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = tokio::select! {
                attempt = tokio::time::timeout(left, self.transport.send(&message, left)) => attempt,
                () = self.stop.exhausted(timeouts::LAST_EXPORT) => {
                    return Err(Refusal::new(ErrorType::TIMEOUT, "the push was stopped before the receiver answered"));
                }
            };
            let refusal = match attempt {
                Ok(Ok(rejected)) => {
                    self.throttle().taken();
                    return Ok(rejected);
                }
                Ok(Err(refusal)) => refusal,
                Err(_) => {
                    let waited = Duration::from_millis(began.elapsed().as_millis().try_into().unwrap_or(0));
                    let waited = humantime::format_duration(waited.min(self.timeout));
                    // The last refusal says more than the time-out.
                    return Err(said.unwrap_or_else(|| {
                        let why = match self.transport.looking_up() {
                            Some(name) => format!(
                                "looking up {name}: no answer within {waited}. A name server of /etc/resolv.conf is silent: name \
                                 those that answer, or the receiver by its address"
                            ),
                            None => format!("no answer within {waited}"),
                        };
                        Refusal::new(ErrorType::TIMEOUT, why)
                    }));
                }
            };
            let named =
                refusal.retryable.then(|| self.throttle().refused(&refusal, Instant::now(), random()));
            let wait = named.flatten().unwrap_or_else(|| backoff.pause(random()));
            if !refusal.retryable
                || tried >= TRIES
                || Instant::now() + wait >= deadline
                || self.stop.draining()
            {
                return Err(refusal);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // The last cycle is waiting; its values replace those of this message.
                () = self.stop.exhausted(Duration::ZERO) => return Err(refusal),
            }
            said = Some(refusal);
        }
    }
}
