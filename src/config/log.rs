//! The agent's own log, as the configuration has it.

use serde::{Deserialize, Serialize};

/// The agent's own log, written to stderr.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least severe level that is logged.
    pub level: Level,
    /// Format of the lines.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Text }
    }
}

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No lines.
    Off,
    /// Errors that end the agent.
    Error,
    /// Also failures to read, probe or send.
    Warn,
    /// Also changes of state: start, recovery, reloaded files.
    Info,
    /// Also details, and messages of libraries.
    Debug,
    /// Everything.
    Trace,
}

/// Format of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text, for people.
    Text,
    /// One JSON object per line.
    Json,
}
