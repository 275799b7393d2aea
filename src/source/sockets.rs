//! What the kernel knows of every socket: in which network namespaces it is asked, and what becomes of the answers.
//!
//! A cycle dumps the sockets of each network namespace over `sock_diag`, filtered in the kernel; the tracker counts what
//! each did since the last cycle in its group. Between two cycles a thread counts what closes. Nothing of it needs a
//! privilege but the look at other users' processes, marks, and other network namespaces.

use super::{Source, SourceError, SourceSpec};
use crate::config::sockets::{GroupBy, Sockets as Settings};
use crate::filter::Subject;
use crate::host::netns::{self, reasons};
use crate::metric::label::{self, Label};
use crate::metric::table as metrics;
use crate::reading::Readings;
use crate::stop::Stop;
use classic::Classic;
use diag::{Memory, Record, State};
use events::Shared;
use group::Groups;
use listen::Listeners;
use owners::{ByCgroup, Owners};
use peers::Peers;
use places::{Place, Places};
use space::Space;
use states::States;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use top::Top;
use track::{Found, Since, Tracker};

pub mod check;
pub mod classic;
pub mod diag;
pub mod events;
pub mod group;
pub mod listen;
pub mod owners;
pub mod peers;
mod places;
pub mod select;
mod socket;
pub mod space;
pub mod states;
pub mod tcp_info;
pub mod top;
pub mod total;
pub mod track;

/// The source as the agent knows it.
pub const SPEC: SourceSpec = SourceSpec {
    name: "sockets",
    enabled: |config| config.sources.sockets.enabled,
    deadline: |config| config.sources.sockets.timeout,
    namespaces: |config| netns::most(&config.sources.sockets.netns),
    build: |config, stop| Ok(Box::new(Sockets::new(&config.sources.sockets, stop)?)),
    check: check::check,
    suffices: check::suffices,
};

/// The source.
pub struct Sockets {
    settings: Settings,
    shared: Arc<Shared>,
    places: Arc<Mutex<Places>>,
    top: Top,
    classic: Option<Classic>,
    owners: Option<Owners>,
    cgroups: ByCgroup,
    attribution: Attribution,
}

/// What is to be found out about the owners of sockets.
#[derive(Debug, Clone, Copy)]
struct Attribution {
    /// The name of the process, for the groups.
    process: bool,
    /// The control group.
    cgroup: bool,
    /// Both wait for a look at processes.
    waits: bool,
}

impl Sockets {
    /// The source with its settings, and the thread that waits for closed sockets. No network namespace is entered
    /// before it is read.
    pub fn new(settings: &Settings, stop: &Stop) -> Result<Self, SourceError> {
        let starting = |cause| SourceError::io("starting a thread of the source sockets", cause);
        let classic = Classic::new(&settings.classic, stop).map_err(starting)?;
        let by = |key| settings.group_by.contains(&key);
        let cgroup = by(GroupBy::Cgroup) || by(GroupBy::Container);
        let cgroups = if cgroup { ByCgroup::found() } else { ByCgroup::No };
        let waits = by(GroupBy::Process) || matches!(cgroups, ByCgroup::Process);
        let attribution = Attribution { process: by(GroupBy::Process), cgroup, waits };
        let owners = if waits || classic.as_ref().is_some_and(Classic::needs_processes) {
            let ask = owners::ask(
                settings.process_budget,
                classic.as_ref().is_some_and(Classic::needs_all_holders),
                classic.as_ref().is_some_and(Classic::needs_command_lines),
            );
            Some(Owners::new(ask, matches!(cgroups, ByCgroup::Process))?)
        } else {
            None
        };
        let groups = Groups::new(&settings.group_by, settings.limit, Peers::new(&settings.peer_groups));
        let tracker = Tracker::new(groups, settings.track, settings.close_events, waits);
        let shared = Shared::new(tracker, settings.filter.clone(), classic.as_ref().map(Classic::rtt))
            .map_err(|cause| SourceError::io("making an eventfd", cause))?;
        let source = Self {
            settings: settings.clone(),
            shared,
            places: Arc::default(),
            top: Top::new(settings.top),
            classic,
            owners,
            cgroups,
            attribution,
        };
        if settings.close_events {
            source.start(stop).map_err(starting)?;
        }
        Ok(source)
    }

    /// Starts the thread that waits for closed sockets.
    fn start(&self, stop: &Stop) -> std::io::Result<()> {
        let (shared, open, stop) = (Arc::clone(&self.shared), Arc::clone(&self.places), stop.clone());
        let foreign = !self.settings.netns.is_empty();
        std::thread::Builder::new().name("sockets-closed".to_owned()).spawn(move || {
            shared.run(&stop, || {
                // Nobody has collected for long: other network namespaces are not to be kept alive.
                if foreign && let Ok(mut open) = open.try_lock() {
                    open.close_forgotten(&shared);
                }
            });
        })?;
        Ok(())
    }

