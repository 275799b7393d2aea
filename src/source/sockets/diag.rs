//! Responses of `sock_diag`: one message per socket.
//!
//! `net/ipv4/inet_diag.c`, `include/uapi/linux/inet_diag.h`: `struct inet_diag_msg` (72 bytes: family, state, timer,
//! retransmissions, the socket's identity, queues, owner and inode) and attributes. Addresses and ports are in network
//! byte order, the rest in that of the machine. A destroy event is the same message with little more than the identity;
//! it is sent to the multicast groups [`TCP_DESTROY`] and [`TCP_DESTROY_V6`]. A record borrows the bytes of the
//! message; attributes that are structures are decoded when a field is read.

use crate::netlink::{self, Attribute, Progress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

mod attributes;
mod request;
mod state;

use super::tcp_info::TcpInfo;
pub use attributes::{Bbr, Dctcp, Memory, SocketOptions, Vegas};
pub use request::{MPTCP, Request, TCP, UDP, dump, dump_both, extension};
pub use state::State;

/// `SKNLGRP_INET_TCP_DESTROY`: the multicast group for the destroy events of IPv4 TCP sockets.
pub const TCP_DESTROY: u32 = 1;
/// `SKNLGRP_INET6_TCP_DESTROY`: the multicast group for the destroy events of IPv6 TCP sockets.
pub const TCP_DESTROY_V6: u32 = 3;

const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_VEGASINFO: u16 = 3;
const INET_DIAG_CONG: u16 = 4;
const INET_DIAG_TOS: u16 = 5;
const INET_DIAG_TCLASS: u16 = 6;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_SHUTDOWN: u16 = 8;
const INET_DIAG_DCTCPINFO: u16 = 9;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_MARK: u16 = 15;
const INET_DIAG_BBRINFO: u16 = 16;
const INET_DIAG_CLASS_ID: u16 = 17;
const INET_DIAG_ULP_INFO: u16 = 19;
const INET_DIAG_CGROUP_ID: u16 = 21;
const INET_DIAG_SOCKOPT: u16 = 22;
const INET_ULP_INFO_NAME: u16 = 1;

const INET_DIAG_MSG: usize = 72;
/// Address families, as numbered by the kernel.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The value of `network.type`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::V4 => AF_INET,
            Self::V6 => AF_INET6,
        }
    }
}

/// Reason why a message could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The message is not well-formed netlink.
    #[error(transparent)]
    Netlink(#[from] netlink::Malformed),
    /// The socket has an address family that was not requested.
    #[error("address family {0} was not requested")]
    Family(u8),
    /// The kernel reported an unknown state.
    #[error("there is no state {0}")]
    State(u8),
    /// A name is not UTF-8.
    #[error("the name in attribute {0} is not text")]
    NotText(u16),
}

