//! The settings of the source `probes`.
//!
//! The settings of a target are in `target`; those it does not set have the values from here.

use crate::settings::network::Network;
use crate::settings::values;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

pub mod check;
pub mod kind;
pub mod nameserver;
pub mod single;
pub mod target;
pub mod text;

pub use kind::{Family, Kind};
pub use nameserver::NameServer;
pub use target::{Http, Icmp, Method, Preset, Record, Step, Target, TargetTls, TcpClose};

/// Range of the interval of a target.
pub const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
/// Range of the time-out of a probe.
pub const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);
/// Range of `refresh`.
pub const REFRESH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// Maximum number of targets; one with `all` counts as [`ADDRESSES`].
pub const TARGETS: usize = 100_000;
/// Maximum number of addresses of a target with `all`; further ones are left out.
pub const ADDRESSES: usize = 16;
/// Maximum number of concurrency slots; each needs up to two file descriptors.
pub const CONCURRENCY: usize = 50_000;
/// Maximum number of results that are kept for one target.
pub const HISTORY: usize = 100;

/// Active checks of configured targets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Probes {
    /// Whether targets are probed.
    pub enabled: bool,
    /// How often each target is probed: 100ms to 24h.
    #[serde(deserialize_with = "interval", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub interval: Duration,
    /// Time-out of one probe, name lookup included: 1ms to 10m.
    #[serde(deserialize_with = "timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Fraction of the interval by which a probe may start later, at random: 0 to 1.
    #[serde(deserialize_with = "jitter")]
    pub jitter: f64,
    /// Maximum number of probes in flight.
    #[serde(deserialize_with = "concurrency")]
    pub concurrency: usize,
    /// Maximum number of targets, including those of `files` and `dns`; a target with `all` counts as 16.
    #[serde(deserialize_with = "limit")]
    pub limit: usize,
    /// Failed probes in a row after which a target is down.
    #[serde(deserialize_with = "single::threshold")]
    pub failures_before_down: u32,
    /// Successful probes in a row after which a target that was down is up again.
    #[serde(deserialize_with = "single::threshold")]
    pub successes_before_up: u32,
    /// Preferred address family for names that have both.
    pub prefer: Family,
    /// Whether the other family is probed if a name has no address of the preferred one.
    pub fallback: bool,
    /// Name servers, `ADDRESS` or `ADDRESS:PORT`, without a search list; empty: those of /etc/resolv.conf, with
    /// its search list.
    #[serde(deserialize_with = "values::section")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub nameservers: Vec<NameServer>,
    /// Number of results that are kept for each target, for `/probes`.
    #[serde(deserialize_with = "history")]
    pub history: usize,
    /// Whether the duration of each phase (`resolve`, `connect`, `tls`, `request`) is reported: `probe.phase.duration`.
    pub phases: bool,
    /// Targets.
    #[serde(deserialize_with = "check::targets")]
    pub targets: Vec<Arc<Target>>,
    /// Files with targets, in the format of Prometheus' `file_sd`; the last part of a path may contain `*`.
    #[serde(deserialize_with = "files")]
    pub files: Vec<String>,
    /// Whether targets of `files` may connect to Unix sockets (`unix`, `unixgram`, `unixpacket`), have a client certificate
    /// or be in another network namespace, even if users other than root and the agent's user can write the file.
    pub trust_files: bool,
    /// Targets from DNS names.
    #[serde(deserialize_with = "values::section")]
    pub dns: Vec<DnsDiscovery>,
    /// How often target files, DNS names and certificates are checked for changes: 1s to 24h.
    #[serde(deserialize_with = "refresh", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub refresh: Duration,
    /// Probes on request: `/probe?target=&kind=`.
    #[serde(deserialize_with = "values::section")]
    pub on_request: ProbeRequests,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
            jitter: 0.05,
            concurrency: 2000,
            limit: 10_000,
            failures_before_down: 1,
            successes_before_up: 1,
            prefer: Family::Ipv4,
            fallback: true,
            nameservers: Vec::new(),
            history: 10,
            phases: true,
            targets: Vec::new(),
            files: Vec::new(),
            trust_files: false,
            dns: Vec::new(),
            refresh: Duration::from_secs(30),
            on_request: ProbeRequests::default(),
        }
    }
}

impl Probes {
    /// Whether there is, or may be, a target.
    pub fn has_targets(&self) -> bool {
        let any = !self.targets.is_empty() || !self.files.is_empty() || !self.dns.is_empty();
        self.enabled && (any || self.on_request.enabled)
    }

    /// Replaces values that are often secret by a placeholder.
    pub fn hide(&mut self) {
        let templates = self.dns.iter_mut().map(|names| &mut names.target);
        self.targets.iter_mut().map(Arc::make_mut).chain(templates).for_each(Target::hide);
    }

    /// Maximum number of targets, with the maximum number of addresses of those with `all`.
    pub fn max_targets(&self) -> usize {
        let configured = self.targets.iter().map(|target| target.max_addresses()).sum();
        let fixed = self.files.is_empty() && self.dns.is_empty();
        if fixed { configured } else { self.limit.max(configured) }
    }
}

/// Targets from DNS names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DnsDiscovery {
    /// DNS names.
    #[serde(deserialize_with = "names")]
    pub names: Vec<String>,
    /// Record type: `srv` gives host and port, `a` and `aaaa` give addresses for the port of the target.
    pub record: Record,
    /// Settings of the targets: without `host`, and for `srv` without `port`.
    pub target: Target,
}

/// Probes on request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ProbeRequests {
    /// Whether `/probe` is available.
    pub enabled: bool,
    /// Networks that may be probed on request, `ADDRESS/LENGTH`; empty: none.
    #[serde(deserialize_with = "values::section")]
    pub networks: Vec<Network>,
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, INTERVAL)
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, TIMEOUT)
}

fn refresh<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, REFRESH)
}

fn jitter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let jitter = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&jitter) { Ok(jitter) } else { Err(D::Error::custom("is out of range: 0 to 1")) }
}

fn concurrency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &(2..=CONCURRENCY))
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &(1..=TARGETS))
}

fn history<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &(0..=HISTORY))
}

/// Maximum length of a file pattern, bytes, as of a path (`PATH_MAX`).
const LONGEST_PATTERN: usize = 4096;

/// Deserializer of `dns.names`.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names: Vec<String> = values::section(deserializer)?;
    values::short(&names, check::LONGEST_TEXT)?;
    Ok(names)
}

/// Deserializer of `files`: only the last part of a path may contain `*`, as in Prometheus.
fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files: Vec<String> = values::section(deserializer)?;
    values::short(&files, LONGEST_PATTERN)?;
    for file in &files {
        let (dir, name) = file.rsplit_once('/').unwrap_or(("", file));
        let known = [".json", ".yml", ".yaml"].iter().any(|end| name.ends_with(end));
        if !known {
            return Err(D::Error::custom(format!("`{file}` ends in neither .json, .yml nor .yaml")));
        }
        if dir.contains(['*', '?', '[']) || glob::Pattern::new(name).is_err() {
            return Err(D::Error::custom(format!(
                "`{file}`: only the last part may have `*`, and be a pattern"
            )));
        }
    }
    Ok(files)
}

/// JSON Schema of labels.
#[cfg(test)]
pub(super) fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_.]*$"},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    })
}
