//! Where a container listens: an address that is not specified stands for those of its network namespace. Pure.

use std::net::{IpAddr, SocketAddr};

/// A listening socket, whoever found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Local address and port of the listening socket.
    pub at: SocketAddr,
    /// Whether it takes no connections over IPv4, where it is one of IPv6.
    pub only: bool,
    /// Whether it is in the network namespace of the host.
    pub host: bool,
}

/// The addresses it can be connected to at, of those that its network namespace has. Loopback is reported in the host's
/// namespace only, and link-local addresses never: nobody else can connect to them.
pub fn expand(listening: Listening, addresses: &[IpAddr]) -> Vec<SocketAddr> {
    let Listening { at, only, host } = listening;
    let told = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_link_local() && (host || !address.is_loopback()),
        IpAddr::V6(address) => !address.is_unicast_link_local() && (host || !address.is_loopback()),
    };
    let meant = |address: &IpAddr| match at.ip() {
        IpAddr::V4(_) => address.is_ipv4(),
        IpAddr::V6(_) => address.is_ipv6() || !only,
    };
    if !at.ip().is_unspecified() {
        return [at].into_iter().filter(|at| told(&at.ip())).collect();
    }
    let found = addresses.iter().filter(|address| meant(address) && told(address));
    found.map(|address| (*address, at.port()).into()).collect()
}
