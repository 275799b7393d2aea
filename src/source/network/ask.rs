//! What one network namespace answers: its counters, its interfaces with their drivers' statistics, its queueing disciplines.

use super::counters::Counters;
use super::drivers::{self, Statistics};
use super::labels::INTERFACES;
use super::listen;
use super::rtnetlink::{Qdisc, Socket};
use super::rules::{self, Rules};
use crate::netlink::Link;
use crate::reading::SourceError;
use crate::sys::ethtool::Ethtool;
use crate::text::{LONGEST_NAME, bounded_bytes, bounded_unique_bytes};
use std::collections::HashMap;
use std::io::ErrorKind as IoError;
use std::sync::Arc;

/// The longest that any of the three files is with every counter that Linux 6.18 has is 5 KiB.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What is asked for beside that which is always read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions {
    /// The rules of nftables.
    pub rules: bool,
    /// Ports that TCP listens on.
    pub listened: bool,
}

/// What one network namespace answered. A part that failed does not take the others with it.
#[derive(Debug, Default)]
pub struct NamespaceAnswer {
    /// The counters by the kernel's names.
    pub counters: Counters,
    /// The interfaces that have something to report: cards, and those with a queueing discipline. At most [`INTERFACES`].
    pub interfaces: Vec<Interface>,
    /// Interfaces over the limit.
    pub interfaces_left_out: u64,
    /// The rules of nftables, if they are asked for.
    pub rules: Rules,
    /// Ports that TCP listens on, if they are asked for.
    pub listened: Vec<u16>,
    /// Parts that failed, each with its name.
    pub failed: Vec<(String, SourceError)>,
    /// Parts that were read.
    pub read: usize,
}

/// An interface with what is known of it.
#[derive(Debug)]
pub struct Interface {
    /// `ifindex`.
    pub index: u32,
    /// Name of the interface, at most 256 bytes.
    pub name: Arc<str>,
    /// Driver of the card; `None` if it is no card, or has no driver that can be asked.
    pub driver: Option<String>,
    /// What the statistics of the driver and of the interface come to.
    pub numbers: Statistics,
    /// Queueing disciplines at its root and at its ingress.
    pub qdiscs: Vec<Qdisc>,
}

impl NamespaceAnswer {
    /// Asks in the network namespace of the calling thread.
    pub fn ask(wanted: ReadOptions) -> Self {
        let mut answer = Self::default();
        let counters = answer.counters();
        answer.part("counters", counters);
        let interfaces = answer.interfaces();
        answer.part("interfaces", interfaces);
        if wanted.listened {
            let listened = listen::read().map(|ports| answer.listened = ports);
            answer.part("listened", listened);
        }
        if wanted.rules {
            let rules = rules::read().map(|rules| answer.rules = rules);
            answer.part("rules", rules);
        }
        answer
    }

    /// Notes how a part went.
    fn part(&mut self, name: &str, result: Result<(), SourceError>) {
        match result {
            Ok(()) => self.read += 1,
            Err(error) => self.failed.push((name.to_owned(), error)),
        }
    }

    fn counters(&mut self) -> Result<(), SourceError> {
        for (file, pairs) in [("netstat", true), ("snmp", true), ("snmp6", false)] {
            let path = format!("/proc/thread-self/net/{file}");
            let doing = || format!("reading {path}");
            match crate::sys::read_limited(&path, MAX_FILE_BYTES) {
                // A kernel without IPv6, or with ipv6.disable=1.
                Err(cause) if file == "snmp6" && cause.kind() == IoError::NotFound => {}
                Err(cause) => return Err(SourceError::from_io(doing(), "the permission to read it", cause)),
                Ok(text) if pairs => {
                    self.counters.take_pairs(&text).map_err(|cause| SourceError::parse(doing(), cause))?;
                }
                Ok(text) => {
                    self.counters.take_lines(&text).map_err(|cause| SourceError::parse(doing(), cause))?;
                }
            }
        }
        Ok(())
    }

