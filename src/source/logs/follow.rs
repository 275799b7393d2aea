//! Following one file: where it goes on when it is renamed, cut off or removed, and which bytes were lost.
//!
//! A file that was renamed is read on until it has been quiet for 10 s, because who writes to it may not have noticed; the
//! one in its place is read from its beginning after that. Where it was renamed more than once since the last look, what was
//! between is found beside it, as `NAME.1` or `NAME-20261126`; where it was copied and cut off (`copytruncate`), the rest is
//! read from the copy.

use super::lines::Lines;
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a file that is no longer in its place has to be quiet before it is closed.
pub const QUIET: Duration = Duration::from_secs(10);

/// Files with one name that are open at once.
const GENERATIONS: usize = 16;

/// Device and inode.
type Id = (u64, u64);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Behind what is there already.
    End,
    /// At the first byte.
    Beginning,
}

/// What one turn gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes of lines that were too long.
    pub passed: u64,
    /// Bytes that were gone before they were read, when the file was renamed.
    pub rotated: u64,
    /// Bytes that were gone before they were read, when the file was cut off.
    pub truncated: u64,
}

/// A file that is followed by its name.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    begin: Begin,
    /// What is open, the oldest first. The last is the one in the place, or was.
    generations: Vec<Generation>,
    /// Files beside it that need not be read.
    seen: HashSet<Id>,
    /// Whether there is a file in the place.
    there: bool,
}

#[derive(Debug)]
struct Generation {
    file: File,
    id: Id,
    /// Bytes that were read.
    position: u64,
    /// Bytes there were at the last look.
    size: u64,
    lines: Lines,
    latest: Instant,
}

