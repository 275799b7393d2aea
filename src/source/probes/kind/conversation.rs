//! A conversation: lines that are expected and lines that are sent.
//!
//! A step waits for what it expects, then sends, then begins with TLS, in this order. An expectation looks at lines, as
//! `blackbox_exporter` does: those that do not match are passed over, and the end of the connection is the end of it.
//! Bytes are expected anywhere in what comes.

use super::expectation::{Expectation, elsewhere, find};
use crate::config::probes::Step as StepSettings;
use crate::config::probes::Target as Settings;
use crate::config::probes::text::{unescape, unhex};
use crate::metric::label::{Phase, ProbeError};
use crate::source::probes::attempt::Attempt;
use crate::source::probes::fault::Fault;
use heard::Heard;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub mod heard;

/// What a peer may say before what is expected; then it is no conversation.
const MOST: usize = 64 * 1024;

/// What is sent.
#[derive(Debug, Clone)]
enum Say {
    Line(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Step {
    expect: Option<Expectation>,
    say: Option<Say>,
    starttls: bool,
}

/// The steps.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    steps: Vec<Step>,
}

impl Conversation {
    /// That of a target: its own, or one of `send` and `expect`, in which what is sent comes first, as it is.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let mut steps = Vec::new();
        let say = match (&settings.send, &settings.send_hex) {
            (Some(text), _) => Some(Say::Bytes(unescape(text)?)),
            (None, Some(hex)) => Some(Say::Bytes(unhex(hex)?)),
            (None, None) => None,
        };
        steps.extend(say.map(|say| Step { expect: None, say: Some(say), starttls: false }));
        let expect = Expectation::new(settings.expect.as_ref(), settings.expect_hex.as_ref())?;
        steps.extend(expect.map(|expect| Step { expect: Some(expect), say: None, starttls: false }));
        for step in &settings.conversation {
            steps.push(Step::new(step)?);
        }
        Ok(Self { steps })
    }

    /// Holds it from the beginning to its end; nothing is done where nothing is said.
    pub async fn hold<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        attempt: &mut Attempt<'_>,
        stream: &mut S,
    ) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        Talk::new(self).until_tls(attempt, stream).await
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether a step begins with TLS.
    pub fn starts_tls(&self) -> bool {
        self.steps.iter().any(|step| step.starttls)
    }
}

impl Step {
    fn new(settings: &StepSettings) -> Result<Self, String> {
        let say = match (&settings.send, &settings.send_hex) {
            (Some(line), _) => Some(Say::Line(line.clone())),
            (None, Some(hex)) => Some(Say::Bytes(unhex(hex)?)),
            (None, None) => None,
        };
        let expect = Expectation::new(settings.expect.as_ref(), settings.expect_hex.as_ref())?;
        Ok(Self { expect, say, starttls: settings.starttls })
    }
}

/// A conversation under way.
pub struct Talk<'a> {
    steps: std::slice::Iter<'a, Step>,
    heard: Heard,
    groups: Vec<String>,
}

impl<'a> Talk<'a> {
    /// Before its first step.
    pub fn new(conversation: &'a Conversation) -> Self {
        Self { steps: conversation.steps.iter(), heard: Heard::default(), groups: Vec::new() }
    }

    /// Talks until TLS is to begin, or to the end; the time of that is noted.
    pub async fn until_tls<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        attempt: &mut Attempt<'_>,
        stream: &mut S,
    ) -> Result<(), Fault> {
        let began = attempt.begin(Phase::Request);
        for step in self.steps.by_ref() {
            if let Some(expect) = &step.expect {
                let groups = hear(attempt, stream, &mut self.heard, expect).await?;
                self.groups = groups;
            }
            if let Some(say) = &step.say {
                let bytes = match say {
                    Say::Line(line) => spoken(line, &self.groups)?,
                    Say::Bytes(bytes) => bytes.clone(),
                };
                attempt.note(|| format!("sending {:?}", String::from_utf8_lossy(&bytes)));
                stream.write_all(&bytes).await.map_err(|error| Fault::io("sending", &error))?;
                stream.flush().await.map_err(|error| Fault::io("sending", &error))?;
            }
            if step.starttls {
                // What was said in the open counts for nothing from here on.
                self.heard.clear();
                break;
            }
        }
        attempt.end(Phase::Request, began.elapsed());
        Ok(())
    }
}

