//! Taskstats over generic netlink: what a process has waited, and a message for each thread that exits.
//!
//! `kernel/taskstats.c`, `include/uapi/linux/taskstats.h`, `Documentation/accounting/taskstats.rst`. A message is `nlmsghdr`,
//! `genlmsghdr` (4 bytes: command, version, reserved) and attributes. A reply has one nest with a number and the
//! structure; the message of an exit has that of the thread and, of the last thread of a process that had several, that of the
//! process behind it. The structure grew at its end with each version, so a member that is not there is `None`. Asking
//! takes `CAP_NET_ADMIN` in the first user namespace. Pure: `family` asks.

use crate::netlink::{self, Attribute, Attributes, Malformed, Progress, push_attribute};

/// `GENL_ID_CTRL` and what is asked of it (`include/uapi/linux/genetlink.h`).
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const TASKSTATS_CMD_GET: u8 = 1;
const TASKSTATS_CMD_ATTR_TGID: u16 = 2;
const TASKSTATS_CMD_ATTR_REGISTER_CPUMASK: u16 = 3;
const TASKSTATS_TYPE_PID: u16 = 1;
const TASKSTATS_TYPE_TGID: u16 = 2;
const TASKSTATS_TYPE_STATS: u16 = 3;
const TASKSTATS_TYPE_AGGR_PID: u16 = 4;
const TASKSTATS_TYPE_AGGR_TGID: u16 = 5;

const NLM_F_ACK: u16 = 4;
const GENLMSGHDR: usize = 4;

/// Place of the sequence number in `nlmsghdr`.
const SEQUENCE: usize = 8;

/// Places of members of `struct taskstats`.
const AC_FLAG: usize = 8;
const CPU_DELAY_TOTAL: usize = 24;
const BLKIO_DELAY_TOTAL: usize = 40;
const AC_PPID: usize = 132;
/// Since version 12 (Linux 5.19), as is `AGROUP`.
const AC_TGID: usize = 368;
/// Of `ac_flag`: the task was the last of its process (`include/uapi/linux/acct.h`).
const AGROUP: u8 = 0x20;

/// Time waited so far, nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessDelays {
    /// For a CPU while runnable.
    pub cpu: u64,
    /// For block devices.
    pub disk: u64,
}

/// A thread or a process that exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The process, where that is known; otherwise the thread.
    pub pid: u32,
    /// The process that it was a child of.
    pub parent: u32,
    /// What it waited from its beginning to its end; of a process that of all of its threads.
    pub waited: ProcessDelays,
    /// Whether the process has ended; `None` where the kernel does not say that.
    pub whole: Option<bool>,
}

fn number<const N: usize>(stats: &[u8], at: usize) -> Option<[u8; N]> {
    stats.get(at..)?.first_chunk().copied()
}

fn waited(stats: Attribute<'_>) -> Result<ProcessDelays, Malformed> {
    let short = Malformed::Length { number: stats.number, length: stats.payload.len() };
    let member = |at| number(stats.payload, at).map(u64::from_ne_bytes).ok_or(short);
    Ok(ProcessDelays { cpu: member(CPU_DELAY_TOTAL)?, disk: member(BLKIO_DELAY_TOTAL)? })
}

/// The number and the structure of a nest.
fn nest(nest: Attribute<'_>) -> Result<(Option<u32>, Option<Attribute<'_>>), Malformed> {
    let (mut id, mut stats) = (None, None);
    for attribute in netlink::attributes(nest.payload) {
        let attribute = attribute?;
        match attribute.number {
            TASKSTATS_TYPE_PID | TASKSTATS_TYPE_TGID => id = Some(u32::from_ne_bytes(attribute.first()?)),
            TASKSTATS_TYPE_STATS => stats = Some(attribute),
            _ => {}
        }
    }
    Ok((id, stats))
}

/// Reads the reply to a question for a process.
pub fn parse_process(
    datagram: &[u8],
    sequence: u32,
    into: &mut Option<ProcessDelays>,
) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        let (_, attributes) = message.split::<GENLMSGHDR>()?;
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.number == TASKSTATS_TYPE_AGGR_TGID
                && let (_, Some(stats)) = nest(attribute)?
            {
                *into = Some(waited(stats)?);
            }
        }
        Ok(())
    })
}

/// Reads the messages of exits in a datagram, which has one as a rule.
pub fn parse_exits(datagram: &[u8], mut take: impl FnMut(Exit)) -> Result<(), Malformed> {
    // Nobody asked for them: the sequence number counts the messages of a CPU (`prepare_reply`).
    let sequence = number(datagram, SEQUENCE).map(u32::from_ne_bytes).unwrap_or_default();
    netlink::messages(datagram, sequence, |message| {
        let (_, attributes) = message.split::<GENLMSGHDR>()?;
        if let Some(exit) = exit(attributes)? {
            take(exit);
        }
        Ok(())
    })
    .map(drop)
}

fn exit(attributes: Attributes<'_>) -> Result<Option<Exit>, Malformed> {
    let (mut thread, mut process) = (None, None);
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            TASKSTATS_TYPE_AGGR_PID => thread = Some(nest(attribute)?),
            TASKSTATS_TYPE_AGGR_TGID => process = Some(nest(attribute)?),
            _ => {}
        }
    }
    let Some((Some(pid), Some(stats))) = thread else { return Ok(None) };
    let parent = number(stats.payload, AC_PPID).map(u32::from_ne_bytes).unwrap_or_default();
    if let Some((Some(pid), Some(stats))) = process {
        return Ok(Some(Exit { pid, parent, waited: waited(stats)?, whole: Some(true) }));
    }
    let tgid = number(stats.payload, AC_TGID).map(u32::from_ne_bytes);
    let [flags] = number(stats.payload, AC_FLAG).unwrap_or_default();
    let whole = tgid.map(|tgid| tgid == pid && flags & AGROUP != 0);
    Ok(Some(Exit { pid, parent, waited: waited(stats)?, whole }))
}

/// A request to a family of generic netlink.
fn request(family: u16, flags: u16, sequence: u32, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut payload = vec![command, 1, 0, 0];
    // Nothing that is sent here is longer than an attribute holds.
    push_attribute(&mut payload, attribute, value).unwrap_or_default();
    netlink::request(family, netlink::REQUEST | flags, sequence, &payload)
}

/// A request for what a process has waited.
pub fn process_request(family: u16, sequence: u32, tgid: u32) -> Vec<u8> {
    request(family, 0, sequence, TASKSTATS_CMD_GET, TASKSTATS_CMD_ATTR_TGID, &tgid.to_ne_bytes())
}

/// A request for a message of each thread that exits on these CPUs, which is acknowledged.
pub fn exits_request(family: u16, sequence: u32, cpus: &[u32]) -> Vec<u8> {
    let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
    let list = list.join(",") + "\0";
    let attribute = TASKSTATS_CMD_ATTR_REGISTER_CPUMASK;
    request(family, NLM_F_ACK, sequence, TASKSTATS_CMD_GET, attribute, list.as_bytes())
}

/// A request for the number of the family `TASKSTATS`.
pub fn family_request(sequence: u32) -> Vec<u8> {
    request(GENL_ID_CTRL, 0, sequence, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0")
}

/// Reads the reply to a question for the family.
pub fn parse_family(datagram: &[u8], sequence: u32, into: &mut Option<u16>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        let (_, attributes) = message.split::<GENLMSGHDR>()?;
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.number == CTRL_ATTR_FAMILY_ID {
                *into = Some(u16::from_ne_bytes(attribute.first()?));
            }
        }
        Ok(())
    })
}
