//! Following one file: where it goes on when it is renamed, cut off or removed, and which bytes were lost.
//!
//! A file that was renamed is read on until it has been quiet for 10 s, because who writes to it may not have noticed; the
//! one in its place is read from its beginning after that. Where it was renamed more than once since the last look, what was
//! between is found beside it, as `NAME.1` or `NAME-20261126`; where it was copied and cut off (`copytruncate`), the rest is
//! read from the copy.

use begin::Begin;
use beside::{Directory, Listing};
use generation::Generation;
use opening::id;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

mod begin;
pub(super) mod beside;
mod generation;
mod opening;
mod rotation;

pub(super) use begin::SizesAtStart;
pub use generation::ReadResult;
pub(super) use opening::{FileIdentity, known, open_descriptor};
pub use opening::{Inode, open};

/// Time without writes after which a file that no longer has its name is closed.
pub const QUIET: Duration = Duration::from_secs(10);

/// Maximum number of open files with one name. An open file keeps its blocks on disk, even if it was removed.
const GENERATIONS: usize = 128;

/// Maximum number of unread bytes of these files, without the newest.
const UNREAD: u64 = 256 * 1024 * 1024;

/// Number of remembered former files above which those that are gone are forgotten.
const REMEMBERED: usize = 1024;

/// A file that is followed by its name.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    /// The root directory that the path begins at, if not this process's own.
    root: Option<PathBuf>,
    /// The position at which a file is read from when it is first seen.
    begin: Begin,
    /// Open files of this name, the oldest first.
    generations: Vec<Generation>,
    /// Files beside it that need not be read.
    seen: HashSet<FileIdentity>,
    /// The files beside it when it was found, until it is opened.
    listing: Option<Arc<Listing>>,
    /// Files that were opened when they were given the name, and whether there were more of them.
    given: Vec<(File, Metadata)>,
    missed: bool,
    /// The descriptor of another process that has it open, until it is opened here.
    descriptor: Option<(PathBuf, Inode)>,
    /// The file that has the name now.
    place: Option<Inode>,
    /// Size of the file that was renamed last, bytes.
    whole: u64,
}

impl Follow {
    /// A file that was made before a point in time is read from its end, one that was made later from its beginning.
    /// Nothing is opened before the first poll.
    pub fn new(path: PathBuf, since: SystemTime) -> Self {
        Self {
            path,
            root: None,
            begin: Begin { since, siblings: since, sizes: SizesAtStart::default() },
            generations: Vec::new(),
            seen: HashSet::new(),
            listing: None,
            given: Vec::new(),
            missed: false,
            descriptor: None,
            place: None,
            whole: 0,
        }
    }

    /// The path begins at another root directory from now on (`/proc/PID/root`). No link is followed below it, for whoever
    /// lives there must not choose what is read.
    pub fn below(&mut self, root: PathBuf) {
        self.root = Some(root);
    }

    /// Whether this process cannot name it by its path.
    pub fn is_elsewhere(&self) -> bool {
        self.root.as_ref().is_some_and(|root| root != Path::new("/"))
    }

    /// Former files beside it that were made before `siblings` are not read; of those with a size at the agent's start, what
    /// came after.
    pub fn begins(&mut self, siblings: SystemTime, sizes: SizesAtStart) {
        self.begin.siblings = siblings;
        self.begin.sizes = sizes;
    }

    /// Sets the files that were beside it when it was found.
    pub fn beside(&mut self, listing: Arc<Listing>) {
        self.listing = Some(listing);
    }

    /// Another process has it open there: it is read, too, where it is not found in its place.
    pub fn also(&mut self, descriptor: PathBuf, inode: Inode) {
        if !self.inodes().any(|open| open == inode) {
            self.descriptor = Some((descriptor, inode));
        }
    }

    /// Adds files that were given the name since the last poll: `count` is their number, `files` are those that could be opened.
    pub fn give(&mut self, files: Vec<(File, Metadata)>, count: u64) {
        self.missed |= count > files.len() as u64;
        self.given.extend(files);
    }

