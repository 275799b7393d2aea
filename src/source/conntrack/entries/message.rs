//! Entries of the connection tracking table, as ctnetlink dumps them (pure).
//!
//! `ctnetlink_fill_info` in `net/netfilter/nf_conntrack_netlink.c`, `include/uapi/linux/netfilter/nfnetlink_conntrack.h`: a
//! message of type `IPCTNL_MSG_CT_NEW` has `nfgenmsg` (4 bytes, the first is the address family) and nested attributes, whose
//! numbers are big-endian. Which attributes there are depends on the kernel, the sysctls `nf_conntrack_acct` and
//! `nf_conntrack_timestamp`, and the protocol; unknown ones are skipped.

use crate::netlink::ctnetlink::{
    CTA_COUNTERS_BYTES, CTA_COUNTERS_ORIG, CTA_COUNTERS_PACKETS, CTA_COUNTERS_REPLY, CTA_IP_V4_DST,
    CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM, CTA_PROTO_SRC_PORT,
    CTA_TIMESTAMP, CTA_TIMESTAMP_START, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY,
    IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW,
};
use crate::netlink::{self, Attribute, Attributes, Malformed, NFGENMSG, Progress};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_MARK: u16 = 8;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;

const CTA_TUPLE_ZONE: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
/// `CTA_PROTOINFO_TCP_STATE`, `CTA_PROTOINFO_DCCP_STATE` and `CTA_PROTOINFO_SCTP_STATE`.
const STATE: u16 = 1;

/// Bits of the status (`enum ip_conntrack_status` in `nf_conntrack_common.h`).
pub mod status {
    /// A packet of the other direction was seen.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// The entry is not evicted early if the table is full.
    pub const ASSURED: u32 = 1 << 2;
    /// The source is translated.
    pub const SRC_NAT: u32 = 1 << 4;
    /// The destination is translated.
    pub const DST_NAT: u32 = 1 << 5;
    /// Packets take the fast path of a flow table and no longer pass connection tracking.
    pub const OFFLOAD: u32 = 1 << 14;
    /// The same, in the hardware of the card.
    pub const HW_OFFLOAD: u32 = 1 << 15;
}

/// Address family of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Addresses and ports of one direction of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuple {
    /// Source address, if the message has one.
    pub source: Option<IpAddr>,
    /// Destination address, if the message has one.
    pub destination: Option<IpAddr>,
    /// Source port; for ICMP the identifier; 0 for a protocol without ports.
    pub source_port: u16,
    /// Destination port; 0 for a protocol without ports.
    pub destination_port: u16,
    /// Number of the protocol.
    pub protocol: u8,
    /// Zone of this direction only.
    pub zone: Option<u16>,
}

/// Packets and bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes, with the headers of the network layer.
    pub bytes: u64,
}

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Address family.
    pub family: Family,
    /// Direction of the first packet, before translation.
    pub original: Tuple,
    /// Direction of replies, which has the translated addresses.
    pub reply: Tuple,
    /// Number of the state of the protocol, if it has states.
    pub state: Option<u8>,
    /// Bits of [`status`].
    pub status: u32,
    /// Zone.
    pub zone: u16,
    /// Mark.
    pub mark: u32,
    /// Seconds until the entry ends if no packet comes; absent if the entry is offloaded.
    pub timeout: Option<u32>,
    /// Packets and bytes of the original direction and of replies, if `nf_conntrack_acct` was on when the entry was created.
    pub counters: Option<[Counters; 2]>,
    /// When the entry was created, in nanoseconds since 1970, if `nf_conntrack_timestamp` was on at that time.
    pub started: Option<u64>,
}

/// A mark, and the bits of it that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Value of these bits.
    pub value: u32,
    /// The bits.
    pub mask: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Mark;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a mark, such as 0x10 or 0x10/0xff")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Mark, E> {
                let value = u32::try_from(value).map_err(|_| E::custom("a mark has 32 bits"))?;
                Ok(Mark { value, mask: u32::MAX })
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Mark, E> {
                self.visit_i64(i64::try_from(value).unwrap_or(-1))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Mark, E> {
                mark(text)
                    .ok_or_else(|| E::custom(format!("`{text}` is not a mark, such as 0x10 or 0x10/0xff")))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Parses `0x10` or `0x10/0xff`, as the conntrack tool takes it.
fn mark(text: &str) -> Option<Mark> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some(Mark { value: number(value)?, mask: number(mask)? }),
        None => Some(Mark { value: number(text)?, mask: u32::MAX }),
    }
}

/// The entries that are asked for. Kernels that do not know a part of it send more entries, so each is compared again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this address family.
    pub family: Option<Family>,
    /// Only this zone (in the kernel since Linux 6.8).
    pub zone: Option<u16>,
    /// Only entries with this mark.
    pub mark: Option<Mark>,
}

impl Filter {
    /// Whether every entry is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an entry was asked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.family.is_none_or(|family| family == entry.family)
            && self.zone.is_none_or(|zone| zone == entry.zone)
            && self.mark.is_none_or(|mark| entry.mark & mark.mask == mark.value & mark.mask)
    }

    /// The request for these entries.
    pub fn request(&self, sequence: u32) -> Vec<u8> {
        let family = match self.family {
            None => 0,
            Some(Family::Ipv4) => AF_INET,
            Some(Family::Ipv6) => AF_INET6,
        };
        let mut payload = vec![family, 0, 0, 0];
        // A number of two or four bytes always fits into an attribute.
        if let Some(Mark { value, mask }) = self.mark {
            let _fits = netlink::push_attribute(&mut payload, CTA_MARK, &(value & mask).to_be_bytes());
            let _fits = netlink::push_attribute(&mut payload, CTA_MARK_MASK, &mask.to_be_bytes());
        }
        if let Some(zone) = self.zone {
            let _fits = netlink::push_attribute(&mut payload, CTA_ZONE, &zone.to_be_bytes());
        }
        netlink::request(IPCTNL_MSG_CT_GET, netlink::REQUEST | netlink::DUMP, sequence, &payload)
    }
}

