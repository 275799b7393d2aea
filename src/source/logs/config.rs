//! The settings of the logs. Which containers there are say those of the [inventory](crate::host::inventory::config).

use crate::settings::values;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::ops::RangeInclusive;
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
/// Patterns of paths in `files`, at most.
const PATHS: usize = 100;

/// Messages in the logs of containers, and in files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Whether the source is enabled.
    pub enabled: bool,
    /// How long a cycle waits for it: 10ms to 60s.
    #[serde(deserialize_with = "values::source_timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Whether the logs of Docker's containers are read (driver `json-file`).
    pub docker: bool,
    /// Whether the logs of Kubernetes' containers are read (containerd, CRI-O).
    pub cri: bool,
    /// Files that are read as well: paths, which may have `*`, `?` and `[…]`.
    #[serde(deserialize_with = "files")]
    pub files: Vec<String>,
    /// Severities whose patterns are counted.
    #[serde(deserialize_with = "values::section")]
    pub levels: Vec<Level>,
    /// Patterns of one log and severity at most, 1 to 1000; the rest is `~other`.
    #[serde(deserialize_with = "patterns")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1000)))]
    pub patterns: usize,
    /// Patterns of all at most, 1 to 100000.
    #[serde(deserialize_with = "patterns_total")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub patterns_total: usize,
    /// Messages in a second whose pattern is looked for, of all, 1 to 1000000; the rest is `~skipped`.
    #[serde(deserialize_with = "pattern_rate")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1_000_000)))]
    pub pattern_rate: u32,
    /// What is shown of a pattern: its words (`pattern`), its first message (`first`), or nothing (`off`).
    pub sample: Sample,
    /// Bytes that are shown of it at most, 16 to 4096.
    #[serde(deserialize_with = "sample_length")]
    #[cfg_attr(test, schemars(range(min = 16, max = 4096)))]
    pub sample_length: usize,
    /// Whether lines are joined to messages; if not, each line is one.
    pub multiline: bool,
    /// Files that are followed at most, 1 to 100000.
    #[serde(deserialize_with = "max_files")]
    #[cfg_attr(test, schemars(range(min = 1, max = 100_000)))]
    pub max_files: usize,
    /// How long a pattern that does not occur is kept: 1m to 24h.
    #[serde(deserialize_with = "retention", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub retention: Duration,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            enabled: false,
            timeout: Duration::from_secs(5),
            docker: true,
            cri: true,
            files: Vec::new(),
            levels: vec![Level::Warning, Level::Error, Level::Critical],
            patterns: 100,
            patterns_total: 5000,
            pattern_rate: 2000,
            sample: Sample::Pattern,
            sample_length: 256,
            multiline: true,
            max_files: 1000,
            retention: Duration::from_hours(1),
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
    /// Messages that do not say.
    Unknown,
}

/// What is shown of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// Its words; nothing that varies.
    Pattern,
    /// Its first message.
    First,
    /// Nothing.
    Off,
}

/// `files`
fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files: Vec<String> = values::section(deserializer)?;
    if files.len() > PATHS {
        return Err(D::Error::custom(format!("at most {PATHS} patterns are taken")));
    }
    for file in &files {
        if !file.starts_with('/') {
            return Err(D::Error::custom(format!("`{file}` does not begin with /")));
        }
        if let Err(error) = glob::Pattern::new(file) {
            return Err(D::Error::custom(format!("`{file}` is not a pattern: {}", error.msg)));
        }
    }
    Ok(files)
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
