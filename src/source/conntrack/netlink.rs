//! The same counters over netlink, without a process: ctnetlink statistics.
//!
//! `net/netfilter/nf_conntrack_netlink.c` (`ctnetlink_stat_ct_cpu`, `ctnetlink_stat_ct`,
//! `ctnetlink_stat_exp_cpu`). A message is `nlmsghdr` (16 bytes) and `nfgenmsg` (4 bytes: family, version, and in
//! `res_id` the CPU, big-endian), then attributes that hold big-endian numbers. Three oddities
//! of the kernel: a dump of expectation statistics answers with the type of another subsystem, so answers are told by
//! their sequence number; `GET_STATS` sets `NLM_F_MULTI` and never sends the `NLMSG_DONE` that should follow; and
//! without `NLM_F_DUMP` the statistics by CPU are not answered at all.

use super::fields::{EXPECTATIONS, Field, Known, Malformed, Row, STATISTICS, Statistics, cpu};
use crate::netlink::{self, Attribute, Attributes, Progress};
use crate::source::SourceError;
use crate::sys::netlink::NetlinkSocket;
use std::io;
use std::time::Duration;

/// Subsystem 1 (ctnetlink), messages 4 and 5; subsystem 2 (expectations), message 3.
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = 0x0104;
const IPCTNL_MSG_CT_GET_STATS: u16 = 0x0105;
const IPCTNL_MSG_EXP_GET_STATS_CPU: u16 = 0x0203;

const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

const NFGENMSG: usize = 4;

/// A request without attributes, for any family.
pub fn request(kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
    netlink::request(kind, flags, sequence, &[0; NFGENMSG])
}

/// Walks the messages of one datagram that answer `sequence`, handing the `nfgenmsg.res_id` and the attributes of
/// each to `take`. Their type is not looked at: the kernel gives expectation statistics that of another subsystem.
fn walk(
    datagram: &[u8],
    sequence: u32,
    mut take: impl FnMut(u16, Attributes<'_>) -> Result<(), Malformed>,
) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        let ([_, _, high, low], attributes) = message.split::<NFGENMSG>()?;
        take(u16::from_be_bytes([*high, *low]), attributes)
    })
}

/// The numbers among the attributes: (number, value). Attributes of another length than a number's are left out
/// unless `known` says that they are counters.
fn numbers(attributes: Attributes<'_>, known: usize) -> Result<Vec<(u16, u64)>, Malformed> {
    let mut found: Vec<(u16, u64)> = Vec::with_capacity(16);
    for attribute in attributes {
        let Attribute { number, payload } = attribute?;
        if found.iter().any(|(present, _)| *present == number) {
            return Err(Malformed::Repeated(number));
        }
        if let Ok(bytes) = <[u8; 4]>::try_from(payload) {
            found.push((number, u64::from(u32::from_be_bytes(bytes))));
        } else if let Ok(bytes) = <[u8; 8]>::try_from(payload) {
            found.push((number, u64::from_be_bytes(bytes)));
        } else if usize::from(number) <= known {
            return Err(Malformed::Length { number, length: payload.len() });
        }
    }
    Ok(found)
}

/// Reads one datagram of a dump of counters by CPU into `into`.
pub fn parse_dump(
    datagram: &[u8],
    sequence: u32,
    known: &'static [Known],
    into: &mut Statistics,
) -> Result<Progress, Malformed> {
    walk(datagram, sequence, |number, attributes| {
        let mut fields = Vec::with_capacity(known.len());
        for (number, value) in numbers(attributes, known.len())? {
            if let Some(field) = Field::numbered(number, known) {
                fields.push((field, value));
            }
        }
        into.add(Row { cpu: cpu(u64::from(number))?, fields })
    })
}

/// The table as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Global {
    /// Entries in the table.
    pub entries: Option<u64>,
    /// Entries it may hold; since Linux 4.18.
    pub limit: Option<u64>,
}

/// Reads the one message of `IPCTNL_MSG_CT_GET_STATS`.
pub fn parse_global(datagram: &[u8], sequence: u32, into: &mut Global) -> Result<Progress, Malformed> {
    walk(datagram, sequence, |_, attributes| {
        for (number, value) in numbers(attributes, 2)? {
            match number {
                CTA_STATS_GLOBAL_ENTRIES => into.entries = Some(value),
                CTA_STATS_GLOBAL_MAX_ENTRIES => into.limit = Some(value),
                _ => {}
            }
        }
        Ok(())
    })
}

