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
use crate::netlink::timeouts::EVENTS_TOGETHER;
use crate::netlink::{Waker, Wakeup, wake};
use crate::reading::{Readings, SourceError};
use crate::source::metrics::CONNSCOPE_NETNS_OPEN;
use crate::source::{Check, Mode};
use crate::stop::Stop;
use listener::Listener;
use std::collections::{BTreeMap, HashSet};
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
    totals: BTreeMap<Arc<str>, Arc<Mutex<Totals>>>,
    read: Option<Instant>,
}

/// The receiver of a network namespace. Its locks are its own, so that receiving in one namespace delays no other.
#[derive(Debug, Clone)]
struct Open {
    label: Arc<str>,
    path: PathBuf,
    listener: Arc<Mutex<Listener>>,
    totals: Arc<Mutex<Totals>>,
}

impl Open {
    /// Calls a function with the receiver and the totals.
    fn with<T>(&self, receive: impl FnOnce(&mut Listener, &mut Totals) -> T) -> T {
        receive(&mut locked(&self.listener), &mut locked(&self.totals))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// the agent's own. Returns the labels of those whose events are counted.
    pub fn observe(&self, found: Option<&[Namespace]>, out: &mut Readings) -> HashSet<Arc<str>> {
        for (label, error) in self.refresh(found) {
            let part = if found.is_some() { format!("events of {label}") } else { "events".to_owned() };
            out.fail(part, error);
        }
        let mut state = self.0.state();
        state.totals.retain(|label, _| found.is_none_or(|found| found.iter().any(|one| one.label == *label)));
        let open: Vec<Open> = state.open.values().cloned().collect();
        drop(state);
        for one in &open {
            one.with(Listener::drain);
            let labels: Vec<_> = found.iter().map(|_| (Label::Netns, Arc::clone(&one.label))).collect();
            locked(&one.totals).observe(&labels, out);
        }
        if found.is_some() {
            out.observe(CONNSCOPE_NETNS_OPEN, &[(Label::Source, NAME.into())], open.len() as u64);
        }
        let error = locked(&self.0.error).clone();
        if let Some(cause) = error {
            out.fail("events", SourceError::io("receiving events of connection tracking", cause));
        }
        open.into_iter().map(|one| one.label).collect()
    }

    /// Opens receivers in new network namespaces and closes those in others; what failed.
    fn refresh(&self, found: Option<&[Namespace]>) -> Vec<(Arc<str>, SourceError)> {
        let own = [Namespace { label: "".into(), path: PathBuf::new(), file: (0, 0), is_named: true }];
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
        for (Namespace { label, path, file, .. }, listener) in opened {
            match listener {
                Ok(listener) => {
                    let totals = Arc::clone(state.totals.entry(Arc::clone(&label)).or_default());
                    let listener = Arc::new(Mutex::new(listener));
                    state.open.insert(file, Open { label, path, listener, totals });
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
        locked(&self.state)
    }

    fn set_error(&self, error: Option<String>) {
        *locked(&self.error) = error;
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
                        let open = self.state().open.get(&file).cloned();
                        more |= open.is_some_and(|one| one.with(Listener::take));
                    }
                    // Several events are received together: waking up for each takes longer than to count it.
                    if !more && stop.killed_within(EVENTS_TOGETHER) {
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
        let state = self.state();
        let read = state.read;
        let unread = read.is_none_or(|read| read.elapsed() >= timeouts::NAMESPACE_HELD);
        let others: Vec<(File, PathBuf)> = state
            .open
            .iter()
            .filter(|(file, _)| **file != (0, 0))
            .map(|(file, open)| (*file, open.path.clone()))
            .collect();
        drop(state);
        let is_gone = |(file, path): &(File, PathBuf)| unread || netns::is_gone(path, *file);
        let gone: Vec<File> = others.into_iter().filter(is_gone).map(|(file, _)| file).collect();
        let mut state = self.state();
        // If a cycle has come meanwhile, it may have found or opened them again, so the next look decides.
        if state.read != read {
            return false;
        }
        let before = state.open.len();
        state.open.retain(|file, _| !gone.contains(file));
        state.open.len() != before
    }

    /// Duplicates of the sockets, so that namespaces can be added and removed while the thread waits.
    fn sockets(&self) -> Vec<(File, OwnedFd)> {
        let open: Vec<(File, Open)> =
            self.state().open.iter().map(|(file, open)| (*file, open.clone())).collect();
        let (duplicates, failure) =
            wake::duplicates(open.iter().map(|(file, open)| (*file, locked(&open.listener).duplicate())));
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
