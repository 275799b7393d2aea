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
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Containers {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// Time-out of a cycle of this source: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// TCP connections that containers open, and addresses that they listen on.
    #[serde(deserialize_with = "values::section")]
    pub tcp: Tcp,
    /// Whether the use and the limits of CPU, memory and disks are read from control groups.
    pub resources: bool,
    /// Whether the sizes of file systems on block devices that are mounted in containers are read.
    pub volumes: bool,
    /// Whether the time that containers are stalled for CPUs, memory and I/O is read (pressure stall information).
    pub pressure: bool,
    /// How the time that threads wait for CPUs and disks is measured.
    pub delay: Delay,
    /// How processes that the kernel killed because memory was exhausted are counted.
    pub oom: Oom,
    /// Whether the type of the application in each container is found by the command lines of its processes.
    pub application: bool,
    /// The metric names and labels of coroot-node-agent; in the `classic` profile only.
    #[serde(deserialize_with = "values::section")]
    pub classic: Classic,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: Duration::from_secs(5),
            tcp: Tcp::default(),
            resources: true,
            volumes: true,
            pressure: true,
            delay: Delay::Auto,
            oom: Oom::Auto,
            application: true,
            classic: Classic::default(),
        }
    }
}

/// How the time that threads wait for CPUs and disks is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Delay {
    /// By BPF programs; by taskstats if they cannot be loaded.
    Auto,
    /// By BPF programs.
    Bpf,
    /// By taskstats, over netlink; the kernel sends a message for each process that exits.
    Taskstats,
    /// Not measured.
    Off,
}

/// How processes that the kernel killed because memory was exhausted are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Oom {
    /// By a BPF program; by the counters of control groups if it cannot be loaded.
    Auto,
    /// By a BPF program, which also counts in control groups that are removed before the next cycle.
    Bpf,
    /// By the counters of control groups (`memory.events`, `memory.oom_control`).
    Cgroup,
    /// Not measured.
    Off,
}

/// The metric names and labels of coroot-node-agent.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Classic {
    /// Whether these series are reported.
    pub enabled: bool,
}
