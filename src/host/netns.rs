//! The network namespaces of the machine: finding those that the configuration names, and entering them.
//!
//! An entry of the configuration is a name (`/run/netns/NAME`), a path, `pid:N`, a pattern of names or paths (`cni-*`), or
//! `all`. A namespace is entered by a thread that ends afterwards, so that no thread is ever left in a namespace it does
//! not belong to. A source that holds something of a foreign namespace (a socket, a descriptor) keeps the namespace alive
//! after everybody else has let it go, so it lets go as soon as [`Finder::find`] does not name the namespace any more.

pub mod config;
mod find;
mod label;
mod list;
mod visit;

pub use find::{Finder, FoundNamespaces};
pub use label::ContainerNames;
pub use visit::{NamespaceResult, visit};

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Network namespaces that are read at once; those over it are counted and left out.
pub const NAMESPACES: usize = 512;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// The file of the calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Value of the attribute `netns`.
    pub label: Arc<str>,
    /// Its configuration file.
    pub path: PathBuf,
    /// Device and inode of the file: they are the namespace's for as long as it lasts.
    pub file: (u64, u64),
}

/// How many network namespaces are read at once at most: the agent's own where none are configured.
pub fn most(configured: &[String]) -> usize {
    match configured {
        [] => 1,
        entries if entries.iter().any(|entry| entry == "all" || is_pattern(entry)) => NAMESPACES,
        entries => entries.len(),
    }
}

/// Whether an entry of the configuration is a pattern of names or paths.
pub fn is_pattern(entry: &str) -> bool {
    entry.contains(['*', '?', '['])
}

/// The file of the namespace that an entry of the configuration names; of a pattern, the pattern of files.
pub fn path_of(entry: &str) -> PathBuf {
    match entry.strip_prefix("pid:") {
        Some(pid) => Path::new("/proc").join(pid).join("ns/net"),
        None if entry.contains('/') => PathBuf::from(entry),
        None => Path::new(NAMES).join(entry),
    }
}
