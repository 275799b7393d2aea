//! The lines that wait for stderr, and the thread that writes them.
//!
//! stderr may be a pipe that nobody reads, a terminal that is stopped, a journal that hangs: a write to it can block for
//! ever. So a log call only adds its line here. The queue is bounded; a line that does not fit is dropped and counted.

#![expect(clippy::disallowed_methods, reason = "the last lines have a time limit of their own")]

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of bytes in the queue.
const MAX_QUEUED_BYTES: usize = 128 * 1024;

/// Longest line in bytes; the rest of it is cut off.
pub const LONGEST: usize = 16 * 1024;

/// Stack of the thread: it writes, and at most formats one line of its own.
const STACK: usize = 256 * 1024;

/// Lines of the log that wait to be written.
#[derive(Debug, Default)]
pub struct Queue {
    lines: Mutex<Lines>,
    /// Signals a new line, or an empty queue.
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// A line was taken out and is being written.
    writing: bool,
    /// Lines dropped since that was last logged.
    unsaid: u64,
}

impl Queue {
    /// An empty queue; [`Queue::start`] starts the thread that writes it.
    pub const fn new() -> Self {
        let lines = Lines { waiting: VecDeque::new(), bytes: 0, writing: false, unsaid: 0 };
        Self { lines: Mutex::new(lines), changed: Condvar::new(), dropped: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; never blocks. If the queue is full, the line is dropped.
    pub fn push(&self, line: &[u8]) {
        let line = cut(line);
        let mut lines = self.lock();
        if lines.bytes + line.len() > MAX_QUEUED_BYTES {
            lines.unsaid += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.bytes += line.len();
        lines.waiting.push_back(line);
        drop(lines);
        self.changed.notify_all();
    }

    /// Number of lines that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line is written, no longer than `most`.
    pub fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut lines = self.lock();
        while lines.writing || !lines.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            lines = self.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Starts the thread that writes the lines.
    pub fn start(&'static self) -> io::Result<()> {
        std::thread::Builder::new().name("log".to_owned()).stack_size(STACK).spawn(|| {
            loop {
                let line = self.take();
                let written = write(&line).is_ok();
                let mut lines = self.lock();
                lines.writing = false;
                let unsaid =
                    if written && lines.waiting.is_empty() { std::mem::take(&mut lines.unsaid) } else { 0 };
                drop(lines);
                if unsaid > 0 {
                    tracing::warn!(dropped = unsaid, "lines of this log were dropped: stderr was blocked");
                }
                self.changed.notify_all();
            }
        })?;
        Ok(())
    }

    /// The next line, once there is one.
    fn take(&self) -> Box<[u8]> {
        let mut lines = self.lock();
        loop {
            if let Some(line) = lines.waiting.pop_front() {
                lines.bytes -= line.len();
                lines.writing = true;
                return line;
            }
            lines = self.changed.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A line of [`LONGEST`] bytes at most, cut before a character rather than in it.
pub fn cut(line: &[u8]) -> Box<[u8]> {
    if line.len() <= LONGEST {
        return line.into();
    }
    let begins = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    // A character has four bytes at most.
    let end = (LONGEST - 3..=LONGEST).rev().find(begins).unwrap_or(LONGEST);
    [line.get(..end).unwrap_or(line), "…\n".as_bytes()].concat().into()
}

/// Writes a line to stderr, however long that takes. Not over [`io::stderr`]: whoever holds its lock may be blocked.
fn write(mut line: &[u8]) -> rustix::io::Result<()> {
    let stderr = io::stderr();
    while !line.is_empty() {
        match rustix::io::write(&stderr, line) {
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Whoever shares it has made it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes a line from the subscriber, which writes each line at once.
#[derive(Debug, Clone, Copy)]
pub struct Writer(pub &'static Queue);

impl io::Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        *self
    }
}
