//! Files of control groups that are read in every cycle, and stay open while there is room for them.
//!
//! To open such a file takes four to ten times as long as to read it. Each that is open has a page of the kernel's memory,
//! which is charged to the agent's own control group, so that their number has a bound.

use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Files that are kept open at most: 16 MiB of the kernel's memory. 500 containers have 4500 to 5500.
const KEPT: usize = 4096;

/// Most that is read of a file: `io.stat` of some hundred devices.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// A file that stays open, counted by its [`Reader`] until it is dropped.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    _count: Arc<()>,
}

/// Reads files, some of which stay open.
#[derive(Debug)]
pub(super) struct Reader {
    /// Each open file has a clone.
    open: Arc<()>,
    most: usize,
    buffer: Vec<u8>,
}

impl Reader {
    /// None is open. At most half of what this process may open (`RLIMIT_NOFILE`) will be.
    pub(super) fn new() -> Self {
        let allowed = getrlimit(Resource::Nofile)
            .current
            .map_or(KEPT, |most| usize::try_from(most / 2).unwrap_or(KEPT));
        Self { open: Arc::new(()), most: KEPT.min(allowed), buffer: vec![0; MAX_FILE_BYTES] }
    }

    /// The text of a file of a directory; `None` where there is none, or it cannot be read. `kept` is the file of the last
    /// cycle, if it is still open.
    pub(super) fn read(&mut self, directory: &Path, name: &str, kept: &mut Option<OpenFile>) -> Option<&str> {
        let length = if let Some(kept_file) = kept {
            let Ok(length) = kept_file.file.read_at(&mut self.buffer, 0) else {
                // The group is gone. What may be in its place belongs to another one.
                *kept = None;
                return None;
            };
            length
        } else {
            let file = File::open(directory.join(name)).ok()?;
            let length = file.read_at(&mut self.buffer, 0).ok()?;
            if Arc::strong_count(&self.open) <= self.most {
                *kept = Some(OpenFile { file, _count: Arc::clone(&self.open) });
            }
            length
        };
        std::str::from_utf8(self.buffer.get(..length)?).ok()
    }

    /// The text of a file that is not kept.
    pub(super) fn once(&mut self, directory: &Path, name: &str) -> Option<&str> {
        let file = File::open(directory.join(name)).ok()?;
        let length = file.read_at(&mut self.buffer, 0).ok()?;
        std::str::from_utf8(self.buffer.get(..length)?).ok()
    }
}
