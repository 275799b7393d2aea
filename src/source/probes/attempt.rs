//! A probe in progress: its phases, its log, and its result when the deadline passes.

#![expect(
    clippy::disallowed_methods,
    reason = "a probe measures durations, and its result has its start time"
)]

use super::fault::Fault;
use super::origin::Origin;
use super::resolve::Resolver;
use super::result::ProbeResult;
use crate::settings::network::Network;
use crate::source::probes::config::Family;
use crate::source::probes::config::single::split_zone;
use crate::source::probes::labels::{Phase, ProbeError};
use crate::text::{LONGEST_ERROR, bounded};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, Instant, SystemTime};

/// The settings of a target that an attempt needs.
#[derive(Debug)]
pub struct Route {
    /// Name or address to probe; for a Unix socket its path.
    pub host: String,
    /// Whether the name is fully qualified: the search list is not used.
    pub absolute: bool,
    /// Address families to use, the preferred one first.
    pub families: Vec<Family>,
    /// Source address, interface and network namespace of the sockets.
    pub origin: Origin,
    /// Time-out of the probe.
    pub timeout: Duration,
}

impl Route {
    /// A name in the form in which it is looked up. The name of a redirect to another host may be unqualified.
    pub fn full<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.absolute && name == self.host && name.parse::<IpAddr>().is_err() {
            Cow::Owned(format!("{name}."))
        } else {
            Cow::Borrowed(name)
        }
    }
}

/// Options of a single probe.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Address to probe; `None` to look up the name.
    pub address: Option<IpAddr>,
    /// Networks that may be probed; `None` for all.
    pub allowed: Option<&'a [Network]>,
    /// Part of the time-out that was already spent: the lookup of the name for all of its addresses.
    pub spent: Duration,
    /// Whether to log the steps of the probe.
    pub notes: bool,
}

/// A probe in progress.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Address, source and network namespace.
    pub route: &'a Route,
    /// The result so far.
    pub result: ProbeResult,
    resolver: &'a Resolver,
    options: Options<'a>,
    /// Time at which the probe times out.
    pub deadline: Instant,
    phase: Option<Phase>,
    /// Whether a datagram was sent: without a response the result is then "no answer" and not a time-out.
    pub silent: bool,
}

impl<'a> Attempt<'a> {
    /// Starts an attempt.
    pub fn new(route: &'a Route, resolver: &'a Resolver, options: Options<'a>) -> Self {
        let now = Instant::now();
        Self {
            route,
            result: ProbeResult::new(SystemTime::now(), now, options.notes),
            resolver,
            options,
            deadline: now + route.timeout.saturating_sub(options.spent),
            phase: None,
            silent: false,
        }
    }

    /// The result. `ended` is that of the prober; `None` if the probe timed out first.
    pub fn finish(mut self, ended: Option<Result<(), Fault>>) -> ProbeResult {
        self.result.took = self.result.began_at.elapsed();
        self.result.fault = match ended {
            Some(ended) => ended.err(),
            None => Some(self.out_of_time(self.route.timeout)),
        };
        if let Some(fault) = &self.result.fault {
            let why = fault.message.clone();
            self.note(|| format!("failed: {why}"));
        }
        self.result
    }

    fn out_of_time(&self, limit: Duration) -> Fault {
        let within = format!("within {}", humantime::format_duration(limit));
        match self.phase {
            Some(Phase::Resolve) => Fault::unanswered(limit),
            _ if self.silent => Fault::new(ProbeError::NoAnswer, format!("nothing came back {within}")),
            Some(phase) => Fault::new(
                ProbeError::Timeout,
                format!("it was not done {within}, in the phase {}", phase.word()),
            ),
            None => Fault::new(ProbeError::Timeout, format!("it was not done {within}")),
        }
    }

    /// Source address, interface and network namespace of the sockets.
    pub fn origin(&self) -> &'a Origin {
        &self.route.origin
    }

    /// Begins a phase. Returns the present time.
    pub fn begin(&mut self, phase: Phase) -> Instant {
        self.phase = Some(phase);
        Instant::now()
    }

    /// Ends a phase. The durations of a phase that redirects repeat are added.
    pub fn end(&mut self, phase: Phase, took: Duration) {
        self.phase = None;
        match self.result.phases.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, sum)) => *sum += took,
            None => self.result.phases.push((phase, took)),
        }
        self.note(|| format!("{}: {}", phase.word(), humantime::format_duration(took)));
    }

    /// Adds a line to the log, if it is enabled.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.result.notes {
            notes.push(bounded(&what(), LONGEST_ERROR));
        }
    }

    /// Resolves a host to the one address to probe, even if it has several.
    pub async fn resolve(&mut self, host: &str, port: u16) -> Result<SocketAddr, Fault> {
        let (name, zone) = split_zone(host);
        // The given address is that of the target, not of a host that a redirect leads to.
        let address = if let Some(address) = self.options.address.filter(|_| host == self.route.host) {
            address
        } else {
            let first = self.resolve_all(&self.route.full(name)).await?.first().copied();
            first.ok_or_else(|| Fault::new(ProbeError::DnsNotFound, format!("`{host}` has no address")))?
        };
        // The series of a target have the address of the target, wherever its redirects lead.
        self.result.peer.get_or_insert(address);
        let allowed = self.options.allowed;
        if allowed.is_some_and(|networks| !networks.iter().any(|network| network.contains(address))) {
            // The message does not reveal the address of a name in this network.
            let why = format!("`{host}` is in none of sources.probes.on_request.networks");
            return Err(Fault::new(ProbeError::PermissionDenied, why));
        }
        self.note(|| format!("probing {address}"));
        Ok(match address {
            IpAddr::V4(address) => SocketAddr::V4(SocketAddrV4::new(address, port)),
            IpAddr::V6(address) => {
                let scope = self.origin().scope(address, zone).await?;
                SocketAddr::V6(SocketAddrV6::new(address, port, 0, scope))
            }
        })
    }

    /// Every address of a name, of the first family that has any.
    pub async fn resolve_all(&mut self, host: &str) -> Result<Vec<IpAddr>, Fault> {
        if host.parse::<IpAddr>().is_ok() {
            return self.resolver.addresses(host, &self.route.families, self.origin()).await;
        }
        let began = self.begin(Phase::Resolve);
        let addresses = self.resolver.addresses(host, &self.route.families, self.origin()).await?;
        self.end(Phase::Resolve, began.elapsed());
        Ok(addresses)
    }
}
