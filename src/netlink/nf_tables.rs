//! Rules of nftables over nfnetlink, as far as several sources read them (pure).
//!
//! `include/uapi/linux/netfilter/nf_tables.h`; messages are of subsystem 10 (`NFNL_SUBSYS_NFTABLES`).

use super::{Attribute, Attributes, DUMP, Malformed, NFGENMSG, REQUEST, attributes, request};

/// A rule.
pub const NFT_MSG_NEWRULE: u16 = 0x0a06;
const NFT_MSG_GETRULE: u16 = 0x0a07;

/// Expressions of a rule.
pub const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// Register that the expression `immediate` fills.
pub const NFTA_IMMEDIATE_DREG: u16 = 1;
/// What it fills the register with.
pub const NFTA_IMMEDIATE_DATA: u16 = 2;
/// Name of a target of iptables, in the expression `target`.
pub const NFTA_TARGET_NAME: u16 = 1;

/// The request for every rule of a network namespace.
pub fn rules_request(sequence: u32) -> Vec<u8> {
    request(NFT_MSG_GETRULE, REQUEST | DUMP, sequence, &[0; NFGENMSG])
}

/// Name and attributes of an expression.
///
/// # Errors
///
/// It is cut off.
pub fn expression(expression: Attribute<'_>) -> Result<(&[u8], Attributes<'_>), Malformed> {
    let expression = attributes(expression.payload);
    let name = expression.get(NFTA_EXPR_NAME)?.map_or(&[][..], Attribute::text);
    Ok((name, expression.nested(NFTA_EXPR_DATA)?))
}
