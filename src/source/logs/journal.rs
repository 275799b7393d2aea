//! The journal of systemd: which files there are, and what came into them.
//!
//! A file that was there when the agent started is read from its end, one that came later from its beginning. A file is
//! known by its inode, so that one that is renamed when it is full (archived) is read to its end, also once it was removed
//! (vacuumed). Nothing is kept on disk.

use super::config::Journald;
use super::follow::{FileIdentity, known, open};
use crate::reading::SourceError;
use object::FormatError;
use std::collections::{HashMap, HashSet};
use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tail::{Entry, JournalTail};

pub mod object;
pub mod owners;
pub mod tail;
pub mod unpack;

/// The privilege that reading the journal needs.
pub(super) const CAPABILITY: &str = "CAP_DAC_READ_SEARCH or the group systemd-journal";

/// Directories of the journal: persistent files, and files of this boot only.
const PLACES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Length of a machine id, the name of a directory of journals.
const MACHINE: usize = 32;

/// Maximum number of directory entries that are read.
const ENTRIES: usize = 20_000;

/// Entries of one file that are read before the others are polled.
const POLL: usize = 2000;

/// Time without writes after which a file that was removed, but not archived, is closed.
const QUIET: Duration = super::follow::QUIET;

/// The files that are followed.
#[derive(Debug)]
pub(super) struct Journal {
    root: PathBuf,
    place: Journald,
    files: HashMap<FileIdentity, FollowedFile>,
    /// Files in which nothing comes any more, or nothing that can be read.
    passed: HashSet<FileIdentity>,
    /// A file that was made before is read from its end.
    since: SystemTime,
    /// Whether nothing was looked for yet: what there is now was there before.
    first: bool,
    /// The directory that was read last; what was in it up to then is not counted again from another one.
    latest: Option<PathBuf>,
    /// Entries that were written before, in microseconds since 1970, were counted where the journal was before.
    after: u64,
    /// The newest entry that was counted.
    newest: u64,
}

#[derive(Debug)]
struct FollowedFile {
    path: PathBuf,
    tail: JournalTail<File>,
    latest: Instant,
    /// Whether the file still has a name in the directory.
    there: bool,
    over: bool,
}

/// Result of reading an entry.
pub(super) enum Handled {
    /// The entry was counted, or belongs to no container or service.
    Done,
    /// The container or service is not known yet: the entry is read again later.
    Later,
}

/// Result of one poll, without the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JournalReadResult {
    /// Bytes that could not be read.
    pub lost: u64,
    /// Entries or files that are not what the format says.
    pub malformed: u64,
    /// Files for which there was no room.
    pub left_out: u64,
    /// Whether there is more to read.
    pub more: bool,
}

/// The files of the place, and what is wrong with it.
#[derive(Debug)]
pub(super) struct JournalFiles {
    /// The directory that the files are in.
    pub directory: PathBuf,
    /// The paths of the files, with what each is known by.
    pub files: Vec<(PathBuf, FileIdentity)>,
}

impl Journal {
    /// Nothing is looked at before [`Journal::find`].
    pub(super) fn new(root: &Path, place: &Journald, since: SystemTime) -> Self {
        Self {
            root: root.to_owned(),
            place: place.clone(),
            files: HashMap::new(),
            passed: HashSet::new(),
            since,
            first: true,
            latest: None,
            after: 0,
            newest: 0,
        }
    }

