//! Dumps the table of one network namespace, within a budget of CPU time.
//!
//! The kernel makes a dump while it is read, in the thread that reads it, so the CPU time of that thread has the kernel's part
//! too. A dump that is given up costs nothing more once its socket is closed.

#![expect(clippy::disallowed_methods, reason = "the age of an entry is the time since its time stamp")]

use super::config::Entries as Settings;
use super::message::{self, Filter};
use super::ranges::Ranges;
use super::snat::{self, Ports, Usage};
use super::tally::Tally;
use super::top::{Ranking, Top};
use crate::netlink::{
    self, Client, Malformed, Progress, RequestError, ResponseHandler, Transport, nf_tables,
};
use crate::reading::{SourceError, chain};
use crate::source::conntrack::{netlink as ctnetlink, timeouts};
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the kernel is asked.
const DOING: &str = "asking netlink for the entries of the table (IPCTNL_MSG_CT_GET)";

/// Names of the tables of iptables-legacy in the calling thread's network namespace.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// What a dump is for, and how much it may cost.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The entries that are counted, and what is reported of them.
    pub settings: &'a Settings,
    /// CPU time that it may take.
    pub budget: Duration,
    /// Ends it early.
    pub stop: &'a Stop,
}

/// What one dump found.
#[derive(Debug, Clone, PartialEq)]
pub struct DumpResult {
    /// The entries.
    pub tally: Tally,
    /// The most frequent of what was asked for.
    pub rankings: Vec<Ranking>,
    /// Translated source addresses with the fewest free ports, the worst first.
    pub ports: Vec<Usage>,
    /// By how many ports these may be too low; `None` if no source is translated.
    pub ports_error: Option<u64>,
    /// Why limits of ports may be those of a rule without a range; `None` if no source is translated, or all ranges are known.
    pub ranges_unknown: Option<String>,
    /// Part of the table that was read, 0 to 1; `None` if the dump ended early and the number of entries that were asked
    /// for is not known.
    pub share: Option<f64>,
    /// CPU time that it took, that of the kernel included.
    pub cpu_time: Duration,
}

impl DumpResult {
    /// Whether the whole table was read.
    pub fn is_whole(&self) -> bool {
        self.share == Some(1.0)
    }
}

/// CPU time of the calling thread, in the kernel and outside of it.
pub fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// What an attempt at a dump came to, and what it cost.
#[derive(Debug)]
pub struct Attempt {
    /// What it found.
    pub result: Result<DumpResult, SourceError>,
    /// CPU time that it took, also where it failed.
    pub cpu_time: Duration,
}

/// Dumps the table of the calling thread's network namespace.
pub fn attempt(options: &Options<'_>) -> Attempt {
    let started = cpu_time();
    let result = dump(options);
    Attempt { result, cpu_time: cpu_time().saturating_sub(started) }
}

/// The same without the cost of a failure.
pub fn dump(options: &Options<'_>) -> Result<DumpResult, SourceError> {
    // The socket is closed afterwards: a dump that is not read to its end would have to be read before the next one.
    let socket = NetlinkSocket::open(rustix::net::netlink::NETFILTER, netlink::timeouts::DATAGRAM).map_err(
        |cause| SourceError::from_io("opening a netfilter netlink socket", "CAP_NET_ADMIN", cause),
    )?;
    let usage = || ctnetlink::Socket::open()?.global().map(|global| global.entries);
    ask(&mut Client::new(socket, timeouts::ENTRIES), options, usage, &read_ranges)
}

