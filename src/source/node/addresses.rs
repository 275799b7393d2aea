//! Addresses of network interfaces, as rtnetlink dumps them (pure).
//!
//! `net/ipv4/devinet.c` and `net/ipv6/addrconf.c`: `struct ifaddrmsg` (8 bytes: family, length of the prefix, flags, scope, index)
//! and attributes.

use crate::netlink::{self, Attribute, DUMP, Malformed, Message, Progress, REQUEST, messages};
use std::net::IpAddr;

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFADDRMSG: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Addresses that are kept of one dump.
const MAX_ADDRESSES: usize = 65_536;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Number of the interface.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
}

/// The request for all addresses.
pub fn request(sequence: u32) -> Vec<u8> {
    netlink::request(RTM_GETADDR, REQUEST | DUMP, sequence, &[0; IFADDRMSG])
}

/// Takes the addresses of a datagram. Of a point-to-point interface the address is that of this end (`IFA_LOCAL`).
/// Addresses that are valid on one link only say nothing of where the machine is, and are left out.
pub fn parse(datagram: &[u8], sequence: u32, found: &mut Vec<Address>) -> Result<Progress, Malformed> {
    messages(datagram, sequence, |message| {
        if message.kind == RTM_NEWADDR && found.len() < MAX_ADDRESSES {
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
