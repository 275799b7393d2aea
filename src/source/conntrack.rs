//! The source `conntrack`: connection tracking statistics of the configured network namespaces.
//!
//! There are three methods to read the same counters (`command`, `netlink`, `procfs`). With `auto` the first that works
//! is used, in this order, and the earlier ones are tried again from time to time. Counters are unwrapped to 64 bits
//! before they are summed.

use super::netns::Report;
use super::{Check, Flag, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::host::netns::{self, Finder, Namespace, NamespaceResult};
use crate::metric::{Bounds, Label, Part};
use crate::reading::{Readings, SourceError};
use crate::source::conntrack::config::{Conntrack as Settings, Cpu, Via};
use crate::source::metrics::NETNS;
use crate::stop::Stop;
use crate::sys::namespace::Identity;
use ask::{AskOptions, Method, MethodChoice, NamespaceStatistics, SharedDeadline, methods};
use entries::Entries;
use events::Events;
use fields::{Field, Statistics};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub mod ask;
mod check;
pub mod cilium;
pub mod command;
pub mod config;
pub mod entries;
pub mod events;
pub mod fields;
pub mod growth;
pub mod limits;
pub mod metrics;
mod module;
pub mod netlink;
pub mod procfs;
pub mod slab;
pub mod sysctls;
pub mod table;
pub mod timeouts;
pub mod unwrap;

/// Name of the source: configuration key, label value and field in the log.
pub const NAME: &str = "conntrack";

impl SourceKind for Conntrack {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = &[
        Requirement {
            capabilities: &["CAP_NET_ADMIN"],
            address_families: &["AF_NETLINK"],
            ..Requirement::of("via: netlink")
        },
        Requirement {
            capabilities: &["CAP_NET_ADMIN"],
            address_families: &["AF_NETLINK"],
            ..Requirement::of("via: command")
        },
        Requirement { files: &["/proc/net/stat/nf_conntrack"], ..Requirement::of("via: procfs") },
        Requirement {
            files: &["/proc/sys/net/netfilter"],
            ..Requirement::of("entries and sizes of the table")
        },
        Requirement {
            capabilities: &["CAP_NET_ADMIN"],
            address_families: &["AF_NETLINK"],
            ..Requirement::of("entries: what is in the table")
        },
        Requirement {
            capabilities: &["CAP_NET_ADMIN"],
            address_families: &["AF_NETLINK"],
            ..Requirement::of("events: count")
        },
        Requirement {
            capabilities: &["CAP_DAC_READ_SEARCH"],
            files: &["/proc/slabinfo"],
            ..Requirement::of("memory of an entry")
        },
        super::netns::REQUIREMENT,
    ];
    const FLAGS: &'static [Flag] = config::FLAGS;

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(settings: &Settings, _: Mode) -> Duration {
        settings.timeout + super::timeouts::GRACE
    }

    fn bounds(settings: &Settings, _: &Host) -> Bounds {
        let namespaces = netns::namespace_limit(&settings.netns);
        vec![
            (&NETNS, namespaces),
            (&metrics::CPU, crate::sys::possible_cpus().len()),
            (&metrics::ENTRY, settings.entries.limit + namespaces),
            (&metrics::TOP_SOURCE, settings.entries.top),
            (&metrics::TOP_DESTINATION, settings.entries.top),
            (&metrics::TOP_PORT, settings.entries.top),
            (&metrics::TOP_PAIR, settings.entries.top),
            (&metrics::SNAT, settings.entries.top),
        ]
    }

    fn set_flag(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
        settings.set_flag(name, value)
    }

    fn build(settings: &Settings, _: &Host, mode: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        let entries = Entries::start(settings, mode, stop)?;
        let events = Events::start(settings, mode, stop)?;
        Ok(Box::new(Self { entries, events, ..Self::new(settings, stop) }))
    }

    fn check(settings: &Settings, _: &Host, stop: &Stop) -> Vec<Check> {
        check(settings, stop)
    }

    fn suffices(settings: &Settings, checks: &[Check]) -> bool {
        let wanted = methods(settings.via);
        let readable = checks
            .iter()
            .any(|check| check.works() && wanted.iter().any(|method| method.word() == check.via));
        readable
            && checks
                .iter()
                .all(|check| !["netns", "entries", "events"].contains(&check.via) || check.works())
    }
}

/// The source: the method in use, and the totals of earlier cycles.
pub struct Conntrack {
    options: AskOptions,
    choice: MethodChoice,
    cpu: Cpu,
    finder: Finder,
    socket: Option<netlink::Socket>,
    /// Identity of the agent's own network namespace, which never changes.
    identity: Option<Identity>,
    unwrapper: unwrap::Unwrapper,
    limits: limits::Limits,
    unknown: HashSet<Arc<str>>,
    entries: Option<Entries>,
    events: Option<Events>,
}

impl Conntrack {
    /// Creates the source without the parts that have threads: entries and events. Nothing is opened before the first read.
    pub fn new(settings: &Settings, stop: &Stop) -> Self {
        Self {
            options: AskOptions::new(settings, stop),
            choice: MethodChoice::new(settings.via),
            cpu: settings.cpu,
            finder: Finder::new(&settings.netns),
            socket: None,
            identity: None,
            unwrapper: unwrap::Unwrapper::default(),
            limits: limits::Limits::default(),
            unknown: HashSet::new(),
            entries: None,
            events: None,
        }
    }
}

impl Source for Conntrack {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let methods = self.choice.candidates();
        let (mut report, visits) = if self.finder.is_configured() {
            let (report, namespaces) = Report::begin(NAME, self.finder.find(), out);
            if let Some(entries) = &mut self.entries {
                entries.observe(Some(&namespaces), out);
            }
            let round = SharedDeadline::new(self.options.timeout);
            let visits = netns::visit(&namespaces, || Ok(self.options.ask(methods, &round, &mut None)));
            if let Some(events) = &self.events {
                self.limits.counted = events.observe(Some(&namespaces), out);
            }
            (Some(report), visits)
        } else {
            if let Some(entries) = &mut self.entries {
                entries.observe(None, out);
            }
            if let Some(events) = &self.events {
                self.limits.counted = events.observe(None, out);
            }
            (None, vec![self.read_own(methods)?])
        };
        let mut used = None;
        let mut refused = BTreeMap::new();
        let mut result = Ok(());
        for NamespaceResult { namespace, result: visited } in visits {
            let labels: Vec<(Label, Arc<str>)> =
                report.iter().map(|_| (Label::Netns, Arc::clone(&namespace.label))).collect();
            let read = visited.and_then(|(identity, answer)| {
                let method = answer.statistics.as_ref().ok().map(|(method, _)| *method);
                used = used.max(method.map(std::cmp::Reverse));
                self.observe(identity, answer, &labels, &mut refused, out)
            });
            match &mut report {
                Some(report) => report.record(&namespace.label, read, out),
                None => result = read,
            }
        }
        self.unwrapper.forget_unseen();
        self.limits.finish(out);
        let used = used.map(|std::cmp::Reverse(method)| method);
        self.choice.settle(used, &refused);
        if let Some(method) = used {
            let via = [(Label::Via, method.word().into())];
            out.observe(metrics::CONNSCOPE_CONNTRACK_SOURCE, &via, 1);
        }
        report.map_or(result, |report| report.finish(out))
    }
}

