//! The settings of the logs. Which containers there are say those of the [inventory](crate::host::inventory::config).

use crate::settings::values;
use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Range of `patterns`.
const PATTERNS: RangeInclusive<usize> = 1..=1000;
/// Range of `patterns_total`.
const PATTERNS_TOTAL: RangeInclusive<usize> = 1..=100_000;
/// Range of `pattern_rate`.
const PATTERN_RATE: RangeInclusive<u32> = 1..=1_000_000;
/// Range of `sample_length`.
const SAMPLE_LENGTH: RangeInclusive<usize> = 16..=4096;
/// Range of `max_files`.
const FILES: RangeInclusive<usize> = 1..=100_000;
/// Range of `retention`.
const RETENTION: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24);
/// Maximum number of paths and patterns in `files`.
const PATHS: usize = 100;

/// Messages in the logs of containers and services, and in files.
#[expect(clippy::struct_excessive_bools, reason = "each is a key that is true or false")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// Time-out of a cycle of this source: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Whether the logs of Docker containers are read (driver `json-file`).
    pub docker: bool,
    /// Whether the logs of Kubernetes containers are read (containerd, CRI-O).
    pub cri: bool,
    /// The systemd journal: that of this machine (`true`), none (`false`), or the one in a directory.
    pub journald: Journald,
    /// Other files that are read: those below /var/log that containers and services have open for writing (`auto`), none
    /// (`false`), or a list of paths, which may have `*`, `?` and `[…]`.
    pub files: Files,
    /// Severities whose patterns are counted.
    #[serde(deserialize_with = "values::section")]
    pub levels: Vec<Level>,
    /// Maximum number of patterns per log and severity, 1 to 1000; further ones are counted as `~other`.
    #[serde(deserialize_with = "patterns")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1000)))]
    pub patterns: usize,
    /// Maximum number of patterns of all logs together, 1 to 100000.
    #[serde(deserialize_with = "patterns_total")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub patterns_total: usize,
    /// Maximum number of messages per second whose pattern is computed, 1 to 1000000; further ones are counted as `~skipped`.
    #[serde(deserialize_with = "pattern_rate")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    pub pattern_rate: u32,
    /// Attribute `sample` of a pattern: its words (`pattern`), its first message (`first`), or nothing (`off`).
    pub sample: LogSample,
    /// Maximum length of `sample` in bytes, 16 to 4096.
    #[serde(deserialize_with = "sample_length")]
    #[cfg_attr(test, schemars(range(min = 16, max = 4096)))]
    pub sample_length: usize,
    /// Whether lines are joined into messages; if not, each line is a message.
    pub multiline: bool,
    /// Maximum number of files that are followed, 1 to 100000.
    #[serde(deserialize_with = "max_files")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub max_files: usize,
    /// How long the series of a pattern that no longer occurs is kept: 1m to 24h.
    #[serde(deserialize_with = "retention", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub retention: Duration,
    /// The metric name and labels of coroot-node-agent; in the `classic` profile only.
    #[serde(deserialize_with = "values::section")]
    pub classic: Classic,
}

/// The metric name and labels of coroot-node-agent.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Classic {
    /// Whether these series are reported.
    pub enabled: bool,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: Duration::from_secs(5),
            docker: true,
            cri: true,
            journald: Journald::Auto,
            files: Files::Auto,
            levels: vec![Level::Warning, Level::Error, Level::Critical],
            patterns: 100,
            patterns_total: 5000,
            pattern_rate: 2000,
            sample: LogSample::Pattern,
            sample_length: 256,
            multiline: true,
            max_files: 1000,
            retention: Duration::from_hours(1),
            classic: Classic::default(),
        }
    }
}

/// A severity whose patterns are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `debug`
    Debug,
    /// `info`
    Info,
    /// `warning`
    Warning,
    /// `error`
    Error,
    /// `critical`
    Critical,
    /// Messages without a severity.
    Unknown,
}

/// Attribute `sample` of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogSample {
    /// The words of the pattern, without what varies.
    Pattern,
    /// The first message of the pattern.
    First,
    /// No sample.
    Off,
}

/// Which journal is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Journald {
    /// `/var/log/journal`, else `/run/log/journal`.
    #[default]
    Auto,
    /// No journal is read.
    Off,
    /// The journal in a directory.
    Directory(PathBuf),
}

impl Serialize for Journald {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
            Self::Directory(directory) => directory.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Journald {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JournaldVisitor)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Journald {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Journald".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [{"type": "boolean"}, {"type": "string"}]})
    }
}

struct JournaldVisitor;

impl Visitor<'_> for JournaldVisitor {
    type Value = Journald;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`true`, `false` or a directory")
    }

    fn visit_unit<E: Error>(self) -> Result<Journald, E> {
        Ok(Journald::default())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Journald, E> {
        Ok(if on { Journald::Auto } else { Journald::Off })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Journald, E> {
        let directory = PathBuf::from(text);
        if directory.is_absolute() {
            return Ok(Journald::Directory(directory));
        }
        Err(E::custom(format!("`{text}` does not begin with /")))
    }
}

/// Which files are read in addition to the logs of container engines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Files {
    /// Those below `/var/log` that containers and services have open for writing.
    #[default]
    Auto,
    /// No other files are read.
    Off,
    /// Paths, which may have `*`, `?` and `[…]`.
    Paths(Vec<String>),
}

impl Serialize for Files {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_bool(false),
            Self::Paths(paths) => paths.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FilesVisitor)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Files {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Files".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let list = serde_json::json!({"type": "array", "items": {"type": "string"}});
        schemars::json_schema!({"anyOf": [{"enum": ["auto", false]}, list]})
    }
}

struct FilesVisitor;

impl<'de> Visitor<'de> for FilesVisitor {
    type Value = Files;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`auto`, `false` or a list of paths")
    }

    fn visit_unit<E: Error>(self) -> Result<Files, E> {
        Ok(Files::default())
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Files, E> {
        if on { Err(E::invalid_value(Unexpected::Bool(on), &self)) } else { Ok(Files::Off) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Files, E> {
        if text == "auto" { Ok(Files::Auto) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Files, A::Error> {
        let mut paths: Vec<String> = Vec::new();
        while let Some(path) = list.next_element::<String>()? {
            checked(&path).map_err(A::Error::custom)?;
            paths.push(path);
            if paths.len() > PATHS {
                return Err(A::Error::custom(format!("at most {PATHS} patterns are allowed")));
            }
        }
        Ok(Files::Paths(paths))
    }
}

fn checked(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("`{path}` does not begin with /"));
    }
    glob::Pattern::new(path).map(drop).map_err(|error| format!("`{path}` is not a pattern: {}", error.msg))
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &PATTERNS)
}

fn patterns_total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &PATTERNS_TOTAL)
}

fn pattern_rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    values::number(deserializer, &PATTERN_RATE)
}

fn sample_length<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &SAMPLE_LENGTH)
}

fn max_files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    values::number(deserializer, &FILES)
}

fn retention<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, RETENTION)
}
