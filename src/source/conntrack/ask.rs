//! Asking for the connection tracking statistics: which of the three ways, and what else is asked on the occasion.

#![expect(
    clippy::disallowed_methods,
    reason = "the ways to ask share the time of one round, and a better one is tried again later"
)]

use super::fields::Statistics;
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

/// A method to read the counters.
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
    /// Its word in the configuration, and the value of the label `via`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Netlink => "netlink",
            Self::Procfs => "procfs",
        }
    }
}

/// The ways to try, the best first.
pub fn ways(via: Via) -> &'static [Method] {
    match via {
        Via::Auto => &[Method::Command, Method::Netlink, Method::Procfs],
        Via::Command => &[Method::Command],
        Via::Netlink => &[Method::Netlink],
        Via::Procfs => &[Method::Procfs],
    }
}

/// How to ask; the same for every namespace.
pub struct AskOptions {
    /// Name or path of the conntrack program.
    pub command: String,
    /// Longest run time of the program.
    pub timeout: Duration,
    /// What the table as a whole is read from.
    pub sysctls: Sysctls,
    release: Option<(u32, u32)>,
    possible: Vec<u32>,
    stop: Stop,
}

/// What one network namespace answered.
pub struct NamespaceStatistics {
    /// The counters, and the way that gave them.
    pub statistics: Result<(Method, Statistics), SourceError>,
    /// Ways that were tried before, and why they did not do.
    pub refused: Vec<(Method, SourceError)>,
    /// The counters of expectations, where they do not come with the others.
    pub expectations: Option<Statistics>,
    /// Entries, limit and buckets of the table.
    pub table: Table,
}

impl AskOptions {
    /// What the settings say, and what this machine is.
    pub fn new(settings: &Settings, stop: &Stop) -> Self {
        Self {
            command: settings.command.clone(),
            timeout: settings.timeout,
            sysctls: Sysctls::new(&settings.table),
            release: crate::sys::kernel_release(),
            possible: crate::sys::possible_cpus(),
            stop: stop.clone(),
        }
    }

    /// Asks in the calling thread's namespace, by the first of `ways` that works. `socket` is kept for the next time
    /// where there is a next time.
    pub fn ask(
        &self,
        ways: &[Method],
        round: &SharedDeadline,
        socket: &mut Option<netlink::Socket>,
    ) -> NamespaceStatistics {
        let mut refused = Vec::new();
        let mut statistics = None;
        // Where there is another way, a program that hung in one namespace is not waited for in the next.
        let worth = |way: &&Method| !(**way == Method::Command && ways.len() > 1 && round.hung());
        for way in ways.iter().filter(worth) {
            match self.ask_by(*way, round, socket) {
                Ok(answer) => {
                    statistics = Some((*way, answer));
                    break;
                }
                Err(error) => refused.push((*way, error)),
            }
            if self.stop.draining() {
                break; // the program was killed because the agent leaves, not because it does not work
            }
        }
        let native = statistics.as_ref().is_none_or(|(way, _)| *way != Method::Procfs);
        let table =
            self.sysctls.read(|| native.then(|| asked(socket, netlink::Socket::global).ok()).flatten());
        let expectations = match &statistics {
            // The file has them in its own columns; without statistics there is nothing to add them to.
            Some((Method::Command | Method::Netlink, _)) => asked(socket, netlink::Socket::expectations)
                .inspect_err(|error| tracing::debug!(error = chain(error), "no counters of expectations"))
                .ok(),
            _ => None,
        };
        let statistics = match statistics {
            Some(statistics) => Ok(statistics),
            None => Err(worst(&mut refused)),
        };
        NamespaceStatistics { statistics, refused, expectations, table }
    }

    /// Reads the counters by one method.
    pub fn ask_by(
        &self,
        way: Method,
        round: &SharedDeadline,
        socket: &mut Option<netlink::Socket>,
    ) -> Result<Statistics, SourceError> {
        match way {
            Method::Procfs => procfs::ask(self.release, &self.possible),
            Method::Netlink => asked(socket, netlink::Socket::statistics),
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

/// One cycle over all network namespaces: they share one deadline, or a program that hangs would hang as often as
/// there are namespaces.
#[derive(Debug)]
pub struct SharedDeadline {
    until: Instant,
    hung: AtomicBool,
}

impl SharedDeadline {
    /// Begins now.
    pub fn new(timeout: Duration) -> Self {
        Self { until: Instant::now() + timeout, hung: AtomicBool::new(false) }
    }

    /// Whether the program has hung anywhere.
    fn hung(&self) -> bool {
        self.hung.load(Ordering::Relaxed)
    }
}

/// Asks over the socket, which is opened if it is not.
fn asked<T>(
    socket: &mut Option<netlink::Socket>,
    ask: impl FnOnce(&mut netlink::Socket) -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    ask(match socket {
        Some(socket) => socket,
        None => socket.insert(netlink::Socket::open()?),
    })
}

/// One error for all the ways that failed: the one the operator can do most about, with all of them as its cause.
fn worst(refused: &mut Vec<(Method, SourceError)>) -> SourceError {
    if let [_] = refused.as_slice()
        && let Some((_, error)) = refused.pop()
    {
        return error;
    }
    let doing = "reading the connection tracking statistics".to_owned();
    let all = reasons(refused.iter().map(|(way, error)| (way.word(), error)));
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
pub struct MethodChoice {
    ways: &'static [Method],
    /// Position in `ways` of the first that is tried.
    first: usize,
    again_at: Option<Instant>,
    logged: Option<Method>,
}

impl MethodChoice {
    /// The ways of this setting, none of them tried yet.
    pub fn new(via: Via) -> Self {
        Self { ways: ways(via), first: 0, again_at: None, logged: None }
    }

    /// The methods that this cycle tries.
    pub fn candidates(&mut self) -> &'static [Method] {
        if self.again_at.is_some_and(|again_at| Instant::now() >= again_at) {
            self.first = 0;
            self.again_at = None;
        }
        self.ways.get(self.first..).unwrap_or(self.ways)
    }

    /// Settles on the best way that worked anywhere in this cycle; says so where it is another than before.
    pub fn settle(&mut self, used: Option<Method>, refused: &BTreeMap<Method, SourceError>) {
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
            let rejected = reasons(refused.iter().map(|(way, error)| (way.word(), error)));
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
