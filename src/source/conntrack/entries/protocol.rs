//! Names of protocols and of their states (pure).
//!
//! Protocols are named as the kernel names them (`l4proto_name` in `net/netfilter/nf_conntrack_standalone.c`); any other is
//! its number. States are those of `include/uapi/linux/netfilter/nf_conntrack_tcp.h`, `nf_conntrack_sctp.h` and
//! `net/netfilter/nf_conntrack_proto_dccp.c` (removed in Linux 6.16), in lower case.

use std::sync::Arc;

/// ICMP.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// DCCP.
pub const DCCP: u8 = 33;
/// GRE.
pub const GRE: u8 = 47;
/// `ICMPv6`.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;
/// UDP-Lite.
pub const UDPLITE: u8 = 136;

/// The protocols that the kernel has names for.
pub const NAMED: [(u8, &str); 8] = [
    (ICMP, "icmp"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (DCCP, "dccp"),
    (GRE, "gre"),
    (ICMPV6, "icmpv6"),
    (SCTP, "sctp"),
    (UDPLITE, "udplite"),
];

/// Stands for what exceeds a limit, and for all protocols without a name where they are counted together.
pub const OTHER: &str = "~other";

/// Position in [`NAMED`], or one more for any other protocol.
pub fn index(protocol: u8) -> usize {
    NAMED.iter().position(|(number, _)| *number == protocol).unwrap_or(NAMED.len())
}

/// Name at a position in [`NAMED`]; `~other` for one that is not there.
pub fn name_at(index: usize) -> &'static str {
    NAMED.get(index).map_or(OTHER, |(_, name)| name)
}

/// Name of a protocol, or its number.
pub fn name(protocol: u8) -> Arc<str> {
    match NAMED.get(index(protocol)) {
        Some((_, name)) => (*name).into(),
        None => protocol.to_string().into(),
    }
}

const TCP_STATES: &[&str] = &[
    "none",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
];

const SCTP_STATES: &[&str] = &[
    "none",
    "closed",
    "cookie_wait",
    "cookie_echoed",
    "established",
    "shutdown_sent",
    "shutdown_recd",
    "shutdown_ack_sent",
    "heartbeat_sent",
    "heartbeat_acked",
];

const DCCP_STATES: &[&str] = &[
    "none", "request", "respond", "partopen", "open", "closereq", "closing", "timewait", "ignore", "invalid",
];

/// Name of a state of a protocol; `None` for a protocol without states. A state that this version does not know is its
/// number.
pub fn state(protocol: u8, state: u8) -> Option<Arc<str>> {
    let states = match protocol {
        TCP => TCP_STATES,
        SCTP => SCTP_STATES,
        DCCP => DCCP_STATES,
        _ => return None,
    };
    Some(states.get(usize::from(state)).map_or_else(|| state.to_string().into(), |name| (*name).into()))
}
