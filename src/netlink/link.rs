//! Network interfaces, as rtnetlink dumps them (pure).
//!
//! `include/uapi/linux/if_link.h`; `net/core/rtnetlink.c`, `rtnl_fill_ifinfo`: `struct ifinfomsg` (16 bytes: family, type, index,
//! flags, change) and attributes. A dump needs no privilege.

use super::message::{Attribute, DUMP, Malformed, Message, Progress, REQUEST, attributes, messages, request};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFF_LOOPBACK: u32 = 0x8;
/// Up, and its carrier too if that is known (`dev_get_flags` in `net/core/dev.c`).
const IFF_RUNNING: u32 = 0x40;
/// Interfaces that are kept of one dump.
const MAX_LINKS: usize = 65_536;

/// A network interface.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag or an attribute of its own")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Number of the interface in its network namespace (`ifindex`).
    pub index: u32,
    /// Name of the interface: up to 15 bytes, any but `/` and white space.
    pub name: Vec<u8>,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether it is up and has a carrier, or the carrier is not known.
    pub running: bool,
    /// Whether it is made by software, such as a bridge, a VLAN or a veth pair (`IFLA_INFO_KIND`).
    pub software: bool,
    /// Whether its other end, such as that of a veth pair, is in another network namespace (`IFLA_LINK_NETNSID`).
    pub other_netns: bool,
    /// Statistics; `None` if the kernel does not send them.
    pub statistics: Option<LinkStatistics>,
}

/// The members of `struct rtnl_link_stats64` that are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that the card dropped because the host had no room for them.
    pub rx_missed_errors: u64,
}

impl Link {
    /// Whether it is a card: neither the loopback interface nor made by software.
    pub fn is_card(&self) -> bool {
        !self.loopback && !self.software
    }
}

/// The request for every interface of a network namespace.
pub fn links_request(sequence: u32) -> Vec<u8> {
    request(RTM_GETLINK, REQUEST | DUMP, sequence, &[0; IFINFOMSG])
}

/// Reads one datagram of the answer into `links`.
pub fn parse_links(datagram: &[u8], sequence: u32, links: &mut Vec<Link>) -> Result<Progress, Malformed> {
    messages(datagram, sequence, |message| {
        if message.kind == RTM_NEWLINK && links.len() < MAX_LINKS {
            links.push(link(message)?);
        }
        Ok(())
    })
}

fn link(message: Message<'_>) -> Result<Link, Malformed> {
    let (header, all) = message.split::<IFINFOMSG>()?;
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        loopback: flags & IFF_LOOPBACK != 0,
        running: flags & IFF_RUNNING != 0,
        ..Link::default()
    };
    for attribute in all {
        let attribute = attribute?;
        match attribute.number {
            IFLA_IFNAME => link.name = attribute.text().to_vec(),
            IFLA_LINK_NETNSID => link.other_netns = true,
            IFLA_STATS64 => link.statistics = Some(statistics(attribute)?),
            IFLA_LINKINFO => {
                for inner in attributes(attribute.payload) {
                    link.software |= inner?.number == IFLA_INFO_KIND;
                }
            }
            _ => {}
        }
    }
    Ok(link)
}

fn statistics(attribute: Attribute<'_>) -> Result<LinkStatistics, Malformed> {
    let bytes = attribute.first::<128>()?;
    let mut numbers = [0; 16];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *number = u64::from_ne_bytes(*bytes);
    }
    let [rx_packets, tx_packets, rx_bytes, tx_bytes, .., rx_missed_errors] = numbers;
    Ok(LinkStatistics { rx_packets, tx_packets, rx_bytes, tx_bytes, rx_missed_errors })
}
