//! The settings of the node.

use crate::settings::values;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Names in a list at most.
const NAMES: usize = 256;
/// Bytes that the name of a disk has at most (`DISK_NAME_LEN` in `include/linux/blkdev.h`); those of interfaces are shorter.
const LONGEST: usize = 32;

/// CPU time, memory, disks and network interfaces of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Whether the source is enabled. The hostmetrics receiver of a Collector reports the same names.
    pub enabled: bool,
    /// Time-out of a cycle of this source: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Disks, by their names in `/proc/diskstats`; empty: all that have a device, device mapper and md.
    #[serde(deserialize_with = "names")]
    pub disks: Vec<String>,
    /// Network interfaces, by name; empty: all but loopback and those whose other end is in another network namespace.
    #[serde(deserialize_with = "names")]
    pub interfaces: Vec<String>,
}

impl Default for Node {
    fn default() -> Self {
        Self { enabled: false, timeout: Duration::from_secs(2), disks: Vec::new(), interfaces: Vec::new() }
    }
}

/// `sources.node.disks`, `sources.node.interfaces`
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = values::one_or_many(deserializer, "a list of names")?;
    if names.len() > NAMES {
        return Err(D::Error::custom(format!("at most {NAMES} names can be listed")));
    }
    values::short(&names, LONGEST)?;
    for name in &names {
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(D::Error::custom(format!("`{name}` is not the name of a disk or an interface")));
        }
        if name.contains(['*', '?', '[']) {
            return Err(D::Error::custom(format!(
                "`{name}` is a pattern; list the names, or none for the machine's own"
            )));
        }
    }
    Ok(names)
}
