//! Following one file: where it goes on when it is renamed, cut off or removed, and which bytes were lost.
//!
//! A file that was renamed is read on until it has been quiet for 10 s, because who writes to it may not have noticed; the
//! one in its place is read from its beginning after that. Where it was renamed more than once since the last look, what was
//! between is found beside it, as `NAME.1` or `NAME-20261126`; where it was copied and cut off (`copytruncate`), the rest is
//! read from the copy.

use super::lines::Lines;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a file that is no longer in its place has to be quiet before it is closed.
pub const QUIET: Duration = Duration::from_secs(10);

/// Files with one name that are open at once.
const GENERATIONS: usize = 16;

/// Device and inode.
pub(super) type Inode = (u64, u64);

/// A file, also after it was removed: another may have its inode then, made at another time.
pub(super) type FileIdentity = (Inode, Option<SystemTime>);

/// What one turn gave.
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

/// A file that is followed by its name.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The root directory that the path begins at, if not this process's own.
    root: Option<PathBuf>,
    /// A file that was made before is read from its end, the first time.
    since: SystemTime,
    /// What is open, the oldest first. The last is the one in the place, or was.
    generations: Vec<Generation>,
    /// Files beside it that need not be read.
    seen: HashSet<FileIdentity>,
    /// Whether there is a file in the place.
    there: bool,
    /// Bytes of the file that was renamed last.
    whole: u64,
}

#[derive(Debug)]
struct Generation {
    file: File,
    id: Inode,
    /// Bytes that were read.
    position: u64,
    /// Bytes there were at the last look.
    size: u64,
    lines: Lines,
    latest: Instant,
}

impl Follow {
    /// A file that was made before a point in time is read from its end, one that was made later from its beginning.
    /// Nothing is opened before the first turn.
    pub fn new(path: PathBuf, since: SystemTime) -> Self {
        Self {
            path,
            root: None,
            since,
            generations: Vec::new(),
            seen: HashSet::new(),
            there: false,
            whole: 0,
        }
    }

    /// The path begins at another root directory from now on (`/proc/PID/root`). No link is followed below it, for whoever
    /// lives there must not choose what is read.
    pub fn below(&mut self, root: PathBuf) {
        self.root = Some(root);
    }

    /// Whether the path begins at another root directory.
    pub fn is_elsewhere(&self) -> bool {
        self.root.is_some()
    }

