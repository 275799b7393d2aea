//! The source `sockets`: TCP and UDP sockets of the configured network namespaces, read over `sock_diag`.
//!
//! A cycle dumps the sockets of each network namespace, filtered in the kernel. The tracker adds to each group what its
//! sockets did since the last cycle. Between two cycles a thread counts the sockets that close (destroy events).
//! Privileges are needed only for processes of other users, marks and other network namespaces.

#![expect(clippy::disallowed_methods, reason = "the tracker is given the time of the cycle")]

use super::{Check, Conflict, Mode, Requirement, Source, SourceKind};
use crate::filter::Filter;
use crate::host::Host;
use crate::host::netns;
use crate::metric::naming::Profile;
use crate::metric::{Bounds, Label, Part};
use crate::reading::{Readings, SourceError};
use crate::source::metrics::NETNS;
use crate::source::sockets::config::{GroupBy, Sockets as Settings};
use crate::stop::Stop;
use attributes::Attribution;
use classic::Classic;
use dump::{Dump, OwnerLookup};
use events::Shared;
use group::Groups;
use labels::Key;
use namespaces::{OpenNamespace, OpenNamespaces};
use owners::{ByCgroup, Owners};
use peers::Peers;
use states::States;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use top::Top;
use track::Tracker;

pub mod accept;
pub mod attributes;
pub mod check;
pub mod classic;
pub mod config;
pub mod connect;
pub mod delta;
pub mod diag;
pub mod direction;
mod dump;
pub mod dumper;

pub mod events;
pub mod group;
pub mod labels;
pub mod listen;
pub mod metrics;
pub mod mptcp;
mod namespaces;
pub mod owners;
pub mod path;
pub mod peers;
pub mod sample;
pub mod select;
pub mod selected;
pub mod sock_diag;
pub mod socket;
pub mod states;
mod structure;
mod subject;
pub mod tcp_info;
pub mod timeouts;
pub mod top;
pub mod total;
pub mod track;

/// Name of the source: configuration key, label value and field in the log.
pub const NAME: &str = "sockets";

impl SourceKind for Sockets {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = check::REQUIREMENTS;

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(settings: &Settings, _: Mode) -> Duration {
        settings.timeout
    }

    fn bounds(settings: &Settings, _: &Host) -> Bounds {
        let Settings { netns, limit, top, classic, .. } = settings;
        vec![
            (&NETNS, netns::namespace_limit(netns)),
            (&labels::GROUP, limit + 1), // one more for `~other`
            (&labels::TOP, top.count),
            (&labels::FLOW, if classic.enabled { classic.limit } else { 1 }),
        ]
    }

    fn build(settings: &Settings, _: &Host, _: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings, stop)?))
    }

    fn check(settings: &Settings, _: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings)
    }

    fn suffices(_: &Settings, checks: &[Check]) -> bool {
        check::suffices(checks)
    }

    fn conflict(settings: &Settings) -> Option<Conflict> {
        if let Err(error) = selected::filter(settings) {
            let position = settings.filter.position;
            return Some(Conflict { key: "sources.sockets.filter", message: error.to_string(), position });
        }
        let [budget, timeout] = [settings.process_budget, settings.timeout].map(humantime::format_duration);
        (settings.process_budget > settings.timeout / 2).then(|| {
            let message = format!(
                "{budget} is more than half of the timeout of {timeout}, and the dumps take time too; lower it, or raise \
                 sources.sockets.timeout"
            );
            Conflict { key: "sources.sockets.process_budget", message, position: None }
        })
    }

    fn without_effect(settings: &Settings, naming: Profile) -> Vec<String> {
        super::classic_without_effect(NAME, settings.classic.enabled, naming)
    }
}

/// The source: its settings, the tracked sockets and the netlink sockets of each network namespace.
pub struct Sockets {
    settings: Settings,
    filter: Filter,
    shared: Arc<Shared>,
    namespaces: Arc<Mutex<OpenNamespaces>>,
    top: Top,
    classic: Option<Classic>,
    owners: Option<Owners>,
    cgroups: ByCgroup,
    lookup: OwnerLookup,
}

impl Sockets {
    /// Creates the source and starts the thread that receives destroy events. A network namespace is entered when it is
    /// first read.
    pub fn new(settings: &Settings, stop: &Stop) -> Result<Self, SourceError> {
        let filter = selected::filter(settings)
            .map_err(|cause| SourceError::parse("reading sources.sockets.filter", cause))?;
        let starting = |cause| SourceError::io("starting a thread of the source sockets", cause);
        let classic = Classic::new(&settings.classic, stop).map_err(starting)?;
        let by = |key| settings.group_by.contains(&key);
        let cgroup = by(GroupBy::Cgroup) || by(GroupBy::Container);
        let cgroups = if cgroup { ByCgroup::detect() } else { ByCgroup::No };
        let by_process = by(GroupBy::Process) || matches!(cgroups, ByCgroup::Process);
        let lookup = OwnerLookup { process: by(GroupBy::Process), cgroup, by_process };
        let owners = if by_process || classic.as_ref().is_some_and(Classic::needs_processes) {
            let options = owners::walk_options(
                settings.process_budget,
                classic.as_ref().is_some_and(Classic::needs_all_holders),
                classic.as_ref().is_some_and(Classic::needs_command_lines),
            );
            Some(Owners::new(options, matches!(cgroups, ByCgroup::Process))?)
        } else {
            None
        };
        let groups = Groups::new(&settings.group_by, settings.limit, Peers::new(&settings.peer_groups));
        let tracker = Tracker::new(groups, settings.track, settings.close_events, by_process);
        let shared = Shared::new(tracker, filter.clone(), classic.as_ref().map(Classic::rtt))
            .map_err(|cause| SourceError::io("making an eventfd", cause))?;
        let source = Self {
            settings: settings.clone(),
            filter,
            shared,
            namespaces: Arc::new(Mutex::new(OpenNamespaces::new(&settings.netns))),
            top: Top::new(settings.top),
            classic,
            owners,
            cgroups,
            lookup,
        };
        if settings.close_events || !settings.netns.is_empty() {
            source.start(stop).map_err(starting)?;
        }
        Ok(source)
    }

