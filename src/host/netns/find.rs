//! Which network namespaces there are, of those that the configuration names.
//!
//! With `all` these are, in this order: the agent's own; those that are named besides; those with a name in `/run/netns`;
//! those mounted elsewhere (`/run/docker/netns`); and those of the processes, the oldest first. Where there are more than
//! can be read, the last are left out, so the own and those with a name never are for the sake of others.

use super::NAMESPACES;
use super::label::ContainerNames;
use super::list::{self, Processes};
use super::{NAMES, Namespace, OWN, is_pattern, path_of};
use crate::metric::label::Reason;
use crate::reading::SourceError;
use crate::sys::namespace;
use crate::text;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest value of the attribute `netns`: the name of a pod and that of its Kubernetes namespace.
const LABEL: usize = 253 + 1 + 63;

/// Network namespaces that can be read.
#[derive(Debug, Default)]
pub struct FoundNamespaces {
    /// At most [`NAMESPACES`].
    pub namespaces: Vec<Namespace>,
    /// How many more there are.
    pub left_out: usize,
    /// Entries that name a namespace which is not there, or may not be looked at.
    pub missing: Vec<(Arc<str>, SourceError)>,
    /// Patterns that no file matches.
    pub unmatched: Vec<String>,
    /// Why there may be more than were found, with `all`, where a capability would help.
    pub incomplete: Option<SourceError>,
    /// The same where none would.
    pub note: Option<String>,
}

/// Finds network namespaces, repeatedly.
#[derive(Debug)]
pub struct Finder {
    configured: Vec<String>,
    containers: ContainerNames,
    /// What was last said of namespaces that may be missing.
    noted: Option<String>,
    /// Entries of which it was said that they name nothing.
    warned: HashSet<Arc<str>>,
}

impl Finder {
    /// For what the configuration says.
    pub fn new(configured: &[String]) -> Self {
        let (configured, containers) = (configured.to_vec(), ContainerNames::default());
        Self { configured, containers, noted: None, warned: HashSet::new() }
    }

    /// Whether other namespaces than the agent's own are read.
    pub fn is_configured(&self) -> bool {
        !self.configured.is_empty()
    }

    /// Looks up what the configuration says. Two entries for one namespace count as one, the first.
    pub fn find(&mut self) -> FoundNamespaces {
        let mut search = Search::default();
        let all = self.configured.iter().any(|entry| entry == "all");
        if all && let Ok(file) = namespace::file_identity(Path::new(OWN)) {
            search.seen.insert(file);
            search.candidates.push(Candidate::new(OWN.into(), file));
        }
        for entry in self.configured.iter().filter(|entry| *entry != "all") {
            search.entry(entry);
        }
        if all {
            search.named();
            search.mounted();
            search.processes();
        }
        let found = search.finish(&mut self.containers);
        if let Some(note) = &found.note
            && self.noted != found.note
        {
            tracing::info!("netns: all: {note}");
        }
        self.noted.clone_from(&found.note);
        self.warn(&found);
        found
    }

    /// Says once of each entry that it names nothing: it may be misspelt, or the namespace is still to come.
    fn warn(&mut self, found: &FoundNamespaces) {
        let absent = found.missing.iter().filter(|(_, error)| error.reason() == Reason::Absent);
        let absent: HashSet<Arc<str>> = absent.map(|(entry, _)| Arc::clone(entry)).collect();
        for entry in absent.difference(&self.warned) {
            tracing::warn!(
                "netns: there is no network namespace `{entry}`; if it is not still to come, the name is wrong"
            );
        }
        self.warned = absent;
    }
}

/// A namespace that may be read.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    file: (u64, u64),
    /// What the configuration or `/run/netns` calls it.
    name: Option<String>,
    /// Whether the name was made by a program, and that of its container says more.
    made_up: bool,
    /// Processes in it, where it was found by them.
    pids: Vec<u32>,
}

impl Candidate {
    fn new(path: PathBuf, file: (u64, u64)) -> Self {
        Self { path, file, name: None, made_up: false, pids: Vec::new() }
    }
}

#[derive(Debug, Default)]
struct Search {
    candidates: Vec<Candidate>,
    seen: HashSet<(u64, u64)>,
    /// Where the candidates begin that were found by their processes.
    by_process: Option<usize>,
    processes: Processes,
    found: FoundNamespaces,
}

impl Search {
    fn add(&mut self, path: PathBuf, name: Option<String>) -> std::io::Result<()> {
        let file = namespace::file_identity(&path)?;
        if self.seen.insert(file) {
            let made_up = name.as_deref().is_some_and(list::is_made_up);
            self.candidates.push(Candidate { name, made_up, ..Candidate::new(path, file) });
        } else if let Some(name) = name
            && let Some(unnamed) = self.candidates.iter_mut().find(|known| known.file == file)
            && unnamed.name.is_none()
        {
            // The agent's own, which comes first, goes by its name if it has one.
            unnamed.made_up = list::is_made_up(&name);
            unnamed.name = Some(name);
        }
        Ok(())
    }

