//! `struct tcp_info`: TCP's state of one connection, as sent over `sock_diag` and by `getsockopt(TCP_INFO)`.
//!
//! `include/uapi/linux/tcp.h`, filled by `tcp_get_info` in `net/ipv4/tcp.c`. The structure has only ever grown at its
//! end, and distributions backport fields to old kernels, so only the length of the message tells which fields it has:
//! 104 bytes on 2.6, 168 on 4.9, 224 on 4.19, 232 on 5.4, 280 on 6.18. The release beside a field is the first that has
//! it. Numbers are in the byte order of the machine and in the kernel's units.
//!
//! Left out: `tcpi_fackets` (0 since 4.15), `tcpi_last_ack_sent` (never filled), and the four bytes at 276, whose
//! layout differs in 7.0.

use super::structure::structure;

structure! {
/// `struct tcp_info`, as far as the kernel sent it. A listening socket has only [`unacked`](Self::unacked) and
/// [`sacked`](Self::sacked), with another meaning.
TcpInfo {
    /// State of the socket, as numbered in `diag::State`.
    state: u8 = 0,
    /// State of congestion control: 0 open, 1 disorder, 2 congestion window reduced, 3 recovery, 4 loss.
    ca_state: u8 = 1,
    /// Consecutive timeouts without an acknowledgement.
    retransmits: u8 = 2,
    /// Consecutive window probes and keepalives without an answer.
    probes: u8 = 3,
    /// Number of times that the retransmission timeout was doubled.
    backoff: u8 = 4,
    /// Options negotiated or used, the bits [`TIMESTAMPS`] to [`FAST_OPEN_CHILD`].
    options: u8 = 5,
    /// Retransmission timeout, microseconds.
    rto: u32 = 8,
    /// Delay of acknowledgements of received data, microseconds; 0 if they are not delayed.
    ato: u32 = 12,
    /// Maximum segment size for sending, bytes.
    snd_mss: u32 = 16,
    /// Estimated maximum segment size of received segments, bytes.
    rcv_mss: u32 = 20,
    /// Segments sent and not acknowledged. For a listening socket: connections in the accept queue.
    unacked: u32 = 24,
    /// Segments acknowledged selectively. For a listening socket: maximum length of the accept queue.
    sacked: u32 = 28,
    /// Segments considered lost.
    lost: u32 = 32,
    /// Segments retransmitted and not acknowledged yet.
    retrans: u32 = 36,
    /// Time since data was last sent, milliseconds; since boot if none was sent.
    last_data_sent: u32 = 44,
    /// Time since data was last received, milliseconds.
    last_data_recv: u32 = 52,
    /// Time since an acknowledgement was last received, milliseconds.
    last_ack_recv: u32 = 56,
    /// Path MTU, bytes.
    pmtu: u32 = 60,
    /// Maximum receive window at present, bytes.
    rcv_ssthresh: u32 = 64,
    /// Smoothed round-trip time, microseconds. `None` before the first sample, for which the kernel has 0.
    rtt: u32 = 68 unless 0,
    /// Slow start threshold, segments. `None` while unset, for which the kernel has `0x7fffffff`.
    snd_ssthresh: u32 = 76 unless 0x7fff_ffff..,
    /// Congestion window, segments.
    snd_cwnd: u32 = 80,
    /// Advertised maximum segment size, bytes.
    advmss: u32 = 84,
    /// Reordering metric, segments; 3 until reordering is detected.
    reordering: u32 = 88,
    /// Round-trip time as seen by the receiver, microseconds. `None` before the first sample, for which the kernel has
    /// 0.
    rcv_rtt: u32 = 92 unless 0,
    /// Bytes that the application reads in one round trip, from which the receive buffer is sized.
    rcv_space: u32 = 96,
    /// Segments retransmitted so far; wraps.
    total_retrans: u32 = 100,
    /// Pacing rate, bytes per second; 3.15. `None` if unlimited, for which the kernel has all bits set.
    pacing_rate: u64 = 104 unless u64::MAX,
    /// Maximum pacing rate, bytes per second; 3.15. `None` if unlimited, for which the kernel has all bits set.
    max_pacing_rate: u64 = 112 unless u64::MAX,
    /// Bytes sent and acknowledged so far; 4.1. SYN and FIN count as one each.
    bytes_acked: u64 = 120,
    /// Bytes received in order so far; 4.1.
    bytes_received: u64 = 128,
    /// Segments sent so far, including those without data; 4.2; wraps.
    segs_out: u32 = 136,
    /// Segments received so far, including those without data; 4.2; wraps.
    segs_in: u32 = 140,
    /// Bytes written by the application and not sent yet; 4.6.
    notsent_bytes: u32 = 144,
    /// Minimum round-trip time of the last minutes (`net.ipv4.tcp_min_rtt_wlen`), microseconds; 4.6. `None` before the
    /// first sample, for which the kernel has all bits set, and 0 in a listening socket.
    min_rtt: u32 = 148 unless 0 | u32::MAX,
    /// Segments with data received so far; 4.6; wraps.
    data_segs_in: u32 = 152,
    /// Segments with data sent so far, including retransmissions; 4.6; wraps.
    data_segs_out: u32 = 156,
    /// Most recent delivery rate, bytes per second; 4.9. `None` before the first sample, for which the kernel has 0.
    delivery_rate: u64 = 160 unless 0,
    /// Time with outstanding data so far, microseconds; 4.10.
    busy_time: u64 = 168,
    /// Time limited by the peer's receive window so far, microseconds; 4.10.
    rwnd_limited: u64 = 176,
    /// Time limited by the send buffer so far, microseconds; 4.10.
    sndbuf_limited: u64 = 184,
    /// Segments delivered so far; 4.18; wraps.
    delivered: u32 = 192,
    /// Segments delivered so far whose acknowledgement reported a congestion mark (ECN); 4.18; wraps.
    delivered_ce: u32 = 196,
    /// Data bytes sent so far, including retransmissions; 4.19.
    bytes_sent: u64 = 200,
    /// Data bytes retransmitted so far; 4.19.
    bytes_retrans: u64 = 208,
    /// Segments that the receiver reported as duplicates (D-SACK) so far; 4.19; wraps.
    dsack_dups: u32 = 216,
    /// Times that reordering was detected so far; 4.19; wraps.
    reord_seen: u32 = 220,
    /// Segments received out of order so far; 5.4; wraps.
    rcv_ooopack: u32 = 224,
    /// The peer's receive window after scaling, bytes; 5.4.
    snd_wnd: u32 = 228,
    /// The receive window advertised to the peer, after scaling, bytes; 6.2.
    rcv_wnd: u32 = 232,
    /// Times that another path was tried (PLB or timeout) so far; 6.2; wraps.
    rehash: u32 = 236,
    /// Retransmission timeouts so far, including those of SYNs; 6.7; wraps.
    total_rto: u16 = 240,
    /// Recoveries from retransmission timeouts so far; 6.7; wraps.
    total_rto_recoveries: u16 = 242,
    /// Time spent in recovery from retransmission timeouts so far, milliseconds; 6.7.
    total_rto_time: u32 = 244,
    /// Segments received so far with a congestion mark (ECN CE); 6.18; wraps.
    received_ce: u32 = 248,
    /// Bytes delivered so far with the mark ECT(1), as counted by the peer (Accurate ECN); 6.18; wraps.
    delivered_e1_bytes: u32 = 252,
    /// Bytes delivered so far with the mark ECT(0), as counted by the peer; 6.18; wraps.
    delivered_e0_bytes: u32 = 256,
    /// Bytes delivered so far with a congestion mark, as counted by the peer; 6.18; wraps.
    delivered_ce_bytes: u32 = 260,
    /// Bytes received so far with the mark ECT(1); 6.18; wraps.
    received_e1_bytes: u32 = 264,
    /// Bytes received so far with the mark ECT(0); 6.18; wraps.
    received_e0_bytes: u32 = 268,
    /// Bytes received so far with a congestion mark; 6.18; wraps.
    received_ce_bytes: u32 = 272,
}
}