/// A socket. A field that the kernel did not send is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Address family; `V4` also for IPv4 addresses mapped into IPv6.
    pub family: Family,
    /// State of the TCP state machine (`idiag_state`).
    pub state: State,
    /// Local address and port.
    pub local: SocketAddr,
    /// Address and port of the peer; unspecified and 0 without a peer.
    pub peer: SocketAddr,
    /// Index of the interface that the socket is bound to; 0 for none.
    pub interface: u32,
    /// Socket cookie: unique since the machine was started.
    pub cookie: u64,
    /// The running timer: 0 none, 1 retransmission, 2 keepalive, 3 the end of `TIME_WAIT`, 4 window probe.
    pub timer: u8,
    /// Retransmissions or probes since the last acknowledgement, as the timer counts them.
    pub retrans: u8,
    /// Time until the timer expires, milliseconds.
    pub expires: u32,
    /// Bytes received and not read. For a listening socket: connections in the accept queue.
    pub receive_queue: u32,
    /// Bytes written and not acknowledged. For a listening socket: maximum length of the accept queue.
    pub write_queue: u32,
    /// User id of the owner; 0 also if the socket has no owner any more (`TIME_WAIT`, `SYN_RECV`, destroy events).
    pub uid: u32,
    /// Inode, as in the links of `/proc/PID/fd`; 0 if no process has the socket.
    pub inode: u32,
    /// `struct tcp_info`, with [`extension::INFO`]. Absent in `TIME_WAIT` and `SYN_RECV`.
    pub tcp: Option<TcpInfo<'a>>,
    /// Memory of the buffers and packets dropped by the socket, with [`extension::MEMORY`].
    pub memory: Option<Memory<'a>>,
    /// Name of the congestion control algorithm, with [`extension::CONGESTION`].
    pub congestion: Option<&'a str>,
    /// State of BBR, with [`extension::CONGESTION_INFO`].
    pub bbr: Option<Bbr<'a>>,
    /// State of Vegas, or of an algorithm that reports the same fields, with [`extension::CONGESTION_INFO`].
    pub vegas: Option<Vegas<'a>>,
    /// State of DCTCP, with [`extension::CONGESTION_INFO`].
    pub dctcp: Option<Dctcp<'a>>,
    /// Type of service of sent packets, with [`extension::TOS`].
    pub tos: Option<u8>,
    /// Traffic class of sent IPv6 packets, with [`extension::TRAFFIC_CLASS`].
    pub traffic_class: Option<u8>,
    /// Class id of traffic control, or the priority, with [`extension::TRAFFIC_CLASS`].
    pub class_id: Option<u32>,
    /// Directions that are shut down: bit 0 receiving, bit 1 sending.
    pub shutdown: Option<u8>,
    /// Whether an IPv6 socket that listens or is not connected refuses IPv4 (`IPV6_V6ONLY`).
    pub v6_only: Option<bool>,
    /// Mark (`SO_MARK`); sent only to readers with `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Cgroup id: inode of the directory in the cgroup v2 hierarchy; Linux 5.8.
    pub cgroup: Option<u64>,
    /// Socket options (`INET_DIAG_SOCKOPT`); Linux 5.10.
    pub options: Option<SocketOptions>,
    /// Name of the upper layer protocol (`tls`, `mptcp`), with [`extension::INFO`]; Linux 5.4.
    pub ulp: Option<&'a str>,
    /// IP protocol; sent in destroy events and for raw sockets.
    pub protocol: Option<u8>,
    /// Whether the kernel chose the local port. It is in no message: a dump with a filter tells
    /// ([`SockDiag::bound`](super::sock_diag::SockDiag::bound)); `None` if it was not asked for.
    pub autobound: Option<bool>,
}

impl Record<'_> {
    /// A record with an identity only; every other field is 0 or `None`.
    pub const fn new(family: Family, state: State, local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            family,
            state,
            local,
            peer,
            interface: 0,
            cookie: 0,
            timer: 0,
            retrans: 0,
            expires: 0,
            receive_queue: 0,
            write_queue: 0,
            uid: 0,
            inode: 0,
            tcp: None,
            memory: None,
            congestion: None,
            bbr: None,
            vegas: None,
            dctcp: None,
            tos: None,
            traffic_class: None,
            class_id: None,
            shutdown: None,
            v6_only: None,
            mark: None,
            cgroup: None,
            options: None,
            ulp: None,
            protocol: None,
            autobound: None,
        }
    }
}

/// Parses one datagram of a response about [`TCP`] or [`UDP`], and calls `take` with each socket.
pub fn parse<'a>(
    datagram: &'a [u8],
    sequence: u32,
    mut take: impl FnMut(&Record<'a>),
) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if matches!(message.kind, request::SOCK_DIAG_BY_FAMILY | request::TCPDIAG_GETSOCK) {
            let (header, attributes) = message.split()?;
            let mut record = record(header)?;
            for attribute in attributes {
                record.take(attribute?)?;
            }
            take(&record);
        }
        Ok(())
    })
}

/// Parses one datagram of destroy events. The records have the family, the addresses, the cookie, the protocol and the
/// last `tcp_info` of the connection. The state is [`State::Close`]; owner, inode and cgroup are absent. For a
/// connection that was never established, or was reset from this end, the kernel has also cleared the counters and the
/// peer's port. The event of a connection that ends in `TIME_WAIT` comes when that state begins, and its record keeps
/// the cookie.
pub fn parse_event<'a>(datagram: &'a [u8], take: impl FnMut(&Record<'a>)) -> Result<Progress, Malformed> {
    // An event answers no request, so it has the sequence number 0.
    parse(datagram, 0, take)
}

fn record<'a>(header: &[u8; INET_DIAG_MSG]) -> Result<Record<'a>, Malformed> {
    let mut rest = header.as_slice();
    let [family, state, timer, retrans] = next(&mut rest)?;
    let local_port = u16::from_be_bytes(next(&mut rest)?);
    let peer_port = u16::from_be_bytes(next(&mut rest)?);
    let (family, local, peer) = addresses(family, next(&mut rest)?, next(&mut rest)?)?;
    let mut number = || next(&mut rest).map(u32::from_ne_bytes);
    let state = State::numbered(state).ok_or(Malformed::State(state))?;
    let local = SocketAddr::new(local, local_port);
    let peer = SocketAddr::new(peer, peer_port);
    Ok(Record {
        timer,
        retrans,
        interface: number()?,
        // The lower half comes first on every machine.
        cookie: u64::from(number()?) | u64::from(number()?) << 32,
        expires: number()?,
        receive_queue: number()?,
        write_queue: number()?,
        uid: number()?,
        inode: number()?,
        ..Record::new(family, state, local, peer)
    })
}