/// Reads one datagram of a dump, and calls `take` with each entry.
pub fn parse(datagram: &[u8], sequence: u32, mut take: impl FnMut(&Entry)) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind == IPCTNL_MSG_CT_NEW {
            let ([family, ..], attributes) = message.split::<NFGENMSG>()?;
            // A later kernel may track other families; they are none of ours.
            match *family {
                AF_INET => take(&entry(Family::Ipv4, attributes)?),
                AF_INET6 => take(&entry(Family::Ipv6, attributes)?),
                _ => {}
            }
        }
        Ok(())
    })
}

fn entry(family: Family, all: Attributes<'_>) -> Result<Entry, Malformed> {
    let mut entry = Entry {
        family,
        original: Tuple::default(),
        reply: Tuple::default(),
        state: None,
        status: 0,
        zone: 0,
        mark: 0,
        timeout: None,
        counters: None,
        started: None,
    };
    let mut zone = None;
    for attribute in all {
        let attribute = attribute?;
        match attribute.number {
            CTA_TUPLE_ORIG => entry.original = tuple(attribute)?,
            CTA_TUPLE_REPLY => entry.reply = tuple(attribute)?,
            CTA_STATUS => entry.status = u32::from_be_bytes(attribute.first()?),
            CTA_PROTOINFO => entry.state = state(attribute)?,
            CTA_TIMEOUT => entry.timeout = Some(u32::from_be_bytes(attribute.first()?)),
            CTA_MARK => entry.mark = u32::from_be_bytes(attribute.first()?),
            CTA_COUNTERS_ORIG => entry.counters.get_or_insert_default()[0] = counters(attribute)?,
            CTA_COUNTERS_REPLY => entry.counters.get_or_insert_default()[1] = counters(attribute)?,
            CTA_ZONE => zone = Some(u16::from_be_bytes(attribute.first()?)),
            CTA_TIMESTAMP => entry.started = started(attribute)?,
            _ => {}
        }
    }
    // A zone of one direction only is in the tuple of that direction (`ctnetlink_dump_zone_id`).
    entry.zone = zone.or(entry.original.zone).or(entry.reply.zone).unwrap_or_default();
    Ok(entry)
}

fn nested(attribute: Attribute<'_>) -> Attributes<'_> {
    netlink::attributes(attribute.payload)
}

fn tuple(attribute: Attribute<'_>) -> Result<Tuple, Malformed> {
    let mut tuple = Tuple::default();
    for part in nested(attribute) {
        let part = part?;
        match part.number {
            CTA_TUPLE_IP => {
                for address in nested(part) {
                    let address = address?;
                    match address.number {
                        CTA_IP_V4_SRC => tuple.source = Some(IpAddr::from(address.first::<4>()?)),
                        CTA_IP_V4_DST => tuple.destination = Some(IpAddr::from(address.first::<4>()?)),
                        CTA_IP_V6_SRC => tuple.source = Some(IpAddr::from(address.first::<16>()?)),
                        CTA_IP_V6_DST => tuple.destination = Some(IpAddr::from(address.first::<16>()?)),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_PROTO => {
                for number in nested(part) {
                    let number = number?;
                    match number.number {
                        CTA_PROTO_NUM => [tuple.protocol] = number.first()?,
                        CTA_PROTO_SRC_PORT | CTA_PROTO_ICMP_ID | CTA_PROTO_ICMPV6_ID => {
                            tuple.source_port = u16::from_be_bytes(number.first()?);
                        }
                        CTA_PROTO_DST_PORT => tuple.destination_port = u16::from_be_bytes(number.first()?),
                        _ => {}
                    }
                }
            }
            CTA_TUPLE_ZONE => tuple.zone = Some(u16::from_be_bytes(part.first()?)),
            _ => {}
        }
    }
    Ok(tuple)
}

/// The state of the protocol: the protocol's attribute is the only one, and the state the first in it.
fn state(attribute: Attribute<'_>) -> Result<Option<u8>, Malformed> {
    for protocol in nested(attribute) {
        for inner in nested(protocol?) {
            let inner = inner?;
            if inner.number == STATE {
                let [state] = inner.first()?;
                return Ok(Some(state));
            }
        }
    }
    Ok(None)
}

fn counters(attribute: Attribute<'_>) -> Result<Counters, Malformed> {
    let mut counters = Counters::default();
    for number in nested(attribute) {
        let number = number?;
        match number.number {
            CTA_COUNTERS_PACKETS => counters.packets = u64::from_be_bytes(number.first()?),
            CTA_COUNTERS_BYTES => counters.bytes = u64::from_be_bytes(number.first()?),
            _ => {}
        }
    }
    Ok(counters)
}

fn started(attribute: Attribute<'_>) -> Result<Option<u64>, Malformed> {
    for number in nested(attribute) {
        let number = number?;
        if number.number == CTA_TIMESTAMP_START {
            return Ok(Some(u64::from_be_bytes(number.first()?)));
        }
    }
    Ok(None)
}
