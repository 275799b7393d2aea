//! The names of the network namespaces in which something was counted, by inode.
//!
//! A search looks at every process of the machine, so a name is kept with the path of its namespace, and there is another search
//! only for an inode that is not known, or whose path leads elsewhere: inodes are used again.

use super::OTHER;
use crate::host::netns::{self, FoundNamespaces, Namespace};
use crate::reading::SourceError;
use crate::sys::namespace;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time after which a namespace is looked for again that was not found, or had no name yet.
pub const AGAIN: Duration = Duration::from_mins(1);

/// Labels of network namespaces by their inodes.
#[derive(Debug)]
pub struct Names {
    /// Inode of the agent's own.
    own: u32,
    /// Those that the last search found, and those that the source reads.
    known: HashMap<u32, Namespace>,
    /// Those that a search did not find or had no name for, and when.
    nameless: HashMap<u32, Instant>,
    /// Whether the source reads the agent's own and no other by its configuration; then it has no label.
    alone: bool,
    /// The reason why the last search may not have found all.
    incomplete: Option<SourceError>,
}

impl Default for Names {
    fn default() -> Self {
        let own =
            namespace::inode(Path::new("/proc/self/ns/net")).ok().and_then(|inode| u32::try_from(inode).ok());
        Self {
            own: own.unwrap_or_default(),
            known: HashMap::new(),
            nameless: HashMap::new(),
            alone: true,
            incomplete: None,
        }
    }
}

impl Names {
    /// Begins a cycle, in which the source reads these namespaces and something was counted in `counted`. `read` is `None` where
    /// the agent's own is read by default, and has no label. Calls `search` at most once.
    pub fn begin(
        &mut self,
        read: Option<&[Namespace]>,
        counted: impl IntoIterator<Item = u32>,
        now: Instant,
        search: impl FnOnce() -> FoundNamespaces,
    ) {
        self.alone = read.is_none();
        let read = read.unwrap_or_default();
        self.nameless.retain(|_, since| now.saturating_duration_since(*since) < AGAIN);
        let fresh: HashSet<u32> = self.learn(read).collect();
        // The agent's own has the name that a search finds, whether or not something was counted elsewhere.
        let has_label = |inode: u32| inode != 0 && !(self.alone && inode == self.own);
        let unread = |inode: &u32| has_label(*inode) && !fresh.contains(inode);
        let counted: HashSet<u32> = counted.into_iter().filter(unread).collect();
        if counted.iter().all(|inode| self.is_current(*inode)) {
            return;
        }
        let found = search();
        self.known.clear();
        self.learn(&found.namespaces).for_each(drop);
        self.incomplete = found.incomplete;
        // What is configured has the name that the configuration gives it.
        self.learn(read).for_each(drop);
        let nameless = |inode: &u32| !self.known.get(inode).is_some_and(|namespace| namespace.is_named);
        self.nameless.extend(counted.into_iter().filter(nameless).map(|inode| (inode, now)));
    }

    /// Keeps these; their inodes.
    fn learn<'a>(&'a mut self, namespaces: &'a [Namespace]) -> impl Iterator<Item = u32> + 'a {
        namespaces.iter().filter_map(|namespace| {
            let inode = u32::try_from(namespace.file.1).ok()?;
            self.known.insert(inode, namespace.clone());
            Some(inode)
        })
    }

    /// Whether another search would say nothing new of a namespace: it is where it was found, or was just not found.
    fn is_current(&self, inode: u32) -> bool {
        let searched = self.nameless.contains_key(&inode);
        self.known.get(&inode).map_or(searched, |known| {
            (known.is_named || searched) && !netns::is_gone(&known.path, known.file)
        })
    }

    /// The label of a namespace; `None` for the agent's own where it has none.
    pub fn of(&self, inode: u32) -> Option<Arc<str>> {
        match inode {
            0 => Some(OTHER.into()),
            own if own == self.own && self.alone => None,
            inode => Some(
                self.known
                    .get(&inode)
                    .map_or_else(|| format!("net:[{inode}]").into(), |known| Arc::clone(&known.label)),
            ),
        }
    }

    /// The reason why namespaces may have no name, if a capability would help.
    pub fn incomplete(&self) -> Option<&SourceError> {
        self.incomplete.as_ref()
    }
}
