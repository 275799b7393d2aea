//! The attributes of a socket that are structures: buffers, congestion control, options.
//!
//! `include/uapi/linux/inet_diag.h`, `include/uapi/linux/sock_diag.h`.

use super::super::structure::structure;

structure! {
/// `INET_DIAG_SKMEMINFO`: what the socket's buffers hold and may hold, bytes (`sk_get_meminfo` in `net/core/sock.c`).
Memory {
    /// Received and not yet read, with what keeping it costs.
    receive_allocated: u32 = 0,
    /// Limit of the receive buffer (`SO_RCVBUF`).
    receive_buffer: u32 = 4,
    /// Given to the device or its queue and not yet sent out.
    send_allocated: u32 = 8,
    /// Limit of the send buffer (`SO_SNDBUF`).
    send_buffer: u32 = 12,
    /// Set aside for either direction and not in use; the kernel may have given out more than it set aside.
    forward_allocated: i32 = 16,
    /// Written and not yet acknowledged, with what keeping it costs.
    send_queued: u32 = 20,
    /// Kept for options and filters.
    option: u32 = 24,
    /// Received while the application held the socket.
    backlog: u32 = 28,
    /// Packets dropped for want of room, so far; wraps. Not sent by old kernels.
    drops: u32 = 32,
}
}

structure! {
/// `INET_DIAG_BBRINFO`: what BBR knows of the path (`bbr_get_info` in `net/ipv4/tcp_bbr.c`).
Bbr {
    /// Lower half of [`bandwidth`](Self::bandwidth).
    bandwidth_low: u32 = 0,
    /// Upper half of [`bandwidth`](Self::bandwidth).
    bandwidth_high: u32 = 4,
    /// Smallest round-trip time of its window, microseconds. `None` before the first sample, for which the kernel has
    /// all bits set, and before the connection is made, when it has 0.
    min_rtt: u32 = 8 unless 0 | u32::MAX,
    /// By how much faster than the bandwidth it sends, in 256ths.
    pacing_gain: u32 = 12,
    /// By how much more than one bandwidth-delay product it keeps in flight, in 256ths.
    cwnd_gain: u32 = 16,
}
}

impl Bbr<'_> {
    /// Bandwidth of the path as BBR estimates it, bytes per second.
    pub fn bandwidth(self) -> Option<u64> {
        Some(u64::from(self.bandwidth_high()?) << 32 | u64::from(self.bandwidth_low()?))
    }
}

structure! {
/// `INET_DIAG_VEGASINFO`: what Vegas and its kin know of the path (`tcp_vegas_get_info` in `net/ipv4/tcp_vegas.c`).
Vegas {
    /// 1 while it is in charge.
    enabled: u32 = 0,
    /// Samples of the round-trip time in the present round.
    rtt_count: u32 = 4,
    /// Round-trip time, microseconds. `None` before the first sample, for which the kernel has `0x7fffffff`.
    rtt: u32 = 8 unless 0x7fff_ffff..,
    /// Smallest round-trip time, microseconds. `None` before the first sample, for which the kernel has `0x7fffffff`.
    min_rtt: u32 = 12 unless 0x7fff_ffff..,
}
}

structure! {
/// `INET_DIAG_DCTCPINFO`: what DCTCP knows of the path (`dctcp_get_info` in `net/ipv4/tcp_dctcp.c`).
Dctcp {
    /// 0 where ECN was not negotiated and it works as Reno.
    enabled: u16 = 0,
    /// Whether the latest segment had met congestion.
    ce_state: u16 = 2,
    /// Share of the bytes that met congestion, smoothed, in 1024ths.
    alpha: u32 = 4,
    /// Bytes of this window that met congestion.
    congested_bytes: u32 = 8,
    /// Bytes of this window.
    total_bytes: u32 = 12,
}
}

/// `INET_DIAG_SOCKOPT`: options of the socket, each a bit; 5.10.
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
    /// `IP_RECVERR`: errors of the network are queued for the application.
    recverr = 0, 0;
    /// The socket is one of a protocol with connections.
    is_icsk = 0, 1;
    /// `IP_FREEBIND`: may be bound to an address that the machine does not have.
    freebind = 0, 2;
    /// `IP_HDRINCL`: the application writes the IP header.
    hdrincl = 0, 3;
    /// `IP_MULTICAST_LOOP`: its own multicast comes back.
    mc_loop = 0, 4;
    /// `IP_TRANSPARENT`: takes connections to addresses of others.
    transparent = 0, 5;
    /// `IP_MULTICAST_ALL`: takes what any socket has joined.
    mc_all = 0, 6;
    /// `IP_NODEFRAG`: fragments are not put together.
    nodefrag = 0, 7;
    /// `IP_BIND_ADDRESS_NO_PORT`: bind leaves the port to connect.
    bind_address_no_port = 1, 0;
    /// `IP_RECVERR_RFC4884`: with the extensions of that RFC.
    recverr_rfc4884 = 1, 1;
    /// TCP Fast Open has put connecting off until data is written.
    defer_connect = 1, 2;
}
