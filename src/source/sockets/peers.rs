//! The group of networks that a peer belongs to.

use crate::settings::network::Network;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The predefined groups; a configured group with the same name replaces one.
const BUILT_IN: [(&str, &[&str]); 2] = [
    // RFC 1122, 3.2.1.3, and RFC 4291, 2.5.3.
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    // RFC 1918, RFC 6598 (carriers' NAT), RFC 3927 and RFC 4291, 2.5.6 (link-local), RFC 4193.
    (
        "private",
        &[
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "169.254.0.0/16",
            "fe80::/10",
            "fc00::/7",
        ],
    ),
];

/// The group of addresses that are in no other.
const PUBLIC: &str = "public";

/// The peer groups and their networks.
#[derive(Debug)]
pub struct Peers {
    names: Vec<Arc<str>>,
    /// Longest prefixes first; among equals, the configured ones.
    networks: Vec<(Network, u32)>,
}

impl Peers {
    /// The configured groups and the built-in ones.
    pub fn new(configured: &BTreeMap<String, Vec<Network>>) -> Self {
        let mut names: Vec<Arc<str>> = vec![PUBLIC.into()];
        let mut networks = Vec::new();
        let mut add = |name: &str, members: &mut dyn Iterator<Item = Network>| {
            let number = names.iter().position(|known| &**known == name).unwrap_or_else(|| {
                names.push(name.into());
                names.len() - 1
            });
            networks.extend(members.map(|network| (network, u32::try_from(number).unwrap_or(0))));
        };
        for (name, members) in configured {
            add(name, &mut members.iter().copied());
        }
        for (name, members) in BUILT_IN {
            if !configured.contains_key(name) {
                add(name, &mut members.iter().filter_map(|text| text.parse().ok()));
            }
        }
        networks.sort_by_key(|(network, _): &(Network, u32)| std::cmp::Reverse(network.prefix_len()));
        Self { names, networks }
    }

    /// Number of the group that has the longest prefix with this address, for [`Peers::name`].
    pub fn group(&self, address: IpAddr) -> u32 {
        let found = self.networks.iter().find(|(network, _)| network.contains(address));
        found.map_or(0, |(_, number)| *number)
    }

    /// Name of the peer group with this number.
    pub fn name(&self, number: u32) -> Arc<str> {
        let name = usize::try_from(number).ok().and_then(|number| self.names.get(number));
        name.map_or_else(|| PUBLIC.into(), Arc::clone)
    }
}