    /// Reads one network namespace.
    fn read_place(
        &mut self,
        place: &mut Place,
        there: &mut HashSet<u64>,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        let Place { number, label, space } = place;
        let number = *number;
        if space.name(&self.settings.filter) {
            self.shared.rename(number, space.names());
        }
        let mut states = States::default();
        let mut dump = Dump::begin(&self.shared, number);
        let result = self
            .read_listeners(number, space, &mut states, there)
            .and_then(|()| self.read_sockets(number, label.as_ref(), space, &mut states, there));
        dump.complete = result.is_ok();
        drop(dump);
        result?;
        let labels: Vec<(Label, Arc<str>)> =
            label.iter().map(|label| (Label::Netns, Arc::clone(label))).collect();
        states.observe(&labels, out);
        Ok(())
    }

    /// Who listens. Those that the filter lets through are counted too.
    fn read_listeners(
        &mut self,
        number: u32,
        space: &mut Space,
        states: &mut States,
        there: &mut HashSet<u64>,
    ) -> Result<(), SourceError> {
        let mut listeners = Listeners::default();
        let names = Arc::clone(space.names());
        let Self { settings, shared, owners, cgroups, attribution, .. } = self;
        let now = Instant::now();
        let owners = owners.as_mut();
        let mut look = Look { number, now, shared, attribution: *attribution, owners, cgroups, there };
        space.listeners(&mut |record| {
            listeners.add(record);
            if settings.filter.matches(&subject(record), &names) {
                states.tcp(record.family, record.state);
                look.see(record);
            }
        })?;
        self.shared.tracker().listen(number, listeners);
        Ok(())
    }

    fn read_sockets(
        &mut self,
        number: u32,
        label: Option<&Arc<str>>,
        space: &mut Space,
        states: &mut States,
        there: &mut HashSet<u64>,
    ) -> Result<(), SourceError> {
        let Self { settings, shared, owners, cgroups, attribution, top, classic, .. } = self;
        let names = Arc::clone(space.names());
        let again = !space.filters_all();
        let passes = |record: &Record<'_>| !again || settings.filter.matches(&subject(record), &names);
        // The kernel keeps one number for all in TIME_WAIT; which of them a filter lets through it does not.
        let counted = if settings.filter.is_everything() { space.time_wait() } else { None };
        states.time_wait = counted;
        let now = Instant::now();
        let owners = owners.as_mut();
        let mut look = Look { number, now, shared, attribution: *attribution, owners, cgroups, there };
        space.connections(&settings.filter, counted.is_none(), &mut |record| {
            if !passes(record) {
                return;
            }
            // The kernel keeps FIN_WAIT_2 without a process as it keeps TIME_WAIT, and has both in its number.
            if record.state == State::FinWait2 && record.tcp.is_none() {
                states.time_wait = states.time_wait.map(|count| count.saturating_sub(1));
            }
            states.tcp(record.family, record.state);
            let since = look.see(record);
            if top.wanted() {
                top.take(label, record, since);
            }
            if let Some(classic) = classic
                && classic.take(record, since)
            {
                look.want(record);
            }
        })?;
        space.datagrams(&settings.filter, &mut |record| {
            if passes(record) {
                states.udp(record.family, record.state, record.receive_queue, record.write_queue);
                if record.memory.and_then(Memory::drops).is_some_and(|drops| drops > 0) {
                    look.see(record);
                }
            }
        })
    }

    fn observe(&mut self, out: &mut Readings) {
        let mut tracker = self.shared.tracker();
        tracker.groups.observed();
        // Readings take longer to make, and events would have to wait for them.
        let groups: Vec<_> =
            tracker.groups.iter().map(|group| (group.labels.clone(), group.totals.clone())).collect();
        out.observe(metrics::CONNSCOPE_SOCKETS_TRACKED, &[], tracker.len() as u64);
        out.observe(metrics::CONNSCOPE_SOCKETS_GROUPS, &[], groups.len() as u64);
        for key in label::Key::ALL {
            let labels = [(Label::Key, key.word().into())];
            out.observe(metrics::CONNSCOPE_SOCKETS_LEFT_OUT, &labels, tracker.groups.left_out(*key));
        }
        drop(tracker);
        for (labels, totals) in groups {
            totals.observe(&labels, out);
        }
        if let Some(owners) = &self.owners {
            out.observe(metrics::CONNSCOPE_SOCKETS_UNATTRIBUTED, &[], owners.unattributed);
        }
        if self.settings.close_events {
            self.shared.observe(out);
            if let Some(error) = self.shared.trouble() {
                out.fail("close_events", error);
            }
        }
        self.top.observe(out);
    }
}