    fn interfaces(&mut self) -> Result<(), SourceError> {
        let mut socket = Socket::open()?;
        let links = socket.links()?;
        let qdiscs = socket.qdiscs();
        drop(socket);
        let (qdiscs, failed) = match qdiscs {
            Ok(qdiscs) => (qdiscs, None),
            // Nothing is queued where there is no traffic control.
            Err(SourceError::Absent { .. }) => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(error) = failed {
            self.failed.push(("qdiscs".to_owned(), error));
        }
        let (reported, left_out) = reported(links, qdiscs);
        self.interfaces_left_out = left_out;
        let mut ethtool = None;
        for (link, qdiscs) in reported {
            let name: Arc<str> = bounded_unique_bytes(&link.name, LONGEST_NAME).into();
            let card = if link.is_card() { card(&mut ethtool, &link) } else { Ok((None, Vec::new())) };
            let (driver, numbers) = card.unwrap_or_else(|cause| {
                let doing = format!("reading the driver's statistics of {name}");
                self.failed.push((name.to_string(), SourceError::io(doing, cause)));
                (None, Vec::new())
            });
            self.interfaces.push(Interface { index: link.index, name, driver, numbers, qdiscs });
        }
        Ok(())
    }
}

/// The interfaces that have something to report, each with its queueing disciplines, and the number of those over the
/// limit. The cards come first.
pub fn reported(mut links: Vec<Link>, qdiscs: Vec<Qdisc>) -> (Vec<(Link, Vec<Qdisc>)>, u64) {
    let mut of: HashMap<u32, Vec<Qdisc>> = HashMap::new();
    for qdisc in qdiscs {
        of.entry(qdisc.interface).or_default().push(qdisc);
    }
    links.sort_by_key(|link| !link.is_card());
    let with_qdiscs = links.into_iter().map(|link| {
        let own = of.remove(&link.index).unwrap_or_default();
        (link, own)
    });
    let mut all: Vec<_> = with_qdiscs.filter(|(link, own)| link.is_card() || !own.is_empty()).collect();
    let left_out = all.len().saturating_sub(INTERFACES);
    all.truncate(INTERFACES);
    (all, left_out as u64)
}

/// The driver of a card, and what its statistics and those of the interface come to.
fn card(ethtool: &mut Option<Ethtool>, link: &Link) -> std::io::Result<(Option<String>, Statistics)> {
    let (driver, known) = match statistics(ethtool, link) {
        Ok((driver, known)) => (Some(driver), known),
        // It is gone, or has no driver that can be asked.
        Err(cause) if matches!(cause.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => (None, None),
        Err(cause) => return Err(cause),
    };
    let missed = link.statistics.map(|of| of.rx_missed_errors);
    Ok((driver, known.unwrap_or_else(|| drivers::of_unknown(missed))))
}

/// The driver of a card, and what its statistics come to, if they are known. While they are read somebody may add a
/// queue, so the driver is asked once more.
fn statistics(ethtool: &mut Option<Ethtool>, link: &Link) -> std::io::Result<(String, Option<Statistics>)> {
    let ethtool = match ethtool {
        Some(ethtool) => ethtool,
        None => ethtool.insert(Ethtool::open()?),
    };
    again_if_interrupted(|| {
        let found = ethtool.driver(&link.name)?;
        let name = bounded_bytes(&found.name, LONGEST_NAME);
        let Some(driver) = drivers::known(&found.name) else { return Ok((name, None)) };
        let names = ethtool.names(&link.name, found.statistics)?;
        let numbers = ethtool.numbers(&link.name, names.len())?;
        Ok((name, Some(drivers::sums(driver, &names, &numbers))))
    })
}

/// Reads a second time if the first read was interrupted.
fn again_if_interrupted<T>(mut read: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    match read() {
        Err(cause) if cause.kind() == IoError::Interrupted => read(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::IoError::{self, Interrupted, NotFound};
    use super::again_if_interrupted;

    #[test]
    fn what_changes_while_it_is_read_is_read_once_more() {
        let read = |results: &[Result<u8, IoError>]| {
            let mut results = results.iter().copied();
            let read = again_if_interrupted(|| results.next().unwrap().map_err(std::io::Error::from));
            (read.map_err(|cause| cause.kind()), results.count())
        };
        assert_eq!(read(&[Ok(1), Ok(2)]), (Ok(1), 1));
        assert_eq!(read(&[Err(Interrupted), Ok(2)]), (Ok(2), 0));
        assert_eq!(read(&[Err(Interrupted), Err(Interrupted)]), (Err(Interrupted), 0));
        assert_eq!(read(&[Err(NotFound), Ok(2)]), (Err(NotFound), 1));
    }
}
