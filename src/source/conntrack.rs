//! The connection tracking statistics: which way they are asked for, in which network namespaces, and what becomes
//! of the numbers.
//!
//! Three ways lead to the same counters (`command`, `netlink`, `procfs`); with `auto` the first that works is used,
//! in that order, and the ones before it are tried again every now and then. Counters are unwrapped to 64 bits here,
//! before any sum.

use super::netns::{self, Visit};
use super::{Check, Reason, Source, SourceError, SourceSpec};
use crate::config::{Config, Conntrack as Settings, Cpu, Via};
use crate::metric::table as metrics;
use crate::metric::{Label, UNKNOWN_FIELDS};
use crate::reading::Readings;
use crate::stop::Stop;
use crate::sys::namespace::Identity;
use crate::timeouts;
use fields::{Field, Statistics};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::Table;

pub mod command;
pub mod fields;
pub mod netlink;
pub mod procfs;
pub mod table;
pub mod unwrap;

/// The source as the agent knows it.
pub const SPEC: SourceSpec = SourceSpec {
    name: "conntrack",
    default_on: true,
    enabled: |config| config.sources.conntrack.enabled,
    deadline: |config| config.sources.conntrack.timeout + timeouts::GRACE,
    namespaces: |config| match config.sources.conntrack.netns.as_slice() {
        [] => 1,
        names if names.iter().any(|name| name == "all") => netns::MOST,
        names => names.len(),
    },
    build: |config, stop| Ok(Box::new(Conntrack::new(&config.sources.conntrack, stop))),
    check,
    suffices: |config, checks| {
        let wanted = ways(config.sources.conntrack.via);
        let readable =
            checks.iter().any(|check| check.works() && wanted.iter().any(|way| way.word() == check.via));
        readable && checks.iter().all(|check| check.via != "netns" || check.works())
    },
};

/// A way to the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Command,
    Netlink,
    Procfs,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Netlink => "netlink",
            Self::Procfs => "procfs",
        }
    }
}

fn ways(via: Via) -> &'static [Way] {
    match via {
        Via::Auto => &[Way::Command, Way::Netlink, Way::Procfs],
        Via::Command => &[Way::Command],
        Via::Netlink => &[Way::Netlink],
        Via::Procfs => &[Way::Procfs],
    }
}

/// How to ask; the same for every namespace.
struct Asking {
    command: String,
    timeout: Duration,
    dirs: Vec<String>,
    files: Vec<String>,
    release: Option<(u32, u32)>,
    possible: Vec<u32>,
    stop: Stop,
}

/// What one network namespace answered.
struct Answer {
    statistics: Result<(Way, Statistics), SourceError>,
    /// Ways that were tried before, and why they did not do.
    refused: Vec<(Way, SourceError)>,
    expectations: Option<Statistics>,
    table: Result<Table, SourceError>,
}

impl Asking {
    fn new(settings: &Settings, stop: &Stop) -> Self {
        let or = |configured: &[String], standard: &[&str]| match configured {
            [] => standard.iter().map(ToString::to_string).collect(),
            configured => configured.to_vec(),
        };
        Self {
            command: settings.command.clone(),
            timeout: settings.timeout,
            dirs: or(&settings.table.dirs, table::DIRS),
            files: or(&settings.table.files, table::FILES),
            release: crate::sys::kernel_release(),
            possible: crate::sys::possible_cpus(),
            stop: stop.clone(),
        }
    }

    /// Asks in the calling thread's namespace, by the first of `ways` that works. `socket` is kept for the next time
    /// where there is a next time.
    fn ask(&self, ways: &[Way], socket: &mut Option<netlink::Socket>) -> Answer {
        let mut refused = Vec::new();
        let mut statistics = None;
        for way in ways {
            match self.ask_by(*way, socket) {
                Ok(answer) => {
                    statistics = Some((*way, answer));
                    break;
                }
                Err(error) => refused.push((*way, error)),
            }
        }
        let native = statistics.as_ref().is_none_or(|(way, _)| *way != Way::Procfs);
        let mut table = table::read(&self.dirs, &self.files);
        if native && let Ok(table) = &mut table {
            table.complete(connected(socket).ok());
        }
        let expectations = match &statistics {
            // The file has them in its own columns; without statistics there is nothing to add them to.
            Some((Way::Command | Way::Netlink, _)) => {
                connected(socket).ok().and_then(|socket| socket.expectations().ok())
            }
            _ => None,
        };
        let statistics = match statistics {
            Some(statistics) => Ok(statistics),
            None => Err(worst(&mut refused)),
        };
        Answer { statistics, refused, expectations, table }
    }

