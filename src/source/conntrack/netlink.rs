//! The statistics over netlink, without a process: ctnetlink.
//!
//! `net/netfilter/nf_conntrack_netlink.c` (`ctnetlink_stat_ct_cpu`, `ctnetlink_stat_ct`, `ctnetlink_stat_exp_cpu`). A
//! message is `nlmsghdr` (16 bytes) and `nfgenmsg` (4 bytes: family, version, and in `res_id` the CPU, big-endian),
//! then attributes with big-endian numbers. The kernel has three peculiarities: the response to a dump of expectation
//! statistics has the type of another subsystem, so responses are recognised by their sequence number; `GET_STATS` sets
//! `NLM_F_MULTI` and never sends the `NLMSG_DONE` that should follow; and the statistics by CPU are sent only with
//! `NLM_F_DUMP`.

use super::fields::{EXPECTATIONS, Field, KnownCounter, Malformed, Row, STATISTICS, Statistics, cpu};
use crate::netlink::{self, Attribute, Attributes, Client, NFGENMSG, Progress, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;

pub mod helpers;

/// Message types: subsystem 1 (ctnetlink), messages 4 and 5; subsystem 2 (expectations), message 3.
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = 0x0104;
const IPCTNL_MSG_CT_GET_STATS: u16 = 0x0105;
const IPCTNL_MSG_EXP_GET_STATS_CPU: u16 = 0x0203;

const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
const CTA_STATS_GLOBAL_MAX_ENTRIES: u16 = 2;

/// A request without attributes, for any family.
pub fn request(kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
    netlink::request(kind, flags, sequence, &[0; NFGENMSG])
}

/// Walks the messages of a datagram that answer `sequence`, and calls `take` with the `nfgenmsg.res_id` and the
/// attributes of each. Their type is ignored: for expectation statistics it is that of another subsystem.
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

/// The attributes that are numbers: (attribute number, value). Attributes of another length are ignored, unless their
/// number is that of a known counter.
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

/// Parses a datagram of a dump of counters by CPU, and adds the rows to `into`.
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

/// Statistics of the whole table (`IPCTNL_MSG_CT_GET_STATS`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Global {
    /// Entries in the table.
    pub entries: Option<u64>,
    /// Maximum number of entries; since Linux 4.18.
    pub limit: Option<u64>,
}

/// Parses the one message of `IPCTNL_MSG_CT_GET_STATS`.
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

/// Errors of the kernel without the subsystem: `nf_conntrack_netlink` is neither built in nor loaded nor loadable.
pub const ABSENT: &[i32] = &[libc::EINVAL, libc::EOPNOTSUPP, libc::ENOENT];

/// A ctnetlink client in one network namespace.
#[derive(Debug)]
pub struct Socket<T = NetlinkSocket>(Client<T>);

impl Socket {
    /// Opens a socket in the calling thread's network namespace. Opening needs no privilege; requests do.
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self(Client::open(rustix::net::netlink::NETFILTER, "netfilter")?))
    }
}

impl<T: Transport> Socket<T> {
    /// Creates it with this client.
    pub fn new(client: Client<T>) -> Self {
        Self(client)
    }

    /// The counters of each CPU (`IPCTNL_MSG_CT_GET_STATS_CPU`).
    pub fn statistics(&mut self) -> Result<Statistics, SourceError> {
        self.dump(IPCTNL_MSG_CT_GET_STATS_CPU, STATISTICS)
    }

    /// The expectation counters of each CPU (`IPCTNL_MSG_EXP_GET_STATS_CPU`).
    pub fn expectations(&mut self) -> Result<Statistics, SourceError> {
        self.dump(IPCTNL_MSG_EXP_GET_STATS_CPU, EXPECTATIONS)
    }

    /// Usage and limit of the table.
    pub fn global(&mut self) -> Result<Global, SourceError> {
        let mut global = Global::default();
        self.ask(IPCTNL_MSG_CT_GET_STATS, 0, &mut global)?;
        Ok(global)
    }

    fn dump(&mut self, kind: u16, known: &'static [KnownCounter]) -> Result<Statistics, SourceError> {
        let mut rows = CpuDump { known, statistics: Statistics::default() };
        self.ask(kind, netlink::DUMP, &mut rows)?;
        if rows.statistics.rows.is_empty() {
            return Err(SourceError::parse(request_name(kind), Malformed::Empty));
        }
        Ok(rows.statistics)
    }

    fn ask(&mut self, kind: u16, flags: u16, answer: &mut impl ResponseHandler) -> Result<(), SourceError> {
        self.0
            .ask(|sequence| request(kind, netlink::REQUEST | flags, sequence), answer)
            .map_err(|error| error.into_source(request_name(kind), ABSENT))
    }
}

/// Response handler that collects the rows of a dump.
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
            // There is only one message, and no NLMSG_DONE to wait for.
            Progress::More if self.entries.is_some() => Ok(Progress::Done),
            progress => Ok(progress),
        }
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

fn request_name(kind: u16) -> String {
    let name = match kind {
        IPCTNL_MSG_CT_GET_STATS => "IPCTNL_MSG_CT_GET_STATS",
        IPCTNL_MSG_EXP_GET_STATS_CPU => "IPCTNL_MSG_EXP_GET_STATS_CPU",
        helpers::IPCTNL_MSG_EXP_GET => "IPCTNL_MSG_EXP_GET",
        _ => "IPCTNL_MSG_CT_GET_STATS_CPU",
    };
    format!("asking netlink for {name}")
}