    /// The inodes that are open.
    pub fn inodes(&self) -> impl Iterator<Item = Inode> {
        self.generations.iter().map(|each| each.id)
    }

    /// An inode that is open is not closed before this time and a while of silence.
    pub fn keep(&mut self, inode: Inode, until: Instant) {
        for each in self.generations.iter_mut().filter(|each| each.id == inode) {
            each.latest = each.latest.max(until);
        }
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// The path of the log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file and reads as much as `buffer` holds; gives each complete line to `take`. The error says why the
    /// file in the place cannot be opened; what was open is read all the same.
    pub fn poll(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        longest: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> (ReadResult, io::Result<()>) {
        let mut poll = ReadResult::default();
        let looked = self.look(now, &mut poll, take);
        self.read(now, buffer, longest, &mut poll, take);
        let place = self.place;
        self.generations.retain_mut(|generation| {
            let over = place != Some(generation.id)
                && generation.position >= generation.size
                && now.saturating_duration_since(generation.latest) >= QUIET;
            if over {
                generation.lines.end(&mut *take);
            }
            !over
        });
        (poll, looked)
    }

    /// The file in the place, where it is the only one and all of it was read: nothing happens before something is written to
    /// it, or its name is given to another one.
    pub fn quiet(&self) -> Option<&File> {
        let [only] = self.generations.as_slice() else { return None };
        let waits = self.given.is_empty() && !self.missed && self.descriptor.is_none();
        let read = self.place == Some(only.id) && only.position >= only.size;
        (waits && read).then_some(&only.file)
    }

    /// Whether nothing is open and nothing is in the place.
    pub fn is_over(&self) -> bool {
        self.generations.is_empty() && self.place.is_none()
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

    fn look(&mut self, now: Instant, poll: &mut ReadResult, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let directory = Directory::of(self.path.parent().unwrap_or(&self.path), self.root.as_deref());
        let place = directory.as_ref().map(|directory| directory.path.join(self.name()));
        let found = place.as_ref().map_err(|error| again(error)).and_then(std::fs::symlink_metadata);
        for generation in &mut self.generations {
            let size = match &found {
                Ok(found) if id(found) == generation.id => found.len(),
                // A file that cannot be asked any more has no more to give.
                _ => generation.file.metadata().map_or(generation.position, |file| file.len()),
            };
            generation.shrunk(size, poll);
            generation.size = size;
        }
        self.recover(directory.as_ref().ok(), now, poll, take);
        if !self.is_new() {
            self.take_given(now, poll);
        }
        let result = match (&directory, &place, found) {
            (Ok(directory), Ok(place), Ok(found)) if found.is_file() => {
                self.in_place(directory, place, &found, now, poll)
            }
            (_, _, found) => {
                self.place = None;
                match found {
                    Ok(_) => Err(io::Error::other("it is not a regular file")),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(error) => Err(error),
                }
            }
        };
        self.take_given(now, poll);
        if let Some((path, inode)) = self.descriptor.take()
            && !self.inodes().any(|open| open == inode)
        {
            let (file, found) = open_descriptor(&path)?;
            if id(&found) == inode {
                if let Some(directory) = directory.ok().filter(|_| self.is_new()) {
                    let siblings = directory.siblings(self.name());
                    self.seen.extend(siblings.iter().map(|(_, sibling)| known(sibling)));
                }
                self.seen.insert(known(&found));
                self.first(file, &found, now, poll);
            }
        }
        result
    }

    fn read(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        longest: usize,
        poll: &mut ReadResult,
        take: &mut dyn FnMut(&[u8]),
    ) {
        let mut room = buffer;
        for generation in &mut self.generations {
            let length = room.len();
            let count = generation.read(now, room, longest, poll, take);
            room = room.get_mut(count..length).unwrap_or_default();
            if generation.position < generation.size {
                return;
            }
        }
    }
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests;
