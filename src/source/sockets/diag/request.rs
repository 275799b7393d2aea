//! What `sock_diag` is asked for, as bytes.
//!
//! `struct inet_diag_req_v2` in `include/uapi/linux/inet_diag.h`: family, protocol, extensions, a byte of padding, the
//! mask of states and the identity of a socket, of which a dump looks at the ports.

use super::Family;
use crate::source::netlink::{self, TooLong};
use std::net::{IpAddr, SocketAddr};

/// `nlmsg_type` of requests and answers.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_REQ_V2: usize = 56;
/// The cookie of a request that means any.
const INET_DIAG_NOCOOKIE: u64 = u64::MAX;

/// `IPPROTO_TCP`. A dump has the subflows of MPTCP too; they have [`Record::ulp`](super::Record::ulp) `mptcp`.
pub const TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u16 = 17;
/// `IPPROTO_MPTCP`: connections of MPTCP as the application sees them; 5.9.
pub const MPTCP: u16 = 262;

/// What a request asks for besides what always comes: a bit for each attribute from 1 to 8.
pub mod extension {
    /// `INET_DIAG_INFO`: [`Record::tcp`](super::super::Record::tcp), and with it `ulp`. UDP has none.
    pub const INFO: u8 = 1 << 1;
    /// `INET_DIAG_VEGASINFO`: what the congestion control knows: `bbr`, `vegas` or `dctcp`.
    pub const CONGESTION_INFO: u8 = 1 << 2;
    /// `INET_DIAG_CONG`: the name of the congestion control.
    pub const CONGESTION: u8 = 1 << 3;
    /// `INET_DIAG_TOS`: the type of service.
    pub const TOS: u8 = 1 << 4;
    /// `INET_DIAG_TCLASS`: the traffic class of IPv6, and the class id that network priorities give.
    pub const TRAFFIC_CLASS: u8 = 1 << 5;
    /// `INET_DIAG_SKMEMINFO`: [`Record::memory`](super::super::Record::memory).
    pub const MEMORY: u8 = 1 << 6;
}

/// A question about the sockets of one family and protocol. The kernel answers each family by itself, and a dump of
/// [`Family::V6`] also has the sockets that carry IPv4 in mapped addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Family of the sockets, by the family they were made with.
    pub family: Family,
    /// [`TCP`], [`UDP`], [`MPTCP`].
    pub protocol: u16,
    /// Which states: the sum of their [masks](super::State::mask).
    pub states: u32,
    /// What to send besides: the sum of [`extension`]s.
    pub extensions: u8,
    /// Only sockets with this local port; 0 for any.
    pub local_port: u16,
    /// Only sockets with this peer port, which leaves out those that listen; 0 for any.
    pub peer_port: u16,
    /// A filter that the kernel runs, as `inet_diag_bc_audit` in `net/ipv4/inet_diag.c` wants it; empty for none.
    pub bytecode: &'a [u8],
}

impl Request<'_> {
    /// The message that asks for a dump.
    pub fn dump(&self, sequence: u32) -> Result<Vec<u8>, TooLong> {
        let ports = [self.local_port.to_be_bytes(), self.peer_port.to_be_bytes()].concat();
        self.message(netlink::REQUEST | netlink::DUMP, sequence, &ports, self.bytecode)
    }

    /// The message that asks for one socket, by both addresses, the index of the interface it is bound to (0 for none)
    /// and, where it is known, its cookie. States, ports and bytecode are not looked at. One message answers, which
    /// nothing ends, or a refusal: `ENOENT` where there is no such socket, also where it has another cookie.
    pub fn one(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
        interface: u32,
        cookie: Option<u64>,
        sequence: u32,
    ) -> Result<Vec<u8>, TooLong> {
        let cookie = cookie.unwrap_or(INET_DIAG_NOCOOKIE);
        let mut identity = [local.port().to_be_bytes(), peer.port().to_be_bytes()].concat();
        for address in [local.ip(), peer.ip()] {
            identity.extend_from_slice(&match (self.family, address) {
                (Family::V6, IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
                (_, IpAddr::V6(address)) => address.octets(),
                (Family::V4, IpAddr::V4(address)) => {
                    let [a, b, c, d] = address.octets();
                    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
                }
            });
        }
        identity.extend_from_slice(&interface.to_ne_bytes());
        // The lower half first, on every machine.
        for half in [cookie & u64::from(u32::MAX), cookie >> 32] {
            identity.extend_from_slice(&u32::try_from(half).unwrap_or(u32::MAX).to_ne_bytes());
        }
        self.message(netlink::REQUEST, sequence, &identity, &[])
    }

    fn message(
        &self,
        flags: u16,
        sequence: u32,
        identity: &[u8],
        bytecode: &[u8],
    ) -> Result<Vec<u8>, TooLong> {
        // A protocol that does not fit is in an attribute; kernels before 5.9, which do not know it, find none that is
        // 0 and refuse.
        let protocol = u8::try_from(self.protocol).unwrap_or(0);
        let mut payload = vec![self.family.number(), protocol, self.extensions, 0];
        payload.extend_from_slice(&self.states.to_ne_bytes());
        payload.extend_from_slice(identity);
        payload.resize(INET_DIAG_REQ_V2, 0);
        if !bytecode.is_empty() {
            netlink::push_attribute(&mut payload, INET_DIAG_REQ_BYTECODE, bytecode)?;
        }
        if protocol == 0 {
            let number = u32::from(self.protocol).to_ne_bytes();
            netlink::push_attribute(&mut payload, INET_DIAG_REQ_PROTOCOL, &number)?;
        }
        Ok(netlink::request(SOCK_DIAG_BY_FAMILY, flags, sequence, &payload))
    }
}
