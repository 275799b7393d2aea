//! Whether Multipath TCP is in use, and how many resets were sent.
//!
//! The kernel takes a subflow of MPTCP apart with the function that aborts a connection (`mptcp_close_ssk`,
//! `tcp_disconnect`): when its end is told, the counters and the peer's port are gone, as they are of a connection that was
//! reset from here. Only an abort has sent a reset; so where MPTCP is in use, the resets that were sent say which it was.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Longer than the two files are.
const TEXT: usize = 16_384;

/// How long MPTCP is taken for not in use before the counters are read again.
const AGAIN: Duration = Duration::from_millis(10);

/// The counters of one network namespace. The files are kept open: they stay those of the namespace they were opened in.
#[derive(Debug)]
pub struct MptcpCounters {
    netstat: Option<File>,
    snmp: Option<File>,
    in_use: bool,
    asked: Option<Instant>,
}

impl MptcpCounters {
    /// Those of the calling thread's network namespace.
    pub fn open() -> Self {
        let open = |name: &str| File::open(format!("/proc/thread-self/net/{name}")).ok();
        Self { netstat: open("netstat"), snmp: open("snmp"), in_use: false, asked: None }
    }

    /// How many resets were sent so far; `None` where MPTCP was never in use, or the kernel does not say.
    pub fn resets_sent(&mut self, now: Instant) -> Option<u64> {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= AGAIN);
        if !self.in_use && due {
            self.asked = Some(now);
            self.in_use = read(self.netstat.as_ref()).is_some_and(|text| mptcp_in_use(&text));
        }
        if !self.in_use {
            return None;
        }
        resets_sent(&read(self.snmp.as_ref())?)
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

/// `OutRsts` in the text of `/proc/net/snmp` (`net/ipv4/proc.c`, `snmp_seq_show_tcp_udp`): a line of names and one of
/// values.
pub fn resets_sent(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let column = lines.next()?.split(' ').position(|name| name == "OutRsts")?;
    lines.next()?.split(' ').nth(column)?.parse().ok()
}
