//! `/etc/hosts` (hosts(5)) and `resolv.conf` (resolv.conf(5)) (pure).

use crate::source::probes::config::{Family, NameServer};
use crate::url::ascii_host;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Maximum number of bytes read of either file.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum number of name servers, as in the C library (`MAXNS`).
const SERVERS: usize = 3;

/// Default number of rounds of queries to all servers (`RES_DFLRETRY`).
const ATTEMPTS: usize = 2;

/// Maximum length of a host name, without the final dot.
const LONGEST_NAME: usize = 253;

/// The addresses in `/etc/hosts`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    addresses: HashMap<Box<str>, Vec<IpAddr>>,
}

impl Hosts {
    /// Parses the file; invalid lines are skipped.
    pub fn read(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                // A name in another script is stored in the form of DNS.
                let name = ascii_host(name).unwrap_or_else(|_| name.to_ascii_lowercase());
                let addresses = hosts.addresses.entry(name.into()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of a name in lower case.
    pub fn of(&self, name: &str, family: Family) -> Vec<IpAddr> {
        let all = self.addresses.get(name).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|address| Family::of(*address) == family).collect()
    }
}

/// The settings of `resolv.conf`.
#[derive(Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in order.
    pub servers: Vec<NameServer>,
    /// Domains to append to a name; an empty one is the root.
    pub search: Vec<String>,
    /// Number of dots from which a name is first tried without a domain.
    pub ndots: usize,
    /// Time-out of a query to a server.
    pub timeout: Option<Duration>,
    /// Number of rounds of queries to all servers.
    pub attempts: usize,
    /// Whether queries use TCP only (`use-vc`).
    pub tcp: bool,
    /// Whether a name without dots is tried only with a domain (`no-tld-query`).
    pub no_tld_query: bool,
    /// Whether IPv6 addresses are not queried (`no-aaaa`).
    pub no_aaaa: bool,
}

impl ResolvConf {
    /// Settings with these servers only: names are looked up unchanged.
    pub fn of(servers: Vec<NameServer>) -> Self {
        Self {
            servers,
            search: Vec::new(),
            ndots: 1,
            timeout: None,
            attempts: ATTEMPTS,
            tcp: false,
            no_tld_query: false,
            no_aaaa: false,
        }
    }

    /// Parses the file; unknown lines are skipped. Without a server, the local machine is queried; without a domain,
    /// that of `machine`, the host name, is used.
    pub fn read(text: &str, machine: &str) -> Self {
        let mut read = Self::of(Vec::new());
        let mut search = None;
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or("").split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| NameServer::address(word).ok());
                    let room = read.servers.len() < SERVERS;
                    read.servers.extend(server.filter(|_| room));
                }
                // The last `search` or `domain` line counts.
                Some("search") => search = domains(words).or(search),
                Some("domain") => search = domains(words.take(1)).or(search),
                Some("options") => words.for_each(|word| read.option(word)),
                _ => {}
            }
        }
        let own = || machine.split_once('.').map(|(_, domain)| domain).filter(|domain| !domain.is_empty());
        read.search = search.or_else(|| domains(own().into_iter())).unwrap_or_default();
        if read.servers.is_empty() {
            read.servers.push(NameServer::new(Ipv4Addr::LOCALHOST.into()));
        }
        read
    }

    fn option(&mut self, word: &str) {
        let (option, value) = word.split_once(':').unwrap_or((word, ""));
        // As with `atoi`, what follows the digits is ignored.
        let end = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
        let number = value.get(..end).filter(|digits| !digits.is_empty());
        let number = number.map(|digits| digits.parse::<usize>().unwrap_or(usize::MAX));
        match (option, number) {
            ("ndots", Some(number)) => self.ndots = number.min(15),
            ("timeout", Some(number)) => {
                let seconds = u64::try_from(number.clamp(1, 30)).unwrap_or(1);
                self.timeout = Some(Duration::from_secs(seconds));
            }
            ("attempts", Some(number)) => self.attempts = number.clamp(1, 5),
            ("use-vc" | "usevc" | "tcp", _) => self.tcp = true,
            ("no-tld-query", _) => self.no_tld_query = true,
            ("no-aaaa", _) => self.no_aaaa = true,
            _ => {}
        }
    }

    /// The full names of a name, each once, in the order in which they are tried.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let first = (dots >= self.ndots).then(|| name.to_owned());
        let behind = self.search.iter().map(|domain| match domain.as_str() {
            "" => name.to_owned(),
            domain => format!("{name}.{domain}"),
        });
        let last = (dots > 0 || self.search.is_empty() || !self.no_tld_query).then(|| name.to_owned());
        let mut candidates: Vec<String> = Vec::with_capacity(self.search.len() + 1);
        for candidate in first.into_iter().chain(behind).chain(last) {
            if candidate.len() <= LONGEST_NAME && !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates
    }
}

/// The domains of a search list, without final dots; `None` if empty, which leaves the earlier list.
fn domains<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let domains: Vec<String> = words.map(|word| word.trim_matches('.').to_owned()).collect();
    (!domains.is_empty()).then_some(domains)
}
