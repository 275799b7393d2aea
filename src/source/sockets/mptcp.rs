//! Whether Multipath TCP is in use, and the numbers of resets that tell how a subflow ended.
//!
//! The kernel closes a subflow with the function that aborts a connection (`mptcp_close_ssk`, `tcp_disconnect`), so its
//! destroy event has neither counters nor the peer's port, as the event of a connection that was reset from this end.
//! Only an abort sends a reset; so where MPTCP is in use, the number of resets sent tells the two apart. A connection
//! that uses MPTCP until its end is aborted by a reset with the option `MP_FASTCLOSE`, which is counted separately
//! (`mptcp_do_fastclose` in `net/mptcp/protocol.c`). That may leave the subflow its counters. A peer that aborts sends the
//! same, which is counted as received; then this end is closed as in order, without counters.

use crate::token_bucket::TokenBucket;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Size of the read buffer, bytes; larger than either file.
const TEXT: usize = 16_384;

/// Reads of the counters in a second, and at once, while MPTCP is not in use, and for connections that kept their counters: a
/// read takes some 50 us, and a proxy may reset 10,000 connections a second. Above this rate the first MPTCP connection that
/// ends in order may be counted as reset.
const READS_PER_SECOND: f64 = 100.0;
const READS_AT_ONCE: f64 = 100.0;

/// Resets of a network namespace since MPTCP is in use there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetCounts {
    /// All resets sent, including those that answer segments of no connection.
    pub all: u64,
    /// Resets sent that aborted an MPTCP connection; 0 if the kernel does not count them.
    pub fast_close: u64,
    /// Resets received by which a peer aborted an MPTCP connection; 0 if the kernel does not count them.
    pub fast_close_received: u64,
}

/// The counters of one network namespace. The files stay open: an open file belongs to the namespace in which it was
/// opened.
#[derive(Debug)]
pub struct MptcpCounters {
    netstat: Option<File>,
    snmp: Option<File>,
    in_use: bool,
    reads: TokenBucket,
    /// Resets before MPTCP was in use, or before the first read.
    baseline: ResetCounts,
}

impl MptcpCounters {
    /// Opens the files of the calling thread's network namespace.
    pub fn open() -> Self {
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}")).ok();
        let (netstat, snmp) = (open("netstat"), open("snmp"));
        let reads = TokenBucket::full(READS_PER_SECOND, READS_AT_ONCE);
        let mut counters = Self { netstat, snmp, in_use: false, reads, baseline: ResetCounts::default() };
        if let Some((in_use, sent)) = counters.read() {
            (counters.in_use, counters.baseline) = (in_use, sent);
        }
        counters
    }

    /// Resets so far, for a connection without counters at its end; `None` if MPTCP was never in use, or if the kernel does
    /// not report it.
    pub fn reset_counts(&mut self, now: Instant) -> Option<ResetCounts> {
        if self.in_use || self.reads.take(now) { self.since_baseline() } else { None }
    }

    /// The same for a connection that may have been reset and has kept its counters: limited also while MPTCP is in use, and
    /// nothing is read before it is known to be. That is seen once per cycle, and by [`Self::reset_counts`]; an abort before
    /// that may have the next connection that ends in order counted as reset.
    pub fn reset_counts_limited(&mut self, now: Instant) -> Option<ResetCounts> {
        if self.in_use && self.reads.take(now) { self.since_baseline() } else { None }
    }

    fn since_baseline(&mut self) -> Option<ResetCounts> {
        let counts = self.sent()?;
        let ResetCounts { all, fast_close, fast_close_received } = self.baseline;
        Some(ResetCounts {
            all: counts.all.saturating_sub(all),
            fast_close: counts.fast_close.saturating_sub(fast_close),
            fast_close_received: counts.fast_close_received.saturating_sub(fast_close_received),
        })
    }

    /// Reads the resets of before MPTCP is in use, once per cycle.
    pub fn refresh(&mut self) {
        if !self.in_use {
            let _noted = self.sent();
        }
    }

    /// Resets since the namespace was created, if MPTCP is in use; otherwise stores them as those of before.
    fn sent(&mut self) -> Option<ResetCounts> {
        let (in_use, sent) = self.read()?;
        if !in_use {
            self.baseline = sent;
        }
        self.in_use |= in_use;
        in_use.then_some(sent)
    }

    /// Whether MPTCP was ever in use, and the resets since the namespace was created.
    fn read(&self) -> Option<(bool, ResetCounts)> {
        let netstat = read(self.netstat.as_ref())?;
        let all = column(&read(self.snmp.as_ref())?, "Tcp: ", "OutRsts")?;
        let count = |name| column(&netstat, "MPTcpExt: ", name).unwrap_or_default();
        let (fast_close, fast_close_received) = (count("MPFastcloseTx"), count("MPFastcloseRx"));
        Some((mptcp_in_use(&netstat), ResetCounts { all, fast_close, fast_close_received }))
    }
}

fn read(file: Option<&File>) -> Option<String> {
    let mut text = vec![0; TEXT];
    // The kernel creates the text again when it is read from the beginning.
    let length = file?.read_at(&mut text, 0).ok()?;
    text.truncate(length);
    String::from_utf8(text).ok()
}

/// Whether any counter of MPTCP is above 0 in the text of `/proc/net/netstat` (`mptcp_seq_show` in `net/mptcp/mib.c`).
pub fn mptcp_in_use(netstat: &str) -> bool {
    let values = netstat.lines().filter_map(|line| line.strip_prefix("MPTcpExt: ")).nth(1);
    values.is_some_and(|values| values.split(' ').any(|value| value != "0"))
}

/// A counter in the text of `/proc/net/snmp` (`snmp_seq_show_tcp_udp` in `net/ipv4/proc.c`) or `/proc/net/netstat`: a
/// line of names that begins with `section`, followed by a line of values.
pub fn column(text: &str, section: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(section));
    let column = lines.next()?.split(' ').position(|known| known == name)?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}