    /// The directory of the file, as this process can name it as long as what is returned lives.
    fn directory(&self) -> io::Result<Directory> {
        let parent = self.path.parent().unwrap_or(&self.path);
        let Some(root) = &self.root else {
            return Ok(Directory { path: parent.to_owned(), _open: None });
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::openat2(&root, parent, flags, Mode::empty(), resolve)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        Ok(Directory { path, _open: Some(open) })
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
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
    ) -> (ReadResult, io::Result<()>) {
        let mut turn = ReadResult::default();
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

    /// There is no room for lines that were begun: gives them to `take`, and skips the rest of them.
    pub fn cut(&mut self, take: &mut dyn FnMut(&[u8])) {
        for generation in &mut self.generations {
            generation.lines.cut(&mut *take);
        }
    }

    /// Bytes of the file that was renamed last: as many as one has that was renamed and removed unseen, as far as is known.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Bytes that are there and were not read yet.
    pub fn lag(&self) -> u64 {
        self.generations.iter().map(|each| each.size.saturating_sub(each.position)).sum()
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.generations.iter().map(|each| each.lines.held()).sum()
    }

    fn look(&mut self, now: Instant, turn: &mut ReadResult, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let directory = self.directory();
        let place = directory.as_ref().map(|directory| directory.path.join(self.name()));
        let found = place.as_ref().map_err(|error| again(error)).and_then(std::fs::symlink_metadata);
        for generation in &mut self.generations {
            let size = match &found {
                Ok(found) if id(found) == generation.id => found.len(),
                // A file that cannot be asked any more has no more to give.
                _ => generation.file.metadata().map_or(generation.position, |file| file.len()),
            };
            generation.shrunk(size, turn);
            generation.size = size;
        }
        self.recover(directory.as_ref().ok(), now, turn, take);
        let found = match found {
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
        let (Ok(directory), Ok(place)) = (&directory, &place) else { return Ok(()) };
        let (file, found) = open(place)?;
        if self.generations.is_empty() && self.seen.is_empty() {
            self.seen.extend(self.siblings(directory).iter().map(|(_, sibling)| known(sibling)));
            self.seen.insert(known(&found));
        } else {
            self.between(directory, known(&found), now, turn);
        }
        // Where the file system does not know when it was made, what was written to it last decides.
        let old = found.created().or_else(|_| found.modified()).is_ok_and(|made| made < self.since);
        let position = if old { found.len() } else { 0 };
        self.since = SystemTime::UNIX_EPOCH;
        turn.found += 1;
        self.add(Generation::new(file, &found, position, now), turn);
        self.there = true;
        Ok(())
    }

    /// Opens what was in the place since the last look, and has been renamed again. `last` is what is there now, and may be
    /// renamed before the others are looked for.
    fn between(&mut self, directory: &Directory, last: FileIdentity, now: Instant, turn: &mut ReadResult) {
        let siblings = self.siblings(directory);
        let there: HashSet<FileIdentity> = siblings.iter().map(|(_, sibling)| known(sibling)).collect();
        let held = |file: &FileIdentity| self.generations.iter().any(|each| each.id == file.0);
        self.seen.retain(|file| there.contains(file) || held(file));
        self.seen.insert(last);
        for (path, sibling) in siblings {
            if !self.seen.insert(known(&sibling)) {
                continue;
            }
            turn.found += 1;
            match open(&path) {
                Ok((file, found)) => self.add(Generation::new(file, &found, 0, now), turn),
                Err(_) => turn.rotated += sibling.len(),
            }
        }
    }

    /// Goes on in the copy of what was cut off since the last look; without one, what is known to be lost is counted.
    fn recover(
        &mut self,
        directory: Option<&Directory>,
        now: Instant,
        turn: &mut ReadResult,
        take: &mut dyn FnMut(&[u8]),
    ) {
        let Some(cut) = self.generations.iter().position(|each| each.size < each.position) else { return };
        let siblings = directory.map(|directory| self.siblings(directory)).unwrap_or_default();
        let Some(generation) = self.generations.get_mut(cut) else { return };
        let fits = |(_, sibling): &&(PathBuf, Metadata)| {
            !self.seen.contains(&known(sibling)) && sibling.len() >= generation.position
        };
        let copy = siblings.iter().rfind(fits).and_then(|(path, _)| open(path).ok());
        self.seen.extend(siblings.iter().map(|(_, sibling)| known(sibling)));
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

    fn add(&mut self, generation: Generation, turn: &mut ReadResult) {
        self.whole = self.generations.last().map_or(self.whole, |last| last.size);
        self.generations.push(generation);
        if self.generations.len() > GENERATIONS {
            let first = self.generations.remove(0);
            turn.rotated += first.size.saturating_sub(first.position);
        }
    }

    /// Files beside it that were in its place, the oldest first: its name, then `.` or `-`, then a digit. Compressed ones
    /// are left out: what is in them has been read, as a rule.
    fn siblings(&self, directory: &Directory) -> Vec<(PathBuf, Metadata)> {
        let name = self.name();
        let Ok(entries) = std::fs::read_dir(&directory.path) else { return Vec::new() };
        let is_sibling = |other: &OsStr| {
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
        // Two that were written to in the same tick of the kernel's clock: `.2` is older than `.1`, as names are given.
        let number = |path: &Path| path.extension()?.to_str()?.parse::<u32>().ok();
        siblings.sort_by_cached_key(|(path, found)| {
            (found.mtime(), found.mtime_nsec(), Reverse(number(path)), path.clone())
        });
        siblings
    }

    fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        longest: usize,
        turn: &mut ReadResult,
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

/// A directory that can be named.
struct Directory {
    path: PathBuf,
    _open: Option<OwnedFd>,
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

impl Generation {
    fn new(file: File, found: &Metadata, position: u64, now: Instant) -> Self {
        Self { file, id: id(found), position, size: found.len(), lines: Lines::default(), latest: now }
    }

    /// Counts what was there at the last look and is gone.
    fn shrunk(&self, size: u64, turn: &mut ReadResult) {
        if size < self.position {
            turn.truncated += self.size.saturating_sub(self.position);
        }
    }
}

pub(super) fn known(file: &Metadata) -> FileIdentity {
    (id(file), file.created().ok())
}

fn id(file: &Metadata) -> Inode {
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
