//! Settings of the classic profile of the sockets: one series per flow, as in `prometheus_ss_exporter`.

use super::select::Conditions;
use crate::settings::values;
use crate::source::sockets::metrics::CLASSIC_ROUND_TRIPS;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

/// Upper limit of `limit`: each flow has five series.
pub const FLOWS: usize = 100_000;
/// Maximum number of bucket bounds.
pub const BOUNDS: usize = 100;

/// One series per flow, under the names of `prometheus_ss_exporter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Classic {
    /// Whether these series are reported.
    pub enabled: bool,
    /// Format of the label `flow`.
    pub flow: FlowLabel,
    /// Maximum number of flows, 1 to 100000; `tcp_flows_left_out` counts those over it.
    #[serde(deserialize_with = "limit")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub limit: usize,
    /// Metrics that are reported in addition to `tcp_flows_total`.
    #[serde(deserialize_with = "metrics")]
    pub metrics: BTreeSet<Family>,
    /// Bucket bounds of `tcp_rtt_hist_ms` in milliseconds, in ascending order.
    #[serde(deserialize_with = "buckets")]
    pub buckets: Vec<f64>,
    /// Flows that are reported: a flow must match one entry of every kind of condition (processes, peers, ports) that has any.
    #[serde(deserialize_with = "values::section")]
    pub include: Conditions,
    /// Flows that are not reported, even if `include` matches: one matching entry is enough.
    #[serde(deserialize_with = "values::section")]
    pub exclude: Conditions,
}

impl Default for Classic {
    fn default() -> Self {
        Self {
            enabled: false,
            flow: FlowLabel::RawEndpoint,
            limit: 1000,
            metrics: Family::ALL.into(),
            buckets: CLASSIC_ROUND_TRIPS.to_vec(),
            include: Conditions::default(),
            exclude: Conditions::default(),
        }
    }
}

/// Format of the label `flow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FlowLabel {
    /// Addresses and ports of both ends: `(SRC#ip|port)(DST#ip|port)`.
    RawEndpoint,
    /// PID of the process, and the peer: `(pid)(DST#ip|port)`.
    PidCondensed,
}

/// A metric that can be disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `tcp_rtt`, milliseconds.
    Rtt,
    /// `tcp_cwnd`, segments.
    Cwnd,
    /// `tcp_delivery_rate`, bytes a second.
    DeliveryRate,
    /// `tcp_data_segs_in`, segments.
    DataSegsIn,
    /// `tcp_data_segs_out`, segments.
    DataSegsOut,
    /// `tcp_rtt_hist_ms`, milliseconds.
    RttHistMs,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 6] =
        [Self::Rtt, Self::Cwnd, Self::DeliveryRate, Self::DataSegsIn, Self::DataSegsOut, Self::RttHistMs];
}

/// Deserializer of `limit`.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &(1..=FLOWS))
}

/// Deserializer of `metrics`; a key without a value means the default, `[]` means none.
fn metrics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<Family>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(|| Family::ALL.into()))
}

/// Deserializer of `buckets`.
fn buckets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let bounds = Option::deserialize(deserializer)?.unwrap_or_else(|| CLASSIC_ROUND_TRIPS.to_vec());
    match refuse_bounds(&bounds) {
        Some(message) => Err(D::Error::custom(message)),
        None => Ok(bounds),
    }
}

/// The reason why numbers cannot be the bucket bounds of a histogram; `None` if they can.
fn refuse_bounds(bounds: &[f64]) -> Option<String> {
    if bounds.is_empty() || bounds.len() > BOUNDS {
        return Some(format!("has {} bounds; 1 to {BOUNDS} are allowed", bounds.len()));
    }
    if let Some(bound) = bounds.iter().find(|bound| !bound.is_finite() || **bound <= 0.0) {
        return Some(format!(
            "`{bound}` is not a valid bound: bounds are above 0, and +Inf is always included"
        ));
    }
    let mut pairs = bounds.iter().zip(bounds.iter().skip(1));
    let (low, high) = pairs.find(|(low, high)| low >= high)?;
    Some(format!("`{high}` follows `{low}`: bounds must be in ascending order"))
}