/// The ranges of the rules in the calling thread's network namespace, and why some are not known.
pub fn read_ranges() -> (Ranges, Option<String>) {
    let mut ranges = Ranges::default();
    let read = Client::open(rustix::net::netlink::NETFILTER, "netfilter").and_then(|mut client| {
        let doing = "asking netlink for the rules of nftables (NFT_MSG_GETRULE)".to_owned();
        client
            .ask(nf_tables::rules_request, &mut ranges)
            .map_err(|error| error.into_source(doing, ctnetlink::ABSENT))
    });
    let mut why = Vec::new();
    match read {
        Err(error) => {
            ranges = Ranges::default();
            why.push(chain(&error));
        }
        Ok(()) if ranges.unknown() > 0 => {
            why.push(format!("{} rules have theirs in a map, or there are too many", ranges.unknown()));
        }
        Ok(()) => {}
    }
    // The tables that iptables-legacy has loaded; their rules are not over netlink.
    if LEGACY.iter().any(|path| {
        crate::sys::read_limited(path, 4096).is_ok_and(|tables| tables.lines().any(|table| table == "nat"))
    }) {
        why.push("those of iptables-legacy are not read".to_owned());
    }
    (ranges, (!why.is_empty()).then(|| why.join("; ")))
}

/// Asks a client. `usage` is called for the number of entries in the table if the dump ends early, `ranges` for those of the
/// rules at the first entry whose source is translated.
pub fn ask<T: Transport>(
    client: &mut Client<T>,
    options: &Options<'_>,
    usage: impl FnOnce() -> Result<Option<u64>, SourceError>,
    ranges: &dyn Fn() -> (Ranges, Option<String>),
) -> Result<DumpResult, SourceError> {
    let started = cpu_time();
    let filter = options.settings.filter();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut handler = Handler {
        options,
        filter,
        ranges,
        now: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        until: started.saturating_add(options.budget),
        tally: Tally::default(),
        top: Top::new(&options.settings.top_by),
        ports: None,
        ranges_unknown: None,
        ended: false,
    };
    let result = client.ask(|sequence| filter.request(sequence), &mut handler);
    let Handler { tally, top, ports, ranges_unknown, ended, .. } = handler;
    let share = match result {
        Ok(()) => Some(1.0),
        Err(RequestError::Malformed(_)) if ended => {
            // With a filter the number of entries that were asked for is not known.
            let usage = if filter.is_empty() { usage()? } else { None };
            usage.map(|usage| share(tally.entries, usage))
        }
        Err(error) => return Err(error.into_source(DOING.to_owned(), ctnetlink::ABSENT)),
    };
    let most = options.settings.top;
    Ok(DumpResult {
        tally,
        rankings: top.rankings(most),
        ports: ports.as_ref().map(|ports| ports.worst(most)).unwrap_or_default(),
        ports_error: ports.as_ref().map(Ports::error),
        ranges_unknown,
        share,
        cpu_time: cpu_time().saturating_sub(started),
    })
}

#[expect(clippy::cast_precision_loss, reason = "entries stay far below 2^53")]
fn share(read: u64, usage: u64) -> f64 {
    if usage == 0 { 1.0 } else { (read as f64 / usage as f64).min(1.0) }
}

/// Why a datagram was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the budget of CPU time is used up")]
    Budget,
}

struct Handler<'a> {
    options: &'a Options<'a>,
    filter: Filter,
    ranges: &'a dyn Fn() -> (Ranges, Option<String>),
    /// Nanoseconds since 1970.
    now: u64,
    /// CPU time of the thread at which the dump ends early.
    until: Duration,
    tally: Tally,
    top: Top,
    ports: Option<Ports>,
    ranges_unknown: Option<String>,
    ended: bool,
}

impl ResponseHandler for Handler<'_> {
    type Malformed = Refused;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Refused> {
        let Self { options, filter, ranges, now, tally, top, ports, ranges_unknown, .. } = self;
        let progress = message::parse(datagram, sequence, |entry| {
            if filter.matches(entry) {
                tally.add(entry, *now);
                top.add(entry);
                if snat::is_translated(entry) {
                    let ports = ports.get_or_insert_with(|| {
                        let (known, why) = ranges();
                        *ranges_unknown = why;
                        Ports::new(known)
                    });
                    ports.add(entry);
                }
            }
        })?;
        if progress == Progress::More && (cpu_time() >= self.until || options.stop.draining()) {
            self.ended = true;
            return Err(Refused::Budget);
        }
        Ok(progress)
    }

    fn restart(&mut self) {
        self.tally = Tally::default();
        self.top = Top::new(&self.options.settings.top_by);
        self.ports = None;
    }
}