impl Follow {
    /// Nothing is opened before the first turn.
    pub fn new(path: PathBuf, begin: Begin) -> Self {
        Self { path, begin, generations: Vec::new(), seen: HashSet::new(), there: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file and reads as much as `buffer` holds; gives each complete line to `take`. The error says why the
    /// file in the place cannot be opened; what was open is read all the same.
    pub fn turn(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        longest: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> (Turn, io::Result<()>) {
        let mut turn = Turn::default();
        let looked = self.look(now, &mut turn, take);
        self.read(now, buffer, longest, &mut turn, take);
        let last = self.generations.len().saturating_sub(1);
        let there = self.there;
        let mut number = 0;
        self.generations.retain_mut(|generation| {
            let in_place = there && number == last;
            number += 1;
            let over = !in_place
                && generation.position >= generation.size
                && now.saturating_duration_since(generation.latest) >= QUIET;
            if over {
                generation.lines.end(&mut *take);
            }
            !over
        });
        (turn, looked)
    }

    /// Whether nothing is open and nothing is in the place.
    pub fn is_over(&self) -> bool {
        self.generations.is_empty() && !self.there
    }

    /// Nothing more is read: gives the line that was begun to `take`.
    pub fn end(&mut self, take: &mut dyn FnMut(&[u8])) {
        for mut generation in self.generations.drain(..) {
            generation.lines.end(&mut *take);
        }
    }

    /// Bytes that are there and were not read yet.
    pub fn lag(&self) -> u64 {
        self.generations.iter().map(|each| each.size.saturating_sub(each.position)).sum()
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.generations.iter().map(|each| each.lines.held()).sum()
    }

    fn look(&mut self, now: Instant, turn: &mut Turn, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for generation in &mut self.generations {
            // A file that cannot be asked any more has no more to give.
            generation.size = generation.file.metadata().map_or(generation.position, |file| {
                generation.shrunk(file.len(), turn);
                file.len()
            });
        }
        self.recover(now, turn, take);
        let found = match std::fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => {
                self.there = false;
                return Err(io::Error::other("it is not a regular file"));
            }
            Err(error) => {
                self.there = false;
                return if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
            }
        };
        self.there = self.generations.last().is_some_and(|last| last.id == id(&found));
        if self.there {
            return Ok(());
        }
        let (file, found) = open(&self.path)?;
        if self.generations.is_empty() && self.seen.is_empty() {
            self.seen.extend(self.siblings().iter().map(|(_, sibling)| id(sibling)));
        } else {
            self.between(now, turn);
        }
        let position = if self.begin == Begin::End { found.len() } else { 0 };
        self.begin = Begin::Beginning;
        self.add(Generation::new(file, &found, position, now), turn);
        self.there = true;
        Ok(())
    }

    /// Opens what was in the place since the last look, and has been renamed again.
    fn between(&mut self, now: Instant, turn: &mut Turn) {
        for (path, sibling) in self.siblings() {
            if !self.seen.insert(id(&sibling)) {
                continue;
            }
            match open(&path) {
                Ok((file, found)) => self.add(Generation::new(file, &found, 0, now), turn),
                Err(_) => turn.rotated += sibling.len(),
            }
        }
    }

    /// Goes on in the copy of what was cut off since the last look; without one, what is known to be lost is counted.
    fn recover(&mut self, now: Instant, turn: &mut Turn, take: &mut dyn FnMut(&[u8])) {
        let Some(cut) = self.generations.iter().position(|each| each.size < each.position) else { return };
        let siblings = self.siblings();
        let Some(generation) = self.generations.get_mut(cut) else { return };
        let fits = |(_, sibling): &&(PathBuf, Metadata)| {
            !self.seen.contains(&id(sibling)) && sibling.len() >= generation.position
        };
        let copy = siblings.iter().rfind(fits).and_then(|(path, _)| open(path).ok());
        self.seen.extend(siblings.iter().map(|(_, sibling)| id(sibling)));
        let position = std::mem::take(&mut generation.position);
        let mut lines = std::mem::take(&mut generation.lines);
        match copy {
            Some((file, found)) => {
                turn.truncated = turn.truncated.saturating_sub(found.len() - position);
                let copy = Generation { lines, ..Generation::new(file, &found, position, now) };
                self.generations.insert(cut, copy);
            }
            None => lines.end(take),
        }
    }

    fn add(&mut self, generation: Generation, turn: &mut Turn) {
        self.seen.insert(generation.id);
        self.generations.push(generation);
        if self.generations.len() > GENERATIONS {
            let first = self.generations.remove(0);
            turn.rotated += first.size.saturating_sub(first.position);
        }
    }

    /// Files beside it that were in its place, the oldest first: its name, then `.` or `-`, then a digit. Compressed ones
    /// are left out: what is in them has been read, as a rule.
    fn siblings(&self) -> Vec<(PathBuf, Metadata)> {
        let (Some(directory), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let is_sibling = |other: &std::ffi::OsStr| {
            let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
            let digits = |rest: &[u8]| matches!(rest, [b'.' | b'-', digit, ..] if digit.is_ascii_digit());
            let packed = [".gz", ".xz", ".bz2", ".zst", ".tmp"];
            let plain = |rest: &[u8]| !packed.iter().any(|end| rest.ends_with(end.as_bytes()));
            rest.is_some_and(|rest| digits(rest) && plain(rest))
        };
        let mut siblings: Vec<(PathBuf, Metadata)> = entries
            .filter_map(Result::ok)
            .filter(|entry| is_sibling(&entry.file_name()))
            .filter_map(|entry| Some((entry.path(), std::fs::symlink_metadata(entry.path()).ok()?)))
            .filter(|(_, found)| found.is_file())
            .collect();
        siblings.sort_by_key(|(_, found)| (found.mtime(), found.mtime_nsec()));
        siblings
    }

    fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        longest: usize,
        turn: &mut Turn,
        take: &mut dyn FnMut(&[u8]),
    ) {
        let mut room = buffer.len();
        for generation in &mut self.generations {
            while room > 0 && generation.position < generation.size {
                let part = buffer.get_mut(..room).unwrap_or_default();
                let count = match generation.file.read_at(part, generation.position) {
                    Ok(count) if count > 0 => count,
                    // What cannot be read is not waited for.
                    _ => {
                        generation.size = generation.position;
                        break;
                    }
                };
                let piece = part.get(..count).unwrap_or_default();
                turn.passed += generation.lines.push(piece, longest, &mut *take);
                generation.position += count as u64;
                generation.size = generation.size.max(generation.position);
                generation.latest = now;
                turn.bytes += count as u64;
                room -= count;
            }
            if generation.position < generation.size {
                return;
            }
        }
    }
}

impl Generation {
    fn new(file: File, found: &Metadata, position: u64, now: Instant) -> Self {
        Self { file, id: id(found), position, size: found.len(), lines: Lines::default(), latest: now }
    }

    /// Counts what was there at the last look and is gone.
    fn shrunk(&self, size: u64, turn: &mut Turn) {
        if size < self.position {
            turn.truncated += self.size.saturating_sub(self.position);
        }
    }
}

fn id(file: &Metadata) -> Id {
    (file.dev(), file.ino())
}

/// Opens a regular file. A link is not followed, for whoever may write beside a log must not choose what is read; a FIFO
/// does not wait.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if found.is_file() { Ok((file, found)) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests;
