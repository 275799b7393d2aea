//! A conversation: lines to expect and lines to send.
//!
//! A step waits for its expectation, then sends, then starts TLS. An expression is matched line by line, as in
//! `blackbox_exporter`: lines that do not match are skipped, and the step fails at the end of the connection. Bytes are
//! expected anywhere in the stream.

use super::expectation::{Expectation, find, off_thread};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::config::Step as StepSettings;
use crate::source::probes::config::Target as Settings;
use crate::source::probes::config::text::{unescape, unhex};
use crate::source::probes::fault::Fault;
use crate::source::probes::labels::{Phase, ProbeError};
use receive_buffer::ReceiveBuffer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub mod receive_buffer;

/// Maximum number of bytes received before an expectation is met, and of a line to send.
const MAX_RECEIVED_BYTES: usize = 64 * 1024;

/// The bytes that a step sends.
#[derive(Debug, Clone)]
enum Payload {
    Line(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Step {
    expect: Option<Expectation>,
    send: Option<Payload>,
    starttls: bool,
}

/// A conversation: steps in order.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    steps: Vec<Step>,
}

impl Conversation {
    /// The conversation of a target: the configured steps, or one step that sends `send` unchanged and then waits for
    /// `expect`.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut steps = Vec::new();
        let send = match (&settings.send, &settings.send_hex) {
            (Some(text), _) => Some(Payload::Bytes(unescape(text)?)),
            (None, Some(hex)) => Some(Payload::Bytes(unhex(hex)?)),
            (None, None) => None,
        };
        steps.extend(send.map(|send| Step { expect: None, send: Some(send), starttls: false }));
        let expect = Expectation::new(settings.expect.as_ref(), settings.expect_hex.as_ref())?;
        steps.extend(expect.map(|expect| Step { expect: Some(expect), send: None, starttls: false }));
        for step in &settings.conversation {
            steps.push(Step::new(step)?);
        }
        Ok(Self { steps })
    }

    /// Runs all steps.
    pub async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        attempt: &mut Attempt<'_>,
        stream: &mut S,
    ) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        Session::new(self).until_tls(attempt, stream).await
    }

    /// Whether the conversation is empty.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a step starts TLS.
    pub fn starts_tls(&self) -> bool {
        self.steps.iter().any(|step| step.starttls)
    }
}

impl Step {
    fn new(settings: &StepSettings) -> Result<Self, String> {
        let send = match (&settings.send, &settings.send_hex) {
            (Some(line), _) => Some(Payload::Line(line.clone())),
            (None, Some(hex)) => Some(Payload::Bytes(unhex(hex)?)),
            (None, None) => None,
        };
        let expect = Expectation::new(settings.expect.as_ref(), settings.expect_hex.as_ref())?;
        Ok(Self { expect, send, starttls: settings.starttls })
    }
}

/// A conversation in progress.
pub struct Session<'a> {
    steps: std::slice::Iter<'a, Step>,
    received: ReceiveBuffer,
    groups: Vec<String>,
}

impl<'a> Session<'a> {
    /// A conversation before its first step.
    pub fn new(conversation: &'a Conversation) -> Self {
        Self { steps: conversation.steps.iter(), received: ReceiveBuffer::default(), groups: Vec::new() }
    }

    /// Runs the steps until one starts TLS, or to the end, and records the time.
    pub async fn until_tls<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        attempt: &mut Attempt<'_>,
        stream: &mut S,
    ) -> Result<(), Fault> {
        let began = attempt.begin(Phase::Request);
        for step in self.steps.by_ref() {
            if let Some(expect) = &step.expect {
                let groups = receive(attempt, stream, &mut self.received, expect).await?;
                self.groups = groups;
            }
            if let Some(send) = &step.send {
                let bytes = match send {
                    Payload::Line(line) => fill_in(line, &self.groups)?,
                    Payload::Bytes(bytes) => bytes.clone(),
                };
                attempt.note(|| format!("sending {:?}", String::from_utf8_lossy(&bytes)));
                stream.write_all(&bytes).await.map_err(|error| Fault::io("sending", &error))?;
                stream.flush().await.map_err(|error| Fault::io("sending", &error))?;
            }
            if step.starttls {
                // Bytes received in clear text are discarded when TLS starts.
                self.received.clear();
                break;
            }
        }
        attempt.end(Phase::Request, began.elapsed());
        Ok(())
    }
}