    /// Starts the thread that receives destroy events, and that closes the netlink sockets in network namespaces that
    /// are gone.
    fn start(&self, stop: &Stop) -> std::io::Result<()> {
        let (shared, open, stop) = (Arc::clone(&self.shared), Arc::clone(&self.namespaces), stop.clone());
        std::thread::Builder::new().name("sockets-closed".to_owned()).spawn(move || {
            shared.run(&stop, || {
                // A cycle in progress closes them itself.
                if let Ok(mut open) = open.try_lock() {
                    open.close_gone(&shared);
                }
            });
        })?;
        Ok(())
    }

    /// Reads one network namespace. Adds the cookies of sockets whose processes are needed to `wanted`.
    fn read_namespace(
        &mut self,
        namespace: &mut OpenNamespace,
        wanted: &mut HashSet<u64>,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        let OpenNamespace { number, label, sock_diag, .. } = namespace;
        let Self { filter, shared, owners, cgroups, lookup, top, classic, .. } = self;
        let filter = &*filter;
        if sock_diag.name(filter) {
            shared.rename(*number, sock_diag.names());
        }
        let mut states = States::default();
        let mut dump = Dump::begin(*number, shared, *lookup, owners.as_mut(), cgroups, wanted);
        dump.listeners(sock_diag, filter, &mut states)?;
        dump.connections(sock_diag, filter, label.as_ref(), &mut states, top, classic.as_mut())?;
        states.observe_tcp(label.as_ref(), out);
        match dump.datagrams(sock_diag, filter, &mut states) {
            Ok(()) => states.observe_udp(label.as_ref(), out),
            // A kernel without `udp_diag` shows no UDP socket in any dump; those of TCP were all read.
            Err(error @ SourceError::Absent { .. }) => out.fail("udp", error),
            Err(error) => return Err(error),
        }
        dump.complete();
        Ok(())
    }

    fn observe(&mut self, out: &mut Readings) {
        let mut tracker = self.shared.tracker();
        tracker.groups.observed();
        // Copied, so that events do not wait for the lock while readings are made.
        let groups: Vec<_> = tracker
            .groups
            .iter()
            .map(|group| (group.labels.clone(), group.totals.clone(), tracker.is_current(group)))
            .collect();
        out.observe(metrics::CONNSCOPE_SOCKETS_TRACKED, &[], tracker.len() as u64);
        out.observe(metrics::CONNSCOPE_SOCKETS_GROUPS, &[], groups.len() as u64);
        for key in Key::ALL {
            let labels = [(Label::Key, key.word().into())];
            out.observe(metrics::CONNSCOPE_SOCKETS_LEFT_OUT, &labels, tracker.groups.left_out(*key));
        }
        drop(tracker);
        for (labels, totals, current) in groups {
            totals.observe(&labels, current, out);
        }
        if let Some(owners) = &self.owners {
            out.observe(metrics::CONNSCOPE_SOCKETS_UNATTRIBUTED, &[], owners.unattributed);
        }
        if self.settings.close_events {
            self.shared.observe(out);
            if let Some(error) = self.shared.error() {
                out.fail("close_events", error);
            }
        }
        self.top.observe(out);
    }
}

impl Source for Sockets {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let namespaces = Arc::clone(&self.namespaces);
        let mut open = namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = open.refresh(&self.settings, &self.filter, &self.shared, out)?;
        self.shared.tracker().groups.begin_cycle();
        // An earlier cycle that failed may have left flows.
        self.top.clear();
        if let Some(classic) = &mut self.classic {
            classic.clear();
        }
        let mut wanted = HashSet::new();
        for namespace in open.in_order() {
            let result = self.read_namespace(namespace, &mut wanted, out);
            match (&mut report, &namespace.label) {
                (Some(report), Some(label)) => report.record(label, result, out),
                _ => result?,
            }
        }
        drop(open);
        if self.settings.close_events {
            self.shared.drain();
        }
        self.attribute(&wanted);
        self.shared.tracker().sweep(Instant::now());
        if let Some(classic) = &mut self.classic {
            let selected = classic.finish(self.owners.as_ref(), out);
            self.shared.tracker().select(&selected);
        }
        self.observe(out);
        report.map_or(Ok(()), |report| report.finish(out))
    }
}

impl Sockets {
    /// Looks up the processes of new sockets, and puts the pending sockets into their groups.
    fn attribute(&mut self, wanted: &HashSet<u64>) {
        if let Some(owners) = &mut self.owners {
            owners.keep(wanted);
            owners.look_up();
        }
        let lookup = self.lookup;
        let owners = self.owners.as_ref().filter(|_| lookup.by_process);
        self.shared.tracker().attribute(
            |cookie| {
                let Some(owners) = owners else { return Some(Attribution::default()) };
                // A socket that this cycle did not see, because a dump failed, was not looked up.
                let owner = if wanted.contains(&cookie) { owners.of(cookie) } else { None }?;
                let process = owner.filter(|_| lookup.process).and_then(|owner| owner.processes.first());
                Some(Attribution {
                    process: process.map(|process| Arc::clone(&process.comm)),
                    cgroup: owner.and_then(|owner| owner.cgroup.clone()),
                    cgroup_pending: false,
                })
            },
            Instant::now(),
        );
    }
}
