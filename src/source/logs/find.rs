//! Which logs there are: those of the containers of the inventory, and the files that the configuration names.

use super::config::Logs as Settings;
use super::counts::LogOwner;
use super::follow::Inode;
use super::labels::LogSource;
use crate::host::cgroup;
use crate::host::inventory::{Container, Inventory};
use crate::host::process;
use crate::metric::Label;
use crate::reading::SourceError;
use crate::text;
use open_files::{OpenFile, OpenFiles};
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod docker;
mod kubelet;
mod open_files;

/// Capabilities for opening files that other processes have open, and for finding them without a BPF program.
pub(super) const OPEN_FILES: &str = "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE";

/// A log that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundLog {
    /// The path of the file.
    pub path: PathBuf,
    /// The process that has it open, if it was found through one.
    pub open: Option<OpenLog>,
    /// The container, service or file that its messages are counted for.
    pub subject: LogOwner,
    /// The kind of log (`log.source`).
    pub source: LogSource,
    /// Whether the container that wrote it has ended.
    pub ended: bool,
}

/// A file that another process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenLog {
    /// The root directory that its path begins at.
    pub root: PathBuf,
    /// `/proc/PID/fd/N`; `None` where that is closed to this process.
    pub descriptor: Option<PathBuf>,
    pub inode: Inode,
}

/// Finds logs repeatedly; each problem is logged once.
pub(super) struct Finder {
    settings: Settings,
    inventory: Arc<Inventory>,
    /// The logs of Docker's containers by their ids; `None` where a container has none that can be read.
    docker: HashMap<Arc<str>, Option<PathBuf>>,
    open: Option<OpenFiles>,
    /// Open files that are closed to this process.
    closed: usize,
    said: bool,
}

impl Finder {
    /// Finds the logs of these containers.
    pub(super) fn new(settings: &Settings, inventory: &Arc<Inventory>) -> Self {
        Self {
            settings: settings.clone(),
            inventory: Arc::clone(inventory),
            docker: HashMap::new(),
            open: None,
            closed: 0,
            said: false,
        }
    }

    /// The logs of the containers that the inventory has now. Reads two small files of a container of Docker that is new,
    /// and the directory of the kubelet's links.
    pub(super) fn containers(&mut self) -> Vec<FoundLog> {
        let containers = self.inventory.containers();
        let mut found = Vec::new();
        if self.settings.docker {
            self.of_docker(&containers, &mut found);
        }
        if self.settings.cri {
            self.of_kubelet(&containers, &mut found);
        }
        found
    }

    /// Directories in which something is made when a container is.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let mut places = self.docker_places();
        places.extend(self.kubelet_places().into_iter().next());
        places
    }

    /// The directory of the kubelet's links, and the one that they lead to.
    pub(super) fn kubelet_places(&self) -> Vec<PathBuf> {
        let inventory = self.inventory.settings();
        let links = inventory.names.kubelet.as_deref();
        let places = links.into_iter().chain([Path::new(kubelet::PODS)]).filter(|_| self.settings.cri);
        places.map(|place| below(&inventory.root, place)).collect()
    }

    /// Those of them in which each container of Docker has a directory.
    pub(super) fn docker_places(&self) -> Vec<PathBuf> {
        let inventory = self.inventory.settings();
        let docker = inventory.names.docker.iter().filter(|_| self.settings.docker);
        docker.map(|place| below(&inventory.root, place).join("containers")).collect()
    }

    fn of_docker(&mut self, containers: &[Container], found: &mut Vec<FoundLog>) {
        let inventory = self.inventory.settings();
        let ids: HashSet<&Arc<str>> =
            containers.iter().filter_map(|container| container.id.as_ref()).collect();
        self.docker.retain(|id, _| ids.contains(id));
        for container in containers.iter().filter(|container| container.runtime == "docker") {
            let Some(id) = &container.id else { continue };
            if !self.docker.contains_key(id) {
                let directories = inventory.names.docker.iter().map(|place| below(&inventory.root, place));
                let log = directories
                    .map(|place| place.join("containers").join(&**id))
                    .find_map(|of| docker::log(&of).map(|log| (of, log)));
                let path = match log {
                    Some((of, docker::DockerLog::File(path))) => {
                        Some(docker::beside(&path, &of).unwrap_or_else(|| below(&inventory.root, &path)))
                    }
                    Some((_, docker::DockerLog::Other(driver))) => {
                        tracing::info!(
                            "logs of {} are not read: driver {driver}",
                            container.workload.identity
                        );
                        None
                    }
                    // Its files are written a moment after it was started, or are closed to this process.
                    None => continue,
                };
                self.docker.insert(Arc::clone(id), path);
            }
            if let Some(Some(path)) = self.docker.get(id) {
                let subject = LogOwner::Container(container.workload.number);
                found.push(FoundLog {
                    path: path.clone(),
                    subject,
                    source: LogSource::Docker,
                    ended: container.ended,
                    open: None,
                });
            }
        }
    }

    fn of_kubelet(&self, containers: &[Container], found: &mut Vec<FoundLog>) {
        let inventory = self.inventory.settings();
        let directory = inventory.names.kubelet.as_ref();
        let links = directory.map(|directory| kubelet::logs(&below(&inventory.root, directory)));
        let links = links.unwrap_or_default();
        let pods = below(&inventory.root, Path::new(kubelet::PODS));
        for container in containers {
            let link = container.id.as_ref().and_then(|id| links.get(&**id));
            let path = link.map(|path| below(&inventory.root, path));
            if let Some(path) = path.or_else(|| of_pod(container, &pods)) {
                let subject = LogOwner::Container(container.workload.number);
                found.push(FoundLog {
                    path,
                    subject,
                    source: LogSource::Cri,
                    ended: container.ended,
                    open: None,
                });
            }
        }
    }

    /// The files that containers have open, and that can be opened.
    pub(super) fn open_files(&mut self) -> Vec<FoundLog> {
        let containers = self.inventory.containers();
        let root = self.inventory.settings().root.clone();
        let open = self.open.get_or_insert_with(OpenFiles::new);
        let mut closed = 0;
        let mut found = Vec::new();
        for file in open.find(&containers) {
            match file.place(&root) {
                Ok(Some(open)) => found.push(FoundLog {
                    path: file.path,
                    subject: LogOwner::Container(file.container),
                    source: LogSource::File,
                    ended: false,
                    open: Some(open),
                }),
                Ok(None) => {}
                Err(_) => closed += 1,
            }
        }
        self.closed = closed;
        let denied = open.denied();
        let hidden = process::are_hidden();
        if (hidden || denied + closed > 0) && !std::mem::replace(&mut self.said, true) {
            let causes = [
                hidden.then(|| "/proc hides the processes of others (hidepid)".to_owned()),
                (closed > 0).then(|| format!("{closed} cannot be opened")),
                (denied > 0).then(|| format!("the open files of {denied} processes cannot be listed")),
            ];
            let causes: Vec<String> = causes.into_iter().flatten().collect();
            tracing::info!(
                "files that containers have open below /var/log are not read (needs {OPEN_FILES}): {}",
                causes.join("; ")
            );
        }
        found
    }

    /// In which way open files were found, why not in a better one, how many could not be opened, and how many processes
    /// were closed.
    pub(super) fn how(&self) -> Option<(&'static str, Option<&SourceError>, usize, usize)> {
        let open = self.open.as_ref()?;
        Some((open.way(), open.refused(), self.closed, open.denied()))
    }
}