    fn ask_by(&self, way: Way, socket: &mut Option<netlink::Socket>) -> Result<Statistics, SourceError> {
        match way {
            Way::Command => command::ask(&self.command, self.timeout, &self.stop),
            Way::Procfs => procfs::ask(self.release, &self.possible),
            Way::Netlink => {
                let answer = connected(socket)?.statistics();
                if answer.is_err() {
                    // What is still in the socket would be taken for the answer to the next question.
                    *socket = None;
                }
                answer
            }
        }
    }
}

/// The socket, opened if it is not.
fn connected(socket: &mut Option<netlink::Socket>) -> Result<&mut netlink::Socket, SourceError> {
    match socket {
        Some(socket) => Ok(socket),
        None => Ok(socket.insert(netlink::Socket::open(timeouts::NETLINK)?)),
    }
}

/// One error for all the ways that failed: the one the operator can do most about, with all of them as its cause.
fn worst(refused: &mut Vec<(Way, SourceError)>) -> SourceError {
    if let [_] = refused.as_slice()
        && let Some((_, error)) = refused.pop()
    {
        return error;
    }
    let doing = "reading the connection tracking statistics".to_owned();
    let all = netns::reasons(refused.iter().map(|(way, error)| (way.word(), error)));
    let has = |reason| refused.iter().any(|(_, error)| error.reason() == reason);
    let capability = refused.iter().find_map(|(_, error)| error.capability());
    match capability {
        Some(capability) => SourceError::denied(doing, capability, all),
        None if has(Reason::Parse) => SourceError::parse(doing, all),
        None if has(Reason::Io) || has(Reason::Timeout) => SourceError::io(doing, all),
        None => SourceError::absent(doing, all),
    }
}

/// The way in use, and how long the better ones are left alone.
struct Choice {
    ways: &'static [Way],
    /// Position in `ways` of the first that is tried.
    first: usize,
    again_at: Option<Instant>,
    logged: Option<Way>,
}

impl Choice {
    fn new(via: Via) -> Self {
        Self { ways: ways(via), first: 0, again_at: None, logged: None }
    }

    fn candidates(&mut self) -> &'static [Way] {
        if self.again_at.is_some_and(|again_at| Instant::now() >= again_at) {
            self.first = 0;
            self.again_at = None;
        }
        self.ways.get(self.first..).unwrap_or(self.ways)
    }

    /// Settles on the best way that worked anywhere in this cycle; says so where it is another than before.
    fn settle(&mut self, used: Option<Way>, refused: &BTreeMap<Way, SourceError>) {
        let Some(used) = used else {
            self.first = 0;
            return;
        };
        let position = self.ways.iter().position(|way| *way == used).unwrap_or(0);
        if position > self.first {
            self.first = position;
            self.again_at = Some(Instant::now() + timeouts::SETTLED);
        }
        if self.logged != Some(used) {
            self.logged = Some(used);
            let via = used.word();
            let not = netns::reasons(refused.iter().map(|(way, error)| (way.word(), error)));
            if not.is_empty() {
                tracing::info!(source = SPEC.name, via, "reading the connection tracking statistics");
            } else {
                tracing::info!(source = SPEC.name, via, not, "reading the connection tracking statistics");
            }
        }
    }
}

/// The source.
pub struct Conntrack {
    asking: Asking,
    choice: Choice,
    cpu: Cpu,
    netns: Vec<String>,
    socket: Option<netlink::Socket>,
    unwrapper: unwrap::Unwrapper,
    unknown: HashSet<Arc<str>>,
}

impl Conntrack {
    /// The source with its settings; nothing is opened before it is read.
    pub fn new(settings: &Settings, stop: &Stop) -> Self {
        Self {
            asking: Asking::new(settings, stop),
            choice: Choice::new(settings.via),
            cpu: settings.cpu,
            netns: settings.netns.clone(),
            socket: None,
            unwrapper: unwrap::Unwrapper::default(),
            unknown: HashSet::new(),
        }
    }
}

