//! Reads the connection tracking statistics by one of three methods, with the expectation counters and the table.

#![expect(
    clippy::disallowed_methods,
    reason = "the methods share the deadline of a cycle, and an earlier method is tried again after a time"
)]

use super::fields::Statistics;
use super::netlink::helpers::Helpers;
use super::sysctls::Timeouts;
use super::table::{Sysctls, Table};
use super::{command, netlink, procfs};
use crate::metric::label::Reason;
use crate::reading::{SourceError, chain};
use crate::source::conntrack::config::{Conntrack as Settings, Via};
use crate::source::conntrack::timeouts;
use crate::source::netns::reasons;
use crate::stop::Stop;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A method of reading the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `conntrack -S`.
    Command,
    /// ctnetlink.
    Netlink,
    /// `/proc/net/stat/nf_conntrack`.
    Procfs,
}

impl Method {
    /// Name of the method in the configuration, and value of the label `via`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Netlink => "netlink",
            Self::Procfs => "procfs",
        }
    }
}

/// The methods to try, in order of preference.
pub fn methods(via: Via) -> &'static [Method] {
    match via {
        Via::Auto => &[Method::Command, Method::Netlink, Method::Procfs],
        Via::Command => &[Method::Command],
        Via::Netlink => &[Method::Netlink],
        Via::Procfs => &[Method::Procfs],
    }
}

/// Options of reading, the same for every network namespace.
pub struct AskOptions {
    /// Name or path of the conntrack program.
    pub command: String,
    /// Time after which the program is killed.
    pub timeout: Duration,
    /// Sysctls from which the table's usage and limit are read.
    pub sysctls: Sysctls,
    /// The time-outs, unless they are not to be reported.
    timeouts: Option<Timeouts>,
    release: Option<(u32, u32)>,
    possible: Vec<u32>,
    stop: Stop,
}

/// The statistics of a network namespace.
pub struct NamespaceStatistics {
    /// The counters, and the method that read them.
    pub statistics: Result<(Method, Statistics), SourceError>,
    /// Methods that failed before, and their errors.
    pub refused: Vec<(Method, SourceError)>,
    /// Expectation counters, if the method does not include them.
    pub expectations: Option<Statistics>,
    /// The expectations that wait for a connection, by helper; empty if there are none.
    pub helpers: Helpers,
    /// Usage, limit and buckets of the table.
    pub table: Table,
}

impl AskOptions {
    /// Options from the settings, and the properties of this machine.
    pub fn new(settings: &Settings, stop: &Stop) -> Self {
        Self {
            command: settings.command.clone(),
            timeout: settings.timeout,
            sysctls: Sysctls::new(&settings.table),
            timeouts: settings.table.timeouts.then(Timeouts::default),
            release: crate::sys::kernel_release(),
            possible: crate::sys::possible_cpus(),
            stop: stop.clone(),
        }
    }

    /// Reads the statistics of the calling thread's network namespace by the first of `ways` that works. `socket` keeps
    /// the opened socket for the next cycle.
    pub fn ask(
        &self,
        methods: &[Method],
        round: &SharedDeadline,
        socket: &mut Option<netlink::Socket>,
    ) -> NamespaceStatistics {
        let mut refused = Vec::new();
        let mut statistics = None;
        // If there is another method, a program that hung in one namespace is not run in the next.
        let worth = |method: &&Method| !(**method == Method::Command && methods.len() > 1 && round.hung());
        for method in methods.iter().filter(worth) {
            match self.read_by(*method, round, socket) {
                Ok(answer) => {
                    statistics = Some((*method, answer));
                    break;
                }
                Err(error) => refused.push((*method, error)),
            }
            if self.stop.draining() {
                break; // the program was killed because the agent is stopping
            }
        }
        let native = statistics.as_ref().is_none_or(|(method, _)| *method != Method::Procfs);
        let mut table =
            self.sysctls.read(|| native.then(|| with_socket(socket, netlink::Socket::global).ok()).flatten());
        for (name, value) in self.timeouts.iter().flat_map(|timeouts| timeouts.read().to_vec()) {
            table.add(&name, value);
        }
        let expectations = match &statistics {
            // The procfs file includes the expectation counters; without statistics they are not read.
            Some((Method::Command | Method::Netlink, _)) => {
                with_socket(socket, netlink::Socket::expectations)
                    .inspect_err(|error| tracing::debug!(error = chain(error), "no counters of expectations"))
                    .ok()
            }
            _ => None,
        };
        let helpers = match &expectations {
            Some(counters) if counters.are_expected() => with_socket(socket, netlink::Socket::helpers)
                .inspect_err(|error| tracing::debug!(error = chain(error), "no expectations by helper"))
                .unwrap_or_default(),
            _ => Helpers::default(),
        };
        let statistics = match statistics {
            Some(statistics) => Ok(statistics),
            None => Err(worst(&mut refused)),
        };
        NamespaceStatistics { statistics, refused, expectations, helpers, table }
    }

