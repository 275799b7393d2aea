//! What a container is called: whom to ask, in which order, and which of the places can be read.
//!
//! Files come first: they take no daemon and at most one capability. What is read is at most 1 MiB long, a regular file, and
//! not behind a link below the directory of the engine, for a container's owner may be able to write there. What cannot be
//! read costs one container its name and nothing else.

use super::config;
use super::identity::{ContainerMetadata, Name};
use crate::reading::SourceError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub mod docker;
pub mod kubelet;
pub mod oci;
pub mod podman;
pub mod published;
pub mod socket;

/// Largest file of an engine that is read, and largest answer of Docker's.
pub(super) const MOST: u64 = 1024 * 1024;

/// Links of the kubelet that are looked at, and namespaces of containerd.
const ENTRIES: usize = 20_000;

/// Where containerd keeps the bundles, by its own namespace (`k8s.io`, `moby`, `default`), below its state.
const BUNDLES: &str = "io.containerd.runtime.v2.task";

/// Where CRI-O and podman keep theirs.
const OVERLAY: &str = "overlay-containers";

/// The files in which engines say what containers are called.
#[derive(Debug)]
pub struct NameFiles {
    places: config::Names,
    /// Whether a file was there and could not be read because of its permissions, so far.
    pub denied: bool,
}

impl NameFiles {
    /// The engines' state files below a root directory.
    pub fn below(root: &Path, names: &config::Names) -> Self {
        let at = |path: &PathBuf| below(root, path);
        let all = |paths: &Vec<PathBuf>| paths.iter().map(at).collect();
        let places = config::Names {
            docker: all(&names.docker),
            containerd: all(&names.containerd),
            crio: all(&names.crio),
            kubelet: names.kubelet.as_ref().map(at),
            docker_socket: names.docker_socket.as_ref().map(at),
        };
        Self { places, denied: false }
    }

    /// Docker's socket, where it may be asked.
    pub fn socket(&self) -> Option<&Path> {
        self.places.docker_socket.as_deref()
    }

    /// The directories of Docker.
    pub fn docker_directories(&self) -> &[PathBuf] {
        &self.places.docker
    }

    /// What the files say of a container, by its id. The first that has a name for it says it; image and runtime are of
    /// the first that has those.
    pub fn of(&mut self, id: &str) -> Option<ContainerMetadata> {
        let mut best: Option<ContainerMetadata> = None;
        let asked: [fn(&mut Self, &str) -> Option<ContainerMetadata>; 4] =
            [Self::docker, Self::kubelet, Self::bundle, Self::podman];
        for ask in asked {
            let Some(found) = ask(self, id) else { continue };
            if matches!(found.name, Name::Sandbox(_)) {
                return Some(found);
            }
            let known = best.get_or_insert_with(|| found.clone());
            if known.image.is_empty() {
                known.image = found.image;
            }
            if known.runtime.is_empty() {
                known.runtime = found.runtime;
            }
            if !known.image.is_empty() && !known.runtime.is_empty() {
                break;
            }
        }
        best
    }

    fn docker(&mut self, id: &str) -> Option<ContainerMetadata> {
        let file = format!("containers/{id}/config.v2.json");
        let read =
            self.places.docker.iter().map(|place| crate::sys::read_below(place, Path::new(&file), MOST));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| docker::parse(text))
    }

    fn kubelet(&mut self, id: &str) -> Option<ContainerMetadata> {
        let links = list(self.places.kubelet.as_deref()?, &mut self.denied);
        links.iter().find_map(|link| kubelet::parse(link, id))
    }

    fn bundle(&mut self, id: &str) -> Option<ContainerMetadata> {
        let mut bundles = Vec::new();
        for place in &self.places.containerd {
            let namespaces = list(&place.join(BUNDLES), &mut self.denied);
            bundles.extend(
                namespaces.into_iter().map(|name| (place, format!("{BUNDLES}/{name}/{id}/config.json"))),
            );
        }
        for place in &self.places.crio {
            bundles.push((place, format!("{OVERLAY}/{id}/userdata/config.json")));
        }
        let read = bundles.iter().map(|(place, file)| crate::sys::read_below(place, Path::new(file), MOST));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| oci::parse(text))
    }

    fn podman(&mut self, id: &str) -> Option<ContainerMetadata> {
        let file = format!("{OVERLAY}/containers.json");
        let read = self.places.crio.iter().map(|place| crate::sys::read_below(place, Path::new(&file), MOST));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| podman::parse(text, id))
    }

    /// The places that are there, each with how many containers it has, in words; the error names those that are closed.
    pub fn check(&self) -> Result<Vec<String>, SourceError> {
        let config::Names { docker, containerd, crio, kubelet, .. } = &self.places;
        let mut folders: Vec<PathBuf> = docker.iter().map(|place| place.join("containers")).collect();
        folders.extend(kubelet.clone());
        folders.extend(containerd.iter().map(|place| place.join(BUNDLES)));
        folders.extend(crio.iter().map(|place| place.join(OVERLAY)));
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for folder in folders {
            match std::fs::read_dir(&folder) {
                // Bundles are one level deeper, by namespace.
                Ok(entries) if folder.ends_with(BUNDLES) => {
                    let below = entries.flatten().filter_map(|entry| std::fs::read_dir(entry.path()).ok());
                    open.push(format!("{}: {}", folder.display(), below.flatten().count()));
                }
                Ok(entries) => open.push(format!("{}: {}", folder.display(), entries.count())),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    closed.push(folder.display().to_string());
                }
                Err(_) => {}
            }
        }
        if closed.is_empty() { Ok(open) } else { Err(denied(&closed.join(", "))) }
    }
}

/// A path of the host, below the root of its files.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Files of engines that may not be read, and what that means.
pub fn denied(what: &str) -> SourceError {
    SourceError::Denied {
        doing: format!("containers are reported by their id, for {what} may not be read"),
        capability: "CAP_DAC_READ_SEARCH",
        cause: None,
    }
}

/// The texts that could be read; notes whether one is closed to this process.
fn readable(read: Vec<std::io::Result<Vec<u8>>>, denied: &mut bool) -> Vec<Vec<u8>> {
    read.into_iter()
        .filter_map(|text| {
            *denied |= text.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
            text.ok()
        })
        .collect()
}

/// The names in a directory.
fn list(directory: &Path, denied: &mut bool) -> Vec<String> {
    let entries = std::fs::read_dir(directory);
    *denied |= entries.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
    let names = entries.into_iter().flatten().flatten().take(ENTRIES);
    names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