/// Splits off the first `N` bytes.
fn next<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], netlink::Malformed> {
    let (first, rest) = bytes.split_first_chunk().ok_or(netlink::Malformed::CutOff(bytes.len()))?;
    *bytes = rest;
    Ok(*first)
}

/// Decodes the addresses and their family. An IPv6 socket that carries IPv4 has both addresses mapped, or, without a
/// peer, one mapped and one unspecified.
fn addresses(family: u8, local: [u8; 16], peer: [u8; 16]) -> Result<(Family, IpAddr, IpAddr), Malformed> {
    let four = |[a, b, c, d, ..]: [u8; 16]| IpAddr::from([a, b, c, d]);
    let (local_v6, peer_v6) = (Ipv6Addr::from(local), Ipv6Addr::from(peer));
    let folded = match (local_v6.to_ipv4_mapped(), peer_v6.to_ipv4_mapped()) {
        (Some(local), Some(peer)) => Some((local, peer)),
        (Some(local), None) if peer_v6.is_unspecified() => Some((local, Ipv4Addr::UNSPECIFIED)),
        (None, Some(peer)) if local_v6.is_unspecified() => Some((Ipv4Addr::UNSPECIFIED, peer)),
        _ => None,
    };
    match (family, folded) {
        (AF_INET, _) => Ok((Family::V4, four(local), four(peer))),
        (AF_INET6, Some((local, peer))) => Ok((Family::V4, local.into(), peer.into())),
        (AF_INET6, None) => Ok((Family::V6, local_v6.into(), peer_v6.into())),
        _ => Err(Malformed::Family(family)),
    }
}

impl<'a> Record<'a> {
    fn take(&mut self, attribute: Attribute<'a>) -> Result<(), Malformed> {
        let payload = attribute.payload;
        match attribute.number {
            INET_DIAG_INFO => self.tcp = Some(TcpInfo::new(payload)),
            INET_DIAG_SKMEMINFO => self.memory = Some(Memory::new(payload)),
            INET_DIAG_BBRINFO => self.bbr = Some(Bbr::new(payload)),
            INET_DIAG_VEGASINFO => self.vegas = Some(Vegas::new(payload)),
            INET_DIAG_DCTCPINFO => self.dctcp = Some(Dctcp::new(payload)),
            INET_DIAG_CONG => self.congestion = Some(name(attribute)?),
            INET_DIAG_TOS => self.tos = Some(byte(attribute)?),
            INET_DIAG_TCLASS => self.traffic_class = Some(byte(attribute)?),
            INET_DIAG_SHUTDOWN => self.shutdown = Some(byte(attribute)?),
            INET_DIAG_PROTOCOL => self.protocol = Some(byte(attribute)?),
            INET_DIAG_SKV6ONLY => self.v6_only = Some(byte(attribute)? != 0),
            INET_DIAG_MARK => self.mark = Some(u32::from_ne_bytes(attribute.first()?)),
            INET_DIAG_CLASS_ID => self.class_id = Some(u32::from_ne_bytes(attribute.first()?)),
            INET_DIAG_CGROUP_ID => self.cgroup = Some(u64::from_ne_bytes(attribute.first()?)),
            INET_DIAG_SOCKOPT => self.options = Some(SocketOptions(attribute.first()?)),
            INET_DIAG_ULP_INFO => {
                for nested in netlink::attributes(payload) {
                    let nested = nested?;
                    if nested.number == INET_ULP_INFO_NAME {
                        self.ulp = Some(name(nested)?);
                    }
                }
            }
            // Padding before 64-bit numbers, and attributes of newer kernels.
            _ => {}
        }
        Ok(())
    }
}

fn byte(attribute: Attribute<'_>) -> Result<u8, Malformed> {
    let [byte] = attribute.first()?;
    Ok(byte)
}

/// A name that ends with a zero byte.
fn name(attribute: Attribute<'_>) -> Result<&str, Malformed> {
    std::str::from_utf8(attribute.text()).map_err(|_| Malformed::NotText(attribute.number))
}
