//! Settings of the source `sockets`.

use super::classic::Classic;
use super::values;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the kernel knows of every socket.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sockets {
    /// Whether they are read.
    pub enabled: bool,
    /// One series a flow, under the names of `prometheus_ss_exporter`.
    #[serde(deserialize_with = "values::section")]
    pub classic: Classic,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { enabled: true, classic: Classic::default() }
    }
}
