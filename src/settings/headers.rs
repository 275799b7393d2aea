//! Headers of requests: those of the push, and those of probes.

use super::values::{HIDDEN, section};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserializer;
use serde::de::Error;
use std::collections::BTreeMap;

/// Whether a header can be sent; the message does not show the value.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))?;
    if value == HIDDEN {
        return Err(format!("the value of `{name}` is what connscope config prints instead of it"));
    }
    HeaderValue::from_str(value).map_err(|_| format!("the value of `{name}` cannot be sent in a header"))?;
    Ok(())
}

/// Headers by name; names are made lowercase, as HTTP/2 wants them.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut headers = BTreeMap::new();
    for (name, value) in section::<D, BTreeMap<String, String>>(deserializer)? {
        check(&name, &value).map_err(D::Error::custom)?;
        if headers.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(D::Error::custom(format!("`{name}` is repeated; capitals make no other header")));
        }
    }
    Ok(headers)
}
