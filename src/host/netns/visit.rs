//! Reads several network namespaces at the same time, each on a thread that has entered it.

use super::{Namespace, OWN};
use crate::reading::SourceError;
use crate::sys::namespace::{self, Identity};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Maximum number of threads: a few namespaces in which a program hangs must not delay the others.
const THREADS: usize = 32;

/// Result of reading a network namespace.
#[derive(Debug)]
pub struct NamespaceResult<T> {
    /// The namespace that was read.
    pub namespace: Namespace,
    /// Device and inode of the namespace, and the value that was read.
    pub result: Result<(Identity, T), SourceError>,
}

/// Calls `read` in every namespace, on several threads. The agent's own namespace is not entered, which would need
/// `CAP_SYS_ADMIN`.
pub fn visit<T: Send>(
    namespaces: &[Namespace],
    read: impl Fn() -> Result<T, SourceError> + Sync,
) -> Vec<NamespaceResult<T>> {
    let own = namespace::file_identity(Path::new(OWN)).ok();
    let next = AtomicUsize::new(0);
    let visits = Mutex::new(Vec::with_capacity(namespaces.len()));
    let work = || {
        let mut inside = own;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(namespace) = namespaces.get(index) else { break };
            let work = || {
                if inside != Some(namespace.file) {
                    inside = None;
                    enter(namespace)?;
                    inside = Some(namespace.file);
                }
                let identity = namespace::identity().map_err(|cause| failed(namespace, cause))?;
                Ok((identity, read()?))
            };
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                Err(SourceError::Panicked { message: format!("reading {}", namespace.label) })
            });
            let visit = NamespaceResult { namespace: namespace.clone(), result };
            visits.lock().unwrap_or_else(PoisonError::into_inner).push((index, visit));
        }
    };
    let no_thread = std::thread::scope(|scope| {
        // If the system refuses further threads, the existing ones do all the work.
        let mut spawned = (0..THREADS.min(namespaces.len()))
            .map(|_| std::thread::Builder::new().spawn_scoped(scope, work).map(drop));
        spawned.find_map(Result::err)
    });
    let mut visits = visits.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(cause) = no_thread.filter(|_| visits.is_empty()) {
        let unread = |namespace: &Namespace| {
            let doing = format!("starting a thread to enter the network namespace {}", namespace.label);
            let cause = std::io::Error::new(cause.kind(), cause.to_string());
            NamespaceResult { namespace: namespace.clone(), result: Err(SourceError::io(doing, cause)) }
        };
        return namespaces.iter().map(unread).collect();
    }
    visits.sort_unstable_by_key(|(index, _)| *index);
    visits.into_iter().map(|(_, visit)| visit).collect()
}

fn enter(namespace: &Namespace) -> Result<(), SourceError> {
    let enter = || {
        let file = namespace::open(&namespace.path)?;
        // The path may lead to another one by now, such as that of a new process with the number of one that ended.
        if namespace::open_identity(&file)? != namespace.file {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it is gone"));
        }
        namespace::enter(&file)
    };
    enter().map_err(|cause| failed(namespace, cause))
}

fn failed(namespace: &Namespace, cause: std::io::Error) -> SourceError {
    let doing = format!("entering the network namespace {}", namespace.label);
    SourceError::from_io(doing, "CAP_SYS_ADMIN", cause)
}
