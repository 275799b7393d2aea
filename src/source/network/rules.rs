//! Rules of nftables that drop or reject and have a counter, over nfnetlink.
//!
//! `include/uapi/linux/netfilter/nf_tables.h`, `nf_tables_fill_rule_info` in `net/netfilter/nf_tables_api.c`. A rule has its
//! expressions in order; `counter` counts what came as far as it, so only a counter right in front of the verdict counts what
//! was dropped. The verdict is an `immediate` with `NF_DROP`, a `reject`, or iptables' target `REJECT`. A comment is in the user
//! data, as nft writes it (type, length, bytes), or iptables' match `comment`. Numbers are big-endian. `CAP_NET_ADMIN`, as every request of
//! nfnetlink.

use super::labels::{RULES, Verdict};
use crate::netlink::nf_tables::{
    self, NFT_MSG_NEWRULE, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_RULE_EXPRESSIONS, NFTA_TARGET_NAME,
};
use crate::netlink::{
    self, Attribute, Attributes, Client, Malformed, NFGENMSG, Progress, ResponseHandler, Transport,
};
use crate::reading::SourceError;
use crate::text::{LONGEST_NAME, before_zero, bounded_bytes};
use std::collections::BTreeMap;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_COUNTER_PACKETS: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
/// `NFT_REG_VERDICT`: where an `immediate` puts a verdict.
const NFT_REG_VERDICT: u32 = 0;
const NF_DROP: u32 = 0;
/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl.
const COMMENT: u8 = 0;

/// Rules that are added up in one series, at most; 16 bytes each.
const ALIKE: usize = 65_536;

/// What rules are told apart by. Rules that have all of it in common are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `ip`, `ip6`, `inet`, as nft has it.
    pub family: &'static str,
    /// Table of the rule, at most 256 bytes.
    pub table: String,
    /// Chain of the rule, at most 256 bytes.
    pub chain: String,
    /// Comment of the rule, at most 256 bytes; empty if it has none.
    pub comment: String,
    /// Verdict of the rule: drop or reject.
    pub verdict: Verdict,
}

/// The rules of one network namespace with the packets that they dropped, up to a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Packets of each rule, by the rule's handle (`NFTA_RULE_HANDLE`), which is unique in its table.
    pub packets: BTreeMap<Rule, Vec<(u64, u64)>>,
    /// Rules that exceed the limit.
    pub left_out: u64,
}

/// `NFPROTO_*` of `include/uapi/linux/netfilter.h`.
fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

fn bounded(payload: &[u8]) -> String {
    bounded_bytes(before_zero(payload), LONGEST_NAME)
}

/// What the expressions of a rule say: the verdict, the packets that were counted right before it, and iptables' comment.
type Dropped<'a> = (Verdict, u64, &'a [u8]);

/// What a rule says that drops or rejects right behind a counter.
fn dropped(expressions: &[u8]) -> Result<Option<Dropped<'_>>, Malformed> {
    let (mut counted, mut comment) = (None, &[][..]);
    for expression in netlink::attributes(expressions) {
        let (name, data) = nf_tables::expression(expression?)?;
        let verdict = match name {
            b"counter" => {
                let packets = data.get(NFTA_COUNTER_PACKETS)?;
                counted = packets.map(Attribute::first).transpose()?.map(u64::from_be_bytes);
                continue;
            }
            b"match" if data.get(NFTA_MATCH_NAME)?.is_some_and(|name| name.text() == b"comment") => {
                comment = data.get(NFTA_MATCH_INFO)?.map_or(comment, Attribute::text);
                continue;
            }
            b"immediate" if is_drop(&data)? => Some(Verdict::Drop),
            b"reject" => Some(Verdict::Reject),
            b"target" => {
                data.get(NFTA_TARGET_NAME)?.filter(|name| name.text() == b"REJECT").map(|_| Verdict::Reject)
            }
            _ => None,
        };
        if let Some(verdict) = verdict {
            return Ok(counted.map(|packets| (verdict, packets, comment)));
        }
        // What follows may match fewer packets than were counted; a log does not.
        if name != b"log" {
            counted = None;
        }
    }
    Ok(None)
}

/// Whether an `immediate` is the verdict to drop.
fn is_drop(data: &Attributes<'_>) -> Result<bool, Malformed> {
    let register = data.get(NFTA_IMMEDIATE_DREG)?.map(Attribute::first).transpose()?;
    let verdict = data.nested(NFTA_IMMEDIATE_DATA)?.nested(NFTA_DATA_VERDICT)?;
    let code = verdict.get(NFTA_VERDICT_CODE)?.map(Attribute::first).transpose()?;
    Ok(register.map(u32::from_be_bytes) == Some(NFT_REG_VERDICT)
        && code.map(u32::from_be_bytes) == Some(NF_DROP))
}

/// The comment in the user data of a rule.
fn comment(mut userdata: &[u8]) -> Option<&[u8]> {
    while let Some(([kind, length], rest)) = userdata.split_first_chunk() {
        let Some((value, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        if *kind == COMMENT {
            return Some(before_zero(value));
        }
        userdata = rest;
    }
    None
}

/// Reads one datagram of a dump of rules into `rules`.
pub fn parse(datagram: &[u8], sequence: u32, rules: &mut Rules) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind != NFT_MSG_NEWRULE {
            return Ok(());
        }
        let ([number, ..], attributes) = message.split::<NFGENMSG>()?;
        let expressions = attributes.get(NFTA_RULE_EXPRESSIONS)?;
        let dropped = dropped(expressions.map_or(&[], |attribute| attribute.payload))?;
        let Some((verdict, packets, of_iptables)) = dropped else { return Ok(()) };
        let payload = |number| Ok(attributes.get(number)?.map_or(&[][..], |found| found.payload));
        let rule = Rule {
            family: family(*number),
            table: bounded(payload(NFTA_RULE_TABLE)?),
            chain: bounded(payload(NFTA_RULE_CHAIN)?),
            comment: bounded(comment(payload(NFTA_RULE_USERDATA)?).unwrap_or(of_iptables)),
            verdict,
        };
        let handle = attributes.get(NFTA_RULE_HANDLE)?.map(Attribute::first).transpose()?;
        let counted = (handle.map_or(0, u64::from_be_bytes), packets);
        let full = rules.packets.len() >= RULES;
        match rules.packets.get_mut(&rule) {
            Some(alike) if alike.len() >= ALIKE => rules.left_out += 1,
            Some(alike) => alike.push(counted),
            None if full => rules.left_out += 1,
            None => drop(rules.packets.insert(rule, vec![counted])),
        }
        Ok(())
    })
}

impl ResponseHandler for Rules {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        parse(datagram, sequence, self)
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

/// Asks in the network namespace of the calling thread.
pub fn read() -> Result<Rules, SourceError> {
    ask(&mut Client::open(rustix::net::netlink::NETFILTER, "netfilter")?)
}

/// Asks a client. A kernel without nftables has no rules.
pub fn ask<T: Transport>(client: &mut Client<T>) -> Result<Rules, SourceError> {
    let mut rules = Rules::default();
    let absent = &[libc::EINVAL, libc::EOPNOTSUPP, libc::ENOENT];
    match client.ask(nf_tables::rules_request, &mut rules) {
        Ok(()) => Ok(rules),
        Err(error) => {
            match error
                .into_source("asking netlink for the rules of nftables (NFT_MSG_GETRULE)".to_owned(), absent)
            {
                SourceError::Absent { .. } => Ok(Rules::default()),
                error => Err(error),
            }
        }
    }
}