/// Bit of [`TcpInfo::options`]: timestamps were negotiated.
pub const TIMESTAMPS: u8 = 0x01;
/// Bit of [`TcpInfo::options`]: selective acknowledgements were negotiated.
pub const SACK: u8 = 0x02;
/// Bit of [`TcpInfo::options`]: window scaling was negotiated.
pub const WINDOW_SCALE: u8 = 0x04;
/// Bit of [`TcpInfo::options`]: ECN was negotiated.
pub const ECN: u8 = 0x08;
/// Bit of [`TcpInfo::options`]: data in the SYN was acknowledged (TCP Fast Open).
pub const SYN_DATA: u8 = 0x20;
/// Bit of [`TcpInfo::options`]: the connection was accepted by TCP Fast Open.
pub const FAST_OPEN_CHILD: u8 = 0x80;

impl TcpInfo<'_> {
    /// Payload bytes sent so far, without retransmissions; 4.19.
    pub fn payload_sent(self) -> Option<u64> {
        Some(self.bytes_sent()?.saturating_sub(self.bytes_retrans()?))
    }

    /// Mean deviation of the round-trip time, microseconds. `None` before the first sample, when the kernel has its
    /// initial timeout there.
    pub fn rttvar(self) -> Option<u32> {
        self.rtt()?;
        self.0.get(72..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// Window scale of the peer, bits. `None` without [`WINDOW_SCALE`].
    pub fn snd_wscale(self) -> Option<u8> {
        self.scales().map(|(snd, _)| snd)
    }

    /// Window scale of this end, bits. `None` without [`WINDOW_SCALE`].
    pub fn rcv_wscale(self) -> Option<u8> {
        self.scales().map(|(_, rcv)| rcv)
    }

    fn scales(self) -> Option<(u8, u8)> {
        let both = *self.0.get(6)?;
        let negotiated = self.options()? & WINDOW_SCALE != 0;
        // Two bit-fields; the first declared is at the byte's beginning, which depends on the machine.
        let (first, second) =
            if cfg!(target_endian = "little") { (both & 0xf, both >> 4) } else { (both >> 4, both & 0xf) };
        negotiated.then_some((first, second))
    }

    /// Whether the [`delivery_rate`](Self::delivery_rate) was limited by the application rather than by the network
    /// path; 4.9. `None` without a rate.
    pub fn delivery_rate_app_limited(self) -> Option<bool> {
        self.delivery_rate()?;
        let bit = if cfg!(target_endian = "little") { 0x01 } else { 0x80 };
        self.0.get(7).map(|bits| bits & bit != 0)
    }

    /// The reason why TCP Fast Open failed: 0 unknown, 1 no cookie, 2 data not acknowledged, 3 SYN timed out; 5.5, and
    /// 0 before. `None` before Linux 5.4.
    pub fn fastopen_client_fail(self) -> Option<u8> {
        self.snd_wnd()?;
        let shift = if cfg!(target_endian = "little") { 1 } else { 5 };
        self.0.get(7).map(|bits| (bits >> shift) & 0x3)
    }
}
