//! Which logs there are: those of the containers of the inventory, and the files that the configuration names.

use super::config::{Files, Logs as Settings};
use super::counts::Subject;
use super::labels::LogSource;
use crate::host::inventory::{Container, Inventory};
use open_files::OpenFiles;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod docker;
mod kubelet;
mod open_files;

/// What finding open files takes, and opening them.
pub(super) const OPEN_FILES: &str = "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE";

/// A log that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The path of the file.
    pub path: PathBuf,
    /// The root directory that the path begins at, if not this process's own.
    pub root: Option<PathBuf>,
    /// Whose it is.
    pub subject: Subject,
    /// Where it was found.
    pub source: LogSource,
    /// Whether who wrote it has ended.
    pub ended: bool,
}

/// Finds logs repeatedly; what was said once is not said again.
#[derive(Debug)]
pub(super) struct Finder {
    settings: Settings,
    inventory: Arc<Inventory>,
    /// The logs of Docker's containers by their ids; `None` where a container has none that can be read.
    docker: HashMap<Arc<str>, Option<PathBuf>>,
    open: OpenFiles,
    said: bool,
}

impl Finder {
    /// Finds the logs of these containers.
    pub(super) fn new(settings: &Settings, inventory: &Arc<Inventory>) -> Self {
        Self {
            settings: settings.clone(),
            inventory: Arc::clone(inventory),
            docker: HashMap::new(),
            open: OpenFiles::default(),
            said: false,
        }
    }

    /// The logs of the containers that the inventory has now. Reads two small files of a container of Docker that is new,
    /// and the directory of the kubelet's links.
    pub(super) fn containers(&mut self) -> Vec<Found> {
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
        let inventory = self.inventory.settings();
        let docker = inventory.names.docker.iter().filter(|_| self.settings.docker);
        let docker = docker.map(|place| below(&inventory.root, place).join("containers"));
        let kubelet = inventory.names.kubelet.iter().filter(|_| self.settings.cri);
        docker.chain(kubelet.map(|place| below(&inventory.root, place))).collect()
    }

    fn of_docker(&mut self, containers: &[Container], found: &mut Vec<Found>) {
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
                        tracing::info!("logs of {} are not read: driver {driver}", container.who.identity);
                        None
                    }
                    // Its files are written a moment after it was started, or are closed to this process.
                    None => continue,
                };
                self.docker.insert(Arc::clone(id), path);
            }
            if let Some(Some(path)) = self.docker.get(id) {
                let subject = Subject::Container(container.who.number);
                found.push(Found {
                    path: path.clone(),
                    subject,
                    source: LogSource::Docker,
                    ended: container.ended,
                    root: None,
                });
            }
        }
    }

    fn of_kubelet(&self, containers: &[Container], found: &mut Vec<Found>) {
        let inventory = self.inventory.settings();
        let Some(directory) = &inventory.names.kubelet else { return };
        let logs = kubelet::logs(&below(&inventory.root, directory));
        for container in containers {
            let path = container.id.as_ref().and_then(|id| logs.get(&**id));
            if let Some(path) = path {
                let subject = Subject::Container(container.who.number);
                found.push(Found {
                    path: below(&inventory.root, path),
                    subject,
                    source: LogSource::Cri,
                    ended: container.ended,
                    root: None,
                });
            }
        }
    }

    /// The files that the configuration names or that containers have open, and that are there now.
    pub(super) fn files(&mut self) -> Vec<Found> {
        match &self.settings.files {
            Files::Auto => self.open_files(),
            Files::Off => Vec::new(),
            Files::Paths(patterns) => self.of_patterns(patterns),
        }
    }

    fn of_patterns(&self, patterns: &[String]) -> Vec<Found> {
        let root = &self.inventory.settings().root;
        let mut found = Vec::new();
        for pattern in patterns {
            let pattern = below(root, Path::new(pattern));
            let paths = glob::glob(&pattern.to_string_lossy()).into_iter().flatten().filter_map(Result::ok);
            let regular = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
            for path in paths.filter(regular) {
                let name =
                    path.strip_prefix(root).map_or_else(|_| path.clone(), |path| Path::new("/").join(path));
                let name = crate::text::bounded_unique(&name.to_string_lossy(), crate::text::LONGEST_NAME);
                let subject = Subject::File(name.into());
                found.push(Found { path, subject, source: LogSource::File, ended: false, root: None });
            }
        }
        found
    }

    fn open_files(&mut self) -> Vec<Found> {
        let containers = self.inventory.containers();
        let files = self.open.walk(&containers).map(|file| Found {
            path: file.path.clone(),
            subject: Subject::Container(file.container),
            source: LogSource::File,
            ended: false,
            root: Some(format!("/proc/{}/root", file.pid).into()),
        });
        let found = files.collect();
        if self.open.denied > 0 && !std::mem::replace(&mut self.said, true) {
            tracing::info!(
                "files that containers have open below /var/log are not found in {} processes: needs {}",
                self.open.denied,
                OPEN_FILES
            );
        }
        found
    }

    /// How many processes may not be looked into for open files.
    pub(super) fn denied(&self) -> usize {
        self.open.denied
    }
}

/// Where a path of the host is for this process.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
