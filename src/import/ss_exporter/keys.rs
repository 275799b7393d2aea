//! The keys of `prometheus_ss_exporter`'s file: those of version 3 (`bucketBounds`), those of version 2
//! (`bucket_bounds`), and any mix of the two, which its README has.
//!
//! A key that neither knows is refused, because what it was meant to do would be lost. A key that is missing stays
//! missing here; what that means is said by `src/import/ss_exporter.rs`.

use crate::settings::network::{Address, Network};
use crate::source::sockets::config::classic::{BOUNDS, FlowLabel};
use crate::source::sockets::config::select::{Command, Host, Pid, Ports, entries};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The whole file. Version 2 looks for `selection` here, its example and version 3 have it under `logic`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) logic: Option<Logic>,
    pub(super) selection: Option<Selection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logic {
    pub(super) metrics: Option<Metrics>,
    pub(super) compression: Option<Compression>,
    pub(super) selection: Option<Selection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) gauges: Option<Gauges>,
    pub(super) counters: Option<Counters>,
    pub(super) histograms: Option<Histograms>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gauges {
    pub(super) active: Option<bool>,
    pub(super) rtt: Option<Switch>,
    pub(super) cwnd: Option<Switch>,
    #[serde(rename = "deliveryRate", alias = "delivery_rate")]
    pub(super) delivery_rate: Option<Switch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    pub(super) active: Option<bool>,
    #[serde(rename = "dataSegsIn", alias = "data_segs_in")]
    pub(super) data_segs_in: Option<Switch>,
    #[serde(rename = "dataSegsOut", alias = "data_segs_out")]
    pub(super) data_segs_out: Option<Switch>,
}

/// Version 3.0.0 had the bounds here, before they moved under `rtt`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Histograms {
    pub(super) active: Option<bool>,
    #[serde(alias = "latency")]
    pub(super) rtt: Option<Histogram>,
    #[serde(default, rename = "bucketBounds", alias = "bucket_bounds", deserialize_with = "bounds")]
    pub(super) bounds: Vec<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Histogram {
    pub(super) active: Option<bool>,
    #[serde(default, rename = "bucketBounds", alias = "bucket_bounds", deserialize_with = "bounds")]
    pub(super) bounds: Vec<f64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    pub(super) active: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compression {
    #[serde(rename = "labelFolding", alias = "label_folding")]
    pub(super) folding: Option<Folding>,
}

/// `stack` is what the comments in the example of version 2 have instead of `peering`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selection {
    pub(super) process: Option<Process>,
    pub(super) peering: Option<Peering>,
    pub(super) stack: Option<Stack>,
    #[serde(default, rename = "portRanges", alias = "portranges")]
    pub(super) ports: Listing<PortRange>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    #[serde(default)]
    pub(super) pids: Listing<Pid>,
    #[serde(default)]
    pub(super) cmds: Listing<Command>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peering {
    #[serde(default)]
    pub(super) addresses: Listing<Address>,
    #[serde(default)]
    pub(super) networks: Listing<Network>,
    #[serde(default)]
    pub(super) hosts: Listing<Host>,
    #[serde(default, rename = "portRanges", alias = "portranges")]
    pub(super) ports: Listing<PortRange>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stack {
    #[serde(alias = "nodes")]
    pub(super) peers: Option<Peering>,
    #[serde(default, rename = "portRanges", alias = "portranges")]
    pub(super) ports: Listing<PortRange>,
}

/// A list of what is included, or, as the README has it for networks, `exclude: [...]` in its place.
#[derive(Debug)]
pub(super) struct Listing<T> {
    pub(super) include: Vec<T>,
    pub(super) exclude: Vec<T>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new() }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listing<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct IncludeExclude<T> {
            include: Option<Vec<T>>,
            exclude: Option<Vec<T>>,
        }
        struct ListingVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListingVisitor<T> {
            type Value = Listing<T>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a list")
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Listing::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let include = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                Ok(Listing { include, exclude: Vec::new() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let IncludeExclude { include, exclude } =
                    IncludeExclude::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Listing { include: include.unwrap_or_default(), exclude: exclude.unwrap_or_default() })
            }
        }
        deserializer.deserialize_any(ListingVisitor(PhantomData))
    }
}

/// `{lower: 80, upper: 443}`
#[derive(Debug, Clone, Copy)]
pub(super) struct PortRange(pub(super) Ports);

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            lower: Port,
            upper: Port,
        }
        let Range { lower, upper } = Range::deserialize(deserializer)?;
        let none = || D::Error::custom(format!("no port is between {} and {}", lower.0, upper.0));
        Ports::new(lower.0, upper.0).map(Self).ok_or_else(none)
    }
}

struct Port(u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        u16::try_from(number).map(Self).map_err(|_| D::Error::custom(format!("`{number}` is not a port")))
    }
}

/// `"raw_endpoint"`, or as version 2 has it `{origin: "raw_endpoint"}`.
#[derive(Debug)]
pub(super) struct Folding(pub(super) FlowLabel);

impl<'de> Deserialize<'de> for Folding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FoldingVisitor;
        impl<'de> Visitor<'de> for FoldingVisitor {
            type Value = Folding;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("raw_endpoint or pid_condensed")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Folding, E> {
                match text {
                    "raw_endpoint" => Ok(Folding(FlowLabel::RawEndpoint)),
                    "pid_condensed" => Ok(Folding(FlowLabel::PidCondensed)),
                    _ => Err(E::custom(format!("`{text}` is neither raw_endpoint nor pid_condensed"))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Folding, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct OriginTable {
                    origin: Folding,
                }
                Ok(OriginTable::deserialize(MapAccessDeserializer::new(map))?.origin)
            }
        }
        deserializer.deserialize_any(FoldingVisitor)
    }
}

/// An upper bound of the histogram, milliseconds.
struct UpperBound(f64);

impl<'de> Deserialize<'de> for UpperBound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bound = f64::deserialize(deserializer)?;
        if !bound.is_finite() || bound <= 0.0 {
            return Err(D::Error::custom(format!("`{bound}` is not a bound of a bucket; they are above 0")));
        }
        Ok(Self(bound))
    }
}

impl From<UpperBound> for f64 {
    fn from(UpperBound(bound): UpperBound) -> Self {
        bound
    }
}

fn bounds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    entries::<_, UpperBound, _, BOUNDS>(deserializer)
}
