//! From a name to addresses: `/etc/hosts`, then the name servers, within the time of the probe.
//!
//! `getaddrinfo` cannot be stopped, does not tell a name that is not there from a server that is not there, and knows
//! no network namespace; so the questions are asked here. The files are read by `files`, the messages by `message`, and
//! `exchange` asks one server.
//!
//! The search list is walked as Go does (`goLookupIPCNAMEOrder` in `net/dnsclient_unix.go`): of each full name that a name
//! may stand for both families are asked for before the next one's turn comes, and whatever a server says of one, the next
//! is asked for. The C library (`__res_context_search` in `resolv/res_query.c`) ends the list where a domain is refused or
//! nobody answers, and then tries the name as it is written.

#![expect(
    clippy::disallowed_methods,
    reason = "the time makes the id of a question harder to guess; an end of time"
)]

use super::fault::Fault;
use super::origin::Origin;
use crate::source::probes::config::{Family, NameServer, Record};
use crate::source::probes::labels::ProbeError;
use crate::url::ascii_host;
use exchange::exchange;
use files::{Hosts, ResolvConf};
use message::{Question, RecordData, Response};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

mod exchange;
pub mod files;
pub mod message;

/// How long one server is waited for before the next is asked, where `resolv.conf` says nothing else. The C library
/// waits five seconds, which is the whole time of most probes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Result of the lookup for one family.
pub type FamilyResult = (Family, Result<Vec<IpAddr>, Fault>);

/// Looks names up.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<NameServer>,
    hosts: Mutex<(Option<SystemTime>, Arc<Hosts>)>,
    chance: RandomState,
}

/// Why a full name gave nothing.
enum NameFailure {
    /// No server knows it, or it has other records only.
    Absent,
    /// The servers answered with errors, or are not there.
    Failed(Fault),
    /// A server was silent; it may have been a lost packet.
    Silent(Fault),
    /// The agent, or its machine, lacks something.
    Local(Fault),
}

/// What the full names that were tried gave, where none gave anything.
#[derive(Default)]
struct SearchFailure {
    /// What says more than that there is no such name.
    fault: Option<Fault>,
    silent: bool,
}

impl SearchFailure {
    /// Takes one; the error ends the lookup.
    fn take(&mut self, miss: NameFailure) -> Result<(), Fault> {
        match miss {
            NameFailure::Absent => return Ok(()),
            NameFailure::Local(fault) => return Err(fault),
            NameFailure::Failed(fault) => self.fault = self.fault.take().or(Some(fault)),
            NameFailure::Silent(fault) => {
                self.silent = true;
                self.fault = self.fault.take().or(Some(fault));
            }
        }
        Ok(())
    }

    fn into_fault(self, name: &str) -> Fault {
        self.fault.unwrap_or_else(|| {
            let why = format!("`{name}` does not exist, or has no address of the requested family");
            Fault::new(ProbeError::DnsNotFound, why)
        })
    }
}

impl Resolver {
    /// With these name servers, or those of `resolv.conf` where there are none.
    pub fn new(servers: Vec<NameServer>) -> Self {
        Self { servers, hosts: Mutex::new((None, Arc::new(Hosts::default()))), chance: RandomState::new() }
    }

    /// The addresses of a name: those of the first family that has any.
    pub async fn addresses(
        &self,
        name: &str,
        families: &[Family],
        origin: &Origin,
    ) -> Result<Vec<IpAddr>, Fault> {
        let name = &as_asked(name)?;
        for family in families {
            let known = self.known(name, *family)?;
            if !known.is_empty() {
                return Ok(known);
            }
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(other_family(name));
        }
        let conf = self.conf(origin)?;
        loop {
            let mut missed = SearchFailure::default();
            for candidate in conf.candidates(name) {
                for family in families {
                    match self.ask(&candidate, record_of(*family), &conf, origin).await {
                        Ok(records) => {
                            return Ok(records.into_iter().filter_map(|record| address(&record)).collect());
                        }
                        Err(miss) => missed.take(miss)?,
                    }
                }
            }
            // Where somebody was silent, the time of the probe is the end.
            if !missed.silent {
                return Err(missed.into_fault(name));
            }
        }
    }

