//! The same counters over netlink, without a process: ctnetlink statistics.
//!
//! `net/netfilter/nf_conntrack_netlink.c` (`ctnetlink_stat_ct_cpu`, `ctnetlink_stat_ct`,
//! `ctnetlink_stat_exp_cpu`). A message is `nlmsghdr` (16 bytes) and `nfgenmsg` (4 bytes: family, version, and in
//! `res_id` the CPU, big-endian), then attributes that hold big-endian numbers. Three oddities
//! of the kernel: a dump of expectation statistics answers with the type of another subsystem, so answers are told by
//! their sequence number; `GET_STATS` sets `NLM_F_MULTI` and never sends the `NLMSG_DONE` that should follow; and
//! without `NLM_F_DUMP` the statistics by CPU are not answered at all.

use super::fields::{EXPECTATIONS, Field, KnownCounter, Malformed, Row, STATISTICS, Statistics, cpu};
use crate::netlink::{self, Attribute, Attributes, Client, Progress, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;

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
    known: &'static [KnownCounter],
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

/// Statistics of the table as a whole (`IPCTNL_MSG_CT_GET_STATS`).
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

/// What the kernel refuses with where the subsystem is not there: `nf_conntrack_netlink` is neither built in nor loaded nor
/// to be loaded.
const ABSENT: &[i32] = &[libc::EINVAL, libc::EOPNOTSUPP, libc::ENOENT];

/// The netlink socket that ctnetlink is asked over, in one network namespace.
#[derive(Debug)]
pub struct Socket<T = NetlinkSocket>(Client<T>);

impl Socket {
    /// Opens a socket in the calling thread's network namespace. This needs no privilege; asking does.
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self(Client::open(rustix::net::netlink::NETFILTER, "netfilter")?))
    }
}

impl<T: Transport> Socket<T> {
    /// Asks with a client of its own.
    pub fn new(client: Client<T>) -> Self {
        Self(client)
    }

    /// Counters of each CPU (`IPCTNL_MSG_CT_GET_STATS_CPU`).
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
        self.ask(IPCTNL_MSG_CT_GET_STATS, 0, &mut global)?;
        Ok(global)
    }

    fn dump(&mut self, kind: u16, known: &'static [KnownCounter]) -> Result<Statistics, SourceError> {
        let mut rows = CpuDump { known, statistics: Statistics::default() };
        self.ask(kind, netlink::DUMP, &mut rows)?;
        if rows.statistics.rows.is_empty() {
            return Err(SourceError::parse(asking(kind), Malformed::Empty));
        }
        Ok(rows.statistics)
    }

    fn ask(&mut self, kind: u16, flags: u16, answer: &mut impl ResponseHandler) -> Result<(), SourceError> {
        self.0
            .ask(|sequence| request(kind, netlink::REQUEST | flags, sequence), answer)
            .map_err(|error| error.into_source(asking(kind), ABSENT))
    }
}

/// A dump of counters by CPU.
struct CpuDump {
    known: &'static [KnownCounter],
    statistics: Statistics,
}

impl ResponseHandler for CpuDump {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        parse_dump(datagram, sequence, self.known, &mut self.statistics)
    }

    fn restart(&mut self) {
        self.statistics = Statistics::default();
    }
}

impl ResponseHandler for Global {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        match parse_global(datagram, sequence, self)? {
            // One message is all there is; waiting for NLMSG_DONE would wait for ever.
            Progress::More if self.entries.is_some() => Ok(Progress::Done),
            progress => Ok(progress),
        }
    }

    fn restart(&mut self) {
        *self = Self::default();
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
