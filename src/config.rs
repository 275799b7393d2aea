//! The configuration: the agent's own keys of the file, with their defaults. The settings of each source stand in its
//! folder; [`catalog`](crate::catalog) puts them together and gives the configuration the whole, which names no source.
//!
//! `load` merges the file, the environment and the flags; `values` checks every value where it is read, so that an
//! error can name its position.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub mod endpoint;
pub mod environment;
pub mod error;
pub mod export;
pub mod listen;
pub mod load;
pub mod log;
pub mod resource;
pub mod schema;

use crate::host::inventory::config::Inventory;
use crate::settings::values;
use crate::source::list::Catalog;
pub use environment::Environment;
pub use error::ConfigError;
pub use export::{Compression, Export, Otlp, Prometheus, Protocol, Tls};
pub use listen::{Address, Listen};
pub use load::Flags;
pub use log::{Format, Level, Log};
pub use resource::Resource;

/// The whole configuration of the agent, with the settings of its sources.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(rename = "Config", bound = "S: Catalog + schemars::JsonSchema")
)]
#[serde(deny_unknown_fields, default, bound = "S: Catalog")]
pub struct Config<S> {
    /// Exporters.
    #[serde(deserialize_with = "values::section")]
    pub export: Export,
    /// Sources of metrics.
    #[serde(deserialize_with = "values::section")]
    pub sources: S,
    /// Attributes of the resource.
    #[serde(deserialize_with = "values::section")]
    pub resource: Resource,
    /// Inventory of containers and systemd services, which all sources share.
    #[serde(deserialize_with = "values::section")]
    pub inventory: Inventory,
    /// The agent's own log, on stderr.
    #[serde(deserialize_with = "values::section")]
    pub log: Log,
    /// Settings that only environment variables have.
    #[serde(skip)]
    pub environment: Environment,
    /// The file that it was read from; none where flags and variables say everything.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}
