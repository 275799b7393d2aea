//! Listen addresses: an unspecified address is expanded to the addresses of its network namespace. Pure.

use std::net::{IpAddr, SocketAddr};

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Local address and port of the listening socket.
    pub at: SocketAddr,
    /// Whether an IPv6 socket accepts no IPv4 connections (`IPV6_V6ONLY`).
    pub only: bool,
    /// Whether it is in the network namespace of the host.
    pub host: bool,
}

/// The addresses at which it can be reached, of those of its network namespace. Loopback is reported in the host's
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
