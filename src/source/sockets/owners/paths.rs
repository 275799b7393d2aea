//! Paths of the control groups of processes, each stored once (pure).

use crate::text::{LONGEST_NAME, bounded_unique};
use std::collections::HashSet;
use std::sync::Arc;

/// Maximum size of all paths together, bytes, as in a walk over control groups. One path may have 4 KiB.
const TEXT: usize = 4 << 20;

/// The paths in use.
#[derive(Debug, Default)]
pub(super) struct Paths {
    paths: HashSet<Arc<str>>,
    text: usize,
}

impl Paths {
    /// The path, shared by all owners that have it. Over the limit it is truncated, and no container is found in it.
    pub(super) fn share(&mut self, path: &Arc<str>) -> Arc<str> {
        if let Some(shared) = self.paths.get(path) {
            return Arc::clone(shared);
        }
        if self.text + path.len() > TEXT {
            return bounded_unique(path, LONGEST_NAME).into();
        }
        self.text += path.len();
        self.paths.insert(Arc::clone(path));
        Arc::clone(path)
    }

    /// Removes paths that no owner has any more.
    pub(super) fn sweep(&mut self) {
        self.paths.retain(|path| Arc::strong_count(path) > 1);
        self.text = self.paths.iter().map(|path| path.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::{Paths, TEXT};
    use crate::host::cgroup::membership;
    use crate::text::LONGEST_NAME;
    use std::sync::Arc;

    /// A path as in `/proc/PID/cgroup` of a process in a delegated control group.
    fn made(number: usize) -> Arc<str> {
        let deep = "/dddddddddd".repeat(340);
        let text = format!("4:memory:/user.slice{deep}/{number:05}\n1:name=systemd:/user.slice\n0::/\n");
        membership(&text).unwrap().into()
    }

    #[test]
    fn the_paths_of_processes_take_no_more_than_their_room_however_long_and_many_they_are() {
        let mut paths = Paths::default();
        let held: Vec<Arc<str>> = (0..10_000).map(|number| paths.share(&made(number))).collect();
        let whole = held.iter().filter(|path| path.len() > LONGEST_NAME).count();
        assert!(paths.text <= TEXT && (1000..1200).contains(&whole), "{} {whole}", paths.text);
        assert!(held.iter().skip(whole).all(|path| path.len() <= LONGEST_NAME && path.contains('\u{2026}')));
        let mut different = held.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), held.len(), "those that are cut stay apart");
        let again = paths.share(&made(7));
        assert!(Arc::ptr_eq(&again, &held[7]), "the same path is kept once");
        drop((held, different));
        paths.sweep();
        assert_eq!((paths.paths.len(), paths.text), (1, again.len()));
    }
}
