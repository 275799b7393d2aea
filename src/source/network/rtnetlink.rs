//! Interfaces and queueing disciplines over rtnetlink: which there are, and what they dropped.
//!
//! `include/uapi/linux/rtnetlink.h`, `gen_stats.h`. `RTM_NEWQDISC` has a `struct tcmsg` of 20 bytes and attributes, among them
//! `struct gnet_stats_queue`, whose counters have 32 bits. The request needs no privilege. A discipline adds up what those
//! below it dropped, so the ones at the root and at the ingress have it all.

use crate::netlink::{self, Client, Link, Malformed, Progress, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;

const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_STATS2: u16 = 7;
const TCA_STATS_QUEUE: u16 = 3;
/// `TC_H_ROOT`, and `TC_H_INGRESS`, which is also that of `clsact`.
const ROOTS: [u32; 2] = [0xffff_ffff, 0xffff_fff1];
/// The discipline of an interface that has no queue: nothing can be dropped in it.
const NO_QUEUE: &[u8] = b"noqueue";

/// Disciplines that are kept of one dump.
const MAX_DISCIPLINES: usize = 65_536;

/// A queueing discipline at the root or at the ingress of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// `ifindex` of its interface.
    pub interface: u32,
    /// `fq_codel`, `tbf`.
    pub kind: Vec<u8>,
    /// `TC_H_ROOT` or `TC_H_INGRESS`.
    pub parent: u32,
    /// Packets that it dropped; wraps at 2^32.
    pub drops: u32,
}

/// Reads one datagram of a dump of queueing disciplines into `qdiscs`.
pub fn parse_qdiscs(datagram: &[u8], sequence: u32, qdiscs: &mut Vec<Qdisc>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind != RTM_NEWQDISC || qdiscs.len() >= MAX_DISCIPLINES {
            return Ok(());
        }
        let ([_, _, _, _, i0, i1, i2, i3, _, _, _, _, p0, p1, p2, p3, ..], attributes) =
            message.split::<TCMSG>()?;
        let (interface, parent) =
            (u32::from_ne_bytes([*i0, *i1, *i2, *i3]), u32::from_ne_bytes([*p0, *p1, *p2, *p3]));
        if !ROOTS.contains(&parent) {
            return Ok(());
        }
        let (mut kind, mut drops) = (Vec::new(), None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                TCA_KIND => kind = attribute.text().to_vec(),
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
        let found = self.0.rows(netlink::links_request, netlink::parse_links);
        found.map_err(|error| {
            error.into_source("asking netlink for the interfaces (RTM_GETLINK)".to_owned(), &[])
        })
    }

    /// The queueing disciplines at the root and at the ingress of every interface.
    pub fn qdiscs(&mut self) -> Result<Vec<Qdisc>, SourceError> {
        let request = |sequence| {
            netlink::request(RTM_GETQDISC, netlink::REQUEST | netlink::DUMP, sequence, &[0; TCMSG])
        };
        // A kernel without traffic control (CONFIG_NET_SCHED) knows no such message.
        let absent = &[libc::EOPNOTSUPP];
        self.0.rows(request, parse_qdiscs).map_err(|error| {
            error.into_source("asking netlink for the queueing disciplines (RTM_GETQDISC)".to_owned(), absent)
        })
    }
}