    /// The addresses of a name by family, all of one full name: both are asked for at once, and what is not answered
    /// `within` that time is a fault of its family.
    pub async fn by_family(
        &self,
        name: &str,
        families: &[Family],
        origin: &Origin,
        within: Duration,
    ) -> Result<Vec<FamilyResult>, Fault> {
        let name = &as_asked(name)?;
        let known: Vec<FamilyResult> = families
            .iter()
            .map(|family| self.known(name, *family).map(|known| (*family, Ok(known))))
            .collect::<Result<_, Fault>>()?;
        if known.iter().any(|(_, found)| found.as_ref().is_ok_and(|found| !found.is_empty())) {
            return Ok(known);
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(other_family(name));
        }
        let conf = self.conf(origin)?;
        let until = Instant::now() + within;
        let look = async |candidate: &str, family: Option<&Family>| {
            let family = *family?;
            let asked = self.ask(candidate, record_of(family), &conf, origin);
            let unanswered = |_| Err(NameFailure::Silent(Fault::unanswered(within)));
            let found = tokio::time::timeout_at(until.into(), asked).await.unwrap_or_else(unanswered);
            Some((family, found))
        };
        loop {
            let mut missed: Vec<(Family, SearchFailure)> =
                families.iter().map(|family| (*family, SearchFailure::default())).collect();
            for candidate in conf.candidates(name) {
                let (first, second) =
                    tokio::join!(look(&candidate, families.first()), look(&candidate, families.get(1)));
                let mut all = Vec::new();
                for (family, found) in first.into_iter().chain(second) {
                    match found {
                        Ok(records) => {
                            all.push((
                                family,
                                Ok(records.into_iter().filter_map(|record| address(&record)).collect()),
                            ));
                        }
                        Err(miss) => {
                            let mut own = SearchFailure::default();
                            let kept = missed.iter_mut().find(|(known, _)| *known == family);
                            let kept = kept.map_or(&mut own, |(_, missed)| missed);
                            kept.take(miss)?;
                        }
                    }
                }
                if !all.is_empty() {
                    for (family, missed) in missed {
                        if all.iter().all(|(found, _)| *found != family) {
                            all.push((family, Err(missed.into_fault(name))));
                        }
                    }
                    return Ok(all);
                }
            }
            let silent = missed.iter().any(|(_, missed)| missed.silent);
            if !silent || Instant::now() >= until {
                let faults =
                    missed.into_iter().map(|(family, missed)| (family, Err(missed.into_fault(name))));
                return Ok(faults.collect());
            }
        }
    }

    /// The records of a name, through the search list; none where it has none.
    pub async fn records(
        &self,
        name: &str,
        record: Record,
        origin: &Origin,
    ) -> Result<Vec<RecordData>, Fault> {
        let name = &as_asked(name)?;
        let conf = self.conf(origin)?;
        loop {
            let mut missed = SearchFailure::default();
            for candidate in conf.candidates(name) {
                match self.ask(&candidate, record, &conf, origin).await {
                    Ok(records) => return Ok(records),
                    Err(miss) => missed.take(miss)?,
                }
            }
            if !missed.silent {
                return missed.fault.map_or(Ok(Vec::new()), Err);
            }
        }
    }

