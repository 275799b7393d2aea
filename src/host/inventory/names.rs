//! Names of containers: the files and sockets in which they are looked up, and their order.
//!
//! Files come first: they need no daemon and at most one capability. A file is read only if it is a regular file of at
//! most 1 MiB, and not behind a link below the engine's directory, because the owner of a container may be able to
//! write there. An unreadable file affects the name of one container only.

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

/// Maximum size of an engine's file or of a response of Docker, bytes.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;

/// Maximum number of links of the kubelet and of namespaces of containerd that are read.
const ENTRIES: usize = 20_000;

/// Directory of containerd's bundles below its state, by namespace (`k8s.io`, `moby`, `default`).
const BUNDLES: &str = "io.containerd.runtime.v2.task";

/// Directory of CRI-O and podman.
const OVERLAY: &str = "overlay-containers";

/// The files with the names of containers.
#[derive(Debug)]
pub struct NameFiles {
    names: config::Names,
    /// Whether a file existed and could not be read because of its permissions, so far.
    pub denied: bool,
}

impl NameFiles {
    /// The engines' state files below a root directory.
    pub fn below(root: &Path, names: &config::Names) -> Self {
        let at = |path: &PathBuf| below(root, path);
        let all = |paths: &Vec<PathBuf>| paths.iter().map(at).collect();
        let names = config::Names {
            docker: all(&names.docker),
            containerd: all(&names.containerd),
            crio: all(&names.crio),
            kubelet: names.kubelet.as_ref().map(at),
            docker_socket: names.docker_socket.as_ref().map(at),
        };
        Self { names, denied: false }
    }

    /// Path of Docker's socket, if configured.
    pub fn socket(&self) -> Option<&Path> {
        self.names.docker_socket.as_deref()
    }

    /// Directories of Docker.
    pub fn docker_directories(&self) -> &[PathBuf] {
        &self.names.docker
    }

    /// Metadata of a container by its id. The name is from the first file that has one; image and runtime are from the
    /// first file that has those.
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
        let read = self
            .names
            .docker
            .iter()
            .map(|directory| crate::sys::read_below(directory, Path::new(&file), MAX_BYTES));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| docker::parse(text))
    }

    fn kubelet(&mut self, id: &str) -> Option<ContainerMetadata> {
        let links = list(self.names.kubelet.as_deref()?, &mut self.denied);
        links.iter().find_map(|link| kubelet::parse(link, id))
    }

    fn bundle(&mut self, id: &str) -> Option<ContainerMetadata> {
        let mut bundles = Vec::new();
        for directory in &self.names.containerd {
            let namespaces = list(&directory.join(BUNDLES), &mut self.denied);
            bundles.extend(
                namespaces.into_iter().map(|name| (directory, format!("{BUNDLES}/{name}/{id}/config.json"))),
            );
        }
        for directory in &self.names.crio {
            bundles.push((directory, format!("{OVERLAY}/{id}/userdata/config.json")));
        }
        let read = bundles
            .iter()
            .map(|(directory, file)| crate::sys::read_below(directory, Path::new(file), MAX_BYTES));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| oci::parse(text))
    }

    fn podman(&mut self, id: &str) -> Option<ContainerMetadata> {
        let file = format!("{OVERLAY}/containers.json");
        let read = self
            .names
            .crio
            .iter()
            .map(|directory| crate::sys::read_below(directory, Path::new(&file), MAX_BYTES));
        let texts = readable(read.collect(), &mut self.denied);
        texts.iter().find_map(|text| podman::parse(text, id))
    }

    /// The available files, each with its number of containers, as sentences; the error names those that are not
    /// readable.
    pub fn check(&self) -> Result<Vec<String>, SourceError> {
        let config::Names { docker, containerd, crio, kubelet, .. } = &self.names;
        let mut folders: Vec<PathBuf> = docker.iter().map(|directory| directory.join("containers")).collect();
        folders.extend(kubelet.clone());
        folders.extend(containerd.iter().map(|directory| directory.join(BUNDLES)));
        folders.extend(crio.iter().map(|directory| directory.join(OVERLAY)));
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

/// The files that could be read; sets `denied` if permissions do not allow one.
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
