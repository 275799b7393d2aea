//! A poll of one log: from the bytes of the file to what is counted.

#![expect(clippy::disallowed_methods, reason = "messages have a time")]

use crate::source::logs::counts::{Counts, Origin, Timestamp};
use crate::source::logs::find::OpenLog;
use crate::source::logs::follow::{Follow, ReadResult};
use crate::source::logs::frame::Frame;
use crate::source::logs::labels::{LogSource, Lost};
use crate::source::logs::stream::{Message, Streams};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

/// A log that is followed.
pub(super) struct FollowedLog {
    pub(super) follow: Follow,
    pub(super) origin: Origin,
    pub(super) streams: Streams,
    /// Whether the container that wrote it has ended: an incomplete message is complete then.
    pub(super) ended: bool,
    /// Whether there was more than one poll reads.
    pub(super) more: bool,
    pub(super) error: Option<io::Error>,
    /// Number of files that were given its name, and how many of them were opened.
    pub(super) given: u64,
    pub(super) found: u64,
    /// Number of the last discovery pass that found it.
    pub(super) met: u64,
    /// Number of polls in a row that found nothing; after some of them, the flag that the next write sets.
    pub(super) silent: u32,
    pub(super) awake: Option<Arc<AtomicBool>>,
}

impl FollowedLog {
    /// Nothing was read of it yet.
    pub(super) fn new(follow: Follow, origin: Origin, ended: bool) -> Self {
        let streams = Streams::default();
        Self {
            follow,
            origin,
            streams,
            ended,
            more: false,
            error: None,
            given: 0,
            found: 0,
            met: 0,
            silent: 0,
            awake: None,
        }
    }

    /// Sets the process that has the file open.
    pub(super) fn open(&mut self, open: OpenLog) {
        self.follow.below(open.root);
        if let Some(descriptor) = open.descriptor {
            self.follow.also(descriptor, open.inode);
        }
    }

    /// Counts all files of the name as opened: the current one was found without an event.
    pub(super) fn reckon(&mut self) {
        self.given = self.found;
    }

    fn frame(&self) -> Frame {
        match self.origin.source {
            LogSource::Docker => Frame::Docker,
            LogSource::Cri => Frame::Cri,
            LogSource::File | LogSource::Journald => Frame::Plain,
        }
    }

    pub(super) fn poll(&mut self, buffer: &mut [u8], counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        let (poll, looked) = follow.poll(now.instant, buffer, frame.longest(), &mut |line| {
            of_line(line, frame, streams, counts, origin, multiline, now);
        });
        streams.quiet(now.instant, &mut |message: Message<'_>| counts.message(origin, message, now));
        if poll.bytes > 0 {
            counts.read(origin, poll.bytes);
        }
        counts.lose(Lost::LineTooLong, poll.passed);
        self.found += poll.found;
        // One that is made in this moment is found before it is known that its name was given.
        let unseen = self.given.saturating_sub(self.found);
        self.found += unseen;
        counts.lose(Lost::Rotated, poll.rotated + unseen * follow.whole());
        counts.lose(Lost::Truncated, poll.truncated);
        self.error = looked.err();
        self.silent = if poll == ReadResult::default() { self.silent.saturating_add(1) } else { 0 };
        if self.silent == 0 {
            self.awake = None;
        }
        if self.ended && poll.bytes == 0 {
            self.give_up(counts, multiline, now);
        }
        self.more = poll.bytes == buffer.len() as u64 && self.follow.lag() > 0;
    }

    /// All that is open ends, and nothing more is read.
    pub(super) fn end(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        follow.end(&mut |line| of_line(line, frame, streams, counts, origin, multiline, now));
        self.give_up(counts, multiline, now);
    }

    /// All that is open ends here, for want of room.
    pub(super) fn cut(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let frame = self.frame();
        let Self { follow, origin, streams, .. } = self;
        follow.cut(&mut |line| of_line(line, frame, streams, counts, origin, multiline, now));
        self.give_up(counts, multiline, now);
    }

    /// The messages that are open end.
    fn give_up(&mut self, counts: &mut Counts, multiline: bool, now: Timestamp) {
        let Self { origin, streams, .. } = self;
        streams.end(multiline, &mut |message| counts.message(origin, message, now));
    }
}

/// From a line to messages.
fn of_line(
    line: &[u8],
    frame: Frame,
    streams: &mut Streams,
    counts: &mut Counts,
    origin: &Origin,
    multiline: bool,
    now: Timestamp,
) {
    let Some(record) = frame.record(line) else {
        *counts.malformed.entry(origin.source).or_default() += 1;
        return;
    };
    let passed = streams.record(&record, multiline, now.instant, &mut |message| {
        counts.message(origin, message, now);
    });
    counts.lose(Lost::LineTooLong, passed);
}

pub(super) fn now() -> Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp { instant: Instant::now(), wall: wall.as_secs_f64() }
}
