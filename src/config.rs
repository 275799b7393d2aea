//! The configuration: every key of the file, with its default.
//!
//! `load` merges the file, the environment and the flags; `values` checks every value where it is read, so that an
//! error can name its place.

use crate::metric::naming::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub mod classic;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod import;
pub mod load;
pub mod network;
pub mod probes;
pub mod select;
pub mod sockets;
pub mod values;

pub use environment::Environment;
pub use error::ConfigError;
pub use load::Flags;
pub use probes::Probes;
pub use sockets::Sockets;
pub use values::Listen;

/// Everything the agent is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the metrics go.
    #[serde(deserialize_with = "values::section")]
    pub export: Export,
    /// Where they come from.
    #[serde(deserialize_with = "values::section")]
    pub sources: Sources,
    /// The agent's own log, on stderr.
    #[serde(deserialize_with = "values::section")]
    pub log: Log,
    /// What only environment variables can say.
    #[serde(skip)]
    pub environment: Environment,
}

/// Where the metrics go.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Push over OTLP.
    #[serde(deserialize_with = "values::section")]
    pub otlp: Otlp,
    /// Pull by Prometheus.
    #[serde(deserialize_with = "values::section")]
    pub prometheus: Prometheus,
}

/// Push over OTLP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// URL of the receiver: `http://localhost:4317` for grpc; for http/protobuf the base, `/v1/metrics` is added.
    #[serde(deserialize_with = "endpoint::deserialize")]
    pub endpoint: Option<String>,
    /// How to speak to it.
    pub protocol: Protocol,
    /// How often: 10ms to 24h.
    #[serde(deserialize_with = "values::interval", serialize_with = "values::print")]
    #[schemars(schema_with = "values::duration_schema")]
    pub interval: Duration,
    /// How long one export may take, retries included: 1ms to 10m, or 0s for no limit.
    #[serde(deserialize_with = "values::export_timeout", serialize_with = "values::print")]
    #[schemars(schema_with = "values::duration_schema")]
    pub timeout: Duration,
    /// How the messages are compressed.
    pub compression: Compression,
    /// Headers (grpc: metadata) of every request.
    #[serde(deserialize_with = "values::headers")]
    pub headers: BTreeMap<String, String>,
    /// Certificates, for https endpoints.
    #[serde(deserialize_with = "values::section")]
    pub tls: Tls,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::Grpc,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            compression: Compression::None,
            headers: BTreeMap::new(),
            tls: Tls::default(),
        }
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP/1.1.
    #[serde(rename = "http/protobuf")]
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    /// Nothing is pushed.
    #[serde(rename = "none")]
    None,
}

/// How OTLP messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Certificates for https endpoints, all PEM.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Authority that signed the receiver's certificate; the system's are used where this is not set.
    pub ca_file: Option<PathBuf>,
    /// Certificate the agent shows.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
}

/// Pull by Prometheus.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// `ADDRESS:PORT` of the HTTP endpoint, or `off`.
    #[schemars(schema_with = "values::listen_schema")]
    pub listen: Listen,
    /// Which names it prints.
    pub naming: Profile,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self { listen: Listen::default(), naming: Profile::Otel }
    }
}

/// Where the metrics come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sources {
    /// Connection tracking statistics.
    #[serde(deserialize_with = "values::section")]
    pub conntrack: Conntrack,
    /// Sockets.
    #[serde(deserialize_with = "values::section")]
    pub sockets: Sockets,
    /// Active checks of configured targets.
    #[serde(deserialize_with = "values::section")]
    pub probes: Probes,
}

/// Connection tracking statistics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conntrack {
    /// Whether they are read.
    pub enabled: bool,
    /// Which way.
    pub via: Via,
    /// The conntrack program: a name on the PATH, or a path.
    #[serde(deserialize_with = "values::command")]
    pub command: String,
    /// How long `conntrack -S` may take before it is killed: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[schemars(schema_with = "values::duration_schema")]
    pub timeout: Duration,
    /// Counters of each CPU, or their sum.
    pub cpu: Cpu,
    /// Network namespaces: names, paths or `pid:N`, or `all`. Empty: the agent's own.
    #[serde(deserialize_with = "values::netns")]
    #[schemars(schema_with = "values::netns_schema")]
    pub netns: Vec<String>,
    /// Sysctls of the table.
    #[serde(deserialize_with = "values::section")]
    pub table: Table,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            enabled: true,
            via: Via::Auto,
            command: "conntrack".to_owned(),
            timeout: Duration::from_secs(5),
            cpu: Cpu::Each,
            netns: Vec::new(),
            table: Table::default(),
        }
    }
}

/// Which way the connection tracking statistics are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The first of the others that works.
    Auto,
    /// `conntrack -S`.
    Command,
    /// Netlink, without a process.
    Netlink,
    /// `/proc/net/stat/nf_conntrack`.
    Procfs,
}

/// What becomes of the CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cpu {
    /// Each has its series, with the attribute `cpu`.
    Each,
    /// Their sum is one series.
    Sum,
}

/// Sysctls of the table, as Telegraf's conntrack input takes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Directories; empty: `/proc/sys/net/ipv4/netfilter` and `/proc/sys/net/netfilter`.
    #[serde(deserialize_with = "values::section")]
    pub dirs: Vec<String>,
    /// Files; empty: count, max and buckets with the prefixes `ip_conntrack_` and `nf_conntrack_`.
    #[serde(deserialize_with = "values::files")]
    pub files: Vec<String>,
}

/// The agent's own log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// What a line looks like.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Text }
    }
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What ends the agent.
    Error,
    /// And what is missing.
    Warn,
    /// And what changed.
    Info,
    /// And what the libraries say.
    Debug,
    /// And everything else.
    Trace,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
