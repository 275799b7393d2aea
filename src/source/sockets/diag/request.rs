//! What `sock_diag` is asked for, as bytes.
//!
//! `struct inet_diag_req_v2` in `include/uapi/linux/inet_diag.h`: family, protocol, extensions, a byte of padding, the
//! mask of states and the identity of a socket, of which a dump looks at the ports.

use super::Family;
use crate::netlink::{self, TooLong};

/// `nlmsg_type` of requests and answers.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `nlmsg_type` of requests about both families of TCP, and of their answers.
pub(super) const TCPDIAG_GETSOCK: u16 = 18;

const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_REQ_V2: usize = 56;

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
        Ok(dump(&self.payload()?, sequence))
    }

    /// What it asks for, without the header of the message.
    pub fn payload(&self) -> Result<Vec<u8>, TooLong> {
        // A protocol that does not fit is in an attribute; kernels before 5.9, which do not know it, find none that is
        // 0 and refuse.
        let protocol = u8::try_from(self.protocol).unwrap_or(0);
        let mut payload = vec![self.family.number(), protocol, self.extensions, 0];
        payload.extend_from_slice(&self.states.to_ne_bytes());
        payload.extend_from_slice(&self.local_port.to_be_bytes());
        payload.extend_from_slice(&self.peer_port.to_be_bytes());
        // The rest of the identity, which a dump does not look at.
        payload.resize(INET_DIAG_REQ_V2, 0);
        if !self.bytecode.is_empty() {
            netlink::push_attribute(&mut payload, INET_DIAG_REQ_BYTECODE, self.bytecode)?;
        }
        if protocol == 0 {
            let number = u32::from(self.protocol).to_ne_bytes();
            netlink::push_attribute(&mut payload, INET_DIAG_REQ_PROTOCOL, &number)?;
        }
        Ok(payload)
    }
}

/// `struct inet_diag_req` of the kernels before 3.3, which every later one understands: a request of this type is about
/// TCP, and walks the sockets of both families at once, whatever family it names (`inet_diag_dump_compat`).
const TCPDIAG_GETSOCK_LENGTH: usize = 60;

/// The message that asks for the sockets of TCP of both families: states, extensions and filter as in a [`Request`].
pub fn dump_both(
    states: u32,
    extensions: u8,
    bytecode: &[u8],
) -> Result<impl Fn(u32) -> Vec<u8> + use<>, TooLong> {
    let mut payload = vec![0, 0, 0, extensions];
    payload.resize(TCPDIAG_GETSOCK_LENGTH - 8, 0);
    payload.extend_from_slice(&states.to_ne_bytes());
    payload.resize(TCPDIAG_GETSOCK_LENGTH, 0);
    if !bytecode.is_empty() {
        netlink::push_attribute(&mut payload, INET_DIAG_REQ_BYTECODE, bytecode)?;
    }
    let flags = netlink::REQUEST | netlink::DUMP;
    Ok(move |sequence| netlink::request(TCPDIAG_GETSOCK, flags, sequence, &payload))
}

/// The message that asks for a dump, with a [payload](Request::payload).
pub fn dump(payload: &[u8], sequence: u32) -> Vec<u8> {
    netlink::request(SOCK_DIAG_BY_FAMILY, netlink::REQUEST | netlink::DUMP, sequence, payload)
}
