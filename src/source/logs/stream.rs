//! From records to messages: the parts of a line are joined, then the lines of a message (pure).
//!
//! What goes to standard output and to standard error is kept apart all the way.

use super::clean::clean;
use super::frame::{LONGEST, Record, Stream};
use super::message::Messages;
use super::severity::Severity;
use super::severity::structured::{self, Structured};
use std::time::{Duration, Instant};

/// Time without lines after which a message is complete.
pub const SILENCE: Duration = Duration::from_secs(1);

/// A complete message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The lines of the message, joined by `\n`.
    pub text: &'a str,
    /// The fields of the message, if it is a JSON object.
    pub structured: Option<&'a Structured<'a>>,
    /// Severity, if the text has none.
    pub otherwise: Severity,
}

impl<'a> Message<'a> {
    /// A message without a severity of its stream.
    pub fn new(text: &'a str, structured: Option<&'a Structured<'a>>) -> Self {
        Self { text, structured, otherwise: Severity::Unknown }
    }
}

/// The incomplete messages of both streams of a container.
#[derive(Debug, Default)]
pub struct Streams {
    stdout: StreamState,
    stderr: StreamState,
}

/// The incomplete message of a stream.
#[derive(Debug, Default)]
struct StreamState {
    parts: Vec<u8>,
    /// Whether the parts were more than 64 KiB, and the rest is skipped.
    passing: bool,
    messages: Messages,
    latest: Option<Instant>,
}

impl Streams {
    /// Takes the next record; gives each message that is complete to `take`. Returns how many bytes were skipped.
    pub fn record(
        &mut self,
        record: &Record<'_>,
        multiline: bool,
        now: Instant,
        take: &mut dyn FnMut(Message<'_>),
    ) -> u64 {
        let one = match record.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        one.latest = Some(now);
        if record.complete && one.parts.is_empty() && record.text.len() <= LONGEST {
            return one.line(&record.text, multiline, take);
        }
        let mut passed = 0;
        let room = if one.passing { 0 } else { LONGEST - one.parts.len() };
        let fits = record.text.get(..room).unwrap_or(&record.text);
        one.parts.extend_from_slice(fits);
        passed += (record.text.len() - fits.len()) as u64;
        one.passing |= fits.len() < record.text.len();
        if record.complete {
            passed += one.end_of_line(multiline, take);
        }
        passed
    }

    /// Gives what has been silent for a second to `take`.
    pub fn quiet(&mut self, now: Instant, take: &mut dyn FnMut(Message<'_>)) {
        for one in [&mut self.stdout, &mut self.stderr] {
            if one.latest.is_some_and(|latest| now.saturating_duration_since(latest) >= SILENCE) {
                // A part whose end is late is waited for.
                one.messages.end(|text| give(text, take));
                one.messages.rest();
                one.latest = None;
            }
        }
    }

    /// Nothing follows: gives all that is open to `take`.
    pub fn end(&mut self, multiline: bool, take: &mut dyn FnMut(Message<'_>)) {
        for one in [&mut self.stdout, &mut self.stderr] {
            one.end_of_line(multiline, take);
            one.messages.end(|text| give(text, take));
            one.messages.rest();
            one.latest = None;
        }
    }

    /// Whether a message is open, which ends after a while of silence.
    pub fn is_open(&self) -> bool {
        self.stdout.latest.is_some() || self.stderr.latest.is_some()
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        [&self.stdout, &self.stderr].iter().map(|one| one.parts.len() + one.messages.held()).sum()
    }
}

impl StreamState {
    fn end_of_line(&mut self, multiline: bool, take: &mut dyn FnMut(Message<'_>)) -> u64 {
        self.passing = false;
        let parts = std::mem::take(&mut self.parts);
        if parts.is_empty() { 0 } else { self.line(&parts, multiline, take) }
    }

    fn line(&mut self, line: &[u8], multiline: bool, take: &mut dyn FnMut(Message<'_>)) -> u64 {
        let line = clean(line);
        // An object on one line is a message, whatever is before and after it.
        if let Some(structured) = structured::parse(&line) {
            self.messages.end(|text| give(text, take));
            take(Message::new(line.trim(), Some(&structured)));
            return 0;
        }
        if multiline {
            return self.messages.line(&line, |text| give(text, take));
        }
        let text = line.trim();
        if !text.is_empty() {
            take(Message::new(text, None));
        }
        0
    }
}

fn give(text: &str, take: &mut dyn FnMut(Message<'_>)) {
    let structured = structured::parse(text);
    take(Message::new(text, structured.as_ref()));
}

#[cfg(test)]
mod tests;
