//! A filter evaluated in the agent.

use super::expression::{Compare, Expression, Family, Network, Operator, Side};
use super::number::number;
use super::{FilteredSocket, Names};
use std::net::IpAddr;

/// Where a socket was seen, and so what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketOrigin {
    /// In a dump: what is not there, the kernel takes for nothing, too.
    Dump,
    /// At its end. `inet_diag_handler_get_info` (`net/ipv4/inet_diag.c`) tells no mark and no control group, and
    /// `tcp_disconnect` has cleared the local address and the peer's port of what was refused or reset from here.
    DestroyEvent,
}

/// Whether an expression holds for a socket; `None` if that depends on what is not known of it.
pub(super) fn value(
    expression: &Expression,
    subject: &FilteredSocket,
    names: &Names,
    seen: SocketOrigin,
) -> Option<bool> {
    let known = seen == SocketOrigin::Dump;
    match expression {
        Expression::Host { side, family, network, port } => {
            let end = Endpoint::of(subject, *side, seen);
            let family = Some(family.is_none_or(|family| family == end.family));
            let port = port.map_or(Some(true), |port| end.port.map(|own| own == port));
            let network = network.map_or(Some(true), |network| network.holds(&end));
            all([family, port, network])
        }
        Expression::Port { side, compare, family, port } => {
            let end = Endpoint::of(subject, *side, seen);
            let family = Some(family.is_none_or(|family| family == end.family));
            // `sport != inet:22` is the opposite of `sport = inet:22`, as with everything that is negated.
            match compare {
                Compare::NotEqual => all([family, end.port.map(|own| own == *port)]).map(|equal| !equal),
                compare => all([family, end.port.map(|own| compare.holds(own, *port))]),
            }
        }
        Expression::Device(name) => Some(interface(names, name) == Some(subject.interface)),
        Expression::Mark { value, mask } => match subject.mark {
            None if !known => None,
            mark => Some(mark.unwrap_or(0) & mask == *value),
        },
        Expression::Cgroup(path) => match (names.cgroups.get(path), subject.cgroup) {
            (Some(_), None) if !known => None,
            (id, own) => Some(id == Some(&own.unwrap_or(0))),
        },
        Expression::Autobound => subject.autobound,
        Expression::Not(inner) => value(inner, subject, names, seen).map(|value| !value),
        Expression::List(first, rest) => {
            rest.iter().fold(value(first, subject, names, seen), |so_far, (link, next)| {
                match (link, so_far) {
                    (Operator::And, Some(false)) | (Operator::Or, Some(true)) => so_far,
                    (_, Some(_)) => value(next, subject, names, seen),
                    (Operator::And, None) => value(next, subject, names, seen).filter(|value| !value),
                    (Operator::Or, None) => value(next, subject, names, seen).filter(|value| *value),
                }
            })
        }
    }
}

/// Whether all hold: not, as soon as one does not.
fn all<const N: usize>(values: [Option<bool>; N]) -> Option<bool> {
    if values.contains(&Some(false)) {
        return Some(false);
    }
    values.iter().all(Option::is_some).then_some(true)
}

/// The index of an interface: by its name, and where there is no such name, by its number.
pub(super) fn interface(names: &Names, name: &str) -> Option<u32> {
    names.interfaces.get(name).copied().or_else(|| number(name))
}

/// One end of a socket, as far as it is known.
struct Endpoint {
    family: Family,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Endpoint {
    fn of(subject: &FilteredSocket, side: Side, seen: SocketOrigin) -> Self {
        let (address, port) = match side {
            Side::Local => (subject.local, subject.local_port),
            Side::Peer => (subject.peer, subject.peer_port),
        };
        let there = seen == SocketOrigin::Dump;
        Self {
            family: Family::of(address),
            address: Some(address).filter(|address| there || !address.is_unspecified()),
            port: Some(port).filter(|port| there || *port != 0),
        }
    }
}

impl Network {
    /// Whether the address of an end is in it.
    fn holds(self, end: &Endpoint) -> Option<bool> {
        match end.address {
            Some(address) => Some(self.contains(address)),
            None if Family::of(self.address) != end.family => Some(false),
            None => (self.prefix == 0).then_some(true),
        }
    }

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
