//! The expression of a filter as a tree, and back as text.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

/// One condition, or several put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// An address and a port, either of which may be left open.
    Host { side: Side, family: Option<Family>, network: Option<Network>, port: Option<u16> },
    /// A port compared.
    Port { side: Side, compare: Compare, family: Option<Family>, port: u16 },
    /// Bound to the interface of this name or index.
    Device(String),
    /// `mark & mask == value`.
    Mark { value: u32, mask: u32 },
    /// In the control group of this path.
    Cgroup(String),
    /// The port was chosen by the kernel.
    Autobound,
    /// Negation of a condition.
    Not(Box<Expression>),
    /// Conditions put together from left to right, as the grammar of `ss` does: neither `and` nor `or` binds closer.
    /// However long, it is one node, so that the depth of the tree is that of the parentheses and the `not`s.
    List(Box<Expression>, Vec<(Operator, Expression)>),
}

/// Which end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Local,
    Peer,
}

/// What kind of address. A v4-mapped address is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// The operator between two conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
}

/// How ports are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An address and how many of its bits count; the others are 0. Never v4-mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Expression {
    /// All conditions in it, negated or not.
    pub(super) fn leaves<'a>(&'a self, leaves: &mut Vec<&'a Self>) {
        match self {
            Self::Not(inner) => inner.leaves(leaves),
            Self::List(first, rest) => {
                first.leaves(leaves);
                for (_, next) in rest {
                    next.leaves(leaves);
                }
            }
            leaf => leaves.push(leaf),
        }
    }
}

impl Family {
    /// The family of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn prefix(family: Option<Self>) -> &'static str {
        match family {
            None => "",
            Some(Self::V4) => "inet:",
            Some(Self::V6) => "inet6:",
        }
    }
}

impl Compare {
    /// Whether a port compares so with the one of the filter.
    pub(super) fn holds(self, port: u16, with: u16) -> bool {
        match self {
            Self::Equal => port == with,
            Self::NotEqual => port != with,
            Self::Less => port < with,
            Self::LessOrEqual => port <= with,
            Self::Greater => port > with,
            Self::GreaterOrEqual => port >= with,
        }
    }
}

impl Display for Compare {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { address, prefix } = self;
        match address {
            IpAddr::V4(address) if *prefix == 32 => write!(f, "{address}"),
            IpAddr::V4(address) => write!(f, "{address}/{prefix}"),
            IpAddr::V6(address) if *prefix == 128 => write!(f, "[{address}]"),
            IpAddr::V6(address) => write!(f, "[{address}/{prefix}]"),
        }
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { side, family, network, port } => {
                let side = if *side == Side::Local { "src" } else { "dst" };
                write!(f, "{side} {}", Family::prefix(*family))?;
                match network {
                    None => f.write_str("*")?,
                    Some(network) => write!(f, "{network}")?,
                }
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
            Self::Port { side, compare, family, port } => {
                let side = if *side == Side::Local { "sport" } else { "dport" };
                write!(f, "{side} {compare} {}{port}", Family::prefix(*family))
            }
            Self::Device(name) => write!(f, "dev = {}", Escaped(name)),
            Self::Mark { value, mask: u32::MAX } => write!(f, "fwmark = {value:#x}"),
            Self::Mark { value, mask } => write!(f, "fwmark = {value:#x}/{mask:#x}"),
            Self::Cgroup(path) => write!(f, "cgroup = {}", Escaped(path)),
            Self::Autobound => f.write_str("autobound"),
            Self::Not(inner) => write!(f, "not {}", Operand(inner)),
            Self::List(first, rest) => {
                write!(f, "{}", Operand(first))?;
                rest.iter().try_for_each(|(link, next)| {
                    write!(f, " {} {}", if *link == Operator::And { "and" } else { "or" }, Operand(next))
                })
            }
        }
    }
}

/// An expression where only one condition may stand.
struct Operand<'a>(&'a Expression);

impl Display for Operand<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            list @ Expression::List(..) => write!(f, "( {list} )"),
            single => write!(f, "{single}"),
        }
    }
}

/// A name in which no character ends the word.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '(' | ')' | '\\' => write!(f, "\\{character}"),
            blank if blank.is_whitespace() => write!(f, "\\{blank}"),
            other => write!(f, "{other}"),
        })
    }
}
