//! One of the files that have had a log's name, and how far it was read.

use super::opening::{Inode, id};
use crate::source::logs::lines::Lines;
use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// What one poll gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadResult {
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes of lines that were too long.
    pub passed: u64,
    /// Bytes that were gone before they were read, when the file was renamed.
    pub rotated: u64,
    /// Bytes that were gone before they were read, when the file was cut off.
    pub truncated: u64,
    /// Files that were found under the name for the first time.
    pub found: u64,
}

#[derive(Debug)]
pub(super) struct Generation {
    pub(super) file: File,
    pub(super) id: Inode,
    /// Bytes that were read.
    pub(super) position: u64,
    /// Bytes there were at the last look.
    pub(super) size: u64,
    pub(super) lines: Lines,
    pub(super) latest: Instant,
}

impl Generation {
    pub(super) fn new(file: File, found: &Metadata, position: u64, now: Instant) -> Self {
        Self { file, id: id(found), position, size: found.len(), lines: Lines::default(), latest: now }
    }

    /// Counts what was there at the last look and is gone.
    pub(super) fn shrunk(&self, size: u64, poll: &mut ReadResult) {
        if size < self.position {
            poll.truncated += self.size.saturating_sub(self.position);
        }
    }

    /// Reads on, as much as there is room for; gives each complete line to `take`. Returns how many bytes came.
    pub(super) fn read(
        &mut self,
        now: Instant,
        room: &mut [u8],
        longest: usize,
        poll: &mut ReadResult,
        take: &mut dyn FnMut(&[u8]),
    ) -> usize {
        let mut all = 0;
        while self.position < self.size {
            let Some(part) = room.get_mut(all..).filter(|part| !part.is_empty()) else { break };
            let count = match self.file.read_at(part, self.position) {
                Ok(count) if count > 0 => count,
                // What cannot be read is not waited for.
                _ => {
                    self.size = self.position;
                    break;
                }
            };
            poll.passed += self.lines.push(part.get(..count).unwrap_or_default(), longest, &mut *take);
            self.position += count as u64;
            self.size = self.size.max(self.position);
            self.latest = now;
            poll.bytes += count as u64;
            all += count;
        }
        all
    }
}
