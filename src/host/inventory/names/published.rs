//! Ports that Docker publishes for a container, from `config.v2.json`. Docker writes them after the container has
//! started, so the file is read again when it changes.

use super::{MOST, docker};
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
    /// containers.
    pub fn look(&mut self, places: &[PathBuf], ids: &[Arc<str>]) {
        let mut before = std::mem::take(&mut self.known);
        for id in ids {
            let file = format!("containers/{id}/config.v2.json");
            let found = places.iter().find_map(|place| Some((place, version(&place.join(&file))?)));
            let Some((place, version)) = found else { continue };
            let known = before.remove(id).filter(|(known, _)| *known == version).or_else(|| {
                let text = crate::sys::read_below(place, Path::new(&file), MOST).ok()?;
                Some((version, docker::published(&text).into()))
            });
            if let Some(known) = known {
                self.known.insert(Arc::clone(id), known);
            }
        }
    }

    /// Published ports of a container; addresses may be unspecified.
    pub fn of(&self, id: &str) -> Arc<[SocketAddr]> {
        self.known.get(id).map_or_else(|| Arc::from([]), |(_, published)| Arc::clone(published))
    }
}

fn version(file: &Path) -> Option<FileStamp> {
    std::fs::symlink_metadata(file).ok().map(|file| FileStamp::of(&file))
}
