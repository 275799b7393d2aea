//! The network namespaces whose sockets are read: each is opened once, and let go as soon as it is not found any more.

use super::SPEC;
use super::events::{Listening, Shared};
use super::sock_diag::SockDiag;
use crate::config::sockets::Sockets as Settings;
use crate::host::netns;
use crate::metric::label::Label;
use crate::metric::table as metrics;
use crate::reading::Readings;
use crate::source::SourceError;
use crate::timeouts;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A network namespace that is read.
pub(super) struct Place {
    /// What the tracker knows it by.
    pub(super) number: u32,
    /// Value of the attribute `netns`; `None` for the agent's own where no others are read.
    pub(super) label: Option<Arc<str>>,
    /// Its socket.
    pub(super) space: SockDiag,
}

/// The network namespaces that are open, by device and inode of their files.
#[derive(Default)]
pub(super) struct Places {
    open: HashMap<(u64, u64), Place>,
    next: u32,
    read: Option<Instant>,
    /// The longest time between two cycles so far.
    longest: Duration,
}

/// Stands for the agent's own network namespace.
const OWN: (u64, u64) = (0, 0);

impl Places {
    /// Opens the network namespaces that are new and closes those that are gone. What could not be opened is noted.
    pub(super) fn refresh(
        &mut self,
        settings: &Settings,
        shared: &Shared,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        let now = Instant::now();
        if let Some(read) = self.read.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(read));
        }
        let open = || {
            let space = SockDiag::open(&settings.filter)?;
            let listening = if settings.close_events { Some(listen(&space)?) } else { None };
            Ok((space, listening))
        };
        if settings.netns.is_empty() {
            if !self.open.contains_key(&OWN) {
                let (space, listening) = open()?;
                self.add(OWN, None, space, listening, shared);
            }
            return Ok(());
        }
        let found = netns::find(&settings.netns);
        let there: HashMap<(u64, u64), Arc<str>> =
            found.namespaces.iter().map(|namespace| (namespace.file, Arc::clone(&namespace.label))).collect();
        // One that goes by another name now begins anew under it.
        self.close(shared, |file, place| there.get(file) != place.label.as_ref());
        let source = (Label::Source, Arc::from(SPEC.name));
        out.observe(metrics::CONNSCOPE_NETNS_LEFT_OUT, &[source], found.left_out as u64);
        for (label, error) in found.missing {
            observe_up(&label, false, out);
            out.fail(label.to_string(), error);
        }
        let new: Vec<netns::Namespace> = found
            .namespaces
            .into_iter()
            .filter(|namespace| !self.open.contains_key(&namespace.file))
            .collect();
        for netns::Visit { namespace, result } in netns::visit(&new, open) {
            match result {
                Ok((_, (space, listening))) => {
                    self.add(namespace.file, Some(namespace.label), space, listening, shared);
                }
                Err(error) => {
                    observe_up(&namespace.label, false, out);
                    out.fail(namespace.label.to_string(), error);
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        file: (u64, u64),
        label: Option<Arc<str>>,
        space: SockDiag,
        listening: Option<Listening>,
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
        self.open.insert(file, Place { number, label, space });
    }

    /// Those that are open, in the order they were found in.
    pub(super) fn in_order(&mut self) -> Vec<&mut Place> {
        let mut places: Vec<&mut Place> = self.open.values_mut().collect();
        places.sort_by_key(|place| place.number);
        places
    }

    /// Closes all of them if nobody has collected for long, and for longer than was usual so far.
    pub(super) fn close_forgotten(&mut self, shared: &Shared) {
        let long = timeouts::NAMESPACE_HELD.max(self.longest * 3);
        if self.read.is_some_and(|read| read.elapsed() >= long) {
            self.close(shared, |_, _| true);
        }
    }

    /// Closes network namespaces, and ends what was counted in them.
    fn close(&mut self, shared: &Shared, gone: impl Fn(&(u64, u64), &Place) -> bool) {
        self.open.retain(|file, place| {
            let gone = gone(file, place);
            if gone {
                shared.remove(place.number);
                shared.tracker().forget(place.number, Instant::now());
            }
            !gone
        });
    }
}

/// Opens a socket for the destroy events of the calling thread's network namespace.
fn listen(space: &SockDiag) -> Result<Listening, SourceError> {
    Listening::open(Arc::clone(space.names()))
        .map_err(|cause| SourceError::io("joining the destroy groups of sock_diag", cause))
}

/// Observes whether a configured network namespace could be read.
pub(super) fn observe_up(label: &Arc<str>, up: bool, out: &mut Readings) {
    let labels = [(Label::Netns, Arc::clone(label)), (Label::Source, SPEC.name.into())];
    out.observe(metrics::CONNSCOPE_NETNS_UP, &labels, u64::from(up));
}
