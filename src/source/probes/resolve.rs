//! Resolves names to addresses: `/etc/hosts`, then the name servers, within the time-out of the probe.
//!
//! `getaddrinfo` cannot be cancelled, does not distinguish a missing name from a missing server, and cannot use another
//! network namespace; so the queries are made here. The files are parsed by `files`, the messages by `message`, and
//! `exchange` queries a server.
//!
//! The search list is processed as in Go (`goLookupIPCNAMEOrder` in `net/dnsclient_unix.go`): for each full name in the
//! list both families are queried before the next name, and the next is queried whatever the response. The C library
//! (`__res_context_search` in `resolv/res_query.c`) stops where a server refuses or does not answer, and then tries the
//! unqualified name.

#![expect(
    clippy::disallowed_methods,
    reason = "the time makes query ids harder to guess, and lookups have a deadline"
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

/// Time-out of a name server before the next is queried, unless `resolv.conf` sets it. The C library's five seconds are
/// the whole time-out of most probes.
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Result of the lookup for one family.
pub type FamilyResult = (Family, Result<Vec<IpAddr>, Fault>);

/// A resolver.
#[derive(Debug)]
pub struct Resolver {
    servers: Vec<NameServer>,
    hosts: Mutex<(Option<SystemTime>, Arc<Hosts>)>,
    chance: RandomState,
}

/// Reason why a full name has no result.
enum NameFailure {
    /// The name does not exist, or has no records of this type.
    Absent,
    /// The servers returned errors, or are unreachable.
    Failed(Fault),
    /// A server did not answer; the packet may have been lost.
    Silent(Fault),
    /// A shortage of the agent or its machine.
    Local(Fault),
}

/// The failures of all full names that were tried.
#[derive(Default)]
struct SearchFailure {
    /// A fault that is more specific than "no such name".
    fault: Option<Fault>,
    silent: bool,
}

impl SearchFailure {
    /// Records a failure; an error ends the lookup.
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
    /// Creates it with these name servers, or those of `resolv.conf` if empty.
    pub fn new(servers: Vec<NameServer>) -> Self {
        Self { servers, hosts: Mutex::new((None, Arc::new(Hosts::default()))), chance: RandomState::new() }
    }

    /// The addresses of a name, of the first family that has any.
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
            // If a server did not answer, retry until the probe times out.
            if !missed.silent {
                return Err(missed.into_fault(name));
            }
        }
    }

    /// The addresses of a name by family, all of the same full name. Both families are queried at once; a family
    /// without an answer `within` that time has a fault.
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

    /// The records of a name, with the search list; empty if it has none.
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

    /// The addresses in `/etc/hosts`, those of `localhost` (RFC 6761, section 6.3), or the name itself if it is an
    /// address.
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

    /// The records of a full name, at least one. Servers are queried one after the other until one has an answer, as
    /// many times as `resolv.conf` sets.
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
        let patience = conf.timeout.unwrap_or(SERVER_TIMEOUT);
        let origin = origin.elsewhere();
        let mut failed: Option<Fault> = None;
        let mut silent = false;
        for server in std::iter::repeat_n(&conf.servers, conf.attempts).flatten() {
            let id = u16::try_from(self.chance.hash_one((name, SystemTime::now())) & 0xffff).unwrap_or(0);
            // A name that is invalid in DNS does not exist there.
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
                    (ProbeError::DnsTimeout, format!("asking the name server {server}: {}", fault.message))
                }
            };
            // An error response is more specific than a server that does not answer.
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

/// A name in the form of DNS and `/etc/hosts`.
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

/// The text of one of the two files; empty if it does not exist. It is a fault if it cannot be opened for lack of a
/// descriptor.
fn text(path: &Path) -> Result<String, Fault> {
    crate::sys::read_limited(path, files::MAX_FILE_BYTES).or_else(|error| {
        let fault = Fault::io(&format!("reading {}", path.display()), &error);
        if fault.local { Err(fault) } else { Ok(String::new()) }
    })
}