impl Conntrack {
    /// Reads the agent's own network namespace, over a socket that stays open.
    fn read_own(&mut self, methods: &[Method]) -> Result<NamespaceResult<NamespaceStatistics>, SourceError> {
        let identity = match self.identity {
            Some(identity) => identity,
            None => *self.identity.insert(
                crate::sys::namespace::identity()
                    .map_err(|cause| SourceError::io("identifying the network namespace", cause))?,
            ),
        };
        let round = SharedDeadline::new(self.options.timeout);
        let answer = self.options.ask(methods, &round, &mut self.socket);
        let namespace =
            Namespace { label: "".into(), path: "/proc/self/ns/net".into(), file: (0, 0), is_named: true };
        Ok(NamespaceResult { namespace, result: Ok((identity, answer)) })
    }

    /// Observes the statistics of a network namespace. The error says which are missing.
    fn observe(
        &mut self,
        identity: Identity,
        answer: NamespaceStatistics,
        labels: &[(Label, Arc<str>)],
        refused: &mut BTreeMap<Method, SourceError>,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        for (method, error) in answer.refused {
            refused.entry(method).or_insert(error);
        }
        let mut table = answer.table;
        for (path, error) in std::mem::take(&mut table.unreadable) {
            out.fail(path, error);
        }
        let result = match answer.statistics {
            Err(error) => Err(error),
            Ok((_, mut statistics)) => {
                table.usage = table.usage.or(statistics.entries);
                merge(&mut statistics, answer.expectations);
                self.unwrapper.unwrap(identity, &mut statistics.rows);
                self.observe_counters(&statistics, labels, out);
                Ok(())
            }
        };
        table.observe(labels, out);
        self.limits.observe(identity, &table, labels, out);
        for (helper, count) in &answer.helpers {
            let mut labels = labels.to_vec();
            labels.push((Label::Helper, helper.as_str().into()));
            out.observe(metrics::CONNTRACK_HELPER, &labels, *count);
        }
        result
    }

