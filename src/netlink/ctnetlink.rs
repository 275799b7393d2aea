//! Numbers of ctnetlink, the netlink interface of connection tracking (pure).
//!
//! `include/uapi/linux/netfilter/nfnetlink_conntrack.h`; messages are of subsystem 1 (`NFNL_SUBSYS_CTNETLINK`).

/// An entry: in the answer to a dump or query, and in the event of a new one.
pub const IPCTNL_MSG_CT_NEW: u16 = 0x0100;
/// The request for entries.
pub const IPCTNL_MSG_CT_GET: u16 = 0x0101;
/// The event of a destroyed entry.
pub const IPCTNL_MSG_CT_DELETE: u16 = 0x0102;

/// Addresses and ports of the first packet.
pub const CTA_TUPLE_ORIG: u16 = 1;
/// Addresses and ports of replies.
pub const CTA_TUPLE_REPLY: u16 = 2;
/// Packets and bytes of the original direction.
pub const CTA_COUNTERS_ORIG: u16 = 9;
/// Packets and bytes of replies.
pub const CTA_COUNTERS_REPLY: u16 = 10;
/// Beginning and end of the entry.
pub const CTA_TIMESTAMP: u16 = 20;

/// Addresses of a tuple.
pub const CTA_TUPLE_IP: u16 = 1;
/// Protocol and ports of a tuple.
pub const CTA_TUPLE_PROTO: u16 = 2;
/// Source address of IPv4.
pub const CTA_IP_V4_SRC: u16 = 1;
/// Destination address of IPv4.
pub const CTA_IP_V4_DST: u16 = 2;
/// Source address of IPv6.
pub const CTA_IP_V6_SRC: u16 = 3;
/// Destination address of IPv6.
pub const CTA_IP_V6_DST: u16 = 4;
/// Number of the protocol.
pub const CTA_PROTO_NUM: u16 = 1;
/// Source port.
pub const CTA_PROTO_SRC_PORT: u16 = 2;
/// Destination port.
pub const CTA_PROTO_DST_PORT: u16 = 3;
/// Packets of one direction.
pub const CTA_COUNTERS_PACKETS: u16 = 1;
/// Bytes of one direction.
pub const CTA_COUNTERS_BYTES: u16 = 2;
/// Beginning of the entry, nanoseconds since the Unix epoch.
pub const CTA_TIMESTAMP_START: u16 = 1;
/// End of the entry, nanoseconds since the Unix epoch.
pub const CTA_TIMESTAMP_STOP: u16 = 2;
