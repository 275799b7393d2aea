//! The control groups below one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories that are found below one, at most.
const MOST: usize = 64;

/// The directories of the groups below that of a group, at most 64. What cannot be read is skipped.
pub fn descendants(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        // kernfs counts the directories in a directory in its links; most groups have none.
        if std::fs::metadata(&directory).is_ok_and(|directory| directory.nlink() <= 2) {
            continue;
        }
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if found.len() < MOST && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
                found.push(entry.path());
            }
        }
    }
    found
}
