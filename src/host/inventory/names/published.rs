//! Ports that Docker publishes for a container, and its name, from `config.v2.json`. Docker writes the ports after the
//! container has started, and the name when it is renamed, so the file is read again when it changes.

use super::{MAX_BYTES, docker};
use crate::host::inventory::identity::ContainerMetadata;
use crate::sys::FileStamp;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The published ports of running containers.
#[derive(Debug, Default)]
pub struct PublishedPorts {
    known: HashMap<Arc<str>, (FileStamp, Arc<[SocketAddr]>)>,
}

impl PublishedPorts {
    /// Reads the changed files of these containers, by id, below the directories of Docker, and forgets other
    /// containers. Returns what those that have changed say.
    pub fn read(&mut self, directories: &[PathBuf], ids: &[Arc<str>]) -> Vec<(Arc<str>, ContainerMetadata)> {
        let mut changed = Vec::new();
        let mut before = std::mem::take(&mut self.known);
        for id in ids {
            let file = format!("containers/{id}/config.v2.json");
            let found =
                directories.iter().find_map(|directory| Some((directory, version(&directory.join(&file))?)));
            let Some((directory, version)) = found else { continue };
            let known = before.remove(id).filter(|(known, _)| *known == version).or_else(|| {
                let text = crate::sys::read_below(directory, Path::new(&file), MAX_BYTES).ok()?;
                changed.extend(docker::parse(&text).map(|found| (Arc::clone(id), found)));
                Some((version, docker::published(&text).into()))
            });
            if let Some(known) = known {
                self.known.insert(Arc::clone(id), known);
            }
        }
        changed
    }

    /// Published ports of a container; addresses may be unspecified.
    pub fn of(&self, id: &str) -> Arc<[SocketAddr]> {
        self.known.get(id).map_or_else(|| Arc::from([]), |(_, published)| Arc::clone(published))
    }
}

fn version(file: &Path) -> Option<FileStamp> {
    std::fs::symlink_metadata(file).ok().map(|file| FileStamp::of(&file))
}
