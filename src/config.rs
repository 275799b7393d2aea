//! The configuration: facts from the file, the environment and the flags, merged and validated.
//!
//! Nothing is opened here but the file itself. Precedence: flag, then `OTEL_*` variable, then file, then default.
//! Every value is checked where it is read, so that an error can name its place.

use crate::metric::naming::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod environment;
pub mod values;

pub use environment::Environment;
pub use values::Listen;

/// Everything the agent is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the metrics go.
    pub export: Export,
    /// Where they come from.
    pub sources: Sources,
    /// The agent's own log, on stderr.
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
    pub otlp: Otlp,
    /// Pull by Prometheus.
    pub prometheus: Prometheus,
}

/// Push over OTLP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// URL of the receiver: `http://localhost:4317` for grpc; for http/protobuf the base, `/v1/metrics` is added.
    #[serde(deserialize_with = "values::endpoint")]
    pub endpoint: Option<String>,
    /// How to speak to it.
    pub protocol: Protocol,
    /// How often: 10ms to 24h.
    #[serde(deserialize_with = "values::interval", serialize_with = "values::print")]
    #[schemars(with = "String")]
    pub interval: Duration,
    /// How long one export may take, retries included: 1ms to 10m.
    #[serde(deserialize_with = "values::export_timeout", serialize_with = "values::print")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How the messages are compressed.
    pub compression: Compression,
    /// Headers (grpc: metadata) of every request.
    #[serde(deserialize_with = "values::headers")]
    pub headers: BTreeMap<String, String>,
    /// Certificates, for https endpoints.
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
    #[schemars(with = "String")]
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
    pub conntrack: Conntrack,
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
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Counters of each CPU, or their sum.
    pub cpu: Cpu,
    /// Network namespaces: names, paths or `pid:N`, or `all`. Empty: the agent's own.
    #[serde(deserialize_with = "values::netns")]
    pub netns: Vec<String>,
    /// Sysctls of the table.
    pub table: Table,
}

impl Default for Conntrack {
    fn default() -> Self {
        Self {
            enabled: crate::source::conntrack::SPEC.default_on,
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

/// Bad input, with its place. `Display` is one readable line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {key}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key, with the keys it is under.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// An environment variable is wrong.
    #[error("{name}={value}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// Its value; a secret is not shown.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// A flag is wrong.
    #[error("{flag} {value}: {message}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// Values that are fine each do not go together.
    #[error("{key}: {message}")]
    Together {
        /// The keys.
        key: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// What the command line sets; `None` leaves it to the rest.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--otlp-endpoint`
    pub otlp_endpoint: Option<String>,
    /// `--otlp-protocol`
    pub otlp_protocol: Option<Protocol>,
    /// `--interval`
    pub interval: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--prometheus-naming`
    pub naming: Option<Profile>,
    /// `--conntrack-source`
    pub via: Option<Via>,
    /// `--conntrack-command`
    pub command: Option<String>,
    /// `--log-format`
    pub format: Option<Format>,
    /// `--log-level`
    pub level: Option<Level>,
}

impl Config {
    /// Merges the file, the variables that `variable` knows, and the flags.
    pub fn load(
        file: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
                Self::parse(&text, path)?
            }
        };
        environment::apply(&mut config, variable)?;
        config.apply(flags)?;
        config.settle()?;
        Ok(config)
    }

    /// Reads the text of a configuration file; `path` is for the error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        // A file of nothing but comments is a file that says nothing.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let mut key = String::new();
        serde_saphyr::with_deserializer_from_str(text, |deserializer| {
            serde_path_to_error::deserialize(deserializer).map_err(|error| {
                key = error.path().to_string();
                error.into_inner()
            })
        })
        .map_err(|error| {
            let (line, column) =
                error.location().map_or((1, 1), |location| (location.line(), location.column()));
            let (key, message) = values::explain(&key, &error.without_snippet().to_string(), line, column);
            ConfigError::File { path: path.to_owned(), line, column, key, message }
        })
    }

    fn apply(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        let Export { otlp, prometheus } = &mut self.export;
        let bad = |flag, value: &str, message| ConfigError::Flag { flag, value: value.to_owned(), message };
        if let Some(value) = &flags.otlp_endpoint {
            let endpoint = values::check_endpoint(value);
            otlp.endpoint = Some(endpoint.map_err(|message| bad("--otlp-endpoint", value, message))?);
            self.environment.endpoint_as_is = false;
        }
        if let Some(value) = &flags.interval {
            let interval = values::duration(value, values::INTERVAL);
            otlp.interval = interval.map_err(|message| bad("--interval", value, message))?;
        }
        if let Some(value) = &flags.listen {
            prometheus.listen = value.parse().map_err(|message| bad("--listen", value, message))?;
        }
        if let Some(value) = &flags.command {
            let command = values::check_command(value);
            self.sources.conntrack.command =
                command.map_err(|message| bad("--conntrack-command", value, message))?;
        }
        otlp.protocol = flags.otlp_protocol.unwrap_or(otlp.protocol);
        prometheus.naming = flags.naming.unwrap_or(prometheus.naming);
        self.sources.conntrack.via = flags.via.unwrap_or(self.sources.conntrack.via);
        self.log.format = flags.format.unwrap_or(self.log.format);
        self.log.level = flags.level.unwrap_or(self.log.level);
        Ok(())
    }

    /// Fills in what follows from the rest, and refuses what does not go together.
    fn settle(&mut self) -> Result<(), ConfigError> {
        let otlp = &mut self.export.otlp;
        let tls = &otlp.tls;
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            return Err(ConfigError::Together {
                key: "export.otlp.tls",
                message: "cert_file and key_file are set together or not at all".to_owned(),
            });
        }
        let insecure = self.environment.insecure;
        let as_is = self.environment.endpoint_as_is;
        let endpoint = values::settle_endpoint(otlp.endpoint.take(), otlp.protocol, insecure, as_is);
        otlp.endpoint =
            Some(endpoint.map_err(|message| ConfigError::Together { key: "export.otlp.endpoint", message })?);
        Ok(())
    }

    /// The effective configuration as YAML, as `connscope config` prints it. The values of headers are secrets more
    /// often than not and are left out.
    pub fn print(&self) -> String {
        let mut shown = self.clone();
        for value in shown.export.otlp.headers.values_mut() {
            "(hidden)".clone_into(value);
        }
        let mut text = self.environment.comment();
        match serde_saphyr::to_string(&shown) {
            Ok(yaml) => text.push_str(&yaml),
            Err(error) => {
                let _infallible = writeln!(text, "# cannot be printed: {error}");
            }
        }
        text
    }

    /// The JSON Schema of the file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