impl Source for Conntrack {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let ways = self.choice.candidates();
        let visits = if self.netns.is_empty() { self.own(ways)? } else { self.visit(ways, out) };
        let mut used = None;
        let mut refused = BTreeMap::new();
        let mut last_error = None;
        for Visit { namespace, result } in visits {
            let labels: Vec<(Label, Arc<str>)> = match self.netns.as_slice() {
                [] => Vec::new(),
                _ => vec![(Label::Netns, Arc::clone(&namespace.label))],
            };
            let error = match result {
                Ok((identity, answer)) => {
                    let way = answer.statistics.as_ref().ok().map(|(way, _)| *way);
                    used = used.max(way.map(std::cmp::Reverse));
                    let error = self.observe(identity, answer, &labels, &mut refused, out);
                    error.map_or(Ok(()), Err)
                }
                Err(error) => Err(error),
            };
            if !self.netns.is_empty() {
                out.observe(metrics::CONNSCOPE_NETNS_UP, &labels, u64::from(error.is_ok()));
            }
            if let Err(error) = error {
                if self.netns.is_empty() {
                    last_error = Some(error);
                } else {
                    out.fail(namespace.label.to_string(), error);
                }
            }
        }
        self.unwrapper.forget_unseen();
        let used = used.map(|std::cmp::Reverse(way)| way);
        self.choice.settle(used, &refused);
        if let Some(way) = used {
            let via = [(Label::Via, way.word().into())];
            out.observe(metrics::CONNSCOPE_CONNTRACK_SOURCE, &via, 1);
        }
        match last_error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Conntrack {
    /// Asks in the agent's own network namespace, over the socket that stays open.
    fn own(&mut self, ways: &[Way]) -> Result<Vec<Visit<Answer>>, SourceError> {
        let identity = crate::sys::namespace::identity()
            .map_err(|cause| SourceError::io("telling the network namespace", cause))?;
        let answer = self.asking.ask(ways, &mut self.socket);
        let namespace = netns::Namespace { label: "".into(), path: "/proc/self/ns/net".into() };
        Ok(vec![Visit { namespace, result: Ok((identity, answer)) }])
    }

    /// Asks in every configured network namespace.
    fn visit(&mut self, ways: &[Way], out: &mut Readings) -> Vec<Visit<Answer>> {
        let found = netns::find(&self.netns);
        out.observe(metrics::CONNSCOPE_NETNS_LEFT_OUT, &[], found.left_out as u64);
        for (label, error) in found.missing {
            out.observe(metrics::CONNSCOPE_NETNS_UP, &[(Label::Netns, Arc::clone(&label))], 0);
            out.fail(label.to_string(), error);
        }
        let asking = &self.asking;
        netns::visit(&found.namespaces, || Ok(asking.ask(ways, &mut None)))
    }

    /// Observes what one namespace answered; the error says what is missing.
    fn observe(
        &mut self,
        identity: Identity,
        answer: Answer,
        labels: &[(Label, Arc<str>)],
        refused: &mut BTreeMap<Way, SourceError>,
        out: &mut Readings,
    ) -> Option<SourceError> {
        for (way, error) in answer.refused {
            refused.entry(way).or_insert(error);
        }
        let mut table_error = None;
        let mut table = answer.table.unwrap_or_else(|error| {
            table_error = Some(error);
            Table::default()
        });
        let error = match answer.statistics {
            Err(error) => Some(error),
            Ok((_, mut statistics)) => {
                table.usage = table.usage.or(statistics.entries);
                merge(&mut statistics, answer.expectations);
                self.unwrapper.unwrap(identity, &mut statistics.rows);
                self.observe_counters(&statistics, labels, out);
                None
            }
        };
        table.observe(labels, out);
        error.or(table_error)
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
                if self.unknown.len() < UNKNOWN_FIELDS {
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
fn check(config: &Config, stop: &Stop) -> Vec<Check> {
    let settings = &config.sources.conntrack;
    let asking = Asking::new(settings, stop);
    let cpus = |statistics: Statistics| format!("{} CPUs", statistics.rows.len());
    let mut checks: Vec<Check> = ways(Via::Auto)
        .iter()
        .map(|way| {
            let result = asking.ask_by(*way, &mut None).map(cpus).map(|cpus| match way {
                Way::Command => {
                    let version = command::version(&asking.command, asking.timeout, stop);
                    format!("{}, {cpus}", version.unwrap_or_else(|_| asking.command.clone()))
                }
                _ => cpus,
            });
            Check::new(SPEC.name, way.word(), result)
        })
        .collect();
    let table = table::read(&asking.dirs, &asking.files).and_then(|table| match table.usage {
        Some(usage) => Ok(match table.limit {
            Some(0) => format!("{usage} entries, no limit"),
            Some(limit) => format!("{usage} of {limit} entries"),
            None => format!("{usage} entries"),
        }),
        None => Err(SourceError::absent(
            format!("looking for conntrack_count in {}", asking.dirs.join(", ")),
            "there is none; is the module nf_conntrack loaded?",
        )),
    });
    checks.push(Check::new(SPEC.name, "sysctl", table));
    if !settings.netns.is_empty() {
        checks.push(Check::new(SPEC.name, "netns", check_netns(settings, &asking)));
    }
    checks
}

fn check_netns(settings: &Settings, asking: &Asking) -> Result<String, SourceError> {
    let found = netns::find(&settings.netns);
    if let Some((_, error)) = found.missing.into_iter().next() {
        return Err(error);
    }
    let count = found.namespaces.len();
    for visit in
        netns::visit(&found.namespaces, || asking.ask(ways(settings.via), &mut None).statistics.map(|_| ()))
    {
        visit.result?;
    }
    Ok(format!("{count} network namespaces"))
}