/// One netlink socket, asked again and again.
#[derive(Debug)]
pub struct Socket {
    netlink: NetlinkSocket,
    sequence: u32,
    timeout: Duration,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace. This needs no privilege; asking does.
    pub fn open(timeout: Duration) -> Result<Self, SourceError> {
        let netlink = NetlinkSocket::open(rustix::net::netlink::NETFILTER, timeout).map_err(|cause| {
            match cause.raw_os_error() {
                // The kernel was built without netfilter netlink.
                Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
                    SourceError::absent("opening a netfilter netlink socket", cause)
                }
                _ => SourceError::from_io("opening a netfilter netlink socket", "CAP_NET_ADMIN", cause),
            }
        })?;
        Ok(Self { netlink, sequence: 0, timeout })
    }

    /// The counters by CPU.
    pub fn statistics(&mut self) -> Result<Statistics, SourceError> {
        self.dump(IPCTNL_MSG_CT_GET_STATS_CPU, STATISTICS)
    }

    /// The counters of expectations by CPU.
    pub fn expectations(&mut self) -> Result<Statistics, SourceError> {
        self.dump(IPCTNL_MSG_EXP_GET_STATS_CPU, EXPECTATIONS)
    }

    /// Entries and limit.
    pub fn global(&mut self) -> Result<Global, SourceError> {
        let mut global = Global::default();
        self.ask(IPCTNL_MSG_CT_GET_STATS, 0, |datagram, sequence| {
            match parse_global(datagram, sequence, &mut global)? {
                // One message is all there is; waiting for NLMSG_DONE would wait for ever.
                Progress::More if global.entries.is_some() => Ok(Progress::Done),
                progress => Ok(progress),
            }
        })?;
        Ok(global)
    }

    fn dump(&mut self, kind: u16, known: &'static [Known]) -> Result<Statistics, SourceError> {
        let mut statistics = Statistics::default();
        self.ask(kind, netlink::DUMP, |datagram, sequence| {
            parse_dump(datagram, sequence, known, &mut statistics)
        })?;
        if statistics.rows.is_empty() {
            return Err(SourceError::parse(asking(kind), Malformed::Empty));
        }
        Ok(statistics)
    }

    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        mut take: impl FnMut(&[u8], u32) -> Result<Progress, Malformed>,
    ) -> Result<(), SourceError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                SourceError::Timeout { doing: asking(kind), after: self.timeout }
            }
            _ => SourceError::from_io(asking(kind), "CAP_NET_ADMIN", cause),
        };
        self.netlink.send(&request(kind, netlink::REQUEST | flags, sequence)).map_err(failed)?;
        loop {
            let datagram = self.netlink.receive().map_err(failed)?;
            match take(datagram, sequence).map_err(|cause| SourceError::parse(asking(kind), cause))? {
                Progress::More => {}
                Progress::Done => return Ok(()),
                Progress::Interrupted => {
                    return Err(SourceError::io(asking(kind), "the dump was interrupted"));
                }
                Progress::Refused(number) => return Err(refused(kind, number)),
            }
        }
    }
}

fn refused(kind: u16, number: i32) -> SourceError {
    let cause = io::Error::from_raw_os_error(number);
    match number {
        libc::EPERM | libc::EACCES => SourceError::denied(asking(kind), "CAP_NET_ADMIN", cause),
        // The subsystem is not there: nf_conntrack_netlink is neither built in nor loaded nor to be loaded.
        libc::EINVAL | libc::EOPNOTSUPP | libc::ENOENT => SourceError::absent(asking(kind), cause),
        _ => SourceError::io(asking(kind), cause),
    }
}

fn asking(kind: u16) -> String {
    let name = match kind {
        IPCTNL_MSG_CT_GET_STATS => "IPCTNL_MSG_CT_GET_STATS",
        IPCTNL_MSG_EXP_GET_STATS_CPU => "IPCTNL_MSG_EXP_GET_STATS_CPU",
        _ => "IPCTNL_MSG_CT_GET_STATS_CPU",
    };
    format!("asking netlink for {name}")
}
