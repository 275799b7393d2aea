//! The attributes of the resource that are not told by the machine itself.

use crate::cloud::config::Cloud;
use crate::settings::values;
use serde::{Deserialize, Serialize};

/// Attributes of the OpenTelemetry resource. `OTEL_RESOURCE_ATTRIBUTES` goes over them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Resource {
    /// Cloud that the machine is in.
    #[serde(deserialize_with = "values::section")]
    pub cloud: Cloud,
}