    /// What one entry of the configuration names.
    fn entry(&mut self, entry: &str) {
        let path = path_of(entry);
        if !is_pattern(entry) {
            if let Err(cause) = self.add(path.clone(), Some(entry.to_owned())) {
                self.miss(entry, &path, cause);
            }
            return;
        }
        match list::matching(&path) {
            Ok(paths) => {
                let before = self.candidates.len();
                for path in paths {
                    let name = match path.strip_prefix(NAMES) {
                        Ok(name) => name.display().to_string(),
                        Err(_) => path.display().to_string(),
                    };
                    // Other files than those of namespaces may match, and one may be gone meanwhile.
                    match self.add(path.clone(), Some(name.clone())) {
                        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
                            self.miss(&name, &path, cause);
                        }
                        _ => {}
                    }
                }
                if self.candidates.len() == before {
                    self.found.unmatched.push(entry.to_owned());
                }
            }
            Err((directory, cause)) => self.miss(entry, &directory, cause),
        }
    }

    fn miss(&mut self, entry: &str, path: &Path, cause: std::io::Error) {
        let capability = if path.starts_with("/proc") { "CAP_SYS_PTRACE" } else { "CAP_DAC_READ_SEARCH" };
        let doing = format!("looking for the network namespace {entry} at {}", path.display());
        self.found.missing.push((entry.into(), SourceError::from_io(doing, capability, cause)));
    }

    /// Those with a name. What cannot be looked at is gone by now, or no namespace.
    fn named(&mut self) {
        let mut names: Vec<String> = list::names(NAMES).collect();
        names.sort_unstable();
        for name in names {
            let _gone = self.add(Path::new(NAMES).join(&name), Some(name));
        }
    }

    /// Those that last by a mount elsewhere.
    fn mounted(&mut self) {
        for path in list::mounts() {
            let name = path.display().to_string();
            let known = self.candidates.len();
            let _gone = self.add(path, None);
            if let Some(added) = self.candidates.get_mut(known) {
                // A container's name says more than the path that its engine has made.
                (added.name, added.made_up) = (Some(name), true);
            }
        }
    }

    /// Those of the processes, in the order of the pids.
    fn processes(&mut self) {
        self.by_process = Some(self.candidates.len());
        self.processes = Processes::list();
        for (pid, file) in &self.processes.namespaces {
            let path = Path::new("/proc").join(pid.to_string()).join("ns/net");
            if self.seen.insert(*file) {
                self.candidates.push(Candidate::new(path, *file));
            }
        }
        (self.found.incomplete, self.found.note) = self.processes.incomplete();
    }

    fn finish(mut self, containers: &mut ContainerNames) -> FoundNamespaces {
        let mut by_file = std::collections::HashMap::new();
        for (index, candidate) in self.candidates.iter().enumerate() {
            by_file.insert(candidate.file, index);
        }
        for (pid, file) in &self.processes.namespaces {
            if let Some(candidate) = by_file.get(file).and_then(|index| self.candidates.get_mut(*index))
                && candidate.pids.len() < list::PROCESSES
            {
                candidate.pids.push(*pid);
            }
        }
        if let Some(unnamed) = self.by_process.and_then(|from| self.candidates.get_mut(from..))
            && by_file.len() > NAMESPACES
        {
            unnamed.sort_by_cached_key(|candidate| list::oldest(&candidate.pids));
        }
        let mut found = self.found;
        found.left_out = self.candidates.len().saturating_sub(NAMESPACES);
        self.candidates.truncate(NAMESPACES);
        let host = self.processes.namespaces.first().filter(|(pid, _)| *pid == 1).map(|(_, file)| *file);
        let mut labels = HashSet::new();
        for Candidate { path, file, name, made_up, pids } in self.candidates {
            // Containers in the host's network namespace do not give it their name.
            let own = path == Path::new(OWN);
            let shared = host == Some(file) || host.is_none() && own;
            let mut container = || pids.iter().find_map(|pid| containers.of_process(*pid));
            let label = match name {
                Some(name) if made_up && !shared => container().or(Some(name)),
                Some(name) => Some(name),
                None if shared => None,
                None => container(),
            };
            let label = label.map(|label| text::bounded_unique(&label, LABEL));
            let label = label.filter(|label| !labels.contains(label));
            let label = label.unwrap_or_else(|| format!("net:[{}]", file.1));
            labels.insert(label.clone());
            found.namespaces.push(Namespace { label: label.into(), path, file });
        }
        found
    }
}
