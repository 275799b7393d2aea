//! Requests to `sock_diag`, as bytes.
//!
//! `struct inet_diag_req_v2` in `include/uapi/linux/inet_diag.h`: family, protocol, extensions, a byte of padding, the
//! mask of states and the identity of a socket, of which a dump uses only the ports.

use super::Family;
use crate::netlink::{self, TooLong};

/// `nlmsg_type` of requests and responses.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `nlmsg_type` of requests about TCP of both families, and of their responses.
pub(super) const TCPDIAG_GETSOCK: u16 = 18;

const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_REQ_PROTOCOL: u16 = 3;
const INET_DIAG_REQ_V2: usize = 56;

/// `IPPROTO_TCP`. A dump includes the subflows of MPTCP, whose [`Record::ulp`](super::Record::ulp) is `mptcp`.
pub const TCP: u16 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u16 = 17;
/// `IPPROTO_MPTCP`: MPTCP connections as the application sees them; Linux 5.9.
pub const MPTCP: u16 = 262;

/// Optional attributes of a response: one bit for each attribute from 1 to 8.
pub mod extension {
    /// `INET_DIAG_INFO`: [`Record::tcp`](super::super::Record::tcp) and `ulp`. UDP has neither.
    pub const INFO: u8 = 1 << 1;
    /// `INET_DIAG_VEGASINFO`: the state of congestion control: `bbr`, `vegas` or `dctcp`.
    pub const CONGESTION_INFO: u8 = 1 << 2;
    /// `INET_DIAG_CONG`: the name of the congestion control algorithm.
    pub const CONGESTION: u8 = 1 << 3;
    /// `INET_DIAG_TOS`: the type of service.
    pub const TOS: u8 = 1 << 4;
    /// `INET_DIAG_TCLASS`: the IPv6 traffic class, and the class id set by network priorities.
    pub const TRAFFIC_CLASS: u8 = 1 << 5;
    /// `INET_DIAG_SKMEMINFO`: [`Record::memory`](super::super::Record::memory).
    pub const MEMORY: u8 = 1 << 6;
}

/// A request for the sockets of one family and protocol. The kernel answers for each family separately; a dump of
/// [`Family::V6`] includes the sockets that carry IPv4 in mapped addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Address family that the sockets were created with.
    pub family: Family,
    /// Protocol: [`TCP`], [`UDP`] or [`MPTCP`].
    pub protocol: u16,
    /// States: the sum of their [masks](super::State::mask).
    pub states: u32,
    /// Optional attributes: the sum of [`extension`]s.
    pub extensions: u8,
    /// Local port of the sockets; 0 for any.
    pub local_port: u16,
    /// Peer port of the sockets, which excludes listening sockets; 0 for any.
    pub peer_port: u16,
    /// Filter that the kernel runs, in the form that `inet_diag_bc_audit` in `net/ipv4/inet_diag.c` accepts; empty for
    /// none.
    pub bytecode: &'a [u8],
}

impl Request<'_> {
    /// The netlink message of a dump request.
    pub fn dump(&self, sequence: u32) -> Result<Vec<u8>, TooLong> {
        Ok(dump(&self.payload()?, sequence))
    }

    /// The request without the netlink header.
    pub fn payload(&self) -> Result<Vec<u8>, TooLong> {
        // A protocol above 255 is in an attribute. Kernels before 5.9 ignore that attribute, and refuse protocol 0.
        let protocol = u8::try_from(self.protocol).unwrap_or(0);
        let mut payload = vec![self.family.number(), protocol, self.extensions, 0];
        payload.extend_from_slice(&self.states.to_ne_bytes());
        payload.extend_from_slice(&self.local_port.to_be_bytes());
        payload.extend_from_slice(&self.peer_port.to_be_bytes());
        // The rest of the identity, which a dump ignores.
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

/// Length of `struct inet_diag_req` of kernels before 3.3, which every later one accepts: a request of this type is
/// about TCP, and walks the sockets of both families at once, whatever family it has (`inet_diag_dump_compat`).
const TCPDIAG_GETSOCK_LENGTH: usize = 60;

/// The netlink message of a request for the TCP sockets of both families; states, extensions and filter as in a
/// [`Request`].
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

/// The netlink message of a dump request with this [payload](Request::payload).
pub fn dump(payload: &[u8], sequence: u32) -> Vec<u8> {
    netlink::request(SOCK_DIAG_BY_FAMILY, netlink::REQUEST | netlink::DUMP, sequence, payload)
}
