//! Which destinations are shown as they are, which are put together, and which find no room.
//!
//! Public addresses are one destination (`~public`) unless their network is listed, and ports that the kernel gives to
//! whoever connects are one port (`~ephemeral`): a peer there is no service. A container has at most its number of
//! destinations, and never more than are free: one that goes over a network takes half of the room and not all of it. What
//! finds none is `~other`. Pure.

use crate::settings::network::Network;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One end of a connection as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportedEndpoint {
    /// As it is.
    At(SocketAddr),
    /// A port that the kernel gives to whoever connects.
    Ephemeral(IpAddr),
    /// A public address.
    Public,
    /// Every endpoint beyond the limit.
    Other,
}

impl ReportedEndpoint {
    /// `server.address` or `network.peer.address`.
    pub fn address(self) -> Arc<str> {
        match self {
            Self::At(at) => at.ip().to_string().into(),
            Self::Ephemeral(address) => address.to_string().into(),
            Self::Public => "~public".into(),
            Self::Other => "~other".into(),
        }
    }

    /// `server.port` or `network.peer.port`.
    pub fn port(self) -> Option<Arc<str>> {
        match self {
            Self::At(at) => Some(at.port().to_string().into()),
            Self::Ephemeral(_) => Some("~ephemeral".into()),
            Self::Public | Self::Other => None,
        }
    }

    /// Both, as coroot-node-agent writes them.
    pub fn text(self) -> Arc<str> {
        match (self, self.port()) {
            (Self::Ephemeral(address @ IpAddr::V6(_)), Some(port)) => format!("[{address}]:{port}").into(),
            (Self::At(at), _) => at.to_string().into(),
            (_, Some(port)) => format!("{}:{port}", self.address()).into(),
            (_, None) => self.address(),
        }
    }
}

/// A destination as it is shown: what was asked for, and what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportedDestination {
    /// Destination that the container connected to.
    pub asked: ReportedEndpoint,
    /// Destination after address translation; the same as `asked` without translation.
    pub got: ReportedEndpoint,
}

impl ReportedDestination {
    /// Every endpoint beyond the limit.
    pub const OTHER: Self = Self { asked: ReportedEndpoint::Other, got: ReportedEndpoint::Other };
}

/// Which endpoints are reported as one: public addresses and ephemeral ports.
#[derive(Debug, Clone)]
pub struct Folding {
    /// Whether public addresses are reported as one.
    pub public: bool,
    /// Public networks whose addresses are reported as they are.
    pub networks: Vec<Network>,
    /// Ephemeral ports, which are reported as one; `None`: no port is.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Folding {
    /// A destination as it is shown.
    pub fn fold(&self, asked: SocketAddr, got: SocketAddr) -> ReportedDestination {
        ReportedDestination { asked: self.one(asked), got: self.one(got) }
    }

    fn one(&self, at: SocketAddr) -> ReportedEndpoint {
        let listed = || self.networks.iter().any(|network| network.contains(at.ip()));
        if self.public && is_public(at.ip()) && !listed() {
            ReportedEndpoint::Public
        } else if self.ports.as_ref().is_some_and(|ports| ports.contains(&at.port())) {
            ReportedEndpoint::Ephemeral(at.ip())
        } else {
            ReportedEndpoint::At(at)
        }
    }
}

/// Whether an address is one of the internet: not of RFC 1918, RFC 6598 (carriers' NAT), RFC 4193, loopback, link-local.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let carrier = first == 100 && second & 0xc0 == 64;
            !(address.is_private()
                || carrier
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified())
        }
        IpAddr::V6(address) => {
            !(address.is_unique_local()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified())
        }
    }
}

/// Destinations as they are before they are put together, which the kernel's half and the agent each keep at most, where
/// `total` are shown.
pub fn entries(total: usize) -> usize {
    total.saturating_mul(4).max(1024)
}

/// How many destinations each container has.
#[derive(Debug)]
pub struct DestinationShares {
    each: usize,
    total: usize,
    used: usize,
    by: HashMap<u64, usize>,
}

impl DestinationShares {
    /// At most `each` of one container and `total` of all.
    pub fn new(each: usize, total: usize) -> Self {
        Self { each, total, used: 0, by: HashMap::new() }
    }

    /// Takes room for one more of a container, if there is some for it.
    pub fn admit(&mut self, who: u64) -> bool {
        let own = self.by.entry(who).or_default();
        let free = self.total.saturating_sub(self.used);
        let admitted = *own < self.each && *own < free;
        if admitted {
            *own += 1;
            self.used += 1;
        } else if *own == 0 {
            self.by.remove(&who);
        }
        admitted
    }

    /// Gives the room of one back.
    pub fn leave(&mut self, who: u64) {
        if let Some(own) = self.by.get_mut(&who) {
            *own -= 1;
            self.used -= 1;
            if *own == 0 {
                self.by.remove(&who);
            }
        }
    }

    /// How many are kept before they are put together.
    pub fn entries(&self) -> usize {
        entries(self.total)
    }

    /// Number of destinations reported now, over all containers.
    pub fn used(&self) -> usize {
        self.used
    }
}