impl Source for Sockets {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let shared_places = Arc::clone(&self.places);
        let mut open = shared_places.lock().unwrap_or_else(PoisonError::into_inner);
        open.refresh(&self.settings, &self.shared, out)?;
        self.shared.tracker().begin_cycle();
        // A cycle that failed may have left something.
        self.top.clear();
        if let Some(classic) = &mut self.classic {
            classic.clear();
        }
        // What is looked for among the processes, and there.
        let mut there = HashSet::new();
        let mut failed: Vec<(Arc<str>, SourceError)> = Vec::new();
        let mut read = 0;
        for place in open.in_order() {
            let result = self.read_place(place, &mut there, out);
            read += u32::from(result.is_ok());
            match (&place.label, result) {
                (Some(label), result) => {
                    let label = Arc::clone(label);
                    places::observe_up(&label, result.is_ok(), out);
                    failed.extend(result.err().map(|error| (label, error)));
                }
                (None, result) => result?,
            }
        }
        drop(open);
        if self.settings.close_events {
            self.shared.drain();
        }
        self.attribute(&there);
        self.shared.tracker().sweep(Instant::now());
        if let Some(classic) = &mut self.classic {
            let selected = classic.finish(self.owners.as_ref(), out);
            self.shared.tracker().select(&selected);
        }
        self.observe(out);
        let nothing = read == 0;
        let why = nothing.then(|| reasons(failed.iter().map(|(label, error)| (&**label, error))));
        for (label, error) in failed {
            out.fail(label.to_string(), error);
        }
        match why {
            None => Ok(()),
            Some(why) => {
                let doing = "reading the sockets of any of the configured network namespaces";
                let why = if why.is_empty() { "there are none".to_owned() } else { why };
                Err(SourceError::absent(doing, why))
            }
        }
    }
}

impl Sockets {
    /// Looks for the processes of what is new, and gives the sockets that wait their groups.
    fn attribute(&mut self, there: &HashSet<u64>) {
        if let Some(owners) = &mut self.owners {
            owners.keep(there);
            owners.look_up();
        }
        let attribution = self.attribution;
        let owners = self.owners.as_ref().filter(|_| attribution.waits);
        self.shared.tracker().resolve(
            |cookie| {
                let Some(owners) = owners else { return Some(Found::default()) };
                // One that this cycle did not see, because a dump has failed, was not looked for either.
                let owner = if there.contains(&cookie) { owners.of(cookie) } else { None }?;
                let process = owner.filter(|_| attribution.process).and_then(|owner| owner.processes.first());
                Some(Found {
                    process: process.map(|process| Arc::clone(&process.comm)),
                    cgroup: owner.and_then(|owner| owner.cgroup.clone()),
                    waits: false,
                })
            },
            Instant::now(),
        );
    }
}

/// A dump that is being read. It ends when this goes out of scope, be it by a panic.
struct Dump {
    shared: Arc<Shared>,
    number: u32,
    complete: bool,
}

impl Dump {
    fn begin(shared: &Arc<Shared>, number: u32) -> Self {
        shared.tracker().begin(number);
        Self { shared: Arc::clone(shared), number, complete: false }
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        self.shared.tracker().end(self.number, self.complete);
    }
}

/// What a look at the sockets of one network namespace is done with.
struct Look<'a> {
    number: u32,
    now: Instant,
    shared: &'a Shared,
    attribution: Attribution,
    owners: Option<&'a mut Owners>,
    cgroups: &'a mut ByCgroup,
    there: &'a mut HashSet<u64>,
}

impl Look<'_> {
    /// Has the tracker take a socket, with what can be said of its owner without looking at processes. If it waits for
    /// that, they are looked for.
    fn see(&mut self, record: &Record<'_>) -> Option<Since> {
        let mut found = Found::default();
        if self.attribution.cgroup {
            found.cgroup = self.cgroups.path(record.cgroup);
            found.waits = found.cgroup.is_none() && self.cgroups.waits(record.cgroup);
        }
        let mut tracker = self.shared.tracker();
        let since = tracker.see(self.number, record, &found, self.now);
        let waits = self.attribution.waits && tracker.waits(record.cookie);
        drop(tracker);
        if waits {
            self.want(record);
        }
        since
    }

    /// Has the processes of a socket looked for.
    fn want(&mut self, record: &Record<'_>) {
        if let Some(owners) = &mut self.owners {
            owners.want(record);
            self.there.insert(record.cookie);
        }
    }
}

/// What a filter looks at.
fn subject(record: &Record<'_>) -> Subject {
    Subject {
        local: record.local.ip(),
        peer: record.peer.ip(),
        local_port: record.local.port(),
        peer_port: record.peer.port(),
        state: record.state as u8,
        interface: record.interface,
        mark: record.mark,
        cgroup: record.cgroup,
        autobound: None,
    }
}
