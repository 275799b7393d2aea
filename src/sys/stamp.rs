//! Whether a file is the one that was there before, as it was.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device, inode, size and time of modification of a file. Of a directory it tells that a name in it was added, removed or
/// replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl FileStamp {
    /// That of the file at a path, links followed; `None` where there is none. Waits as long as a file system does.
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|file| Self::of(&file))
    }

    /// That of a file with this metadata.
    pub fn of(file: &Metadata) -> Self {
        let modified = (file.mtime(), file.mtime_nsec());
        Self { inode: (file.dev(), file.ino()), size: file.size(), modified }
    }
}
