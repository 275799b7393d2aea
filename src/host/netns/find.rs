//! Search for the network namespaces that the configuration selects.
//!
//! The order with `all` is: the agent's own; those that entries name; those with a name in `/run/netns`; those mounted
//! elsewhere (`/run/docker/netns`); and those of processes, the oldest first. Above the maximum the last are left out,
//! so the agent's own and those with a name take precedence.

use super::NAMESPACES;
use super::label::ContainerNames;
use super::list::{self, Processes};
use super::{NAMES, Namespace, OWN, is_pattern, path_of};
use crate::metric::label::Reason;
use crate::reading::{SourceError, chain};
use crate::sys::namespace;
use crate::text;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the log has the note that namespaces may be missing.
static NOTED: AtomicBool = AtomicBool::new(false);

/// Maximum length of the attribute `netns`: the names of a pod and of its Kubernetes namespace.
const LABEL: usize = 253 + 1 + 63;

/// Result of a search.
#[derive(Debug, Default)]
pub struct FoundNamespaces {
    /// At most [`NAMESPACES`].
    pub namespaces: Vec<Namespace>,
    /// Number of further namespaces.
    pub left_out: usize,
    /// Entries whose namespace does not exist or is not accessible.
    pub missing: Vec<(Arc<str>, SourceError)>,
    /// Patterns that no file matches.
    pub unmatched: Vec<String>,
    /// The reason why namespaces may be missing with `all`, if a capability would help.
    pub incomplete: Option<SourceError>,
    /// The reason why namespaces may be missing with `all`, if no capability would help.
    pub note: Option<String>,
}

/// Searches for network namespaces, repeatedly.
#[derive(Debug)]
pub struct Finder {
    configured: Vec<String>,
    containers: ContainerNames,
    /// Entries without a namespace for which the warning was logged.
    warned: HashSet<Arc<str>>,
}

impl Finder {
    /// Creates it with these entries.
    pub fn new(configured: &[String]) -> Self {
        let (configured, containers) = (configured.to_vec(), ContainerNames::default());
        Self { configured, containers, warned: HashSet::new() }
    }

    /// Whether network namespaces other than the agent's own are read.
    pub fn is_configured(&self) -> bool {
        !self.configured.is_empty()
    }

    /// Searches now. Two entries for one namespace count as one, the first.
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
        if let Some(note) = &found.note {
            // It has a number of processes in it, which changes all the time; and several sources search.
            if NOTED.swap(true, Ordering::Relaxed) {
                tracing::debug!("netns: all: {note}");
            } else {
                tracing::info!("netns: all: {note}");
            }
        }
        self.warn(&found);
        found
    }

    /// Logs a warning, once per entry, that an entry has no namespace: it may be misspelt, or not exist yet.
    fn warn(&mut self, found: &FoundNamespaces) {
        let absent = || found.missing.iter().filter(|(_, error)| error.reason() == Reason::Absent);
        for (entry, error) in absent().filter(|(entry, _)| !self.warned.contains(entry)) {
            let error = chain(error);
            tracing::warn!(
                "netns: there is no network namespace `{entry}`: {error}; it is read as soon as there is one: check the name"
            );
        }
        self.warned = absent().map(|(entry, _)| Arc::clone(entry)).collect();
    }
}

/// A network namespace that was found.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    file: (u64, u64),
    /// Name in the configuration or in `/run/netns`.
    name: Option<String>,
    /// Whether a program generated the name; then the name of the container is used instead.
    made_up: bool,
    /// Processes in the namespace, if it was found by them.
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
    /// Index of the first candidate that was found by its processes.
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
            // The agent's own namespace comes first, and gets its name if it has one.
            unnamed.made_up = list::is_made_up(&name);
            unnamed.name = Some(name);
        }
        Ok(())
    }

    /// Adds the namespaces of an entry.
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
                    // A pattern may match files that are no namespaces, and a file may be gone by now.
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

    /// Adds the namespaces with a name. A file that cannot be read is gone, or no namespace.
    fn named(&mut self) {
        let mut names: Vec<String> = list::names(NAMES).collect();
        names.sort_unstable();
        for name in names {
            let _gone = self.add(Path::new(NAMES).join(&name), Some(name));
        }
    }

    /// Adds the namespaces mounted elsewhere.
    fn mounted(&mut self) {
        for path in list::mounts() {
            let name = path.display().to_string();
            let known = self.candidates.len();
            let _gone = self.add(path, None);
            if let Some(added) = self.candidates.get_mut(known) {
                // The name of a container is more useful than a path created by its engine.
                (added.name, added.made_up) = (Some(name), true);
            }
        }
    }

    /// Adds the namespaces of processes, ordered by PID.
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
            let given = name.is_some() && !made_up;
            let mut container = || pids.iter().find_map(|pid| containers.of_process(*pid));
            let container = if given || shared { None } else { container() };
            let is_named = given || shared || container.is_some();
            let label = container.or(name);
            let label = label.map(|label| text::bounded_unique(&label, LABEL));
            let label = label.filter(|label| !labels.contains(label));
            let label = label.unwrap_or_else(|| format!("net:[{}]", file.1));
            labels.insert(label.clone());
            found.namespaces.push(Namespace { label: label.into(), path, file, is_named });
        }
        found
    }
}
