//! The settings of the source `conntrack`.

use super::entries::config::Entries;
use super::metrics::SYSCTL_FILES;
use crate::host::netns;
use crate::settings::values::{self, section};
use crate::source::Flag;
use serde::de::{Error, IntoDeserializer, value};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Connection tracking statistics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Conntrack {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// How the statistics are read.
    pub via: Via,
    /// The conntrack program: a name on the PATH, or a path.
    #[serde(deserialize_with = "command")]
    pub command: String,
    /// How long `conntrack -S` may take before it is killed: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Whether the counters are reported for each CPU.
    pub cpu: Cpu,
    /// Network namespaces: names of `/run/netns`, paths, `pid:N`, patterns (`cni-*`), or `all`. Empty: the agent's own.
    #[serde(deserialize_with = "netns::config::deserialize")]
    #[cfg_attr(test, schemars(schema_with = "netns::config::schema"))]
    pub netns: Vec<String>,
    /// Sysctls that are read, with the keys of Telegraf's conntrack input.
    #[serde(deserialize_with = "values::section")]
    pub table: Table,
    /// What is in the table: the entries themselves, by protocol, state and other properties. Off, because the kernel has to go
    /// through the whole table.
    #[serde(deserialize_with = "values::section")]
    pub entries: Entries,
    /// Whether new and destroyed entries are counted by the kernel's events.
    pub events: Events,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            enabled: true,
            via: Via::Auto,
            command: super::command::PROGRAM.to_owned(),
            timeout: Duration::from_secs(5),
            cpu: Cpu::Each,
            netns: Vec::new(),
            table: Table::default(),
            entries: Entries::default(),
            events: Events::Off,
        }
    }
}

/// Which way the connection tracking statistics are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The first of the other three that works, in this order.
    Auto,
    /// `conntrack -S`.
    Command,
    /// Netlink, without a process.
    Netlink,
    /// `/proc/net/stat/nf_conntrack`.
    Procfs,
}

/// Whether new and destroyed entries are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Events {
    /// Not counted; the changes of the number of entries give an estimate.
    Off,
    /// Counted, by a message of the kernel for each.
    Count,
}

/// Whether the counters are reported for each CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// One series per CPU, with the attribute `cpu`.
    Each,
    /// One series, the sum over the CPUs.
    Sum,
}

/// Sysctls of the table; `dirs` and `files` as Telegraf's conntrack input takes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Directories; empty: `/proc/sys/net/ipv4/netfilter` and `/proc/sys/net/netfilter`.
    #[serde(deserialize_with = "values::section")]
    pub dirs: Vec<String>,
    /// Files; empty: count, max and buckets with the prefixes `ip_conntrack_` and `nf_conntrack_`.
    #[serde(deserialize_with = "files")]
    pub files: Vec<String>,
    /// Whether the time-outs are reported, and what else decides about entries (`acct`, `events`, `helper`, `timestamp`).
    pub timeouts: bool,
}

impl Default for Table {
    fn default() -> Self {
        Self { dirs: Vec::new(), files: Vec::new(), timeouts: true }
    }
}

const SOURCE_FLAG: &str = "--conntrack-source";
const COMMAND_FLAG: &str = "--conntrack-command";

/// The flags of the command line, with the words of [`Via`].
pub const FLAGS: &[Flag] = &[
    Flag {
        name: SOURCE_FLAG,
        value: "WAY",
        help: "How connection tracking statistics are read [default: auto]",
        words: &[
            ("auto", "The first of the other three that works, in this order"),
            ("command", "`conntrack -S`"),
            ("netlink", "Netlink, without a process"),
            ("procfs", "`/proc/net/stat/nf_conntrack`"),
        ],
    },
    Flag {
        name: COMMAND_FLAG,
        value: "PATH",
        help: "The conntrack program [default: conntrack]",
        words: &[],
    },
];

impl Conntrack {
    /// Sets the key that a flag of [`FLAGS`] is for; the error says what is wrong with the value.
    pub fn set_flag(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            SOURCE_FLAG => {
                let via = Via::deserialize(value.into_deserializer());
                self.via = via.map_err(|error: value::Error| error.to_string())?;
            }
            COMMAND_FLAG => self.command = check_command(value)?,
            _ => return Err("is not a flag of conntrack".to_owned()),
        }
        Ok(())
    }
}

/// Validates the name or path of a program.
fn check_command(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("is not the name of a program".to_owned());
    }
    Ok(text.to_owned())
}

/// Deserializer of `command`.
fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_command(&text).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
}

/// Deserializer of `table.files`.
fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files: Vec<String> = section(deserializer)?;
    if files.len() > SYSCTL_FILES {
        return Err(D::Error::custom(format!("at most {SYSCTL_FILES} can be read")));
    }
    match files.iter().find(|file| file.is_empty() || file.contains('/')) {
        Some(file) => {
            Err(D::Error::custom(format!("`{file}` is not the name of a file; directories go into dirs")))
        }
        None => Ok(files),
    }
}
