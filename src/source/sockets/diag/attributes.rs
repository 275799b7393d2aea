//! Attributes of a socket that are structures: memory, congestion control, options.
//!
//! `include/uapi/linux/inet_diag.h`, `include/uapi/linux/sock_diag.h`.

use super::super::structure::structure;

structure! {
/// `INET_DIAG_SKMEMINFO`: memory used by the buffers of a socket and their limits, bytes (`sk_get_meminfo` in
/// `net/core/sock.c`).
Memory {
    /// Memory of received data that the application has not read, with overhead.
    receive_allocated: u32 = 0,
    /// Limit of the receive buffer (`SO_RCVBUF`).
    receive_buffer: u32 = 4,
    /// Memory of data passed to the device queue and not transmitted yet.
    send_allocated: u32 = 8,
    /// Limit of the send buffer (`SO_SNDBUF`).
    send_buffer: u32 = 12,
    /// Memory reserved for either direction and unused; negative if the kernel has used more than it reserved.
    forward_allocated: i32 = 16,
    /// Memory of data written and not yet acknowledged, with overhead.
    send_queued: u32 = 20,
    /// Memory of options and filters.
    option: u32 = 24,
    /// Data received while the application held the socket lock.
    backlog: u32 = 28,
    /// Packets dropped because the buffer was full, since the socket was created; wraps. Absent on old kernels.
    drops: u32 = 32,
}
}

structure! {
/// `INET_DIAG_BBRINFO`: the state of BBR (`bbr_get_info` in `net/ipv4/tcp_bbr.c`).
Bbr {
    /// Lower half of [`bandwidth`](Self::bandwidth).
    bandwidth_low: u32 = 0,
    /// Upper half of [`bandwidth`](Self::bandwidth).
    bandwidth_high: u32 = 4,
    /// Minimum round-trip time of BBR's window, microseconds. `None` before the first sample, for which the kernel has
    /// all bits set, and before the connection is established, when it has 0.
    min_rtt: u32 = 8 unless 0 | u32::MAX,
    /// Pacing gain: sending rate as a multiple of the bandwidth, in 256ths.
    pacing_gain: u32 = 12,
    /// Congestion window gain: data in flight as a multiple of the bandwidth-delay product, in 256ths.
    cwnd_gain: u32 = 16,
}
}

impl Bbr<'_> {
    /// Estimated bandwidth of the path, bytes per second.
    pub fn bandwidth(self) -> Option<u64> {
        Some(u64::from(self.bandwidth_high()?) << 32 | u64::from(self.bandwidth_low()?))
    }
}

structure! {
/// `INET_DIAG_VEGASINFO`: the state of Vegas and similar algorithms (`tcp_vegas_get_info` in `net/ipv4/tcp_vegas.c`).
Vegas {
    /// 1 while Vegas controls the window.
    enabled: u32 = 0,
    /// Round-trip time samples in the present round.
    rtt_count: u32 = 4,
    /// Round-trip time, microseconds. `None` before the first sample, for which the kernel has `0x7fffffff`.
    rtt: u32 = 8 unless 0x7fff_ffff..,
    /// Minimum round-trip time, microseconds. `None` before the first sample, for which the kernel has `0x7fffffff`.
    min_rtt: u32 = 12 unless 0x7fff_ffff..,
}
}

structure! {
/// `INET_DIAG_DCTCPINFO`: the state of DCTCP (`tcp_dctcp_get_info` in `net/ipv4/tcp_dctcp.c`).
Dctcp {
    /// 0 if ECN was not negotiated, and DCTCP works as Reno.
    enabled: u16 = 0,
    /// Whether the latest segment had a congestion mark (CE).
    ce_state: u16 = 2,
    /// Smoothed fraction of bytes with a congestion mark, in 1024ths.
    alpha: u32 = 4,
    /// Bytes of this window with a congestion mark.
    congested_bytes: u32 = 8,
    /// Bytes of this window.
    total_bytes: u32 = 12,
}
}

/// `INET_DIAG_SOCKOPT`: options of the socket, one bit each; Linux 5.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions(pub [u8; 2]);

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident = $byte:literal, $bit:literal;)*) => {
        impl SocketOptions {
            $($(#[$doc])* pub const fn $name(self) -> bool {
                let [first, second] = self.0;
                let byte = if $byte == 0 { first } else { second };
                // Bit-fields: the first declared is the lowest bit on little-endian machines, the highest on others.
                let byte = if cfg!(target_endian = "little") { byte } else { byte.reverse_bits() };
                byte & 1 << $bit != 0
            })*
        }
    };
}

options! {
    /// `IP_RECVERR`: network errors are queued for the application.
    recverr = 0, 0;
    /// The socket has a connection-oriented protocol.
    is_icsk = 0, 1;
    /// `IP_FREEBIND`: the socket may be bound to an address that the machine does not have.
    freebind = 0, 2;
    /// `IP_HDRINCL`: the application writes the IP header.
    hdrincl = 0, 3;
    /// `IP_MULTICAST_LOOP`: the socket receives its own multicast packets.
    mc_loop = 0, 4;
    /// `IP_TRANSPARENT`: the socket accepts connections to addresses of other hosts.
    transparent = 0, 5;
    /// `IP_MULTICAST_ALL`: the socket receives from every group that any socket has joined.
    mc_all = 0, 6;
    /// `IP_NODEFRAG`: fragments are not reassembled.
    nodefrag = 0, 7;
    /// `IP_BIND_ADDRESS_NO_PORT`: the port is chosen by `connect` and not by `bind`.
    bind_address_no_port = 1, 0;
    /// `IP_RECVERR_RFC4884`: queued errors have the extensions of RFC 4884.
    recverr_rfc4884 = 1, 1;
    /// TCP Fast Open: the SYN is deferred until data is written.
    defer_connect = 1, 2;
}