/// The line to send, with matched groups instead of `${N}`, and a line end.
fn fill_in(line: &str, groups: &[String]) -> Result<Vec<u8>, Fault> {
    let line = unescape(line).map_err(|why| Fault::new(ProbeError::Other, why))?;
    let mut bytes = Vec::with_capacity(line.len() + 1);
    let mut rest = line.as_slice();
    while let Some(at) = find(rest, b"${") {
        let (before, mark) = rest.split_at(at);
        bytes.extend_from_slice(before);
        // Text of the peer is not searched for references: it could add one to every answer.
        let (put, after) = group(mark, groups).unwrap_or_else(|| mark.split_at(2));
        bytes.extend_from_slice(put);
        rest = after;
        if bytes.len() > MAX_RECEIVED_BYTES {
            let why = format!("the peer sent a line of more than {MAX_RECEIVED_BYTES} bytes");
            return Err(Fault::new(ProbeError::UnexpectedResponse, why));
        }
    }
    bytes.extend_from_slice(rest);
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The group of a reference `${1}` at the beginning, and the rest after it.
fn group<'a>(mark: &'a [u8], groups: &'a [String]) -> Option<(&'a [u8], &'a [u8])> {
    let end = mark.iter().position(|byte| *byte == b'}')?;
    let index: usize = std::str::from_utf8(mark.get(2..end)?).ok()?.parse().ok()?;
    Some((groups.get(index)?.as_bytes(), mark.get(end + 1..)?))
}

/// Reads until the expectation is met. Returns its groups, the whole match first.
async fn receive<S: AsyncRead + Unpin>(
    attempt: &mut Attempt<'_>,
    stream: &mut S,
    received: &mut ReceiveBuffer,
    expect: &Expectation,
) -> Result<Vec<String>, Fault> {
    let mut passed = 0;
    let mut ended = false;
    loop {
        let found = if expect.takes_long() {
            let (mut taken, expect) = (std::mem::take(received), expect.clone());
            let look = move || (taken.search(&expect, ended), taken);
            let (found, left) = off_thread(look).await?;
            *received = left;
            found
        } else {
            received.search(expect, ended)
        };
        if let Some(groups) = found {
            attempt.note(|| format!("received {:?}", groups.first().map_or("", String::as_str)));
            return Ok(groups);
        }
        if ended || passed > MAX_RECEIVED_BYTES {
            let last = received.last();
            let why = if ended { "the peer closed the connection" } else { "the peer sent too much" };
            let why = format!("{why} before the expected response; last {last:?}");
            return Err(Fault::new(ProbeError::UnexpectedResponse, why));
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) => ended = true,
            Ok(length) => {
                passed += length;
                received.push(part.get(..length).unwrap_or(&[]));
            }
            // TLS closed without close_notify is also an end.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => ended = true,
            Err(error) => return Err(Fault::io("waiting for the expected response", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fill_in;

    #[test]
    fn a_line_gets_its_groups_and_its_end() {
        let groups = ["PING x".to_owned(), "x".to_owned()];
        assert_eq!(fill_in("PONG ${1}", &groups).expect("it is one"), b"PONG x\n");
        assert_eq!(fill_in("QUIT\\r\\n", &[]).expect("it is one"), b"QUIT\r\n");
        assert_eq!(fill_in("${1}${0} ${2} ${x} ${", &groups).expect("it is one"), b"xPING x ${2} ${x} ${\n");
    }

    #[test]
    fn a_peer_that_says_marks_gets_them_back_as_they_are() {
        let groups = ["PING ${1}${0}".to_owned(), "${1}${0}".to_owned()];
        assert_eq!(fill_in("PONG ${1}", &groups).expect("it is one"), b"PONG ${1}${0}\n");
        let long = ["x".repeat(super::MAX_RECEIVED_BYTES)];
        assert!(fill_in("${0}${0}", &long).is_err(), "a line has an end");
    }
}
