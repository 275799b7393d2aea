//! Where the metrics go: the push over OTLP and the endpoint for Prometheus.

use super::endpoint;
#[cfg(test)]
use super::listen;
use super::listen::{Listen, SocketMode};
use crate::metric::naming::Profile;
use crate::settings::{headers, values};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Range of `export.otlp.interval`.
pub(super) const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Range of `export.otlp.jitter`.
pub(super) const JITTER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
/// Range of `export.otlp.timeout`.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);

/// Exporters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// URL of the receiver: `http://localhost:4317` for grpc; for http/protobuf the base, `/v1/metrics` is added.
    #[serde(deserialize_with = "endpoint::deserialize")]
    pub endpoint: Option<String>,
    /// OTLP protocol.
    pub protocol: Protocol,
    /// Interval between two pushes: 10ms to 24h.
    #[serde(deserialize_with = "interval", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub interval: Duration,
    /// The first push is made at a random time up to this after the start, and the others at the interval: so agents that are
    /// started together do not push together. 0s to 24h; not set: the interval.
    #[serde(deserialize_with = "jitter", serialize_with = "print_some")]
    #[cfg_attr(test, schemars(schema_with = "some_duration_schema"))]
    pub jitter: Option<Duration>,
    /// Time-out of one export, retries included: 1ms to 10m, or 0s for no limit.
    #[serde(deserialize_with = "timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Compression of the messages.
    pub compression: Compression,
    /// Headers (grpc: metadata) of every request.
    #[serde(deserialize_with = "headers::deserialize_push")]
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
            jitter: None,
            timeout: Duration::from_secs(10),
            compression: Compression::None,
            headers: BTreeMap::new(),
            tls: Tls::default(),
        }
    }
}

impl Otlp {
    /// The longest that the first push waits.
    pub fn longest_wait(&self) -> Duration {
        self.jitter.unwrap_or(self.interval)
    }
}

/// OTLP protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// Compression of OTLP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// Certificates for https endpoints, all PEM.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// File with the certificate authorities that the receiver's certificate is verified against. Not set: those of the system.
    pub ca_file: Option<PathBuf>,
    /// File with the agent's certificate, for mutual TLS.
    pub cert_file: Option<PathBuf>,
    /// File with the private key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// Pull by Prometheus.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// Where the HTTP endpoint listens: `ADDRESS:PORT`, `:PORT` for every address of the machine, `unix:/PATH`, `systemd` or
    /// `systemd:NAME` for sockets that the service manager hands over, a list of these, or `off`.
    #[cfg_attr(test, schemars(schema_with = "listen::schema"))]
    pub listen: Listen,
    /// Permissions of Unix sockets in `listen`, octal: who may write may connect.
    #[cfg_attr(test, schemars(schema_with = "listen::mode_schema"))]
    pub socket_mode: SocketMode,
    /// Values of the header `Host` that are accepted, besides addresses, names without a dot and those of this machine: names,
    /// `*.DOMAIN`, or `any`. Other requests are refused, so that no web page can read the endpoint by DNS rebinding.
    #[serde(deserialize_with = "hosts")]
    #[cfg_attr(test, schemars(schema_with = "hosts_schema"))]
    pub hosts: Vec<String>,
    /// Names of the metrics on this endpoint.
    pub naming: Profile,
    /// Whether `POST /-/reload` reloads the configuration. SIGHUP always does.
    pub lifecycle: bool,
    /// Whether `/` is a page with the state and the last half hour, whose values `/api/history` has too. They take up to 1 MiB
    /// of memory; without the page nothing is kept.
    pub page: bool,
    /// File with TLS, passwords, headers and a rate limit for the endpoint, in the format of Prometheus' exporter-toolkit.
    pub web_config: Option<PathBuf>,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            socket_mode: SocketMode::default(),
            hosts: Vec::new(),
            naming: Profile::Otel,
            lifecycle: false,
            page: true,
            web_config: None,
        }
    }
}

/// `export.otlp.interval`
fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, INTERVAL)
}

/// `export.otlp.jitter`; none where there is nothing after the key.
fn jitter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let checked = text.map(|text| {
        values::duration(&text, JITTER).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
    });
    checked.transpose()
}

#[expect(clippy::ref_option, reason = "serde asks for a reference to the field")]
fn print_some<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => values::print(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// `export.otlp.timeout`; zero is no limit.
fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => values::duration(&text, TIMEOUT)
            .map_err(|message| D::Error::custom(format!("`{text}` {message}"))),
    }
}

/// A time-out in milliseconds, as the `OTEL_*` variables have it; 0 is no limit
/// (`specification/configuration/common.md`, "Timeout").
pub(super) fn timeout_milliseconds(text: &str) -> Result<Duration, String> {
    if text.trim().parse() == Ok(0u64) { Ok(Duration::ZERO) } else { values::milliseconds(text, TIMEOUT) }
}

/// `export.prometheus.hosts`
/// Longest name of a host: what fits into a message of the DNS (RFC 1035, 2.3.4), and `*.` before it.
const LONGEST_HOST: usize = 255;

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = values::one_or_many(deserializer, "a list of names, or any")?;
    values::short(&hosts, LONGEST_HOST)?;
    let wrong = |host: &&String| {
        let name = host.strip_prefix("*.").unwrap_or(host);
        name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match hosts.iter().find(wrong) {
        Some(host) => {
            Err(D::Error::custom(format!("`{host}` is neither a name without a port, *.DOMAIN nor any")))
        }
        None => Ok(hosts),
    }
}

/// JSON Schema of the accepted values of `Host`.
#[cfg(test)]
fn hosts_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let entry = schemars::json_schema!({"type": "string", "pattern": "^(\\*\\.)?[-A-Za-z0-9_.]+$"});
    schemars::json_schema!({"anyOf": [{"const": "any"}, {"type": "array", "items": entry}, {"type": "null"}]})
}

/// JSON Schema of a duration that may be left open.
#[cfg(test)]
fn some_duration_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let duration = values::duration_schema(generator);
    schemars::json_schema!({"anyOf": [duration, {"type": "null"}]})
}
