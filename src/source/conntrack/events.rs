//! New and destroyed entries, counted by the events of ctnetlink.
//!
//! Since Linux 4.9 no counter of the kernel counts connections. With `events: count` a thread receives a message for every
//! entry that is created or destroyed, of all network namespaces, and counts each at once. What the kernel could not put into
//! the receive buffer is counted as lost.

#![expect(clippy::disallowed_methods, reason = "sockets in other namespaces are closed if no cycle comes")]

use super::config::{Conntrack as Settings, Events as Wanted};
use super::{NAME, metrics, timeouts};
use crate::host::netns::{self, Namespace};
use crate::metric::Label;
use crate::netlink::{Waker, Wakeup, wake};
use crate::reading::{Readings, SourceError};
use crate::source::metrics::CONNSCOPE_NETNS_OPEN;
use crate::source::{Check, Mode};
use crate::stop::Stop;
use crate::sys::namespace;
use listener::Listener;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use totals::Totals;

pub mod listener;
pub mod message;
pub mod totals;

/// Device and inode of the file of a network namespace; that of the agent's own, if no others are read, is `(0, 0)`.
type File = (u64, u64);

/// The events, counted by a thread.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    waker: Waker,
    error: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<File, Open>,
    /// By label, so that they stay if a namespace is found under another path.
    totals: BTreeMap<Arc<str>, Totals>,
    read: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    label: Arc<str>,
    path: PathBuf,
    listener: Listener,
}

impl Events {
    /// Starts the thread; `None` if events are not counted. A single reading cannot count any.
    pub fn start(settings: &Settings, mode: Mode, stop: &Stop) -> Result<Option<Self>, SourceError> {
        if settings.events == Wanted::Off || mode == Mode::Once {
            return Ok(None);
        }
        let start = || {
            let shared =
                Arc::new(Shared { state: Mutex::default(), waker: Waker::new()?, error: Mutex::default() });
            let (working, stop) = (Arc::clone(&shared), stop.clone());
            std::thread::Builder::new().name("conntrack-event".to_owned()).spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| working.run(&stop))).is_err() {
                    working.set_error(Some(
                        "the thread panicked; restart the agent, and report it as a defect".to_owned(),
                    ));
                }
            })?;
            Ok(Some(Self(shared)))
        };
        start().map_err(|cause: io::Error| SourceError::io("starting the thread that counts events", cause))
    }

    /// Opens and closes receivers, and observes the totals. `found` are the network namespaces to be read; `None` if that is
    /// the agent's own.
    pub fn observe(&self, found: Option<&[Namespace]>, out: &mut Readings) {
        for (label, error) in self.refresh(found) {
            let part = if found.is_some() { format!("events of {label}") } else { "events".to_owned() };
            out.fail(part, error);
        }
        let mut state = self.0.state();
        let State { open, totals, .. } = &mut *state;
        for one in open.values_mut() {
            one.listener.drain(totals.entry(Arc::clone(&one.label)).or_default());
        }
        totals.retain(|label, _| found.is_none_or(|found| found.iter().any(|one| one.label == *label)));
        for one in open.values() {
            let labels: Vec<_> = found.iter().map(|_| (Label::Netns, Arc::clone(&one.label))).collect();
            if let Some(totals) = totals.get(&one.label) {
                totals.observe(&labels, out);
            }
        }
        if found.is_some() {
            out.observe(CONNSCOPE_NETNS_OPEN, &[(Label::Source, NAME.into())], open.len() as u64);
        }
        drop(state);
        let error = self.0.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cause) = error {
            out.fail("events", SourceError::io("receiving events of connection tracking", cause));
        }
    }

    /// Opens receivers in new network namespaces and closes those in others; what failed.
    fn refresh(&self, found: Option<&[Namespace]>) -> Vec<(Arc<str>, SourceError)> {
        let own = [Namespace { label: "".into(), path: PathBuf::new(), file: (0, 0) }];
        let wanted = found.unwrap_or(&own);
        let mut state = self.0.state();
        state.read = Some(Instant::now());
        let before = state.open.len();
        state.open.retain(|file, open| {
            let there = wanted.iter().find(|one| one.file == *file && one.label == open.label);
            if let Some(there) = there {
                open.path.clone_from(&there.path);
            }
            there.is_some()
        });
        let mut changed = state.open.len() != before;
        let new: Vec<Namespace> =
            wanted.iter().filter(|one| !state.open.contains_key(&one.file)).cloned().collect();
        drop(state);
        let opened: Vec<(Namespace, Result<Listener, SourceError>)> = match found {
            None => new.into_iter().map(|one| (one, Listener::open())).collect(),
            Some(_) => netns::visit(&new, Listener::open)
                .into_iter()
                .map(|visit| (visit.namespace, visit.result.map(|(_, listener)| listener)))
                .collect(),
        };
        let mut failed = Vec::new();
        let mut state = self.0.state();
        for (Namespace { label, path, file }, listener) in opened {
            match listener {
                Ok(listener) => {
                    state.open.insert(file, Open { label, path, listener });
                    changed = true;
                }
                Err(error) => failed.push((label, error)),
            }
        }
        drop(state);
        if changed {
            self.0.waker.wake();
        }
        failed
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Receives and counts events until the agent stops.
    fn run(&self, stop: &Stop) {
        let mut sockets = Vec::new();
        let mut looked = Instant::now();
        loop {
            match self.waker.wait(&sockets, stop, timeouts::EVENTS_IDLE) {
                Ok(Wakeup::Stop) => return,
                Ok(Wakeup::Changed) => sockets = self.sockets(),
                Ok(Wakeup::Events(ready)) => {
                    let mut more = false;
                    for file in ready {
                        let mut state = self.state();
                        let State { open, totals, .. } = &mut *state;
                        if let Some(one) = open.get_mut(&file) {
                            more |= one.listener.take(totals.entry(Arc::clone(&one.label)).or_default());
                        }
                    }
                    // Several events are received together: waking up for each would take longer.
                    if !more && stop.killed_within(timeouts::EVENTS_TOGETHER) {
                        return;
                    }
                }
                Err(error) => {
                    self.set_error(Some(error.to_string()));
                    if stop.killed_within(crate::timeouts::GLANCE) {
                        return;
                    }
                    sockets = self.sockets();
                }
            }
            if looked.elapsed() >= timeouts::EVENTS_IDLE {
                looked = Instant::now();
                if self.close_gone() {
                    sockets = self.sockets();
                }
            }
        }
    }

    /// Closes the sockets in network namespaces that are gone, which exist as long as a socket in them, and all in others
    /// than the agent's own if no cycle has come for long. Returns whether there were any.
    fn close_gone(&self) -> bool {
        let mut state = self.state();
        let unread = state.read.is_none_or(|read| read.elapsed() >= timeouts::NAMESPACE_HELD);
        let before = state.open.len();
        state.open.retain(|file, open| {
            let there = || namespace::file_identity(&open.path).ok().as_ref() == Some(file);
            *file == (0, 0) || (!unread && there())
        });
        state.open.len() != before
    }

    /// Duplicates of the sockets, so that namespaces can be added and removed while the thread waits.
    fn sockets(&self) -> Vec<(File, OwnedFd)> {
        let state = self.state();
        let open = state.open.iter().map(|(file, open)| (*file, open.listener.duplicate()));
        let (duplicates, failure) = wake::duplicates(open);
        drop(state);
        self.set_error(failure);
        duplicates
    }
}

