//! The settings of `sources.conntrack.entries`.

use super::message::{Filter, Mark};
use crate::settings::values;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Range of `interval`.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// Range of `budget`.
const BUDGET: RangeInclusive<f64> = 0.001..=1.0;
/// Range of `limit`.
const LIMIT: RangeInclusive<usize> = 1..=10_000;

/// Range of `top`.
const TOP: RangeInclusive<usize> = 1..=100;

/// What is in the table: the entries themselves, by protocol, state and other properties.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Entries {
    /// Whether the entries of the table are read.
    pub enabled: bool,
    /// How often the entries are read: 1s to 1h. Between two dumps of the table, cycles report what the last one found.
    #[serde(deserialize_with = "interval", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub interval: Duration,
    /// The part of one CPU that reading the entries may take, that of the kernel included: 0.001 to 1. A dump that would take
    /// more of an interval ends early, and the metrics say which part of the table it read.
    #[serde(deserialize_with = "budget")]
    #[cfg_attr(test, schemars(range(min = 0.001, max = 1.0)))]
    pub budget: f64,
    /// Maximum number of combinations of protocol, state and other attributes, 1 to 10000; further entries are counted as
    /// `~other`.
    #[serde(deserialize_with = "limit")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub limit: usize,
    /// How many of the worst are reported, 1 to 100: translated source addresses whose ports run out, and what `top_by` names.
    #[serde(deserialize_with = "top")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100)))]
    pub top: usize,
    /// What is ranked by its number of entries, with its addresses or ports. Empty: nothing.
    #[serde(deserialize_with = "top_by")]
    pub top_by: Vec<TopBy>,
    /// Address family of the entries that are read; the kernel leaves out the others.
    pub family: Family,
    /// Zone of the entries that are read; absent: every zone. The kernel leaves out the others since Linux 6.8.
    pub zone: Option<u16>,
    /// Mark of the entries that are read, with a mask if only some bits matter: `0x10` or `0x10/0xff`; absent: any mark. The
    /// kernel leaves out the others.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub mark: Option<Mark>,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_mins(1),
            budget: 0.05,
            limit: 500,
            top: 10,
            top_by: Vec::new(),
            family: Family::All,
            zone: None,
            mark: None,
        }
    }
}

impl Entries {
    /// The entries that the kernel is asked for.
    pub fn filter(&self) -> Filter {
        let family = match self.family {
            Family::All => None,
            Family::Ipv4 => Some(super::message::Family::Ipv4),
            Family::Ipv6 => Some(super::message::Family::Ipv6),
        };
        Filter { family, zone: self.zone, mark: self.mark }
    }

    /// CPU time that dumps may take in one interval.
    pub fn cpu_time(&self) -> Duration {
        self.interval.mul_f64(self.budget)
    }
}

/// What is ranked by its number of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TopBy {
    /// Source addresses.
    Source,
    /// Destination addresses, before translation.
    Destination,
    /// Destination ports, before translation.
    Port,
    /// Pairs of source and destination.
    Pair,
}

impl TopBy {
    /// Value of the label `kind`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Port => "port",
            Self::Pair => "pair",
        }
    }
}

/// Which address families are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Both.
    All,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, INTERVAL)
}

fn budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let budget = f64::deserialize(deserializer)?;
    if BUDGET.contains(&budget) {
        return Ok(budget);
    }
    Err(D::Error::custom(format!("`{budget}` is out of range: {} to {}", BUDGET.start(), BUDGET.end())))
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &LIMIT)
}

fn top_by<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TopBy>, D::Error> {
    let all: Vec<TopBy> = values::section(deserializer)?;
    match all.iter().enumerate().find(|(at, by)| all.iter().take(*at).any(|before| before == *by)) {
        Some((_, by)) => Err(D::Error::custom(format!("`{}` is repeated", by.word()))),
        None => Ok(all),
    }
}

fn top<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &TOP)
}