    fn observe_counters(
        &mut self,
        statistics: &Statistics,
        labels: &[(Label, Arc<str>)],
        out: &mut Readings,
    ) {
        match self.cpu {
            Cpu::Each => {
                for row in &statistics.rows {
                    let mut labels = labels.to_vec();
                    labels.push((Label::Cpu, row.cpu.to_string().into()));
                    for (field, total) in &row.fields {
                        self.observe_field(field, *total, &labels, out);
                    }
                }
            }
            Cpu::Sum => {
                let mut sums: BTreeMap<&Field, u64> = BTreeMap::new();
                for (field, total) in statistics.rows.iter().flat_map(|row| &row.fields) {
                    let sum = sums.entry(field).or_default();
                    *sum = sum.saturating_add(*total);
                }
                for (field, sum) in sums {
                    self.observe_field(field, sum, labels, out);
                }
            }
        }
    }

    fn observe_field(&mut self, field: &Field, total: u64, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        match field {
            Field::Known(known) => out.observe(known.metric, labels, total),
            Field::Unknown(word) => {
                if self.unknown.len() < metrics::UNKNOWN_FIELDS {
                    self.unknown.insert(Arc::clone(word));
                }
                if self.unknown.contains(word) {
                    let mut labels = labels.to_vec();
                    labels.push((Label::Field, Arc::clone(word)));
                    out.observe(metrics::CONNTRACK_UNKNOWN, &labels, total);
                }
            }
        }
    }
}

/// Adds the expectation counters to the rows of their CPUs.
fn merge(statistics: &mut Statistics, expectations: Option<Statistics>) {
    for row in expectations.into_iter().flat_map(|expectations| expectations.rows) {
        if let Some(present) = statistics.rows.iter_mut().find(|present| present.cpu == row.cpu) {
            for (field, value) in row.fields {
                if !present.fields.iter().any(|(known, _)| *known == field) {
                    present.fields.push((field, value));
                }
            }
        }
    }
}

/// Tries each method and the sysctls in the agent's own network namespace, then the configured namespaces.
fn check(settings: &Settings, stop: &Stop) -> Vec<Check> {
    let options = AskOptions::new(settings, stop);
    let cpus = |statistics: Statistics| format!("{} CPUs", statistics.rows.len());
    let mut checks: Vec<Check> = methods(Via::Auto)
        .iter()
        .map(|method| {
            let result = options
                .read_by(*method, &SharedDeadline::new(options.timeout), &mut None)
                .map(cpus)
                .map(|cpus| match method {
                    Method::Command => {
                        let version = command::version(&options.command, options.timeout, stop);
                        format!("{}, {cpus}", version.unwrap_or_else(|_| options.command.clone()))
                    }
                    _ => cpus,
                });
            Check::new(NAME, method.word(), result)
        })
        .collect();
    let mut table = options.sysctls.read(|| None);
    let memory = check::memory(&table);
    let unreadable = table.unreadable.pop();
    let table = unreadable.map_or(Ok(()), |(_, error)| Err(error)).and_then(|()| match table.usage {
        Some(usage) => Ok(match table.limit {
            Some(0) => format!("{usage} entries, no limit"),
            Some(limit) => format!("{usage} of {limit} entries"),
            None => format!("{usage} entries"),
        }),
        None => Err(SourceError::absent(
            "looking for the count of entries among the sysctls",
            module::sysctls_missing(),
        )),
    });
    checks.push(Check::new(NAME, "sysctl", table));
    checks.push(memory);
    checks.extend(check::cilium(Path::new(cilium::MAPS)));
    if !settings.netns.is_empty() {
        let round = SharedDeadline::new(options.timeout);
        let read = || options.ask(methods(settings.via), &round, &mut None).statistics.map(|_| ());
        checks.push(Check::new(NAME, "netns", super::netns::check(&settings.netns, read)));
    }
    checks.extend(entries::check(settings, stop));
    checks.extend(events::check(settings));
    checks
}
