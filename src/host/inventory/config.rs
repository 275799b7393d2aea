//! The settings of the inventory.

use crate::settings::values;
use regex_lite::{Regex, RegexBuilder};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Range of `limit`.
const LIMIT: RangeInclusive<usize> = 1..=10_000;
/// Range of `retention`.
const RETENTION: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(1);
/// Maximum number of expressions in a list, and of directories of an engine.
const MAX_ENTRIES: usize = 100;
/// Maximum size of a compiled expression, bytes: about 2,000 characters.
const EXPRESSION: usize = 64 * 1024;

/// Inventory of containers and systemd services, which all sources share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Inventory {
    /// Regular expressions that match the whole identity (`/docker/web`, `/k8s/prod/.*`, `/system\.slice/nginx\.service`). Empty:
    /// all.
    #[serde(deserialize_with = "expressions")]
    pub include: Vec<Expression>,
    /// The same for containers and services to leave out. Empty: none.
    #[serde(deserialize_with = "expressions")]
    pub exclude: Vec<Expression>,
    /// Whether systemd services are included.
    pub units: bool,
    /// Maximum number of containers and services, 1 to 10000; further ones are left out.
    #[serde(deserialize_with = "limit")]
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub limit: usize,
    /// How long the series of a container or service are kept after it has ended: 10s to 1h.
    #[serde(deserialize_with = "retention", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub retention: Duration,
    /// Root of the host's file system: `/`, or where it is mounted in the agent's container.
    #[serde(deserialize_with = "root")]
    pub root: PathBuf,
    /// Files in which the names of containers are looked up.
    #[serde(deserialize_with = "values::section")]
    pub names: Names,
}

impl Default for Inventory {
    fn default() -> Self {
        let exclude = regular(r"/system\.slice/(systemd-|dbus|getty).*");
        Self {
            include: Vec::new(),
            exclude: exclude.into_iter().collect(),
            units: true,
            limit: 500,
            retention: Duration::from_mins(5),
            root: PathBuf::from("/"),
            names: Names::default(),
        }
    }
}

/// Files in which the names of containers are looked up, below `inventory.root`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Names {
    /// Directories of Docker (`data-root`).
    #[serde(deserialize_with = "absolute_paths")]
    pub docker: Vec<PathBuf>,
    /// State directories of containerd (`state`).
    #[serde(deserialize_with = "absolute_paths")]
    pub containerd: Vec<PathBuf>,
    /// Directories of CRI-O and podman (`runroot`, `graphroot`).
    #[serde(deserialize_with = "absolute_paths")]
    pub crio: Vec<PathBuf>,
    /// Directory with the kubelet's links to the logs of containers; not set: not read.
    #[serde(deserialize_with = "absolute_path")]
    pub kubelet: Option<PathBuf>,
    /// Unix socket of Docker, for names that no file has; not set: not used.
    #[serde(deserialize_with = "absolute_path")]
    pub docker_socket: Option<PathBuf>,
}

impl Default for Names {
    fn default() -> Self {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect();
        Self {
            docker: paths(&["/var/lib/docker"]),
            containerd: paths(&[
                "/run/containerd",
                "/run/k3s/containerd",
                "/var/snap/microk8s/common/run/containerd",
            ]),
            crio: paths(&["/run/containers/storage", "/var/lib/containers/storage"]),
            kubelet: Some("/var/log/containers".into()),
            docker_socket: None,
        }
    }
}

/// A regular expression that must match the whole text.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    regex: Regex,
}

impl Expression {
    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

fn regular(text: &str) -> Result<Expression, String> {
    // Compiled alone first: an unbalanced `)` would close the group.
    let compile = |text: &str| RegexBuilder::new(text).size_limit(EXPRESSION).build();
    let compiled = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
    let regex = compiled.map_err(|error| {
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("`{text}` is not a regular expression: {why}")
    })?;
    Ok(Expression { text: text.to_owned(), regex })
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        regular(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Expression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "regex"})
    }
}

/// Deserializer of `include` and `exclude`.
fn expressions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Expression>, D::Error> {
    let expressions: Vec<Expression> = values::section(deserializer)?;
    if expressions.len() > MAX_ENTRIES {
        return Err(D::Error::custom(format!(
            "at most {MAX_ENTRIES} expressions are allowed; join them with `|`"
        )));
    }
    Ok(expressions)
}

/// Deserializer of `limit`.
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &LIMIT)
}

/// Deserializer of `retention`.
fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, RETENTION)
}

/// Validates that a path is absolute.
fn absolute<E: Error>(path: PathBuf) -> Result<PathBuf, E> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(E::custom(format!("`{}` does not begin with /", path.display())))
}

/// Deserializer of `root`.
fn root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    absolute(PathBuf::deserialize(deserializer)?)
}

/// Deserializer of `names.kubelet` and `names.docker_socket`.
fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Option::<PathBuf>::deserialize(deserializer)?.map(absolute).transpose()
}

/// Deserializer of `names.docker`, `names.containerd` and `names.crio`.
fn absolute_paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let directories: Vec<PathBuf> = values::section(deserializer)?;
    if directories.len() > MAX_ENTRIES {
        return Err(D::Error::custom(format!("at most {MAX_ENTRIES} directories are looked at")));
    }
    directories.into_iter().map(absolute).collect()
}
