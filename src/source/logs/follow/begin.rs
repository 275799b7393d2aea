//! Where reading begins: what was written before the agent started is not counted, what was written later is.

use super::opening::{FileIdentity, Inode, known};
use std::collections::HashMap;
use std::fs::Metadata;
use std::sync::Arc;
use std::time::SystemTime;

/// Sizes of files when the agent started, by inode: of logs that nobody wrote to then.
pub(crate) type SizesAtStart = Arc<HashMap<Inode, (FileIdentity, u64)>>;

/// Where the files of one log are read from, when they are seen for the first time.
#[derive(Debug)]
pub(super) struct Begin {
    /// A file that was made before is read from its end.
    pub(super) since: SystemTime,
    /// A former file beside the log that was made before was read already, or was there before the agent.
    pub(super) siblings: SystemTime,
    /// Sizes of files when the agent started.
    pub(super) sizes: SizesAtStart,
}

impl Begin {
    /// The position at which a file that has the log's name is read from; `None`: its end.
    pub(super) fn in_place(&self, found: &Metadata) -> Option<u64> {
        self.of(found, self.since)
    }

    /// The position at which a file that had the log's name is read from; `None`: it is not read.
    pub(super) fn beside(&self, found: &Metadata) -> Option<u64> {
        self.of(found, self.siblings.max(self.since))
    }

    fn of(&self, found: &Metadata, since: SystemTime) -> Option<u64> {
        let identity = known(found);
        let at_start = self.sizes.get(&identity.0).filter(|(known, _)| *known == identity);
        if let Some((_, size)) = at_start {
            return Some(*size);
        }
        // Where the file system does not know when it was made, what was written to it last decides.
        let old = found.created().or_else(|_| found.modified()).is_ok_and(|made| made < since);
        (!old).then_some(0)
    }
}
