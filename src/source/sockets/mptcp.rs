//! Whether Multipath TCP is in use, and how many resets were sent.
//!
//! The kernel takes a subflow of MPTCP apart with the function that aborts a connection (`mptcp_close_ssk`,
//! `tcp_disconnect`): when its end is told, the counters and the peer's port are gone, as they are of a connection that was
//! reset from here. Only an abort has sent a reset; so where MPTCP is in use, the resets that were sent say which it was. A
//! connection that speaks MPTCP to its end is aborted by a reset with the option `MP_FASTCLOSE`, which is counted apart
//! (`mptcp_do_fastclose` in `net/mptcp/protocol.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Longer than the two files are.
const TEXT: usize = 16_384;

/// How long MPTCP is taken for not in use before the counters are read again.
pub const AGAIN: Duration = Duration::from_millis(10);

/// How many resets a network namespace has sent since Multipath TCP is in use there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetsSent {
    /// All of them, those included that answer segments of no connection.
    pub all: u64,
    /// Those that aborted a connection of MPTCP; 0 where the kernel does not count them.
    pub fast_close: u64,
}

/// The counters of one network namespace. The files are kept open: they stay those of the namespace they were opened in.
#[derive(Debug)]
pub struct MptcpCounters {
    netstat: Option<File>,
    snmp: Option<File>,
    in_use: bool,
    asked: Option<Instant>,
    /// How many there were when MPTCP was not in use yet, or when they were read first.
    before: ResetsSent,
}

impl MptcpCounters {
    /// Those of the calling thread's network namespace.
    pub fn open() -> Self {
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}")).ok();
        let (netstat, snmp) = (open("netstat"), open("snmp"));
        let mut counters = Self { netstat, snmp, in_use: false, asked: None, before: ResetsSent::default() };
        if let Some((in_use, sent)) = counters.read() {
            (counters.in_use, counters.before) = (in_use, sent);
        }
        counters
    }

    /// How many resets were sent so far; `None` where MPTCP was never in use, or the kernel does not say.
    pub fn resets_sent(&mut self, now: Instant) -> Option<ResetsSent> {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= AGAIN);
        if !self.in_use && !due {
            return None;
        }
        self.asked = Some(now);
        let sent = self.sent()?;
        let ResetsSent { all, fast_close } = self.before;
        Some(ResetsSent {
            all: sent.all.saturating_sub(all),
            fast_close: sent.fast_close.saturating_sub(fast_close),
        })
    }

    /// Takes notice of the resets that were sent without MPTCP, once per cycle.
    pub fn refresh(&mut self) {
        if !self.in_use {
            let _noted = self.sent();
        }
    }

    /// The resets since the namespace was made, where MPTCP is in use. Those of before are noted.
    fn sent(&mut self) -> Option<ResetsSent> {
        let (in_use, sent) = self.read()?;
        if !in_use {
            self.before = sent;
        }
        self.in_use |= in_use;
        in_use.then_some(sent)
    }

    /// Whether MPTCP was ever in use, and the resets since the namespace was made.
    fn read(&self) -> Option<(bool, ResetsSent)> {
        let netstat = read(self.netstat.as_ref())?;
        let all = column(&read(self.snmp.as_ref())?, "Tcp: ", "OutRsts")?;
        let fast_close = column(&netstat, "MPTcpExt: ", "MPFastcloseTx").unwrap_or_default();
        Some((mptcp_in_use(&netstat), ResetsSent { all, fast_close }))
    }
}

fn read(file: Option<&File>) -> Option<String> {
    let mut text = vec![0; TEXT];
    // The kernel makes the text again when it is read from its beginning.
    let length = file?.read_at(&mut text, 0).ok()?;
    text.truncate(length);
    String::from_utf8(text).ok()
}

/// Whether a counter of MPTCP is not 0 in the text of `/proc/net/netstat` (`mptcp_seq_show` in `net/mptcp/mib.c`).
pub fn mptcp_in_use(netstat: &str) -> bool {
    let values = netstat.lines().filter_map(|line| line.strip_prefix("MPTcpExt: ")).nth(1);
    values.is_some_and(|values| values.split(' ').any(|value| value != "0"))
}

/// A counter in the text of `/proc/net/snmp` (`snmp_seq_show_tcp_udp` in `net/ipv4/proc.c`) or `/proc/net/netstat`: a line
/// of names that begins with `section`, and one of values.
pub fn column(text: &str, section: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(section));
    let column = lines.next()?.split(' ').position(|known| known == name)?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}
