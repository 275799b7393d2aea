//! Which destinations are reported individually, which are folded, and which are over the limit.
//!
//! Public addresses are one destination (`~public`) unless their network is listed, and ephemeral ports are one port
//! (`~ephemeral`), because a peer there is not a service. A container has at most its number of
//! destinations, and never more than are free: one that scans a network takes half of them and not all. Further
//! destinations are `~other`. Pure.

use crate::settings::network::Network;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// One end of a connection, as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportedEndpoint {
    /// As it is.
    At(SocketAddr),
    /// An ephemeral port.
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
            Self::Other => crate::text::OTHER.into(),
        }
    }

    /// The IP address; `None` if several endpoints are reported as this one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::At(at) => Some(at.ip()),
            Self::Ephemeral(address) => Some(address),
            Self::Public | Self::Other => None,
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

    /// Address and port, as coroot-node-agent writes them.
    pub fn text(self) -> Arc<str> {
        match (self, self.port()) {
            (Self::Ephemeral(address @ IpAddr::V6(_)), Some(port)) => format!("[{address}]:{port}").into(),
            (Self::At(at), _) => at.to_string().into(),
            (_, Some(port)) => format!("{}:{port}", self.address()).into(),
            (_, None) => self.address(),
        }
    }
}

/// A destination as it is reported: the requested and the actual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportedDestination {
    /// Destination that the container connected to.
    pub requested: ReportedEndpoint,
    /// Destination after address translation; the same as `asked` without translation.
    pub actual: ReportedEndpoint,
}

impl ReportedDestination {
    /// Every endpoint beyond the limit.
    pub const OTHER: Self = Self { requested: ReportedEndpoint::Other, actual: ReportedEndpoint::Other };
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
    /// The reported form of a destination.
    pub fn fold(&self, requested: SocketAddr, actual: SocketAddr) -> ReportedDestination {
        ReportedDestination { requested: self.one(requested), actual: self.one(actual) }
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

/// Whether a network has public addresses, judged by its first and its last one.
pub fn has_public(network: &Network) -> bool {
    network.ends().into_iter().any(is_public)
}

/// Whether an address is public: not of RFC 1918, RFC 6598 (carrier-grade NAT), RFC 4193, loopback or link-local.
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

/// Maximum number of destinations, before folding, in the kernel's map and in the agent, if
/// `total` are reported.
pub fn entries(total: usize) -> usize {
    total.saturating_mul(4).max(1024)
}

/// The number of destinations of each container.
#[derive(Debug)]
pub struct DestinationShares {
    each: usize,
    total: usize,
    used: usize,
    by: HashMap<u64, usize>,
}

impl DestinationShares {
    /// At most `each` destinations of one container and `total` of all.
    pub fn new(each: usize, total: usize) -> Self {
        Self { each, total, used: 0, by: HashMap::new() }
    }

    /// Admits one more destination of a container, if a limit allows it.
    pub fn admit(&mut self, workload: u64) -> bool {
        let own = self.by.entry(workload).or_default();
        let free = self.total.saturating_sub(self.used);
        let admitted = *own < self.each && *own < free;
        if admitted {
            *own += 1;
            self.used += 1;
        } else if *own == 0 {
            self.by.remove(&workload);
        }
        admitted
    }

    /// Removes a destination of a container.
    pub fn leave(&mut self, workload: u64) {
        if let Some(own) = self.by.get_mut(&workload) {
            *own -= 1;
            self.used -= 1;
            if *own == 0 {
                self.by.remove(&workload);
            }
        }
    }

    /// Maximum number of destinations before folding.
    pub fn entries(&self) -> usize {
        entries(self.total)
    }

    /// Number of destinations reported now, over all containers.
    pub fn used(&self) -> usize {
        self.used
    }
}