    /// Looks for files; at most so many are followed. The error says what cannot be read; what can is followed all the same.
    pub(super) fn find(&mut self, now: Instant, room: usize) -> (JournalReadResult, Result<(), SourceError>) {
        let first = std::mem::replace(&mut self.first, false);
        let mut poll = JournalReadResult::default();
        let listing = match list(&self.root, &self.place) {
            Ok(listing) => listing,
            Err(SourceError::Absent { .. }) => {
                self.gone(&HashSet::new(), now);
                return (poll, Ok(()));
            }
            Err(error) => return (poll, Err(error)),
        };
        if self.latest.replace(listing.directory.clone()).is_some_and(|before| before != listing.directory) {
            // journald has copied what was in `/run` to `/var`, with the times of the entries.
            self.after = self.newest;
        }
        let there: HashSet<FileIdentity> = listing.files.iter().map(|(_, id)| *id).collect();
        self.gone(&there, now);
        let machine = self.machine();
        let mut denied = None;
        for (path, id) in listing.files {
            if self.files.contains_key(&id) || self.passed.contains(&id) {
                continue;
            }
            if self.files.len() >= room {
                poll.left_out += u64::from(self.passed.insert(id));
                continue;
            }
            match self.follow(&path, first, machine, now) {
                Ok(Some(followed)) => _ = self.files.insert(id, followed),
                Ok(None) => _ = self.passed.insert(id),
                Err(OpenError::Later) => {}
                Err(OpenError::Io(error)) => denied = Some((path, error)),
                Err(OpenError::Format(wrong)) => {
                    self.passed.insert(id);
                    poll.malformed += 1;
                    tracing::info!("the journal {} is not read: {}", path.display(), said(wrong));
                }
            }
        }
        let error = denied.map(|(path, error)| {
            SourceError::from_io(format!("opening journals, such as {}", path.display()), CAPABILITY, error)
        });
        (poll, error.map_or(Ok(()), Err))
    }

    /// What is not in the place any more.
    fn gone(&mut self, there: &HashSet<FileIdentity>, now: Instant) {
        self.passed.retain(|id| there.contains(id));
        self.files.retain(|id, file| {
            file.there = there.contains(id);
            let finished = !file.tail.more() && now.saturating_duration_since(file.latest) >= QUIET;
            file.there || (!file.over && !finished)
        });
    }

    /// The machine whose journal is read: a directory may have those of others, which are linked to it.
    fn machine(&self) -> Option<[u8; 16]> {
        if matches!(self.place, Journald::Directory(_)) {
            return None;
        }
        let text = crate::sys::read_limited(self.root.join("etc/machine-id"), 64).ok()?;
        u128::from_str_radix(text.trim(), 16).ok().map(u128::to_be_bytes)
    }

    fn follow(
        &self,
        path: &Path,
        first: bool,
        machine: Option<[u8; 16]>,
        now: Instant,
    ) -> Result<Option<FollowedFile>, OpenError> {
        let (file, found) = open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Later,
            _ => OpenError::Io(error),
        })?;
        let mut tail = JournalTail::new(file)?;
        if machine.is_some_and(|machine| machine != tail.header().machine) {
            return Ok(None);
        }
        if first || self.was_there(&found) {
            if tail.header().archived {
                return Ok(None);
            }
            tail.pass()?;
        }
        Ok(Some(FollowedFile { path: path.to_owned(), tail, latest: now, there: true, over: false }))
    }

    fn was_there(&self, found: &Metadata) -> bool {
        found.created().or_else(|_| found.modified()).is_ok_and(|made| made < self.since)
    }

    /// Polls every file.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        take: &mut dyn FnMut(&Entry) -> Handled,
    ) -> JournalReadResult {
        let mut poll = JournalReadResult::default();
        let mut over = Vec::new();
        for (id, file) in &mut self.files {
            let newest = &mut self.newest;
            let after = self.after;
            let mut take = |entry: &Entry| {
                *newest = (*newest).max(entry.time);
                if entry.time <= after { Handled::Done } else { take(entry) }
            };
            if let Err(wrong) = file.poll(now, &mut poll, &mut take) {
                poll.malformed += 1;
                poll.lost += file.tail.lag();
                tracing::info!(
                    "the rest of the journal {} is not read: {}",
                    file.path.display(),
                    said(wrong)
                );
                over.push(*id);
            } else if file.over {
                over.push(*id);
            }
        }
        for id in over {
            self.files.remove(&id);
            self.passed.insert(id);
        }
        poll
    }

    /// How many files are followed.
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes that were not read yet.
    pub(super) fn lag(&self) -> u64 {
        self.files.values().map(|file| file.tail.lag()).sum()
    }
}

