//! Interfaces and queueing disciplines over rtnetlink: which there are, and what they dropped.
//!
//! `include/uapi/linux/rtnetlink.h`, `if_link.h`, `gen_stats.h`. `RTM_NEWLINK` has a `struct ifinfomsg` of 16 bytes and
//! attributes, among them `struct rtnl_link_stats64`. `RTM_NEWQDISC` has a `struct tcmsg` of 20 bytes and attributes, among
//! them `struct gnet_stats_queue`, whose counters have 32 bits. Neither request needs a privilege. A discipline adds up what
//! those below it dropped, so the ones at the root and at the ingress have it all.

use crate::netlink::{self, Client, Malformed, Progress, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;

const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
const IFLA_INFO_KIND: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
/// Where `rx_missed_errors` is in `struct rtnl_link_stats64`.
const RX_MISSED_ERRORS: usize = 15 * 8;

const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// `TC_H_ROOT`, and `TC_H_INGRESS`, which is also that of `clsact`.
const ROOTS: [u32; 2] = [0xffff_ffff, 0xffff_fff1];
/// The discipline of an interface that has no queue: nothing can be dropped in it.
const NO_QUEUE: &[u8] = b"noqueue";

/// Links that are kept of one answer, those that are not cards included.
const MOST: usize = 65_536;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// `ifindex`.
    pub index: i32,
    /// Its name: up to 15 bytes that somebody chose.
    pub name: Vec<u8>,
    /// Whether it is a card: neither the loopback nor made by software (`IFLA_INFO_KIND`: veth, bridge, vlan).
    pub is_card: bool,
    /// `rx_missed_errors`.
    pub missed: Option<u64>,
}

/// A queueing discipline at the root or at the ingress of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// `ifindex` of its interface.
    pub interface: i32,
    /// `fq_codel`, `tbf`.
    pub kind: Vec<u8>,
    /// `TC_H_ROOT` or `TC_H_INGRESS`.
    pub parent: u32,
    /// Packets that it dropped; wraps at 2^32.
    pub drops: u32,
}

/// The text of an attribute, which ends at a zero.
fn text(payload: &[u8]) -> Vec<u8> {
    payload.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Reads one datagram of a dump of links into `links`.
pub fn parse_links(datagram: &[u8], sequence: u32, links: &mut Vec<Link>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind != RTM_NEWLINK || links.len() >= MOST {
            return Ok(());
        }
        let ([_, _, k0, k1, i0, i1, i2, i3, ..], attributes) = message.split::<IFINFOMSG>()?;
        let loopback = u16::from_ne_bytes([*k0, *k1]) == ARPHRD_LOOPBACK;
        let index = i32::from_ne_bytes([*i0, *i1, *i2, *i3]);
        let mut link = Link { index, name: Vec::new(), is_card: !loopback, missed: None };
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                IFLA_IFNAME => link.name = text(attribute.payload),
                IFLA_LINKINFO => {
                    for inner in netlink::attributes(attribute.payload) {
                        link.is_card &= inner?.number != IFLA_INFO_KIND;
                    }
                }
                IFLA_STATS64 => {
                    let missed =
                        attribute.payload.get(RX_MISSED_ERRORS..).and_then(|bytes| bytes.first_chunk());
                    link.missed = missed.map(|bytes| u64::from_ne_bytes(*bytes));
                }
                _ => {}
            }
        }
        links.push(link);
        Ok(())
    })
}

/// Reads one datagram of a dump of queueing disciplines into `qdiscs`.
pub fn parse_qdiscs(datagram: &[u8], sequence: u32, qdiscs: &mut Vec<Qdisc>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind != RTM_NEWQDISC || qdiscs.len() >= MOST {
            return Ok(());
        }
        let ([_, _, _, _, i0, i1, i2, i3, _, _, _, _, p0, p1, p2, p3, ..], attributes) =
            message.split::<TCMSG>()?;
        let (interface, parent) =
            (i32::from_ne_bytes([*i0, *i1, *i2, *i3]), u32::from_ne_bytes([*p0, *p1, *p2, *p3]));
        if !ROOTS.contains(&parent) {
            return Ok(());
        }
        let (mut kind, mut drops) = (Vec::new(), None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                TCA_KIND => kind = text(attribute.payload),
                TCA_STATS2 => {
                    for inner in netlink::attributes(attribute.payload) {
                        let inner = inner?;
                        if inner.number == TCA_STATS_QUEUE {
                            // qlen, backlog, drops
                            let [_, _, _, _, _, _, _, _, d0, d1, d2, d3] = inner.first()?;
                            drops = Some(u32::from_ne_bytes([d0, d1, d2, d3]));
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some(drops) = drops
            && kind != NO_QUEUE
        {
            qdiscs.push(Qdisc { interface, kind, parent, drops });
        }
        Ok(())
    })
}

/// The netlink socket that rtnetlink is asked over, in one network namespace.
#[derive(Debug)]
pub struct Socket<T = NetlinkSocket>(Client<T>);

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self(Client::open(None, "route")?))
    }
}

impl<T: Transport> Socket<T> {
    /// Every interface.
    pub fn links(&mut self) -> Result<Vec<Link>, SourceError> {
        self.dump(RTM_GETLINK, IFINFOMSG, parse_links, "asking netlink for the interfaces (RTM_GETLINK)")
    }

    /// The queueing disciplines at the root and at the ingress of every interface.
    pub fn qdiscs(&mut self) -> Result<Vec<Qdisc>, SourceError> {
        let doing = "asking netlink for the queueing disciplines (RTM_GETQDISC)";
        self.dump(RTM_GETQDISC, TCMSG, parse_qdiscs, doing)
    }

    fn dump<R>(
        &mut self,
        kind: u16,
        header: usize,
        parse: Parse<R>,
        doing: &str,
    ) -> Result<Vec<R>, SourceError> {
        let mut answer = Dump { parse, rows: Vec::new() };
        let request =
            |sequence| netlink::request(kind, netlink::REQUEST | netlink::DUMP, sequence, &vec![0; header]);
        // A kernel without traffic control (CONFIG_NET_SCHED) knows no such message.
        let absent = &[libc::EOPNOTSUPP];
        self.0.ask(request, &mut answer).map_err(|error| error.into_source(doing.to_owned(), absent))?;
        Ok(answer.rows)
    }
}

type Parse<R> = fn(&[u8], u32, &mut Vec<R>) -> Result<Progress, Malformed>;

/// An answer of rows.
struct Dump<R> {
    parse: Parse<R>,
    rows: Vec<R>,
}

impl<R> ResponseHandler for Dump<R> {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        (self.parse)(datagram, sequence, &mut self.rows)
    }

    fn restart(&mut self) {
        self.rows.clear();
    }
}