    /// What `/etc/hosts` says, and that `localhost` is this machine (RFC 6761, section 6.3). An address is its own.
    fn known(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, Fault> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(if Family::of(address) == family { vec![address] } else { Vec::new() });
        }
        let plain = name.trim_end_matches('.').to_ascii_lowercase();
        let known = self.hosts()?.of(&plain, family);
        if known.is_empty() && (plain == "localhost" || plain.ends_with(".localhost")) {
            return Ok(vec![match family {
                Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
                Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
            }]);
        }
        Ok(known)
    }

    fn hosts(&self) -> Result<Arc<Hosts>, Fault> {
        const HOSTS: &str = "/etc/hosts";
        let changed = std::fs::metadata(HOSTS).and_then(|file| file.modified()).ok();
        let mut kept = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != changed {
            *kept = (changed, Arc::new(Hosts::read(&text(Path::new(HOSTS))?)));
        }
        Ok(Arc::clone(&kept.1))
    }

    fn conf(&self, origin: &Origin) -> Result<ResolvConf, Fault> {
        if !self.servers.is_empty() {
            return Ok(ResolvConf::of(self.servers.clone()));
        }
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_str().unwrap_or_default();
        Ok(ResolvConf::read(&text(&origin.resolv_conf())?, machine))
    }

    /// The records of a full name, at least one: server after server is asked until one knows, each as often as
    /// `resolv.conf` says.
    async fn ask(
        &self,
        name: &str,
        record: Record,
        conf: &ResolvConf,
        origin: &Origin,
    ) -> Result<Vec<RecordData>, NameFailure> {
        if conf.no_aaaa && record == Record::Aaaa {
            return Err(NameFailure::Absent);
        }
        let patience = conf.timeout.unwrap_or(PATIENCE);
        let origin = origin.elsewhere();
        let mut failed: Option<Fault> = None;
        let mut silent = false;
        for server in std::iter::repeat_n(&conf.servers, conf.attempts).flatten() {
            let id = u16::try_from(self.chance.hash_one((name, SystemTime::now())) & 0xffff).unwrap_or(0);
            // What cannot be a name in the DNS is none that it has.
            let Ok(question) = Question::new(id, name, record) else { return Err(NameFailure::Absent) };
            let said = tokio::time::timeout(patience, exchange(&question, server, conf.tcp, &origin)).await;
            let (error, why) = match said {
                Err(_) => {
                    silent = true;
                    continue;
                }
                Ok(Ok(Response::Records(records))) if records.is_empty() => return Err(NameFailure::Absent),
                Ok(Ok(Response::Records(records))) => return Ok(records),
                Ok(Ok(Response::NoSuchName)) => return Err(NameFailure::Absent),
                Ok(Ok(Response::Failed(word))) => {
                    (ProbeError::Other, format!("the name server {server} answers {word} for `{name}`"))
                }
                Ok(Ok(Response::Referral)) => (
                    ProbeError::Other,
                    format!("the name server {server} does not know `{name}` and does not recurse"),
                ),
                Ok(Ok(Response::Truncated)) => (
                    ProbeError::Other,
                    format!("the name server {server} has too long an answer for `{name}`"),
                ),
                Ok(Err(fault)) if fault.local => return Err(NameFailure::Local(fault)),
                Ok(Err(fault)) => {
                    (ProbeError::DnsTimeout, format!("asking the name server {server}: {}", fault.why))
                }
            };
            // What a server says of the name says more than that another is not there.
            failed = failed.filter(|known| known.error == error || error == ProbeError::DnsTimeout);
            failed = failed.or_else(|| Some(Fault::new(error, why)));
        }
        let nobody = || Fault::new(ProbeError::DnsTimeout, format!("no name server answered for `{name}`"));
        Err(match (silent, failed) {
            (true, failed) => NameFailure::Silent(failed.unwrap_or_else(nobody)),
            (false, failed) => NameFailure::Failed(failed.unwrap_or_else(nobody)),
        })
    }
}

/// A name as the DNS and `/etc/hosts` have it.
fn as_asked(name: &str) -> Result<String, Fault> {
    if name.is_ascii() {
        return Ok(name.to_owned());
    }
    ascii_host(name).map_err(|why| Fault::new(ProbeError::DnsNotFound, format!("`{name}` {why}")))
}

fn other_family(address: &str) -> Fault {
    let why = format!("{address} is of an address family that is not requested");
    Fault::new(ProbeError::DnsNotFound, why)
}

fn record_of(family: Family) -> Record {
    match family {
        Family::Ipv4 => Record::A,
        Family::Ipv6 => Record::Aaaa,
    }
}

fn address(record: &RecordData) -> Option<IpAddr> {
    match record {
        RecordData::Address(address) => Some(*address),
        RecordData::Service { .. } => None,
    }
}

/// The text of one of the two files; none where there is no such file. Where it cannot be opened for want of a descriptor
/// nobody knows what it says.
fn text(path: &Path) -> Result<String, Fault> {
    crate::sys::read_limited(path, files::MOST).or_else(|error| {
        let fault = Fault::io(&format!("reading {}", path.display()), &error);
        if fault.local { Err(fault) } else { Ok(String::new()) }
    })
}
