//! The settings of the containers. Which there are say those of the [inventory](crate::host::inventory::config).

use crate::settings::values;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tcp::Tcp;

pub mod tcp;

/// Containers and systemd services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Containers {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// How long a cycle waits for it: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// TCP connections that containers open, and where they listen.
    #[serde(deserialize_with = "values::section")]
    pub tcp: Tcp,
    /// How the time that processes wait for a CPU and for disks is read.
    pub delay: Delay,
    /// How processes that the kernel killed because memory was exhausted are counted.
    pub oom: Oom,
    /// The names and labels of coroot-node-agent; in the `classic` profile only.
    #[serde(deserialize_with = "values::section")]
    pub classic: Classic,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: Duration::from_secs(5),
            tcp: Tcp::default(),
            delay: Delay::Auto,
            oom: Oom::Auto,
            classic: Classic::default(),
        }
    }
}

/// How the time that processes wait for a CPU and for disks is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Delay {
    /// By programs in the kernel, and by taskstats where they cannot be loaded.
    Auto,
    /// By programs in the kernel.
    Bpf,
    /// By taskstats: netlink, and a message for each process that exits.
    Taskstats,
    /// Not at all.
    Off,
}

/// How processes that the kernel killed because memory was exhausted are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Oom {
    /// By a program in the kernel, and by the counters of control groups where it cannot be loaded.
    Auto,
    /// By a program in the kernel, which also counts in groups that are gone by the next cycle.
    Bpf,
    /// By the counters of control groups (`memory.events`, `memory.oom_control`).
    Cgroup,
    /// Not at all.
    Off,
}

/// The names and labels of coroot-node-agent.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Classic {
    /// Whether they are printed.
    pub enabled: bool,
}