/// A line with what the groups of the last expectation matched, and its end.
fn spoken(line: &str, groups: &[String]) -> Result<Vec<u8>, Fault> {
    let line = unescape(line).map_err(|why| Fault::new(ProbeError::Other, why))?;
    let mut bytes = Vec::with_capacity(line.len() + 1);
    let mut rest = line.as_slice();
    while let Some(at) = find(rest, b"${") {
        let (before, mark) = rest.split_at(at);
        bytes.extend_from_slice(before);
        // What the peer said is never looked at for marks again: it could put one into every answer.
        let (put, after) = group(mark, groups).unwrap_or_else(|| mark.split_at(2));
        bytes.extend_from_slice(put);
        rest = after;
        if bytes.len() > MOST {
            let why = format!("what the peer said makes a line of more than {MOST} bytes");
            return Err(Fault::new(ProbeError::UnexpectedResponse, why));
        }
    }
    bytes.extend_from_slice(rest);
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The group that a mark at the beginning, `${1}`, stands for, and what comes after the mark.
fn group<'a>(mark: &'a [u8], groups: &'a [String]) -> Option<(&'a [u8], &'a [u8])> {
    let end = mark.iter().position(|byte| *byte == b'}')?;
    let index: usize = std::str::from_utf8(mark.get(2..end)?).ok()?.parse().ok()?;
    Some((groups.get(index)?.as_bytes(), mark.get(end + 1..)?))
}

/// Reads until it comes; the groups it matched, the whole first.
async fn hear<S: AsyncRead + Unpin>(
    attempt: &mut Attempt<'_>,
    stream: &mut S,
    heard: &mut Heard,
    expect: &Expectation,
) -> Result<Vec<String>, Fault> {
    let mut passed = 0;
    let mut ended = false;
    loop {
        let found = if expect.takes_long() {
            let (mut taken, expect) = (std::mem::take(heard), expect.clone());
            let look = move || (taken.look(&expect, ended), taken);
            let (found, left) = elsewhere(look).await?;
            *heard = left;
            found
        } else {
            heard.look(expect, ended)
        };
        if let Some(groups) = found {
            attempt.note(|| format!("heard {:?}", groups.first().map_or("", String::as_str)));
            return Ok(groups);
        }
        if ended || passed > MOST {
            let last = heard.last();
            let why = if ended { "the peer ended" } else { "the peer went on and on" };
            let why = format!("{why} without what was expected; last {last:?}");
            return Err(Fault::new(ProbeError::UnexpectedResponse, why));
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) => ended = true,
            Ok(length) => {
                passed += length;
                heard.add(part.get(..length).unwrap_or(&[]));
            }
            // A TLS peer that goes without a word has ended, too.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => ended = true,
            Err(error) => return Err(Fault::io("waiting for what is expected", &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::spoken;

    #[test]
    fn a_line_gets_its_groups_and_its_end() {
        let groups = ["PING x".to_owned(), "x".to_owned()];
        assert_eq!(spoken("PONG ${1}", &groups).expect("it is one"), b"PONG x\n");
        assert_eq!(spoken("QUIT\\r\\n", &[]).expect("it is one"), b"QUIT\r\n");
        assert_eq!(spoken("${1}${0} ${2} ${x} ${", &groups).expect("it is one"), b"xPING x ${2} ${x} ${\n");
    }

    #[test]
    fn a_peer_that_says_marks_gets_them_back_as_they_are() {
        let groups = ["PING ${1}${0}".to_owned(), "${1}${0}".to_owned()];
        assert_eq!(spoken("PONG ${1}", &groups).expect("it is one"), b"PONG ${1}${0}\n");
        let long = ["x".repeat(super::MOST)];
        assert!(spoken("${0}${0}", &long).is_err(), "a line has an end");
    }
}