impl OpenFile {
    /// Where it can be opened; `None` if it is not open any more. It is followed by its path in this process's own root where
    /// the same file is there, since that outlives the process.
    ///
    /// # Errors
    ///
    /// It is closed to this process.
    fn place(&self, root: &Path) -> std::io::Result<Option<OpenLog>> {
        let Self { pid, descriptor, .. } = self;
        let id = |file: &Metadata| (file.dev(), file.ino());
        let own = std::fs::symlink_metadata(below(root, &self.path)).ok().filter(Metadata::is_file);
        let link = PathBuf::from(format!("/proc/{pid}/fd/{descriptor}"));
        match std::fs::metadata(&link) {
            Ok(found) if !found.is_file() => Ok(None),
            Ok(found) => {
                let is_own = own.is_some_and(|own| id(&own) == id(&found));
                let root = if is_own { root.to_owned() } else { format!("/proc/{pid}/root").into() };
                Ok(Some(OpenLog { root, descriptor: Some(link), inode: id(&found) }))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let own = own.filter(|own| own.ino() == self.inode).ok_or(error)?;
                Ok(Some(OpenLog { root: root.to_owned(), descriptor: None, inode: id(&own) }))
            }
            Err(_) => Ok(None),
        }
    }
}

/// The log of a container of a pod that no link leads to, by the names of both.
fn of_pod(container: &Container, pods: &Path) -> Option<PathBuf> {
    let labels = &container.workload.labels;
    let value = |wanted| labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| &**value);
    let namespace = value(Label::K8sNamespaceName)?;
    let (pod, name) = (value(Label::K8sPodName)?, value(Label::K8sContainerName)?);
    kubelet::newest(pods, [namespace, pod, &cgroup::pod(&container.cgroup)?, name])
}

/// A path that the configuration names, and that is there now.
#[derive(Debug)]
pub(super) struct Matched {
    /// Where it is for this process.
    pub path: PathBuf,
    /// As the configuration has it.
    pub name: String,
    /// Whether it is a regular file. A link, a FIFO or a device is not read.
    pub is_regular: bool,
}

/// What the configuration names and is there now, but for directories.
pub(super) fn of_patterns<'a>(patterns: &'a [String], root: &'a Path) -> impl Iterator<Item = Matched> + 'a {
    patterns.iter().flat_map(move |pattern| {
        let pattern = below(root, Path::new(pattern));
        let paths = glob::glob(&pattern.to_string_lossy()).into_iter().flatten().filter_map(Result::ok);
        paths.filter_map(move |path| {
            let kind = std::fs::symlink_metadata(&path).ok()?.file_type();
            let name =
                path.strip_prefix(root).map_or_else(|_| path.clone(), |path| Path::new("/").join(path));
            let name = text::bounded_unique_bytes(name.as_os_str().as_bytes(), text::LONGEST_NAME);
            (!kind.is_dir()).then_some(Matched { path, name, is_regular: kind.is_file() })
        })
    })
}

/// Where a path of the host is for this process.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