/// At least so many entries were created and destroyed: the changes of their number from cycle to cycle.
#[derive(Debug, Default)]
pub struct Estimate {
    usage: Option<u64>,
    new: u64,
    destroyed: u64,
}

impl Estimate {
    /// Adds the change since the last cycle, and observes the sums.
    pub fn observe(&mut self, usage: u64, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        if let Some(before) = self.usage.replace(usage) {
            self.new = self.new.saturating_add(usage.saturating_sub(before));
            self.destroyed = self.destroyed.saturating_add(before.saturating_sub(usage));
        }
        for (kind, total) in [("new", self.new), ("destroyed", self.destroyed)] {
            let mut labels = labels.to_vec();
            labels.push((Label::Kind, kind.into()));
            out.observe(metrics::CONNTRACK_EVENTS_ESTIMATE, &labels, total);
        }
    }
}

/// The check of the part: whether the groups can be joined, and which distributions there are.
pub fn check(settings: &Settings) -> Option<Check> {
    if settings.events == Wanted::Off {
        return None;
    }
    let is_on = |name: &str| {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        crate::sys::read_limited(path, 16).is_ok_and(|text| text.trim() == "1")
    };
    let result = Listener::open().map(|_| {
        let missing = [("acct", "bytes and packets"), ("timestamp", "lifetimes")]
            .into_iter()
            .filter(|(name, _)| !is_on(name))
            .map(|(name, what)| format!("; no {what}: nf_conntrack_{name} is not 1"));
        std::iter::once("new and destroyed entries".to_owned()).chain(missing).collect::<String>()
    });
    Some(Check::new(NAME, "events", result))
}
