//! Which network namespaces are read, and reading them: shared by the sources.
//!
//! The configuration names namespaces (`/run/netns/NAME`), paths or `pid:N`, or says `all`. Each is entered by a
//! thread that ends with the cycle, so that no thread is ever left in a namespace it does not belong to. A source that
//! holds something of a foreign namespace (a socket, a descriptor) keeps the namespace alive after everybody else has let
//! it go, so it lets go as soon as [`find`] does not name the namespace any more.

use crate::metric::label::NAMESPACES;
use crate::source::{SourceError, chain};
use crate::sys::namespace::{self, Identity};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that read at the same time: a few namespaces in which the program hangs must not keep the others waiting.
const THREADS: usize = 32;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// A network namespace to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Value of the attribute `netns`.
    pub label: Arc<str>,
    /// Its file.
    pub path: PathBuf,
    /// Device and inode of the file: they are the namespace's for as long as it lasts.
    pub file: (u64, u64),
}

/// What there is to read.
#[derive(Debug, Default)]
pub struct Found {
    /// At most [`NAMESPACES`].
    pub namespaces: Vec<Namespace>,
    /// How many more there are.
    pub left_out: usize,
    /// Those that were asked for by name and are not there.
    pub missing: Vec<(Arc<str>, SourceError)>,
}

/// How many network namespaces are read at once at most: the agent's own where none are configured.
pub fn most(configured: &[String]) -> usize {
    match configured {
        [] => 1,
        names if names.iter().any(|name| name == "all") => NAMESPACES,
        names => names.len(),
    }
}

/// Looks up what the configuration says. Two entries for one namespace count as one, the first.
pub fn find(configured: &[String]) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    if configured.iter().any(|entry| entry == "all") {
        for (label, path) in everything() {
            // Gone between the listing and the look, or a process that may not be looked at: not to be read.
            let Ok(file) = namespace::file_identity(&path) else { continue };
            if seen.insert(file) {
                found.add(label.unwrap_or_else(|| format!("net:[{}]", file.1)), path, file);
            }
        }
        return found;
    }
    for entry in configured {
        let path = path_of(entry);
        match namespace::file_identity(&path) {
            Ok(file) if seen.insert(file) => found.add(entry.clone(), path, file),
            Ok(_) => {}
            Err(cause) => {
                let doing = format!("looking for the network namespace {entry} at {}", path.display());
                let error = SourceError::from_io(doing, "CAP_SYS_PTRACE", cause);
                found.missing.push((entry.as_str().into(), error));
            }
        }
    }
    found
}

impl Found {
    fn add(&mut self, label: String, path: PathBuf, file: (u64, u64)) {
        if self.namespaces.len() < NAMESPACES {
            self.namespaces.push(Namespace { label: label.into(), path, file });
        } else {
            self.left_out += 1;
        }
    }
}

/// The file of the namespace that an entry of the configuration names.
pub fn path_of(entry: &str) -> PathBuf {
    match entry.strip_prefix("pid:") {
        Some(pid) => Path::new("/proc").join(pid).join("ns/net"),
        None if entry.contains('/') => PathBuf::from(entry),
        None => Path::new(NAMES).join(entry),
    }
}

/// Names first, so that a namespace that has one goes by it, then those of the processes.
fn everything() -> impl Iterator<Item = (Option<String>, PathBuf)> {
    let mut names: Vec<String> = list(NAMES).collect();
    names.sort_unstable();
    let named = names.into_iter().map(|name| {
        let path = Path::new(NAMES).join(&name);
        (Some(name), path)
    });
    let processes = list("/proc")
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|pid| (None, Path::new("/proc").join(pid).join("ns/net")));
    named.chain(processes)
}

fn list(dir: &str) -> impl Iterator<Item = String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// What reading one network namespace gave.
#[derive(Debug)]
pub struct Visit<T> {
    /// The one that was read.
    pub namespace: Namespace,
    /// Who it is, and what was read in it.
    pub result: Result<(Identity, T), SourceError>,
}

/// Reads every namespace, several at the same time, each inside.
pub fn visit<T: Send>(
    namespaces: &[Namespace],
    read: impl Fn() -> Result<T, SourceError> + Sync,
) -> Vec<Visit<T>> {
    let next = AtomicUsize::new(0);
    let visits = Mutex::new(Vec::with_capacity(namespaces.len()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(namespaces.len()) {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(namespace) = namespaces.get(turn) else { break };
                    let result =
                        catch_unwind(AssertUnwindSafe(|| inside(namespace, &read))).unwrap_or_else(|_| {
                            Err(SourceError::Panicked { message: format!("reading {}", namespace.label) })
                        });
                    let visit = Visit { namespace: namespace.clone(), result };
                    visits.lock().unwrap_or_else(PoisonError::into_inner).push((turn, visit));
                }
            });
        }
    });
    let mut visits = visits.into_inner().unwrap_or_else(PoisonError::into_inner);
    visits.sort_unstable_by_key(|(turn, _)| *turn);
    visits.into_iter().map(|(_, visit)| visit).collect()
}

fn inside<T>(
    namespace: &Namespace,
    read: &impl Fn() -> Result<T, SourceError>,
) -> Result<(Identity, T), SourceError> {
    let doing = || format!("entering the network namespace {}", namespace.label);
    let failed = |cause| SourceError::from_io(doing(), "CAP_SYS_ADMIN", cause);
    let file = namespace::open(&namespace.path).map_err(failed)?;
    namespace::enter(&file).map_err(failed)?;
    let identity = namespace::identity().map_err(failed)?;
    Ok((identity, read()?))
}

/// The errors of several ways as one text, for the log.
pub fn reasons<'a>(errors: impl Iterator<Item = (&'a str, &'a SourceError)>) -> String {
    errors.map(|(way, error)| format!("{way}: {}", chain(error))).collect::<Vec<_>>().join("; ")
}
