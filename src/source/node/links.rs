//! Network interfaces and their addresses, as rtnetlink answers (pure).
//!
//! `net/core/rtnetlink.c`, `rtnl_fill_ifinfo`: `struct ifinfomsg` (16 bytes: family, type, index, flags, change) and
//! attributes; `net/ipv4/devinet.c` and `net/ipv6/addrconf.c`: `struct ifaddrmsg` (8 bytes: family, length of the prefix, flags,
//! scope, index) and attributes. `IFLA_LINK_NETNSID` is there where the other end of an interface (a veth pair) is in another
//! network namespace.

use crate::netlink::{self, Attribute, DUMP, Malformed, Message, Progress, REQUEST, messages};
use crate::text::bounded_bytes;
use std::net::IpAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_LOOPBACK: u32 = 0x8;
/// Up, and its carrier too or not known (`dev_get_flags` in `net/core/dev.c`).
const IFF_RUNNING: u32 = 0x40;
/// Interfaces that are taken of an answer at most; what is left out is counted.
pub const MOST: usize = 65_536;
/// Bytes of a name that are kept; the kernel's have fewer (`IFNAMSIZ`).
const LONGEST: usize = 64;

/// What passed an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets received.
    pub received_packets: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in the network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is loopback.
    pub loopback: bool,
    /// Whether it is up, and its carrier too as far as that is known.
    pub up: bool,
    /// Whether its other end is in another network namespace.
    pub partner_elsewhere: bool,
    /// What passed it; `None` where the kernel did not say.
    pub traffic: Option<Traffic>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Number of the interface.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
}

/// The request for all interfaces.
pub fn links_request(sequence: u32) -> Vec<u8> {
    netlink::request(RTM_GETLINK, REQUEST | DUMP, sequence, &[0; IFINFOMSG])
}

/// The request for all addresses.
pub fn addresses_request(sequence: u32) -> Vec<u8> {
    netlink::request(RTM_GETADDR, REQUEST | DUMP, sequence, &[0; IFADDRMSG])
}

/// Takes the interfaces of a datagram.
pub fn parse_links(datagram: &[u8], sequence: u32, found: &mut Vec<Link>) -> Result<Progress, Malformed> {
    messages(datagram, sequence, |message| {
        if message.kind == RTM_NEWLINK && found.len() < MOST {
            found.push(link(message)?);
        }
        Ok(())
    })
}

fn link(message: Message<'_>) -> Result<Link, Malformed> {
    let (header, attributes) = message.split::<IFINFOMSG>()?;
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        loopback: flags & IFF_LOOPBACK != 0,
        up: flags & IFF_RUNNING != 0,
        ..Link::default()
    };
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            IFLA_IFNAME => link.name = name(attribute),
            IFLA_LINK_NETNSID => link.partner_elsewhere = true,
            IFLA_STATS64 => link.traffic = Some(traffic(attribute)?),
            _ => {}
        }
    }
    Ok(link)
}

fn name(attribute: Attribute<'_>) -> String {
    let end = attribute.payload.iter().position(|byte| *byte == 0).unwrap_or(attribute.payload.len());
    bounded_bytes(attribute.payload.get(..end).unwrap_or_default(), LONGEST)
}

/// The beginning of `struct rtnl_link_stats64`.
fn traffic(attribute: Attribute<'_>) -> Result<Traffic, Malformed> {
    let mut numbers = [0; 4];
    let bytes = attribute.first::<32>()?;
    let (words, _) = bytes.as_chunks::<8>();
    for (number, bytes) in numbers.iter_mut().zip(words) {
        *number = u64::from_ne_bytes(*bytes);
    }
    let [received_packets, sent_packets, received_bytes, sent_bytes] = numbers;
    Ok(Traffic { received_packets, sent_packets, received_bytes, sent_bytes })
}

/// Takes the addresses of a datagram. Of a point-to-point interface the address is that of this end (`IFA_LOCAL`).
/// Addresses that are valid on one link only say nothing of where the machine is, and are left out.
pub fn parse_addresses(
    datagram: &[u8],
    sequence: u32,
    found: &mut Vec<Address>,
) -> Result<Progress, Malformed> {
    messages(datagram, sequence, |message| {
        if message.kind == RTM_NEWADDR && found.len() < MOST {
            found.extend(address(message)?.filter(|address| !is_link_local(address.ip)));
        }
        Ok(())
    })
}

fn address(message: Message<'_>) -> Result<Option<Address>, Malformed> {
    let (header, attributes) = message.split::<IFADDRMSG>()?;
    let [_, _, _, _, i0, i1, i2, i3] = *header;
    let (mut local, mut other) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            IFA_LOCAL => local = ip(attribute),
            IFA_ADDRESS => other = ip(attribute),
            _ => {}
        }
    }
    let index = u32::from_ne_bytes([i0, i1, i2, i3]);
    Ok(local.or(other).map(|ip| Address { index, ip }))
}

fn ip(attribute: Attribute<'_>) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(attribute.payload).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(attribute.payload).map(IpAddr::from)).ok()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
