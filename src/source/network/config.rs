//! The settings of the network stack's limits.

use crate::host::netns;
use serde::{Deserialize, Serialize};

/// Where the kernel, the card and the cloud drop packets or refuse connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NetworkSource"))]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// Network namespaces: names of `/run/netns`, paths, `pid:N`, patterns (`cni-*`), or `all`. Empty: the agent's own.
    #[serde(deserialize_with = "netns::config::deserialize")]
    #[cfg_attr(test, schemars(schema_with = "netns::config::schema"))]
    pub netns: Vec<String>,
    /// Whether packets that rules of nftables drop or reject are counted. All rules are read in every cycle, which takes some 3
    /// microseconds for each.
    pub rules: bool,
    /// Whether packets that the kernel drops are counted by reason, in all network namespaces, with BPF programs. It needs `CAP_BPF` and
    /// `CAP_PERFMON`, and Linux 5.17. A dropped packet takes some 200 ns more, others nothing.
    pub drops: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { enabled: true, netns: Vec::new(), rules: false, drops: false }
    }
}
