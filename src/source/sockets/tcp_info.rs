//! `struct tcp_info`: what TCP knows of one connection, as it comes over `sock_diag` and `getsockopt(TCP_INFO)`.
//!
//! `include/uapi/linux/tcp.h`, filled by `tcp_get_info` in `net/ipv4/tcp.c`. The structure has only ever grown at its
//! end, and distributions carry new fields into old kernels, so which fields there are is told by the length of what
//! was sent and by nothing else: 104 bytes on 2.6, 168 on 4.9, 224 on 4.19, 232 on 5.4, 280 on 6.18. The release
//! beside a field is the first that has it. Numbers are in the byte order of the machine and in the kernel's units.
//!
//! Left out: `tcpi_fackets` (0 since 4.15), `tcpi_last_ack_sent` (never filled), and the four bytes at 276, which
//! 7.0 has a different layout of.

use super::structure::structure;

structure! {
/// `struct tcp_info`, as much of it as the kernel sent. Of a listening socket only [`unacked`](Self::unacked) and
/// [`sacked`](Self::sacked) say something, and they say something else than of a connection.
TcpInfo {
    /// State of the socket, by the numbers of `diag::State`.
    state: u8 = 0,
    /// State of congestion control: 0 open, 1 disorder, 2 congestion window reduced, 3 recovery, 4 loss.
    ca_state: u8 = 1,
    /// Timeouts in a row without an acknowledgement between them.
    retransmits: u8 = 2,
    /// Window probes and keepalives in a row that were not answered.
    probes: u8 = 3,
    /// By how many powers of two the retransmission timeout has been prolonged.
    backoff: u8 = 4,
    /// What was negotiated and seen, the bits [`TIMESTAMPS`] to [`FAST_OPEN_CHILD`].
    options: u8 = 5,
    /// Retransmission timeout, microseconds.
    rto: u32 = 8,
    /// Delay after which received data is acknowledged, microseconds; 0 where acknowledgements are not delayed.
    ato: u32 = 12,
    /// Largest segment sent, bytes.
    snd_mss: u32 = 16,
    /// Largest segment received, estimated, bytes.
    rcv_mss: u32 = 20,
    /// Segments sent and not acknowledged. Of a listening socket: connections that wait to be accepted.
    unacked: u32 = 24,
    /// Segments acknowledged selectively. Of a listening socket: how many may wait to be accepted.
    sacked: u32 = 28,
    /// Segments held to be lost.
    lost: u32 = 32,
    /// Segments retransmitted and not acknowledged yet.
    retrans: u32 = 36,
    /// Since data was last sent, milliseconds; since the machine was started where none was.
    last_data_sent: u32 = 44,
    /// Since data was last received, milliseconds.
    last_data_recv: u32 = 52,
    /// Since an acknowledgement was last received, milliseconds.
    last_ack_recv: u32 = 56,
    /// Path MTU, bytes.
    pmtu: u32 = 60,
    /// Largest receive window there may be at present, bytes.
    rcv_ssthresh: u32 = 64,
    /// Round-trip time, smoothed, microseconds. `None` before the first sample, for which the kernel has 0.
    rtt: u32 = 68 unless 0,
    /// Segments at which slow start ends. `None` where it has no end yet, for which the kernel has `0x7fffffff`.
    snd_ssthresh: u32 = 76 unless 0x7fff_ffff..,
    /// Congestion window, segments.
    snd_cwnd: u32 = 80,
    /// Largest segment that was advertised, bytes.
    advmss: u32 = 84,
    /// By how many segments the path is thought to reorder; 3 until something else was seen.
    reordering: u32 = 88,
    /// Round-trip time as seen by the receiver, microseconds. `None` before the first sample, for which the kernel has
    /// 0.
    rcv_rtt: u32 = 92 unless 0,
    /// Bytes the application reads in one round trip, from which the receive buffer is sized.
    rcv_space: u32 = 96,
    /// Segments retransmitted so far; wraps.
    total_retrans: u32 = 100,
    /// Rate at which segments are paced, bytes per second; 3.15. `None` where it is unlimited, for which the kernel
    /// has all bits set.
    pacing_rate: u64 = 104 unless u64::MAX,
    /// What the pacing rate is limited to, bytes per second; 3.15. `None` where it is not, for which the kernel has
    /// all bits set.
    max_pacing_rate: u64 = 112 unless u64::MAX,
    /// Bytes sent and acknowledged so far; 4.1. SYN and FIN count one each.
    bytes_acked: u64 = 120,
    /// Bytes received in order so far; 4.1.
    bytes_received: u64 = 128,
    /// Segments sent so far, with those that carry no data; 4.2; wraps.
    segs_out: u32 = 136,
    /// Segments received so far, with those that carry no data; 4.2; wraps.
    segs_in: u32 = 140,
    /// Bytes the application has written that were never sent yet; 4.6.
    notsent_bytes: u32 = 144,
    /// Smallest round-trip time of the last minutes (`net.ipv4.tcp_min_rtt_wlen`), microseconds; 4.6. `None` before
    /// the first sample, for which the kernel has all bits set, and 0 in a listening socket.
    min_rtt: u32 = 148 unless 0 | u32::MAX,
    /// Segments with data received so far; 4.6; wraps.
    data_segs_in: u32 = 152,
    /// Segments with data sent so far, retransmissions among them; 4.6; wraps.
    data_segs_out: u32 = 156,
    /// Rate at which data was delivered in the latest sample that says something, bytes per second; 4.9. `None` before
    /// the first, for which the kernel has 0.
    delivery_rate: u64 = 160 unless 0,
    /// Time in which data was outstanding, so far, microseconds; 4.10.
    busy_time: u64 = 168,
    /// Time in which the receiver's window was what held sending up, so far, microseconds; 4.10.
    rwnd_limited: u64 = 176,
    /// Time in which the send buffer was what held sending up, so far, microseconds; 4.10.
    sndbuf_limited: u64 = 184,
    /// Segments delivered so far; 4.18; wraps.
    delivered: u32 = 192,
    /// Segments delivered so far whose acknowledgement said that they had met congestion (ECN); 4.18; wraps.
    delivered_ce: u32 = 196,
    /// Bytes of data sent so far, retransmissions among them; 4.19.
    bytes_sent: u64 = 200,
    /// Bytes of data retransmitted so far; 4.19.
    bytes_retrans: u64 = 208,
    /// Segments that the receiver said it had already (duplicate SACK), so far; 4.19; wraps.
    dsack_dups: u32 = 216,
    /// Times that reordering was seen, so far; 4.19; wraps.
    reord_seen: u32 = 220,
    /// Segments received out of order so far; 5.4; wraps.
    rcv_ooopack: u32 = 224,
    /// The peer's receive window, scaled, bytes; 5.4.
    snd_wnd: u32 = 228,
    /// The receive window told to the peer, scaled, bytes; 6.2.
    rcv_wnd: u32 = 232,
    /// Times that another path was tried after a timeout (PLB or timeout), so far; 6.2; wraps.
    rehash: u32 = 236,
    /// Retransmission timeouts so far, SYN's among them; 6.7; wraps.
    total_rto: u16 = 240,
    /// Recoveries from retransmission timeouts so far; 6.7; wraps.
    total_rto_recoveries: u16 = 242,
    /// Time spent recovering from retransmission timeouts, so far, milliseconds; 6.7.
    total_rto_time: u32 = 244,
    /// Segments received so far that had met congestion (ECN); 6.18; wraps.
    received_ce: u32 = 248,
    /// Bytes delivered so far with the mark ECT(1), as the peer counts them (Accurate ECN); 6.18; wraps.
    delivered_e1_bytes: u32 = 252,
    /// Bytes delivered so far with the mark ECT(0), as the peer counts them; 6.18; wraps.
    delivered_e0_bytes: u32 = 256,
    /// Bytes delivered so far that had met congestion, as the peer counts them; 6.18; wraps.
    delivered_ce_bytes: u32 = 260,
    /// Bytes received so far with the mark ECT(1); 6.18; wraps.
    received_e1_bytes: u32 = 264,
    /// Bytes received so far with the mark ECT(0); 6.18; wraps.
    received_e0_bytes: u32 = 268,
    /// Bytes received so far that had met congestion; 6.18; wraps.
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
/// Bit of [`TcpInfo::options`]: accepted by TCP Fast Open.
pub const FAST_OPEN_CHILD: u8 = 0x80;

impl TcpInfo<'_> {
    /// Payload sent so far, each byte once however often it was retransmitted, bytes; 4.19.
    pub fn payload_sent(self) -> Option<u64> {
        Some(self.bytes_sent()?.saturating_sub(self.bytes_retrans()?))
    }

    /// Mean deviation of the round-trip time, microseconds. `None` before the first sample, when the kernel has its
    /// initial timeout there.
    pub fn rttvar(self) -> Option<u32> {
        self.rtt()?;
        self.0.get(72..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// By how many bits the peer's windows are shifted. `None` without [`WINDOW_SCALE`].
    pub fn snd_wscale(self) -> Option<u8> {
        self.scales().map(|(snd, _)| snd)
    }

    /// By how many bits our windows are shifted. `None` without [`WINDOW_SCALE`].
    pub fn rcv_wscale(self) -> Option<u8> {
        self.scales().map(|(_, rcv)| rcv)
    }

    fn scales(self) -> Option<(u8, u8)> {
        let both = *self.0.get(6)?;
        let negotiated = self.options()? & WINDOW_SCALE != 0;
        // Two bit-fields; the first declared lies where the machine's byte begins.
        let (first, second) =
            if cfg!(target_endian = "little") { (both & 0xf, both >> 4) } else { (both >> 4, both & 0xf) };
        negotiated.then_some((first, second))
    }

    /// Whether the [`delivery_rate`](Self::delivery_rate) is what the application gave to send rather than what the
    /// path could carry; 4.9. `None` without a rate.
    pub fn delivery_rate_app_limited(self) -> Option<bool> {
        self.delivery_rate()?;
        let bit = if cfg!(target_endian = "little") { 0x01 } else { 0x80 };
        self.0.get(7).map(|bits| bits & bit != 0)
    }

    /// Why TCP Fast Open did not work: 0 unknown, 1 no cookie, 2 data was not acknowledged, 3 SYN timed out; 5.5, and 0
    /// before. `None` where the kernel is older than 5.4.
    pub fn fastopen_client_fail(self) -> Option<u8> {
        self.snd_wnd()?;
        let shift = if cfg!(target_endian = "little") { 1 } else { 5 };
        self.0.get(7).map(|bits| (bits >> shift) & 0x3)
    }
}
