//! The settings of the TCP connections of containers.

use crate::host::ephemeral::EphemeralPorts;
use crate::settings::network::Network;
use crate::settings::values;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;

const DESTINATIONS: RangeInclusive<usize> = 1..=10_000;
const TOTAL: RangeInclusive<usize> = 1..=100_000;
const CONNECTIONS: RangeInclusive<u32> = 1024..=4_194_304;
const RATE: RangeInclusive<u32> = 1..=100_000;
/// Networks at most.
const NETWORKS: usize = 1000;

/// TCP connections that containers open, and where they listen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Tcp {
    /// Whether they are followed.
    pub enabled: bool,
    /// Destinations of one container at most, 1 to 10000; the rest is `~other`.
    #[serde(deserialize_with = "destinations")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub destinations: usize,
    /// Destinations of all containers together at most, 1 to 100000.
    #[serde(deserialize_with = "total")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub total: usize,
    /// Open connections that are followed at once, 1024 to 4194304. The others are counted as opened and failed only.
    #[serde(deserialize_with = "connections")]
    #[cfg_attr(test, schemars(range(min = 1024, max = 4_194_304)))]
    pub connections: u32,
    /// Whether connections to loopback are counted of containers that are not in the host's network namespace.
    pub loopback: bool,
    /// What becomes of public addresses.
    pub public: Public,
    /// Public networks whose addresses are shown individually where `public` is `fold`.
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<Network>,
    /// Ports that are shown as one, `~ephemeral`: `ephemeral` (those of `net.ipv4.ip_local_port_range`), FIRST-LAST, or
    /// `none`.
    pub fold_ports: FoldPorts,
    /// Whether conntrack is asked which destination a connection has got behind NAT.
    pub translate: bool,
    /// Questions to conntrack in a second at most, 1 to 100000.
    #[serde(deserialize_with = "rate")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub translate_rate: u32,
    /// Whether connections are counted that fail before the socket leaves CLOSE, for want of a route for instance. This makes
    /// every system call of the machine slower, by some 50 ns.
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
            translate: true,
            translate_rate: 5000,
            immediate_failures: false,
        }
    }
}

/// What becomes of public addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Public {
    /// They are one destination, `~public`.
    Fold,
    /// Each is a destination.
    Each,
}

/// Ports that are shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldPorts {
    /// Those that the kernel gives to whoever connects.
    Ephemeral,
    /// These.
    Range(RangeInclusive<u16>),
    /// None.
    None,
}

impl FoldPorts {
    /// The ports, where those that the kernel gives are these.
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
