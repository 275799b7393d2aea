//! One probe under way: where it is, what it has seen so far, and what is left of that when its time is up.

use super::fault::Fault;
use super::origin::Origin;
use super::resolve::Resolver;
use super::target::Target;
use crate::config::network::Network;
use crate::config::probes::Family;
use crate::metric::label::{Outcome, Phase, ProbeError};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// What a probe found out.
#[derive(Debug, Clone)]
pub struct Run {
    /// When it began.
    pub began: SystemTime,
    /// The same by a clock that nobody sets.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Parts that came to their end, each once.
    pub phases: Vec<(Phase, Duration)>,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// Address that was probed; where redirects led elsewhere, the first.
    pub peer: Option<IpAddr>,
    /// When the first certificate of the chain expires, in seconds since 1970.
    pub expiry: Option<i64>,
    /// Status of the last answer over HTTP.
    pub status: Option<u16>,
    /// Echoes.
    pub echoes: Option<Echoes>,
    /// What happened, step by step, where that was asked for.
    pub notes: Option<Vec<String>>,
}

/// Echo requests of one probe, and the round trips of those that were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echoes {
    /// Requests sent.
    pub sent: u32,
    /// One for each answer.
    pub round_trips: Vec<Duration>,
}

impl Run {
    /// Nothing seen yet.
    pub fn new(notes: bool) -> Self {
        Self {
            began: SystemTime::now(),
            at: Instant::now(),
            took: Duration::ZERO,
            phases: Vec::new(),
            fault: None,
            peer: None,
            expiry: None,
            status: None,
            echoes: None,
            notes: notes.then(Vec::new),
        }
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match self.fault.as_ref().map(|fault| fault.error) {
            None => Outcome::Success,
            Some(ProbeError::NoAnswer) => Outcome::NoAnswer,
            Some(_) => Outcome::Failure,
        }
    }

    /// Family of the address that was probed.
    pub fn family(&self) -> Option<Family> {
        self.peer.map(Family::of)
    }
}

/// A probe under way.
pub struct Attempt<'a> {
    /// What is probed.
    pub target: &'a Target,
    /// What it has seen so far.
    pub run: Run,
    resolver: &'a Resolver,
    address: Option<IpAddr>,
    allowed: Option<&'a [Network]>,
    /// What its turn took before, of its time.
    spent: Duration,
    /// When its time is up.
    pub until: Instant,
    under_way: Option<Phase>,
    /// A datagram is out: silence from here on is no answer, and nothing more is known.
    pub silent: bool,
}

impl<'a> Attempt<'a> {
    /// One that may begin. Where `address` is set no name is looked up; where `allowed` is, no other network is probed.
    pub fn new(
        target: &'a Target,
        resolver: &'a Resolver,
        address: Option<IpAddr>,
        allowed: Option<&'a [Network]>,
        notes: bool,
    ) -> Self {
        let run = Run::new(notes);
        Self {
            target,
            run,
            resolver,
            address,
            allowed,
            spent: Duration::ZERO,
            until: Instant::now() + target.timeout,
            under_way: None,
            silent: false,
        }
    }

    /// With that much less time: looking the name up, for every address of it, took it.
    #[must_use]
    pub fn after(mut self, spent: Duration) -> Self {
        self.spent = spent;
        self
    }

    /// Runs it to its end or that of its time.
    pub async fn finish(mut self) -> Run {
        let began = Instant::now();
        let target = self.target;
        let limit = target.timeout;
        self.until = began + limit.saturating_sub(self.spent);
        let ended = tokio::time::timeout_at(self.until.into(), target.work.run(&mut self)).await;
        self.run.took = began.elapsed();
        self.run.fault = match ended {
            Ok(ended) => ended.err(),
            Err(_) => Some(self.out_of_time(limit)),
        };
        if let Some(fault) = &self.run.fault {
            let why = fault.why.clone();
            self.note(|| format!("failed: {why}"));
        }
        self.run
    }

    fn out_of_time(&self, limit: Duration) -> Fault {
        let within = format!("within {}", humantime::format_duration(limit));
        match self.under_way {
            Some(Phase::Resolve) => Fault::unanswered(limit),
            _ if self.silent => Fault::new(ProbeError::NoAnswer, format!("nothing came back {within}")),
            Some(phase) => Fault::new(
                ProbeError::Timeout,
                format!("it was not done {within}, in the phase {}", phase.word()),
            ),
            None => Fault::new(ProbeError::Timeout, format!("it was not done {within}")),
        }
    }

    /// Where its sockets come from.
    pub fn origin(&self) -> &'a Origin {
        &self.target.origin
    }

    /// A part begins.
    pub fn begin(&mut self, phase: Phase) -> Instant {
        self.under_way = Some(phase);
        Instant::now()
    }

    /// A part has come to its end.
    pub fn end(&mut self, phase: Phase, took: Duration) {
        self.under_way = None;
        match self.run.phases.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, sum)) => *sum += took, // of the redirects before
            None => self.run.phases.push((phase, took)),
        }
        self.note(|| format!("{}: {}", phase.word(), humantime::format_duration(took)));
    }

    /// Writes down what happened, where that was asked for.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.run.notes {
            notes.push(what());
        }
    }

    /// The address that is probed: one, whatever others the name has.
    pub async fn resolve(&mut self, host: &str, port: u16) -> Result<SocketAddr, Fault> {
        // Where a redirect leads to another host, that one's address is not known.
        let address = if let Some(address) = self.address.filter(|_| host == self.target.host) {
            address
        } else {
            let first = self.resolve_all(host).await?.first().copied();
            first.ok_or_else(|| Fault::new(ProbeError::DnsNotFound, format!("`{host}` has no address")))?
        };
        // The series of a target are those of the address it is at, wherever its redirects lead.
        self.run.peer.get_or_insert(address);
        let allowed =
            self.allowed.is_none_or(|networks| networks.iter().any(|network| network.contains(address)));
        if !allowed {
            // Whoever asks is not told the addresses of the names in here.
            let why = format!("`{host}` is in none of sources.probes.on_request.networks");
            return Err(Fault::new(ProbeError::PermissionDenied, why));
        }
        self.note(|| format!("probing {address}"));
        Ok(SocketAddr::new(address, port))
    }

    /// Every address of a name, of the first family that has any.
    pub async fn resolve_all(&mut self, host: &str) -> Result<Vec<IpAddr>, Fault> {
        if host.parse::<IpAddr>().is_ok() {
            return self.resolver.addresses(host, &self.target.families, self.origin()).await;
        }
        let began = self.begin(Phase::Resolve);
        let addresses = self.resolver.addresses(host, &self.target.families, self.origin()).await?;
        self.end(Phase::Resolve, began.elapsed());
        Ok(addresses)
    }
}
