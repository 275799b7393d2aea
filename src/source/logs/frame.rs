//! What a line of a log is: a record of an engine, or a line of text (pure).

use std::borrow::Cow;

pub mod cri;
pub mod docker;

/// Longest message, and longest line of text, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// The format of the lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Lines of text.
    Plain,
    /// Docker's `json-file`.
    Docker,
    /// The Container Runtime Interface of Kubernetes (containerd, CRI-O).
    Cri,
}

/// The stream that a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a file.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Contents of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// `stdout` or `stderr`.
    pub stream: Stream,
    /// The text, without the line break.
    pub text: Cow<'a, [u8]>,
    /// Whether this is the end of the line: an engine splits long lines into parts.
    pub complete: bool,
}

impl Frame {
    /// Longest line of a file of this kind, in bytes. Docker splits what is written at 16 KiB, and one byte is up to six in
    /// JSON (`\u0000`); the rest is for what it adds.
    pub fn longest(self) -> usize {
        match self {
            Self::Plain => LONGEST,
            Self::Docker => 2 * LONGEST,
            Self::Cri => LONGEST + 1024,
        }
    }

    /// Parses a line; `None` if it is not in this format.
    pub fn record(self, line: &[u8]) -> Option<Record<'_>> {
        match self {
            Self::Plain => Some(Record { stream: Stream::Stdout, text: Cow::Borrowed(line), complete: true }),
            Self::Docker => docker::parse(line),
            Self::Cri => cri::parse(line),
        }
    }
}
