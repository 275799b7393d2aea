//! Dumps the table of one network namespace, within a budget of CPU time.
//!
//! The kernel makes a dump while it is read, in the thread that reads it, so the CPU time of that thread has the kernel's part
//! too. A dump that is given up costs nothing more once its socket is closed.

use super::message::{self, Filter};
use super::tally::Tally;
use crate::netlink::{Client, Malformed, Progress, RequestError, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::source::conntrack::{netlink as ctnetlink, timeouts};
use crate::stop::Stop;
use crate::sys::netlink::NetlinkSocket;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What the kernel is asked.
const DOING: &str = "asking netlink for the entries of the table (IPCTNL_MSG_CT_GET)";

/// What a dump is for, and how much it may cost.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The entries that are counted.
    pub filter: Filter,
    /// CPU time that it may take.
    pub budget: Duration,
    /// Ends it early.
    pub stop: &'a Stop,
}

/// What one dump found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The entries.
    pub tally: Tally,
    /// Part of the table that was read, 0 to 1; `None` if the dump ended early and the number of entries that were asked
    /// for is not known.
    pub share: Option<f64>,
    /// CPU time that it took, that of the kernel included.
    pub cpu_time: Duration,
}

/// CPU time of the calling thread, in the kernel and outside of it.
pub fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Dumps the table of the calling thread's network namespace.
pub fn dump(options: &Options<'_>) -> Result<Found, SourceError> {
    // The socket is closed afterwards: a dump that is not read to its end would have to be read before the next one.
    let socket = NetlinkSocket::open(rustix::net::netlink::NETFILTER, crate::netlink::timeouts::DATAGRAM)
        .map_err(|cause| {
            SourceError::from_io("opening a netfilter netlink socket", "CAP_NET_ADMIN", cause)
        })?;
    ask(&mut Client::new(socket, timeouts::ENTRIES), options, || {
        ctnetlink::Socket::open()?.global().map(|global| global.entries)
    })
}

/// Asks a client. `usage` is called for the number of entries in the table if the dump ends early.
pub fn ask<T: Transport>(
    client: &mut Client<T>,
    options: &Options<'_>,
    usage: impl FnOnce() -> Result<Option<u64>, SourceError>,
) -> Result<Found, SourceError> {
    let started = cpu_time();
    let mut handler = Handler {
        options,
        until: started.saturating_add(options.budget),
        tally: Tally::default(),
        ended: false,
    };
    let result = client.ask(|sequence| options.filter.request(sequence), &mut handler);
    let Handler { tally, ended, .. } = handler;
    let share = match result {
        Ok(()) => Some(1.0),
        Err(RequestError::Malformed(_)) if ended => {
            // With a filter the number of entries that were asked for is not known.
            let usage = if options.filter.is_empty() { usage()? } else { None };
            usage.map(|usage| share(tally.entries, usage))
        }
        Err(error) => return Err(error.into_source(DOING.to_owned(), ctnetlink::ABSENT)),
    };
    Ok(Found { tally, share, cpu_time: cpu_time().saturating_sub(started) })
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
    /// CPU time of the thread at which the dump ends early.
    until: Duration,
    tally: Tally,
    ended: bool,
}

impl ResponseHandler for Handler<'_> {
    type Malformed = Refused;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Refused> {
        let Self { options, tally, .. } = self;
        let progress = message::parse(datagram, sequence, |entry| {
            if options.filter.matches(entry) {
                tally.add(entry);
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
    }
}
