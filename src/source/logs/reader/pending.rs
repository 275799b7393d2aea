//! What happened to the log of a container before the container was found.
//!
//! Docker makes the directory of a container, starts the container, and rotates its log while the agent still reads whose it
//! is. So the directory is watched from its beginning, and the files that had the log's name wait here, open.

use crate::source::logs::follow::{FileIdentity, Inode, known};
use crate::source::logs::watch::{EventsByDirectory, NameEvents, Watch};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time for which files wait for their container to be found: it may be excluded, and open files keep their blocks on disk.
const WAIT: Duration = Duration::from_secs(15);

/// Maximum number of waiting files of one log, and of all.
const OF_ONE: usize = 128;
const OF_ALL: usize = 512;

/// Events of file names in directories of containers whose logs are not followed yet, by directory.
#[derive(Debug, Default)]
pub(super) struct Pending(HashMap<PathBuf, (Instant, HashMap<OsString, NameEvents>)>);

impl Pending {
    /// Adds events; returns whether one is of a directory without events so far.
    pub(super) fn add(&mut self, all: EventsByDirectory, watch: &Watch, now: Instant) -> bool {
        self.0.retain(|_, (since, _)| now.saturating_duration_since(*since) < WAIT);
        let mut any = false;
        for (directory, names) in all {
            if names.is_empty() || !watch.is_of_engine(&directory) {
                continue;
            }
            any |= !self.0.contains_key(&directory);
            let waiting: usize =
                self.0.values().flat_map(|(_, names)| names.values()).map(NameEvents::open).sum();
            let (_, there) = self.0.entry(directory).or_insert_with(|| (now, HashMap::new()));
            for (name, given) in names {
                let room = OF_ALL.saturating_sub(waiting).min(OF_ONE);
                there.entry(name).or_default().add(given, room);
            }
        }
        any
    }

    /// Removes the events of a log that is followed from now on.
    pub(super) fn take(&mut self, log: &Path) -> Option<NameEvents> {
        let (_, mut names) = self.0.remove(log.parent()?)?;
        names.remove(log.file_name()?)
    }
}

/// The sizes of files, by their inodes.
pub(super) fn sizes(paths: impl Iterator<Item = PathBuf>) -> HashMap<Inode, (FileIdentity, u64)> {
    let found = paths.filter_map(|path| std::fs::symlink_metadata(path).ok()).filter(Metadata::is_file);
    found.map(|found| (known(&found).0, (known(&found), found.len()))).collect()
}
