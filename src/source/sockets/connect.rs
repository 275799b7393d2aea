//! The handshake of a connection that this machine opened, as far as `tcp_info` still tells it (pure).
//!
//! The round trip of the SYN is the first sample of `tcpi_rtt`; every later one, at most one for each segment with data,
//! has a share of an eighth. Nothing says which segments were retransmitted. If none of them had data (`tcpi_bytes_retrans`
//! is 0) and each followed a timeout (`tcpi_total_rto`), they were SYNs, for a lost FIN is first retransmitted without a
//! timeout (a tail loss probe). `tcpi_total_rto_time` begins with the first timeout and ends with the answer. A kernel
//! without it does not tell when the second and further SYNs were retransmitted.

use super::tcp_info::TcpInfo;

/// Segments with data, at most, after which the smoothed round-trip time is still that of the SYN by more than half.
const MOST_SEGMENTS: u32 = 4;

/// Time until the first SYN is retransmitted, microseconds: `TCP_TIMEOUT_INIT` of `include/net/tcp.h`.
const FIRST_TIMEOUT: u64 = 1_000_000;

/// The largest number of SYNs after which the time is still taken: 2^10 s are longer than `connect()` waits for.
const MOST_SYNS: u32 = 10;

/// What a `tcp_info` says of the handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handshake {
    /// Whether all segments retransmitted so far were SYNs; `None` if the kernel does not tell (before Linux 4.19).
    pub only_syns: Option<bool>,
    /// Time from the first SYN until its answer, microseconds; `None` without an answer, if too much was sent since, and
    /// after a second lost SYN before Linux 6.7.
    pub time: Option<u64>,
}

impl Handshake {
    /// Reads it from the `tcp_info` of a connection.
    pub fn of(tcp: TcpInfo<'_>) -> Self {
        let retransmits = tcp.total_retrans().unwrap_or_default();
        let only_syns = tcp.bytes_retrans().map(|bytes| {
            bytes == 0 && tcp.total_rto().is_none_or(|timeouts| u32::from(timeouts) == retransmits)
        });
        let is_young = tcp.data_segs_out().is_some_and(|segments| segments <= MOST_SEGMENTS);
        let time = tcp.rtt().filter(|_| only_syns == Some(true) && is_young);
        Self { only_syns, time: time.and_then(|rtt| Self::duration(tcp, retransmits, rtt.into())) }
    }

    /// From the first SYN until the answer to one of them.
    fn duration(tcp: TcpInfo<'_>, syns: u32, rtt: u64) -> Option<u64> {
        match (syns, tcp.total_rto_time()) {
            (0, _) => Some(rtt),
            // Before Linux 6.7. Of more than one, the time-outs are not known: each twice as long as the one before, or all a
            // second (`net.ipv4.tcp_syn_linear_timeouts`, Linux 6.5).
            (1, None) => Some(FIRST_TIMEOUT + rtt),
            (..=MOST_SYNS, Some(time)) => Some(FIRST_TIMEOUT + (u64::from(time) * 1000).max(rtt)),
            _ => None,
        }
    }
}

/// What was counted of the handshake of a connection between two reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandshakeDelta {
    /// SYNs retransmitted.
    pub syn_retransmits: u32,
    /// Time of the handshake, microseconds, if the connection was established since the last read.
    pub time: Option<u64>,
}
