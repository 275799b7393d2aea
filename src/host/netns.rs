//! Network namespaces of the machine: those that the configuration selects, and reading inside of them.
//!
//! An entry of the configuration is a name (`/run/netns/NAME`), a path, `pid:N`, a pattern of names or paths (`cni-*`),
//! or `all`. A namespace is entered by a thread that ends afterwards, so no thread stays in a foreign namespace. A
//! source that has a socket or descriptor of a foreign namespace keeps that namespace alive, so it closes it as soon as
//! [`Finder::find`] does not return the namespace any more.

pub mod config;
mod find;
mod label;
mod list;
mod visit;

pub use find::{Finder, FoundNamespaces};
pub use label::ContainerNames;
pub use visit::{NamespaceResult, visit};

use crate::sys::namespace;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum number of network namespaces that are read; further ones are counted as left out.
pub const NAMESPACES: usize = 512;

/// Directory of the names of `ip netns`.
const NAMES: &str = "/run/netns";

/// File of the calling thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Value of the attribute `netns`.
    pub label: Arc<str>,
    /// Path through which the namespace is opened.
    pub path: PathBuf,
    /// Device and inode of the file: unique while the namespace exists.
    pub file: (u64, u64),
    /// Whether the label is final: a name of the configuration, of an administrator or of a container. A container that has just been
    /// started may have its name later.
    pub is_named: bool,
}

/// Whether a path does not lead to the network namespace of this file any more, because nothing is there or another one. Where that cannot be
/// determined (permission denied), it is not gone: the next search says whether it is still read.
pub fn is_gone(path: &Path, file: (u64, u64)) -> bool {
    match namespace::file_identity(path) {
        Ok(there) => there != file,
        Err(cause) => matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// Maximum number of network namespaces that are read with these entries; without entries 1, the agent's own.
pub fn namespace_limit(configured: &[String]) -> usize {
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

/// Path of the namespace that an entry names; for a pattern, the pattern of paths.
pub fn path_of(entry: &str) -> PathBuf {
    match entry.strip_prefix("pid:") {
        Some(pid) => Path::new("/proc").join(pid).join("ns/net"),
        None if entry.contains('/') => PathBuf::from(entry),
        None => Path::new(NAMES).join(entry),
    }
}
