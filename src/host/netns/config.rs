//! The setting `netns` of a source: the network namespaces that are read.

use super::{NAMESPACES, is_pattern};
use crate::settings::values;
use serde::Deserializer;
use serde::de::Error;

/// JSON Schema of the network namespaces.
#[cfg(test)]
pub fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let entry = schemars::json_schema!({"type": "string", "pattern": "^(pid:[0-9]+|[^:]+|.*/.*)$"});
    schemars::json_schema!({"anyOf": [{"const": "all"}, {"type": "array", "items": entry}, {"type": "null"}]})
}

/// Deserializer of `sources.*.netns`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let entries = values::one_or_many(deserializer, "a list of network namespaces, or all")?;
    if entries.len() > NAMESPACES {
        return Err(D::Error::custom(format!("at most {NAMESPACES} can be read")));
    }
    match entries.iter().find_map(|entry| refuse_netns(entry)) {
        Some(message) => Err(D::Error::custom(message)),
        None => Ok(entries),
    }
}

/// Maximum length of an entry, bytes, as for a path in the kernel (`PATH_MAX`).
const LONGEST_ENTRY: usize = 4096;

/// The reason why a text cannot be an entry; `None` if it can.
fn refuse_netns(entry: &str) -> Option<String> {
    if let Some(message) = values::too_long(entry, LONGEST_ENTRY) {
        return Some(message);
    }
    match entry.strip_prefix("pid:") {
        Some(pid) if pid.parse::<u32>().is_ok_and(|pid| pid > 0) => None,
        Some(_) => Some(format!("`{entry}`: after `pid:` comes a process number")),
        None if entry.is_empty() || entry == "." || entry == ".." => {
            Some(format!("`{entry}` is neither a name, a path, a pattern nor pid:N"))
        }
        None if is_pattern(entry) && (entry.contains("**") || glob::Pattern::new(entry).is_err()) => {
            Some(format!(
                "`{entry}` is not a pattern: `*` and `?` stand for characters of one name, `[a-z]` for one of a range"
            ))
        }
        None => None,
    }
}

/// Validates an entry that names one network namespace.
pub fn check(entry: &str) -> Result<(), String> {
    if entry == "all" {
        return Err("`all` is not one network namespace".to_owned());
    }
    if is_pattern(entry) {
        return Err(format!("`{entry}` is a pattern, and not one network namespace"));
    }
    refuse_netns(entry).map_or(Ok(()), Err)
}
