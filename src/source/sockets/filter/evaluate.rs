//! A filter evaluated in the agent.

use super::expression::{Compare, Expression, Family, Link, Network, Side};
use super::parse::number;
use super::{Names, Subject};
use std::net::IpAddr;

/// Whether an expression holds for a socket; `None` if that depends on what is not known of it.
pub(super) fn value(expression: &Expression, subject: &Subject, names: &Names) -> Option<bool> {
    match expression {
        Expression::Host { side, family, network, port } => {
            let (address, own) = end(subject, *side);
            let right = family.is_none_or(|family| family == Family::of(address))
                && port.is_none_or(|port| port == own)
                && network.is_none_or(|network| network.contains(address));
            Some(right)
        }
        Expression::Port { side, compare, family, port } => {
            let (address, own) = end(subject, *side);
            let right = family.is_none_or(|family| family == Family::of(address));
            // `sport != inet:22` is the opposite of `sport = inet:22`, as with everything that is negated.
            Some(match compare {
                Compare::NotEqual => !(right && own == *port),
                compare => right && compare.holds(own, *port),
            })
        }
        Expression::Device(name) => Some(interface(names, name) == Some(subject.interface)),
        Expression::Mark { value, mask } => Some(subject.mark.unwrap_or(0) & mask == *value),
        Expression::Cgroup(path) => Some(names.cgroups.get(path) == Some(&subject.cgroup.unwrap_or(0))),
        Expression::Autobound => subject.autobound,
        Expression::Not(inner) => value(inner, subject, names).map(|value| !value),
        Expression::List(first, rest) => {
            rest.iter().fold(value(first, subject, names), |so_far, (link, next)| match (link, so_far) {
                (Link::And, Some(false)) | (Link::Or, Some(true)) => so_far,
                (_, Some(_)) => value(next, subject, names),
                (Link::And, None) => value(next, subject, names).filter(|value| !value),
                (Link::Or, None) => value(next, subject, names).filter(|value| *value),
            })
        }
    }
}

/// The index of an interface: by its name, and where there is no such name, by its number.
pub(super) fn interface(names: &Names, name: &str) -> Option<u32> {
    names.interfaces.get(name).copied().or_else(|| number(name))
}

fn end(subject: &Subject, side: Side) -> (IpAddr, u16) {
    match side {
        Side::Local => (subject.local, subject.local_port),
        Side::Peer => (subject.peer, subject.peer_port),
    }
}

impl Network {
    /// Whether an address is in it. An IPv4 address is in no IPv6 network.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        Family::of(self.address) == Family::of(address)
            && self.address == Self { address, prefix: self.prefix }.masked().address
    }

    /// The same with all bits 0 that do not count.
    pub(super) fn masked(self) -> Self {
        let Self { address, prefix } = self;
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Self { address, prefix }
    }
}
