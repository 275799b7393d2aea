//! The network namespaces whose sockets are read: each is opened once, and closed when it is gone.

#![expect(
    clippy::disallowed_methods,
    reason = "one time for the state of all namespaces, taken before they are read"
)]

use super::NAME;
use super::events::{DestroyEvents, Shared};
use super::sock_diag::SockDiag;
use crate::filter::Filter;
use crate::host::netns::{self, Finder};
use crate::metric::Label;
use crate::reading::{Readings, SourceError};
use crate::source::metrics;
use crate::source::netns::Report;
use crate::source::sockets::config::Sockets as Settings;
use crate::source::sockets::timeouts;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A network namespace that is read.
pub(super) struct OpenNamespace {
    /// Number of the namespace in the tracker.
    pub(super) number: u32,
    /// Value of the attribute `netns`; `None` if only the agent's own namespace is read.
    pub(super) label: Option<Arc<str>>,
    /// Netlink client in the namespace.
    pub(super) sock_diag: SockDiag,
    /// Path through which the namespace is opened.
    path: PathBuf,
}

/// The open network namespaces, by device and inode of their files.
pub(super) struct OpenNamespaces {
    finder: Finder,
    open: HashMap<(u64, u64), OpenNamespace>,
    next: u32,
    read: Option<Instant>,
    /// Longest time between two cycles so far.
    longest: Duration,
}

/// Key of the agent's own network namespace.
const OWN: (u64, u64) = (0, 0);

impl OpenNamespaces {
    /// Creates it without open namespaces.
    pub(super) fn new(configured: &[String]) -> Self {
        Self {
            finder: Finder::new(configured),
            open: HashMap::new(),
            next: 0,
            read: None,
            longest: Duration::ZERO,
        }
    }

    /// Opens new network namespaces and closes those that are gone. `None` if only the agent's own namespace is read,
    /// for which there is nothing to report.
    pub(super) fn refresh(
        &mut self,
        settings: &Settings,
        filter: &Filter,
        shared: &Shared,
        out: &mut Readings,
    ) -> Result<Option<Report>, SourceError> {
        let now = Instant::now();
        if let Some(read) = self.read.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(read));
        }
        let open = || {
            let sock_diag = SockDiag::open(filter)?;
            let listening = if settings.close_events { Some(listen(&sock_diag)?) } else { None };
            Ok((sock_diag, listening))
        };
        if !self.finder.is_configured() {
            if !self.open.contains_key(&OWN) {
                self.add(OWN, PathBuf::new(), None, open()?, shared);
            }
            return Ok(None);
        }
        let (mut report, found) = Report::begin(NAME, self.finder.find(), out);
        let there: HashMap<(u64, u64), Arc<str>> =
            found.iter().map(|namespace| (namespace.file, Arc::clone(&namespace.label))).collect();
        // The series of a namespace with a new name start from 0.
        self.close(shared, |file, open| there.get(file) != open.label.as_ref());
        let mut new = Vec::new();
        for namespace in found {
            match self.open.get_mut(&namespace.file) {
                Some(open) => open.path = namespace.path,
                None => new.push(namespace),
            }
        }
        for netns::NamespaceResult { namespace, result } in netns::visit(&new, open) {
            match result {
                Ok((_, opened)) => {
                    self.add(namespace.file, namespace.path, Some(namespace.label), opened, shared);
                }
                Err(error) => report.record(&namespace.label, Err(error), out),
            }
        }
        let labels = [(Label::Source, Arc::from(NAME))];
        out.observe(metrics::CONNSCOPE_NETNS_OPEN, &labels, self.open.len() as u64);
        Ok(Some(report))
    }

    fn add(
        &mut self,
        file: (u64, u64),
        path: PathBuf,
        label: Option<Arc<str>>,
        (sock_diag, listening): (SockDiag, Option<DestroyEvents>),
        shared: &Shared,
    ) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if let Some(label) = &label {
            shared.tracker().groups.name(number, Arc::clone(label));
        }
        if let Some(listening) = listening {
            shared.add(number, listening);
        }
        self.open.insert(file, OpenNamespace { number, label, sock_diag, path });
    }

    /// The open namespaces, in the order in which they were found.
    pub(super) fn in_order(&mut self) -> Vec<&mut OpenNamespace> {
        let mut open: Vec<&mut OpenNamespace> = self.open.values_mut().collect();
        open.sort_by_key(|namespace| namespace.number);
        open
    }

    /// Closes namespaces that are gone, however seldom cycles come, because a deleted namespace exists as long as a
    /// socket in it. Closes all of them if no cycle came for longer than is usual.
    pub(super) fn close_gone(&mut self, shared: &Shared) {
        if !self.finder.is_configured() {
            return;
        }
        let long = timeouts::NAMESPACE_HELD.max(self.longest * 3);
        if self.read.is_some_and(|read| read.elapsed() >= long) {
            self.close(shared, |_, _| true);
        }
        // A process may still be in it, or it may have another name.
        if self.open.iter().any(|(file, open)| netns::is_gone(&open.path, *file)) {
            let found = self.finder.find();
            self.close(shared, |file, _| !found.namespaces.iter().any(|there| there.file == *file));
        }
    }

    /// Closes network namespaces, and ends their groups.
    fn close(&mut self, shared: &Shared, gone: impl Fn(&(u64, u64), &OpenNamespace) -> bool) {
        self.open.retain(|file, open| {
            let gone = gone(file, open);
            if gone {
                tracing::debug!(netns = open.label.as_deref(), "closing the sockets in a network namespace");
                shared.remove(open.number);
                shared.tracker().forget(open.number, Instant::now());
            }
            !gone
        });
    }
}

/// Opens a receiver of destroy events in the calling thread's network namespace.
fn listen(sock_diag: &SockDiag) -> Result<DestroyEvents, SourceError> {
    DestroyEvents::open(Arc::clone(sock_diag.names()))
        .map_err(|cause| SourceError::io("joining the destroy groups of sock_diag", cause))
}
