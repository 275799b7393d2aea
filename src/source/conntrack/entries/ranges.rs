//! The ports that rules of source NAT choose from (pure).
//!
//! Rules of nftables over nfnetlink (`include/uapi/linux/netfilter/nf_tables.h`): `snat` is the expression `nat`, and `masquerade`
//! is `masq`; addresses and ports are in registers, which `immediate` fills. iptables-nft has its targets `SNAT` and `MASQUERADE` in
//! the expression `target`, with a structure of `include/uapi/linux/netfilter/nf_nat.h`. Without ports in the rule the kernel
//! keeps to the class of the original port (`nf_nat_l4proto_unique_tuple` in `net/netfilter/nf_nat_core.c`).

use super::protocol;
use crate::netlink::nf_tables::{
    self, NFT_MSG_NEWRULE, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_RULE_EXPRESSIONS, NFTA_TARGET_NAME,
};
use crate::netlink::{self, Attribute, Attributes, Malformed, NFGENMSG, Progress, ResponseHandler};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NFTA_DATA_VALUE: u16 = 1;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_ADDR_MAX: u16 = 4;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFTA_NAT_REG_PROTO_MAX: u16 = 6;
const NFTA_MASQ_REG_PROTO_MIN: u16 = 2;
const NFTA_MASQ_REG_PROTO_MAX: u16 = 3;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_TARGET_INFO: u16 = 3;
const NFT_NAT_SNAT: u32 = 0;
const NF_NAT_RANGE_MAP_IPS: u32 = 1;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
/// Length of `struct nf_nat_range` without `base_proto`, which only later revisions have.
const NF_NAT_RANGE: usize = 40;
/// Length of `struct nf_nat_ipv4_multi_range_compat`.
const NF_NAT_IPV4_MULTI_RANGE: usize = 20;

/// Ranges that are kept of one network namespace.
const MAX_RANGES: usize = 1024;

/// Ports that the sources of some addresses are translated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First and last address; `None`: any, as with masquerading.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// First and last port.
    pub ports: (u16, u16),
    /// Number of the protocol that the rule is for; `None`: any, or several.
    pub protocol: Option<u8>,
}

/// The ranges of the rules of a network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    known: Vec<Range>,
    /// Rules with ports that are in a map, and those beyond [`MAX_RANGES`].
    unknown: usize,
}

/// What a rule says of the ports that it translates sources to.
#[derive(Clone, Copy)]
enum Found {
    /// Nothing.
    None,
    /// These.
    Range(Range),
    /// Some that are not in the rule.
    Unknown,
}

impl Ranges {
    /// The range that a port of a translated address is from, first and last: the smallest of the rules, or what the kernel
    /// chooses from without one.
    pub fn of(&self, address: IpAddr, port: u16, protocol: u8) -> (u16, u16) {
        let fits = |range: &&Range| {
            (range.ports.0..=range.ports.1).contains(&port)
                && range.protocol.is_none_or(|only| only == protocol)
                && range.addresses.is_none_or(|(first, last)| (first..=last).contains(&address))
        };
        let smallest =
            self.known.iter().filter(fits).map(|range| range.ports).min_by_key(|(first, last)| last - first);
        smallest.unwrap_or(match port {
            _ if [protocol::ICMP, protocol::ICMPV6].contains(&protocol) => (0, u16::MAX),
            0..512 => (1, 511),
            512..1024 => (600, 1023),
            _ => (1024, u16::MAX),
        })
    }

    /// The ranges.
    pub fn all(&self) -> &[Range] {
        &self.known
    }

    /// Number of rules whose range is not known.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    fn take(&mut self, found: Found) {
        match found {
            Found::None => {}
            Found::Range(range) if self.known.contains(&range) => {}
            Found::Range(range) if self.known.len() < MAX_RANGES => self.known.push(range),
            Found::Range(_) | Found::Unknown => self.unknown += 1,
        }
    }
}

/// Reads one datagram of a dump of rules.
pub fn parse(datagram: &[u8], sequence: u32, ranges: &mut Ranges) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind != NFT_MSG_NEWRULE {
            return Ok(());
        }
        let (_, attributes) = message.split::<NFGENMSG>()?;
        ranges.take(range(attributes.nested(NFTA_RULE_EXPRESSIONS)?)?);
        Ok(())
    })
}

impl ResponseHandler for Ranges {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        parse(datagram, sequence, self)
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The first attribute of this number as a number.
fn number(attributes: &Attributes<'_>, number: u16) -> Result<Option<u32>, Malformed> {
    let found = attributes.get(number)?;
    Ok(found.map(Attribute::first).transpose()?.map(u32::from_be_bytes))
}

/// Registers that an `immediate` has filled, by number.
type Registers<'a> = Vec<(u32, &'a [u8])>;

