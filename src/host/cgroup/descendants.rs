//! The descendants of a control group.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Maximum number of directories.
const MAX_DIRECTORIES: usize = 64;

/// The directories of the descendants of a control group, at most 64. Unreadable directories are skipped.
pub fn descendants(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        // kernfs counts subdirectories as links; most groups have none.
        if std::fs::metadata(&directory).is_ok_and(|directory| directory.nlink() <= 2) {
            continue;
        }
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if found.len() < MAX_DIRECTORIES && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
                found.push(entry.path());
            }
        }
    }
    found
}
