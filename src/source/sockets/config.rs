//! The settings of the source `sockets`.

use crate::filter::{Filter, Services};
use crate::host::netns;
use crate::settings::Located;
use crate::settings::network::Network;
use crate::settings::values;
use crate::text::{LONGEST_NAME, bounded};
use classic::Classic;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

pub mod classic;
pub mod select;

/// Range of `limit`.
const GROUPS: RangeInclusive<usize> = 1..=10_000;
/// Range of `track`.
const TRACKED: RangeInclusive<usize> = 1..=10_000_000;
/// Range of `top.count`.
const TOP: RangeInclusive<usize> = 0..=100;
/// Range of `process_budget`.
const BUDGET: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);
/// Maximum number of peer groups, and of networks in all of them.
const PEERS: usize = 1000;

/// What the kernel knows of every socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Sockets {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// Time-out of a cycle of this source: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Network namespaces: names of `/run/netns`, paths, `pid:N`, patterns (`cni-*`), or `all`. Empty: the agent's own.
    #[serde(deserialize_with = "netns::config::deserialize")]
    #[cfg_attr(test, schemars(schema_with = "netns::config::schema"))]
    pub netns: Vec<String>,
    /// Sockets that are read, as a filter of `ss` (`docs/filter.md`). Empty: all.
    #[serde(deserialize_with = "filter")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub filter: Located<String>,
    /// Attributes that sockets are grouped by.
    #[serde(deserialize_with = "group_by")]
    pub group_by: Vec<GroupBy>,
    /// Networks by the name of the group that their addresses are in; the longest prefix wins. `loopback`, `private`
    /// and `public` are predefined.
    #[serde(deserialize_with = "peer_groups")]
    pub peer_groups: BTreeMap<String, Vec<Network>>,
    /// Maximum number of groups, 1 to 10000; further sockets are counted in the group `~other`.
    #[serde(deserialize_with = "groups")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub limit: usize,
    /// Maximum number of sockets whose counters are kept between two cycles, 1 to 10000000; further ones are counted by state
    /// only.
    #[serde(deserialize_with = "track")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000_000)))]
    pub track: usize,
    /// Whether destroy events are received: the kernel reports each TCP socket that closes with its last counters, so that
    /// connections that live between two cycles are counted. It costs the kernel about 9 microseconds for every TCP socket that
    /// closes, in every network namespace of the machine.
    pub close_events: bool,
    /// How long the search for the processes of new sockets may take in one cycle: 1ms to 10s, and no more than half of
    /// `timeout`.
    #[serde(deserialize_with = "process_budget", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub process_budget: Duration,
    /// The worst flows, each with its addresses.
    #[serde(deserialize_with = "values::section")]
    pub top: Top,
    /// One series per flow, under the names of prometheus_ss_exporter; in the `classic` profile only.
    #[serde(deserialize_with = "values::section")]
    pub classic: Classic,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_secs(5),
            netns: Vec::new(),
            filter: Located::default(),
            group_by: vec![GroupBy::Direction, GroupBy::ServicePort, GroupBy::PeerGroup],
            peer_groups: BTreeMap::new(),
            limit: 500,
            track: 229_376, // the number of entries that a hash table of 2^18 buckets holds before it doubles
            close_events: true,
            process_budget: Duration::from_millis(100),
            top: Top::default(),
            classic: Classic::default(),
        }
    }
}

/// An attribute that sockets can be grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Which end opened the connection: attribute `direction`.
    Direction,
    /// Port of the end that accepted the connection: attribute `server.port`.
    ServicePort,
    /// Name in `peer_groups` of the network that the peer is in: attribute `peer_group`.
    PeerGroup,
    /// Path of the control group: attribute `cgroup`.
    Cgroup,
    /// Container: attribute `container.id`.
    Container,
    /// Name of the process: attribute `process.executable.name`.
    Process,
    /// User who owns the socket; a connection in an accept queue is in no group: attribute `user.id`.
    Uid,
    /// IPv4 or IPv6: attribute `network.type`.
    Family,
}

/// The flows with the most retransmits, the longest round trip or the fullest queues, each with its addresses.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Top {
    /// What flows are ranked by.
    pub by: TopBy,
    /// Number of flows, 0 to 100; 0 disables them.
    #[serde(deserialize_with = "top")]
    #[cfg_attr(test, schemars(range(max = 100)))]
    pub count: usize,
}

impl Default for Top {
    fn default() -> Self {
        Self { by: TopBy::Retransmits, count: 0 }
    }
}

/// What flows are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TopBy {
    /// Segments retransmitted since the last cycle.
    Retransmits,
    /// Smoothed round-trip time.
    Rtt,
    /// Bytes in the send and receive queues.
    Queue,
}

/// Deserializer of `limit`.
fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &GROUPS)
}

/// Deserializer of `track`.
fn track<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &TRACKED)
}

/// Deserializer of `top.count`.
fn top<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &TOP)
}

/// Deserializer of `process_budget`.
fn process_budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, BUDGET)
}

/// Deserializer of `filter`. Names of ports are not resolved here: they depend on the machine
/// (`src/source/sockets/selected.rs`).
fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Located<String>, D::Error> {
    let Located { value, position } = Located::<Option<String>>::deserialize(deserializer)?;
    let value = value.unwrap_or_default().trim().to_owned();
    if !value.is_empty() {
        Filter::parse(&value, &Services::any()).map_err(D::Error::custom)?;
    }
    Ok(Located { value, position })
}

/// Deserializer of `group_by`.
fn group_by<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GroupBy>, D::Error> {
    let keys: Vec<GroupBy> = values::section(deserializer)?;
    for (position, key) in keys.iter().enumerate() {
        if keys.iter().take(position).any(|before| before == key) {
            return Err(D::Error::custom(format!("{} is there twice", serde_json::json!(key))));
        }
    }
    Ok(keys)
}

/// Deserializer of `peer_groups`.
fn peer_groups<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Vec<Network>>, D::Error> {
    let groups: BTreeMap<String, Vec<Network>> = values::section(deserializer)?;
    if groups.len() + groups.values().map(Vec::len).sum::<usize>() > PEERS {
        return Err(D::Error::custom(format!("has more than {PEERS} groups and networks")));
    }
    if let Some(name) = groups.keys().find(|name| name.len() > LONGEST_NAME) {
        let (start, length) = (bounded(name, 32), name.len());
        return Err(D::Error::custom(format!(
            "`{start}` has {length} bytes; a name takes {LONGEST_NAME} at most"
        )));
    }
    match groups.keys().find(|name| name.is_empty() || name.starts_with('~')) {
        Some(name) => Err(D::Error::custom(format!("`{name}` cannot be the name of a group"))),
        None => Ok(groups),
    }
}
