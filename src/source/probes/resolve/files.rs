//! `/etc/hosts` (hosts(5)) and `resolv.conf` (resolv.conf(5)), pure.

use crate::source::probes::config::Family;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How much of either file is read.
pub const MOST: u64 = 4 * 1024 * 1024;

/// Name servers that are asked, as the C library has it (`MAXNS`).
const SERVERS: usize = 3;

/// Domains of the search list.
const DOMAINS: usize = 6;

/// The addresses of a machine's own file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    addresses: HashMap<Box<str>, Vec<IpAddr>>,
}

impl Hosts {
    /// Reads the file; a line that is none is passed over.
    pub fn read(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let addresses = hosts.addresses.entry(name.to_ascii_lowercase().into()).or_default();
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

/// Whom to ask, and what a short name may stand for.
#[derive(Debug, PartialEq, Eq)]
pub struct Servers {
    /// Name servers, in the order they are asked in.
    pub servers: Vec<SocketAddr>,
    /// Domains that are tried behind a name.
    pub search: Vec<String>,
    /// Dots that make a name be tried as it is first.
    pub ndots: usize,
    /// How long one server is waited for.
    pub timeout: Option<Duration>,
}

impl Default for Servers {
    fn default() -> Self {
        Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: None }
    }
}

impl Servers {
    /// Reads the file; a line that is not understood is passed over. Without a server this machine is asked.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or("").split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) needs an interface's number, which is the kernel's to know.
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let room = read.servers.len() < SERVERS;
                    read.servers.extend(address.filter(|_| room).map(|address| SocketAddr::new(address, 53)));
                }
                // The last of the two that is there counts.
                Some("search" | "domain") => {
                    read.search =
                        words.take(DOMAINS).map(|word| word.trim_end_matches('.').to_owned()).collect();
                }
                Some("options") => {
                    for (option, value) in words.filter_map(|word| word.split_once(':')) {
                        let Ok(value) = value.parse::<u8>() else { continue };
                        match option {
                            "ndots" => read.ndots = usize::from(value.min(15)),
                            "timeout" => read.timeout = Some(Duration::from_secs(value.clamp(1, 30).into())),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if read.servers.is_empty() {
            read.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        read
    }

    /// The full names that a name may stand for, in the order they are tried in.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let mut all: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        all.insert(if dots >= self.ndots { 0 } else { all.len() }, name.to_owned());
        all
    }
}
