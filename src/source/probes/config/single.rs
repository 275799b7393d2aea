//! Formats and ranges of the single values of a target.

use super::{INTERVAL, TIMEOUT};
use crate::settings::values;
use crate::text::{LONGEST_NAME, bounded, bounded_unique};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Splits an IPv6 address from its zone, the interface of a link-local address: `fe80::1%eth0` (RFC 4007, section 11).
/// Anything else has no zone.
pub fn split_zone(host: &str) -> (&str, Option<&str>) {
    match host.split_once('%') {
        Some((address, zone)) if address.contains(':') => (address, Some(zone)),
        _ => (host, None),
    }
}

/// Deserializer of `host`: a name or an address; brackets around an IPv6 address are removed.
pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = inner.unwrap_or(&text);
    if host.contains(|character: char| character.is_whitespace() || "[]".contains(character)) {
        return Err(D::Error::custom(format!("`{text}` is neither a name nor an address")));
    }
    let (address, zone) = split_zone(host);
    let address = match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => zone.is_none_or(|zone| !zone.is_empty()),
        Ok(IpAddr::V4(_)) => zone.is_none(),
        Err(_) => false,
    };
    if !address && !host.starts_with('/') && host.contains(':') {
        return Err(D::Error::custom(format!("`{text}` is not an address; a port goes into port")));
    }
    Ok(host.to_owned())
}

/// Labels of a target. All targets of a group in a file share the same ones.
pub type TargetLabels = Arc<BTreeMap<String, Arc<str>>>;

/// Maximum total length of the labels of a target, keys and values, bytes: each of its series has them.
const LABELS: usize = 4096;

/// Deserializer of `labels`; a label with an empty value is omitted, as in Prometheus.
pub(super) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TargetLabels, D::Error> {
    let labels: BTreeMap<String, String> = values::section(deserializer)?;
    shared(labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))).map_err(D::Error::custom)
}

/// Creates shared labels. Each value is truncated to the length that a series shows.
pub fn shared<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Result<TargetLabels, String> {
    let mut shared = BTreeMap::new();
    for (key, value) in labels {
        check_label(key)?;
        if !value.is_empty() {
            shared.insert(key.to_owned(), Arc::from(bounded_unique(value, LONGEST_NAME)));
        }
    }
    Ok(Arc::new(shared))
}

/// Validates that labels are distinct in Prometheus, which writes `.` as `_`, and not too long in total.
pub(super) fn check_labels(labels: &TargetLabels, bytes: usize) -> Result<(), String> {
    let mut known = BTreeMap::new();
    if bytes > LABELS {
        return Err(format!("has labels of {bytes} bytes in total; at most {LABELS} are allowed"));
    }
    for key in labels.keys() {
        if let Some(other) = known.insert(key.replace('.', "_"), key) {
            return Err(format!(
                "has the labels `{other}` and `{key}`, which are the same label to Prometheus"
            ));
        }
    }
    Ok(())
}

/// Keys that a target may not have, because its series or a scraper already use them.
const TAKEN: [&str; 13] = [
    "probe_name",
    "server_address",
    "server_port",
    "network_transport",
    "network_type",
    "network_peer_address",
    "error_type",
    "outcome",
    "phase",
    "le",
    "quantile",
    "job",
    "instance",
];

/// Validates that a key can be an attribute of the target's series.
pub fn check_label(key: &str) -> Result<(), String> {
    let first = key.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let rest = key.chars().all(|rest| rest.is_ascii_alphanumeric() || rest == '_' || rest == '.');
    if !first || !rest || key.starts_with("__") || key.len() > 100 {
        let key = bounded(key, LONGEST_NAME);
        return Err(format!("`{key}` cannot be a label: letters, digits, `_` and `.`, a letter first"));
    }
    if TAKEN.contains(&key.replace('.', "_").as_str()) {
        return Err(format!("`{key}` is a label that connscope or Prometheus sets itself"));
    }
    Ok(())
}

/// Deserializer of a number of consecutive probes.
pub(super) fn threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    values::number(deserializer, &(1..=1000))
}

pub(super) fn some_threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    threshold(deserializer).map(Some)
}

pub(super) fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    values::ranged(deserializer, INTERVAL).map(Some)
}

pub(super) fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    values::ranged(deserializer, TIMEOUT).map(Some)
}

#[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
pub(super) fn print<S: serde::Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    values::print(&value.unwrap_or_default(), serializer)
}

pub(super) fn echoes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    values::number(deserializer, &(1..=20))
}

pub(super) fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    values::number(deserializer, &(0..=65_507))
}