impl FollowedFile {
    fn poll(
        &mut self,
        now: Instant,
        poll: &mut JournalReadResult,
        take: &mut dyn FnMut(&Entry) -> Handled,
    ) -> Result<(), FormatError> {
        self.tail.read_header()?;
        for _ in 0..POLL {
            if !self.tail.more() {
                break;
            }
            self.latest = now;
            let before = self.tail.position();
            match self.tail.next_entry()? {
                Ok(entry) => {
                    if matches!(take(&entry), Handled::Later) {
                        self.tail.back(before);
                        return Ok(());
                    }
                    poll.lost += entry.lost;
                    poll.malformed += u64::from(entry.lost > 0);
                }
                Err(lost) => {
                    poll.malformed += 1;
                    poll.lost += lost;
                }
            }
        }
        poll.more |= self.tail.more();
        self.over = self.tail.header().archived && !self.tail.more();
        Ok(())
    }
}

/// Why a file is not followed.
#[derive(Debug)]
enum OpenError {
    /// It is not written yet, or is gone.
    Later,
    Io(io::Error),
    Format(FormatError),
}

impl From<FormatError> for OpenError {
    fn from(wrong: FormatError) -> Self {
        if wrong == FormatError::Unfinished { Self::Later } else { Self::Format(wrong) }
    }
}

/// What is wrong, in words.
fn said(wrong: FormatError) -> String {
    match wrong {
        FormatError::Unfinished => "it was cut off".to_owned(),
        FormatError::Signature => "it is not a journal file".to_owned(),
        FormatError::Feature(flags) => {
            format!("it has unknown features (incompatible flags {flags:#x})")
        }
        FormatError::Object(what) => format!("it is corrupt ({what})"),
    }
}

/// The files of a journal: `*.journal` in a directory and in those below that are named by a machine's id, which may be
/// followed by a namespace (`systemd-journald.service(8)`). No link is followed.
pub(super) fn list(root: &Path, place: &Journald) -> Result<JournalFiles, SourceError> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let places = match place {
        Journald::Directory(directory) => vec![below(directory)],
        Journald::Auto => PLACES.iter().map(|place| below(Path::new(place))).collect(),
        Journald::Off => Vec::new(),
    };
    let mut failed = None;
    for directory in places {
        match files(&directory) {
            Ok(files) if !files.is_empty() => return Ok(JournalFiles { directory, files }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = failed.get_or_insert((directory, error)),
        }
    }
    Err(match failed {
        Some((directory, error)) => SourceError::from_io(
            format!("looking for journals in {}", directory.display()),
            CAPABILITY,
            error,
        ),
        None => SourceError::absent("looking for journals", "there are none"),
    })
}

fn files(directory: &Path) -> io::Result<Vec<(PathBuf, FileIdentity)>> {
    let mut found = Vec::new();
    let mut failed = None;
    let journal = |entry: &DirEntry| {
        entry.path().extension().filter(|end| *end == "journal")?;
        entry.metadata().ok().filter(Metadata::is_file)
    };
    let mut look = |directory: &Path, below: Option<&mut Vec<PathBuf>>| -> io::Result<()> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(directory)?.take(ENTRIES).filter_map(Result::ok) {
            if let Some(metadata) = journal(&entry) {
                found.push((entry.path(), known(&metadata)));
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_machine(&entry) {
                folders.push(entry.path());
            }
        }
        if let Some(below) = below {
            *below = folders;
        }
        Ok(())
    };
    let mut folders = Vec::new();
    look(directory, Some(&mut folders))?;
    for folder in folders {
        if let Err(error) = look(&folder, None) {
            failed.get_or_insert(error);
        }
    }
    found.sort();
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn is_machine(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let (id, rest) = name.as_encoded_bytes().split_at_checked(MACHINE).unwrap_or_default();
    !id.is_empty() && id.iter().all(u8::is_ascii_hexdigit) && (rest.is_empty() || rest.starts_with(b"."))
}