/// The range of a rule that translates the source to ports that it names.
fn range(expressions: Attributes<'_>) -> Result<Found, Malformed> {
    let mut registers = Registers::new();
    let mut protocol = None;
    // The register that the expression before has filled with the protocol.
    let mut loaded = None;
    for expression in expressions {
        let (name, data) = nf_tables::expression(expression?)?;
        let compared = loaded.take();
        match name {
            b"meta" if number(&data, NFTA_META_KEY)? == Some(NFT_META_L4PROTO) => {
                loaded = number(&data, NFTA_META_DREG)?;
            }
            b"cmp"
                if compared.is_some()
                    && number(&data, NFTA_CMP_SREG)? == compared
                    && number(&data, NFTA_CMP_OP)? == Some(NFT_CMP_EQ) =>
            {
                let value = data.nested(NFTA_CMP_DATA)?.get(NFTA_DATA_VALUE)?;
                protocol = value.and_then(|value| value.payload.first().copied());
            }
            b"immediate" => {
                let value = data.nested(NFTA_IMMEDIATE_DATA)?.get(NFTA_DATA_VALUE)?;
                if let (Some(register), Some(value)) = (number(&data, NFTA_IMMEDIATE_DREG)?, value) {
                    registers.retain(|(known, _)| *known != register);
                    registers.push((register, value.payload));
                }
            }
            b"nat" if number(&data, NFTA_NAT_TYPE)? == Some(NFT_NAT_SNAT) => {
                let ports = between(&registers, &data, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX)?;
                let addresses = between(&registers, &data, NFTA_NAT_REG_ADDR_MIN, NFTA_NAT_REG_ADDR_MAX)?;
                let named = data.get(NFTA_NAT_REG_PROTO_MIN)?.is_some();
                return Ok(made(
                    addresses.and_then(|(first, last)| Some((address(first)?, address(last)?))),
                    ports,
                    named,
                    protocol,
                ));
            }
            b"masq" => {
                let ports = between(&registers, &data, NFTA_MASQ_REG_PROTO_MIN, NFTA_MASQ_REG_PROTO_MAX)?;
                return Ok(made(None, ports, data.get(NFTA_MASQ_REG_PROTO_MIN)?.is_some(), protocol));
            }
            b"target" => {
                let name = data.get(NFTA_TARGET_NAME)?.map_or(&[][..], Attribute::text);
                let info = data.get(NFTA_TARGET_INFO)?.map_or(&[][..], |info| info.payload);
                if [&b"SNAT"[..], b"MASQUERADE"].contains(&name) {
                    return Ok(of_iptables(info, protocol));
                }
            }
            _ => {}
        }
    }
    Ok(Found::None)
}

/// Bytes of the first and the last address or port of a range.
type Ends<'a> = (&'a [u8], &'a [u8]);

/// What is in the two registers that attributes name; the second is the first if it is absent.
fn between<'a>(
    registers: &Registers<'a>,
    data: &Attributes<'_>,
    first: u16,
    last: u16,
) -> Result<Option<Ends<'a>>, Malformed> {
    let filled = |number: Option<u32>| {
        registers.iter().find(|(known, _)| Some(*known) == number).map(|(_, value)| *value)
    };
    let (first, last) = (number(data, first)?, number(data, last)?);
    Ok(filled(first).zip(filled(last.or(first))))
}

/// `named`: whether the rule has ports, even if they are elsewhere.
fn made(
    addresses: Option<(IpAddr, IpAddr)>,
    ports: Option<Ends<'_>>,
    named: bool,
    protocol: Option<u8>,
) -> Found {
    let port = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let ports = ports.and_then(|(first, last)| port(first).zip(port(last)));
    match ports.filter(|(first, last)| first <= last) {
        Some(ports) => Found::Range(Range { addresses, ports, protocol }),
        None if named => Found::Unknown,
        None => Found::None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    four.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}

/// `struct nf_nat_range` (later revisions are longer), or `struct nf_nat_ipv4_multi_range_compat` with one range.
fn of_iptables(info: &[u8], protocol: Option<u8>) -> Found {
    let long = info.len() >= NF_NAT_RANGE;
    let range = if long { Some(info) } else { info.get(4..NF_NAT_IPV4_MULTI_RANGE) };
    let read = |range: &'_ [u8]| -> Option<Found> {
        let flags = range.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
        if flags & NF_NAT_RANGE_PROTO_SPECIFIED == 0 {
            return Some(Found::None);
        }
        let (addresses, ports) = if long {
            (range.get(4..36)?, range.get(36..40)?)
        } else {
            (range.get(4..12)?, range.get(12..16)?)
        };
        let (first, last) = addresses.split_at_checked(addresses.len() / 2)?;
        // An IPv4 address is in the first four of sixteen bytes, and the others are 0.
        let address_of = |bytes: &[u8]| match bytes.split_first_chunk::<4>() {
            Some((four, rest)) if rest.iter().all(|byte| *byte == 0) => Some(IpAddr::from(*four)),
            _ => address(bytes),
        };
        let addresses = address_of(first).zip(address_of(last)).filter(|_| flags & NF_NAT_RANGE_MAP_IPS != 0);
        Some(made(addresses, ports.split_at_checked(2), true, protocol))
    };
    range.and_then(read).unwrap_or(Found::Unknown)
}
