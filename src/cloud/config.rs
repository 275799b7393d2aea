//! The settings of the cloud.

use super::instance::{Instance, value};
use super::provider::Provider;
use crate::settings::values;
use crate::text::bounded;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Range of `timeout`.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);

/// Cloud that the machine is in, for the attributes of the resource. Keys that are set go over what was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Cloud {
    /// Whose metadata is asked for: `auto` (the cloud that DMI names; nothing is sent where it names none), `off`, or a
    /// provider, which is asked without DMI: `aws`, `gcp`, `azure`, `digitalocean`, `hetzner`, `oracle`, `alibaba`.
    #[serde(deserialize_with = "detect")]
    #[cfg_attr(test, schemars(schema_with = "detect_schema"))]
    pub detect: Detect,
    /// How long the metadata may take, all requests together: 100ms to 30s. A request may take 1s.
    #[serde(deserialize_with = "timeout", serialize_with = "values::print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Duration,
    /// Where the metadata is asked for, `http://HOST:PORT`; not set: the link-local address of the provider.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// Attribute `cloud.provider`.
    #[serde(deserialize_with = "given")]
    pub provider: Option<String>,
    /// Attribute `cloud.account.id`.
    #[serde(deserialize_with = "given")]
    pub account_id: Option<String>,
    /// Attribute `cloud.region`.
    #[serde(deserialize_with = "given")]
    pub region: Option<String>,
    /// Attribute `cloud.availability_zone`.
    #[serde(deserialize_with = "given")]
    pub availability_zone: Option<String>,
    /// Attribute `host.type`.
    #[serde(deserialize_with = "given")]
    pub instance_type: Option<String>,
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            detect: Detect::Auto,
            timeout: Duration::from_secs(3),
            endpoint: None,
            provider: None,
            account_id: None,
            region: None,
            availability_zone: None,
            instance_type: None,
        }
    }
}

/// Whose metadata is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detect {
    /// That of the cloud which DMI names.
    Auto,
    /// Nobody's.
    Off,
    /// That of this provider.
    Provider(Provider),
}

impl Detect {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Provider(provider) => provider.names().key,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [Self::Auto, Self::Off].into_iter().chain(Provider::ALL.iter().map(|one| Self::Provider(*one)))
    }
}

impl Serialize for Detect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// `resource.cloud.detect`
fn detect<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Detect, D::Error> {
    let text = String::deserialize(deserializer)?;
    Detect::all().find(|detect| detect.word() == text).ok_or_else(|| {
        let words: Vec<&str> = Detect::all().map(Detect::word).collect();
        D::Error::custom(format!("`{}` is none of {}", bounded(&text, 32), words.join(", ")))
    })
}

#[cfg(test)]
fn detect_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"enum": Detect::all().map(Detect::word).collect::<Vec<_>>()})
}

/// `resource.cloud.timeout`
fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    values::ranged(deserializer, TIMEOUT)
}

/// `resource.cloud.endpoint`
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match super::client::Endpoint::parse(&text) {
        Ok(_) => Ok(Some(text)),
        Err(why) => Err(D::Error::custom(format!("`{}` {why}", bounded(&text, 64)))),
    }
}

/// What is given instead of what is found.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match value(&text) {
        Some(text) => Ok(Some(text)),
        None => Err(D::Error::custom(format!(
            "`{}` is not a value: at most 255 letters, digits and ._:/@+=~-",
            bounded(&text, 32)
        ))),
    }
}

impl Cloud {
    /// What was found, with what is given over it.
    pub fn over(&self, found: Instance) -> Instance {
        let over = |given: &Option<String>, found: Option<String>| given.clone().or(found);
        Instance {
            given_provider: self.provider.clone(),
            account_id: over(&self.account_id, found.account_id),
            region: over(&self.region, found.region),
            availability_zone: over(&self.availability_zone, found.availability_zone),
            kind: over(&self.instance_type, found.kind),
            ..found
        }
    }
}
