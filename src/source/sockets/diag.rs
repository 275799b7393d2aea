//! What `sock_diag` answers: one message a socket.
//!
//! `net/ipv4/inet_diag.c`, `include/uapi/linux/inet_diag.h`: `struct inet_diag_msg` (72 bytes: family, state, timer,
//! retransmissions, the socket's identity, and its queues, owner and inode) and attributes. Addresses and ports are in
//! network order, the rest in that of the machine. The same message, with little but the identity in it, reports a
//! socket's end to who has joined [`TCP_DESTROY`] or [`TCP_DESTROY_V6`]. A record borrows the bytes it was read from,
//! and what is in its attributes is read when asked for.

use crate::netlink::{self, Attribute, Progress};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

mod attributes;
mod request;
mod state;

use super::tcp_info::TcpInfo;
pub use attributes::{Bbr, Dctcp, Memory, SocketOptions, Vegas};
pub use request::{MPTCP, Request, TCP, UDP, dump, dump_both, extension};
pub use state::State;

/// `SKNLGRP_INET_TCP_DESTROY`: the multicast group that receives the destroy events of IPv4 sockets of TCP.
pub const TCP_DESTROY: u32 = 1;
/// `SKNLGRP_INET6_TCP_DESTROY`: the same for IPv6 sockets.
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
/// Families and addresses, in the kernel's numbers.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Each family.
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

/// Why an answer could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even as a netlink message.
    #[error(transparent)]
    Netlink(#[from] netlink::Malformed),
    /// A socket of a family that was not asked for.
    #[error("address family {0} was not requested")]
    Family(u8),
    /// The kernel reported an unknown state.
    #[error("there is no state {0}")]
    State(u8),
    /// A name is not UTF-8.
    #[error("the name in attribute {0} is not text")]
    NotText(u16),
}

/// A socket. What the kernel did not send is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Family of its addresses; IPv4 also where they are mapped into IPv6.
    pub family: Family,
    /// State of the TCP state machine (`idiag_state`).
    pub state: State,
    /// Address and port it has here.
    pub local: SocketAddr,
    /// Address and port of its peer; unspecified and 0 where it has none.
    pub peer: SocketAddr,
    /// Index of the interface it is bound to; 0 for none.
    pub interface: u32,
    /// The number that no other socket has had since the machine was started.
    pub cookie: u64,
    /// Which timer runs: 0 none, 1 retransmission, 2 keepalive, 3 the end of `TIME_WAIT`, 4 window probe.
    pub timer: u8,
    /// Retransmissions or probes since the last acknowledgement, as the timer counts them.
    pub retrans: u8,
    /// When the timer runs out, milliseconds.
    pub expires: u32,
    /// Bytes received and not read. Of a listening socket: connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes written and not acknowledged. Of a listening socket: how many connections may wait.
    pub write_queue: u32,
    /// User who made it; 0 also where it has no owner any more (`TIME_WAIT`, `SYN_RECV`, destroy events).
    pub uid: u32,
    /// Its inode, by which `/proc/PID/fd` has it; 0 where no process has it.
    pub inode: u32,
    /// What TCP knows of the connection, with [`extension::INFO`]. Not in `TIME_WAIT` and `SYN_RECV`.
    pub tcp: Option<TcpInfo<'a>>,
    /// Its buffers and what was dropped for want of them, with [`extension::MEMORY`].
    pub memory: Option<Memory<'a>>,
    /// Name of its congestion control, with [`extension::CONGESTION`].
    pub congestion: Option<&'a str>,
    /// What BBR knows, with [`extension::CONGESTION_INFO`].
    pub bbr: Option<Bbr<'a>>,
    /// What Vegas, or one that gives its numbers, knows, with [`extension::CONGESTION_INFO`].
    pub vegas: Option<Vegas<'a>>,
    /// What DCTCP knows, with [`extension::CONGESTION_INFO`].
    pub dctcp: Option<Dctcp<'a>>,
    /// Type of service it sends with, with [`extension::TOS`].
    pub tos: Option<u8>,
    /// Traffic class it sends with on IPv6, with [`extension::TRAFFIC_CLASS`].
    pub traffic_class: Option<u8>,
    /// Its class of traffic control, or its priority, with [`extension::TRAFFIC_CLASS`].
    pub class_id: Option<u32>,
    /// Directions that are shut down: bit 0 receiving, bit 1 sending.
    pub shutdown: Option<u8>,
    /// Whether it takes no IPv4, of IPv6 sockets that listen or are not connected.
    pub v6_only: Option<bool>,
    /// Its mark (`SO_MARK`), told to who has `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Inode of the directory of its cgroup (version 2); 5.8.
    pub cgroup: Option<u64>,
    /// Socket options (`INET_DIAG_SOCKOPT`); Linux 5.10.
    pub options: Option<SocketOptions>,
    /// What sits upon TCP (`tls`, `mptcp`), with [`extension::INFO`]; 5.4.
    pub ulp: Option<&'a str>,
    /// Its protocol; in destroy events and of raw sockets.
    pub protocol: Option<u8>,
}

impl Record<'_> {
    /// A socket of which nothing is known but who it is.
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
        }
    }
}

/// Reads one datagram of an answer about [`TCP`] or [`UDP`], handing each socket to `take`.
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

/// Reads one datagram of destroy events. Its records have the family, the addresses, the cookie, the
/// protocol and what TCP last knew of the connection; the state is [`State::Close`], and owner, inode and cgroup are
/// gone. A connection that was never made or was reset from here has lost its numbers too, and its peer's port is 0.
/// One that ends in `TIME_WAIT` has its event when that begins, and keeps its cookie in it.
pub fn parse_event<'a>(datagram: &'a [u8], take: impl FnMut(&Record<'a>)) -> Result<Progress, Malformed> {
    // Nobody asked, so there is no number to answer to.
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
        // The lower half first, on every machine.
        cookie: u64::from(number()?) | u64::from(number()?) << 32,
        expires: number()?,
        receive_queue: number()?,
        write_queue: number()?,
        uid: number()?,
        inode: number()?,
        ..Record::new(family, state, local, peer)
    })
}

/// Takes the first bytes off.
fn next<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], netlink::Malformed> {
    let (first, rest) = bytes.split_first_chunk().ok_or(netlink::Malformed::CutOff(bytes.len()))?;
    *bytes = rest;
    Ok(*first)
}

/// The addresses, and the family they are of. An IPv6 socket that carries IPv4 has both mapped, or one mapped and none
/// for the other where it has no peer.
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
            // Padding before numbers of 64 bits, and what newer kernels tell.
            _ => {}
        }
        Ok(())
    }
}

fn byte(attribute: Attribute<'_>) -> Result<u8, Malformed> {
    let [byte] = attribute.first()?;
    Ok(byte)
}

/// A name, which a zero byte ends.
fn name(attribute: Attribute<'_>) -> Result<&str, Malformed> {
    let name = attribute.payload.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(name).map_err(|_| Malformed::NotText(attribute.number))
}