    /// Reads the counters by one method.
    pub fn read_by(
        &self,
        method: Method,
        round: &SharedDeadline,
        socket: &mut Option<netlink::Socket>,
    ) -> Result<Statistics, SourceError> {
        match method {
            Method::Procfs => procfs::ask(self.release, &self.possible),
            Method::Netlink => with_socket(socket, netlink::Socket::statistics),
            Method::Command => {
                let left = round.until.saturating_duration_since(Instant::now());
                match command::ask(&self.command, self.release, left, &self.stop) {
                    Err(SourceError::Timeout { doing, .. }) => {
                        round.hung.store(true, Ordering::Relaxed);
                        Err(SourceError::Timeout { doing, after: self.timeout })
                    }
                    answer => answer,
                }
            }
        }
    }
}

/// The deadline that all network namespaces of a cycle share. Otherwise a program that hangs would take the time-out in
/// each.
#[derive(Debug)]
pub struct SharedDeadline {
    until: Instant,
    hung: AtomicBool,
}

impl SharedDeadline {
    /// Starts the deadline now.
    pub fn new(timeout: Duration) -> Self {
        Self { until: Instant::now() + timeout, hung: AtomicBool::new(false) }
    }

    /// Whether the program has timed out in any namespace.
    fn hung(&self) -> bool {
        self.hung.load(Ordering::Relaxed)
    }
}

/// Calls `ask` with the socket, opened if necessary.
fn with_socket<T>(
    socket: &mut Option<netlink::Socket>,
    ask: impl FnOnce(&mut netlink::Socket) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    ask(match socket {
        Some(socket) => socket,
        None => socket.insert(netlink::Socket::open()?),
    })
}

/// One error for all methods that failed: the one that the operator can best act on, caused by all of them.
fn worst(refused: &mut Vec<(Method, SourceError)>) -> SourceError {
    if let [_] = refused.as_slice()
        && let Some((_, error)) = refused.pop()
    {
        return error;
    }
    let doing = "reading the connection tracking statistics".to_owned();
    let all = reasons(refused.iter().map(|(method, error)| (method.word(), error)));
    let has = |reason| refused.iter().any(|(_, error)| error.reason() == reason);
    let capability = refused.iter().find_map(|(_, error)| error.capability());
    match capability {
        Some(capability) => SourceError::denied(doing, capability, all),
        None if has(Reason::Parse) => SourceError::parse(doing, all),
        None if has(Reason::Io) || has(Reason::Timeout) => SourceError::io(doing, all),
        None => SourceError::absent(doing, all),
    }
}

/// The method in use, and the time at which earlier methods are tried again.
pub struct MethodChoice {
    methods: &'static [Method],
    /// Index in `ways` of the first method that is tried.
    first: usize,
    retry_at: Option<Instant>,
    logged: Option<Method>,
}

impl MethodChoice {
    /// The methods of this setting, none tried yet.
    pub fn new(via: Via) -> Self {
        Self { methods: methods(via), first: 0, retry_at: None, logged: None }
    }

    /// The methods that this cycle tries.
    pub fn candidates(&mut self) -> &'static [Method] {
        if self.retry_at.is_some_and(|retry_at| Instant::now() >= retry_at) {
            self.first = 0;
            self.retry_at = None;
        }
        self.methods.get(self.first..).unwrap_or(self.methods)
    }

    /// Chooses the best method that worked in any namespace in this cycle, and logs a change.
    pub fn settle(&mut self, used: Option<Method>, refused: &BTreeMap<Method, SourceError>) {
        let Some(used) = used else {
            self.first = 0;
            return;
        };
        let position = self.methods.iter().position(|method| *method == used).unwrap_or(0);
        if position > self.first {
            self.first = position;
            self.retry_at = Some(Instant::now() + timeouts::RETRY);
        }
        if self.logged != Some(used) {
            self.logged = Some(used);
            let via = used.word();
            let rejected = reasons(refused.iter().map(|(method, error)| (method.word(), error)));
            if rejected.is_empty() {
                tracing::info!(source = super::NAME, via, "reading the connection tracking statistics");
            } else {
                tracing::info!(
                    source = super::NAME,
                    via,
                    rejected,
                    "reading the connection tracking statistics"
                );
            }
        }
    }
}
