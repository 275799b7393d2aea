//! The connection tracking statistics: the method by which they are read, the network namespaces, and the metrics made
//! of the numbers.
//!
//! Three ways lead to the same counters (`command`, `netlink`, `procfs`); with `auto` the first that works is used,
//! in that order, and the ones before it are tried again every now and then. Counters are unwrapped to 64 bits here,
//! before any sum.

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
use ask::{AskOptions, Method, MethodChoice, NamespaceStatistics, SharedDeadline, ways};
use fields::{Field, Statistics};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub mod ask;
pub mod command;
pub mod config;
pub mod fields;
pub mod metrics;
mod module;
pub mod netlink;
pub mod procfs;
pub mod table;
pub mod timeouts;
pub mod unwrap;

/// Key in the configuration, label value, field in the log.
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
        vec![(&NETNS, netns::most(&settings.netns)), (&metrics::CPU, crate::sys::possible_cpus().len())]
    }

    fn set_flag(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
        settings.set_flag(name, value)
    }

    fn build(settings: &Settings, _: &Host, _: Mode, stop: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings, stop)))
    }

    fn check(settings: &Settings, _: &Host, stop: &Stop) -> Vec<Check> {
        check(settings, stop)
    }

    fn suffices(settings: &Settings, checks: &[Check]) -> bool {
        let wanted = ways(settings.via);
        let readable =
            checks.iter().any(|check| check.works() && wanted.iter().any(|way| way.word() == check.via));
        readable && checks.iter().all(|check| check.via != "netns" || check.works())
    }
}

/// The source: the way that is used, and the totals of earlier cycles.
pub struct Conntrack {
    asking: AskOptions,
    choice: MethodChoice,
    cpu: Cpu,
    finder: Finder,
    socket: Option<netlink::Socket>,
    /// The network namespace of the agent, which is always the same.
    identity: Option<Identity>,
    unwrapper: unwrap::Unwrapper,
    unknown: HashSet<Arc<str>>,
}

impl Conntrack {
    /// The source with its settings; nothing is opened before it is read.
    pub fn new(settings: &Settings, stop: &Stop) -> Self {
        Self {
            asking: AskOptions::new(settings, stop),
            choice: MethodChoice::new(settings.via),
            cpu: settings.cpu,
            finder: Finder::new(&settings.netns),
            socket: None,
            identity: None,
            unwrapper: unwrap::Unwrapper::default(),
            unknown: HashSet::new(),
        }
    }
}

impl Source for Conntrack {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let ways = self.choice.candidates();
        let (mut report, visits) = if self.finder.is_configured() {
            let (report, namespaces) = Report::begin(NAME, self.finder.find(), out);
            let round = SharedDeadline::new(self.asking.timeout);
            let visits = netns::visit(&namespaces, || Ok(self.asking.ask(ways, &round, &mut None)));
            (Some(report), visits)
        } else {
            (None, vec![self.own(ways)?])
        };
        let mut used = None;
        let mut refused = BTreeMap::new();
        let mut result = Ok(());
        for NamespaceResult { namespace, result: visited } in visits {
            let labels: Vec<(Label, Arc<str>)> =
                report.iter().map(|_| (Label::Netns, Arc::clone(&namespace.label))).collect();
            let read = visited.and_then(|(identity, answer)| {
                let way = answer.statistics.as_ref().ok().map(|(way, _)| *way);
                used = used.max(way.map(std::cmp::Reverse));
                self.observe(identity, answer, &labels, &mut refused, out)
            });
            match &mut report {
                Some(report) => report.record(&namespace.label, read, out),
                None => result = read,
            }
        }
        self.unwrapper.forget_unseen();
        let used = used.map(|std::cmp::Reverse(way)| way);
        self.choice.settle(used, &refused);
        if let Some(way) = used {
            let via = [(Label::Via, way.word().into())];
            out.observe(metrics::CONNSCOPE_CONNTRACK_SOURCE, &via, 1);
        }
        report.map_or(result, |report| report.finish(out))
    }
}

impl Conntrack {
    /// Asks in the agent's own network namespace, over the socket that stays open.
    fn own(&mut self, ways: &[Method]) -> Result<NamespaceResult<NamespaceStatistics>, SourceError> {
        let identity = match self.identity {
            Some(identity) => identity,
            None => *self.identity.insert(
                crate::sys::namespace::identity()
                    .map_err(|cause| SourceError::io("identifying the network namespace", cause))?,
            ),
        };
        let round = SharedDeadline::new(self.asking.timeout);
        let answer = self.asking.ask(ways, &round, &mut self.socket);
        let namespace = Namespace { label: "".into(), path: "/proc/self/ns/net".into(), file: (0, 0) };
        Ok(NamespaceResult { namespace, result: Ok((identity, answer)) })
    }

    /// Observes what one namespace answered; the error says what is missing.
    fn observe(
        &mut self,
        identity: Identity,
        answer: NamespaceStatistics,
        labels: &[(Label, Arc<str>)],
        refused: &mut BTreeMap<Method, SourceError>,
        out: &mut Readings,
    ) -> Result<(), SourceError> {
        for (way, error) in answer.refused {
            refused.entry(way).or_insert(error);
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

/// Adds the counters of expectations to the rows of their CPUs.
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

/// Tries each way, and the sysctls, in the agent's own network namespace, then the configured ones.
fn check(settings: &Settings, stop: &Stop) -> Vec<Check> {
    let asking = AskOptions::new(settings, stop);
    let cpus = |statistics: Statistics| format!("{} CPUs", statistics.rows.len());
    let mut checks: Vec<Check> = ways(Via::Auto)
        .iter()
        .map(|way| {
            let result =
                asking.ask_by(*way, &SharedDeadline::new(asking.timeout), &mut None).map(cpus).map(|cpus| {
                    match way {
                        Method::Command => {
                            let version = command::version(&asking.command, asking.timeout, stop);
                            format!("{}, {cpus}", version.unwrap_or_else(|_| asking.command.clone()))
                        }
                        _ => cpus,
                    }
                });
            Check::new(NAME, way.word(), result)
        })
        .collect();
    let mut table = asking.sysctls.read(|| None);
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
    if !settings.netns.is_empty() {
        let round = SharedDeadline::new(asking.timeout);
        let read = || asking.ask(ways(settings.via), &round, &mut None).statistics.map(|_| ());
        checks.push(Check::new(NAME, "netns", super::netns::check(&settings.netns, read)));
    }
    checks
}
