//! The paths of control groups that processes are in, each kept once (pure).

use crate::text::{LONGEST_NAME, bounded_unique};
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of all paths together, as of a walk over control groups. One path can have 4 KiB.
const TEXT: usize = 4 << 20;

/// Paths that are in use.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: HashSet<Arc<str>>,
    text: usize,
}

impl Paths {
    /// This path, shared with all who have it. Where there is no room for one more it is cut, and no container is found in it.
    pub(super) fn share(&mut self, path: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.known.get(path) {
            return Arc::clone(known);
        }
        if self.text + path.len() > TEXT {
            return bounded_unique(path, LONGEST_NAME).into();
        }
        self.text += path.len();
        self.known.insert(Arc::clone(path));
        Arc::clone(path)
    }

    /// Forgets those that nobody has any more.
    pub(super) fn sweep(&mut self) {
        self.known.retain(|path| Arc::strong_count(path) > 1);
        self.text = self.known.iter().map(|path| path.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::{Paths, TEXT};
    use crate::host::cgroup::membership;
    use crate::text::LONGEST_NAME;
    use std::sync::Arc;

    /// As `/proc/PID/cgroup` has it of a process in a group that a user with a delegated one has made.
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
        assert_eq!((paths.known.len(), paths.text), (1, again.len()));
    }
}
