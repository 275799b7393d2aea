//! The settings of the TCP connections of containers.

use crate::host::ephemeral::EphemeralPorts;
use crate::settings::network::Network;
use crate::settings::values;
use crate::source::containers::destinations::has_public;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

const DESTINATIONS: RangeInclusive<usize> = 1..=10_000;
const TOTAL: RangeInclusive<usize> = 1..=100_000;
const CONNECTIONS: RangeInclusive<u32> = 1024..=4_194_304;
const RATE: RangeInclusive<u32> = 1..=100_000;
/// Maximum number of networks.
const NETWORKS: usize = 1000;

/// TCP connections that containers open, and addresses that they listen on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Tcp {
    /// Whether they are tracked.
    pub enabled: bool,
    /// Maximum number of destinations of one container, 1 to 10000; further ones are counted as `~other`.
    #[serde(deserialize_with = "destinations")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub destinations: usize,
    /// Maximum number of destinations of all containers together, 1 to 100000.
    #[serde(deserialize_with = "total")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub total: usize,
    /// Maximum number of connections that are tracked, 1024 to 4194304. An eighth of it, at most 1024, is kept for connections
    /// that are being opened while the rest is in use; those are counted as opened and failed only.
    #[serde(deserialize_with = "connections")]
    #[cfg_attr(test, schemars(range(min = 1024, max = 4_194_304)))]
    pub connections: u32,
    /// Whether connections to loopback are counted for containers outside the host's network namespace.
    pub loopback: bool,
    /// How public addresses are reported.
    pub public: Public,
    /// Public networks whose addresses are reported individually even if `public` is `fold`.
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<Network>,
    /// Ports that are reported as one, `~ephemeral`: `ephemeral` (those of `net.ipv4.ip_local_port_range`), FIRST-LAST, or
    /// `none`.
    pub fold_ports: FoldPorts,
    /// How the round trip to each destination is measured.
    pub latency: Latency,
    /// Whether the actual destination of connections behind NAT is looked up in connection tracking.
    pub translate: bool,
    /// Maximum number of these lookups per second, 1 to 100000.
    #[serde(deserialize_with = "rate")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub translate_rate: u32,
    /// Whether connections that fail immediately are counted, for example without a route. Without
    /// `CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS` this makes every system call of the machine slower, by about 135 ns.
    pub immediate_failures: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            enabled: true,
            destinations: 100,
            total: 2000,
            connections: 65_536,
            loopback: false,
            public: Public::Fold,
            networks: Vec::new(),
            fold_ports: FoldPorts::Ephemeral,
            latency: Latency::Passive,
            translate: true,
            translate_rate: 5000,
            immediate_failures: false,
        }
    }
}

impl Tcp {
    /// Values that change nothing, each as a sentence that says why.
    pub(crate) fn without_effect(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.enabled {
            return all;
        }
        let Self { destinations, total, .. } = self;
        if destinations > total {
            all.push(format!(
                "sources.containers.tcp.destinations ({destinations}) has no effect: it is more than tcp.total ({total}), \
                 the limit of all containers together; lower it, or raise tcp.total"
            ));
        }
        if self.public == Public::Each && !self.networks.is_empty() {
            let why = "tcp.public is each, which reports every public address; remove one of the two";
            all.push(format!("sources.containers.tcp.networks has no effect: {why}"));
        } else {
            let private = self.networks.iter().filter(|network| !has_public(network));
            all.extend(private.map(|network| {
                format!(
                    "sources.containers.tcp.networks: {network} has no effect: it has no public address, and others are \
                     always reported individually; remove it"
                )
            }));
        }
        all
    }
}

/// How public addresses are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Public {
    /// As one destination, `~public`.
    Fold,
    /// Each as a destination of its own.
    Each,
}

/// How the round trip to each destination is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Latency {
    /// By the smoothed round trips that the kernel keeps of the connections.
    Passive,
    /// By ICMP echoes as well: one request to each address and cycle, from the network namespace of the container.
    Icmp,
    /// Not measured.
    Off,
}

/// Ports that are reported as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldPorts {
    /// The ephemeral ports, from which the kernel takes the local port of a connection.
    Ephemeral,
    /// A configured range.
    Range(RangeInclusive<u16>),
    /// No ports; each is reported.
    None,
}

impl FoldPorts {
    /// The range of ports, given the kernel's range of ephemeral ports.
    pub fn ports(&self, ephemeral: EphemeralPorts) -> Option<RangeInclusive<u16>> {
        match self {
            Self::Ephemeral => Some(ephemeral.range()),
            Self::Range(ports) => Some(ports.clone()),
            Self::None => None,
        }
    }
}

impl fmt::Display for FoldPorts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ephemeral => formatter.write_str("ephemeral"),
            Self::Range(ports) => write!(formatter, "{}-{}", ports.start(), ports.end()),
            Self::None => formatter.write_str("none"),
        }
    }
}

impl Serialize for FoldPorts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FoldPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let range = || {
            let (first, last) = text.split_once('-')?;
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Self::Range(first..=last))
        };
        match text.as_str() {
            "ephemeral" => Ok(Self::Ephemeral),
            "none" => Ok(Self::None),
            _ => range().ok_or_else(|| {
                D::Error::custom(format!(
                    "`{text}` is neither `ephemeral`, nor `none`, nor ports such as 32768-60999"
                ))
            }),
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for FoldPorts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FoldPorts".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(ephemeral|none|[0-9]+-[0-9]+)$"})
    }
}

/// `destinations`
fn destinations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &DESTINATIONS)
}

/// `total`
fn total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &TOTAL)
}

/// `connections`
fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    values::number(deserializer, &CONNECTIONS)
}

/// `translate_rate`
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    values::number(deserializer, &RATE)
}

/// `networks`
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let networks: Vec<Network> = values::section(deserializer)?;
    if networks.len() > NETWORKS {
        return Err(D::Error::custom(format!("has more than {NETWORKS} networks")));
    }
    Ok(networks)
}
