//! Headers of requests: those of the push, and those of probes.

use super::values::{HIDDEN, section};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserializer;
use serde::de::Error;
use std::collections::BTreeMap;

/// Headers that say how a message is framed and its connection used (RFC 9110, sections 7.6.1 and 8.6): the client's own.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Headers of a push that follow from the endpoint, protocol and compression.
const OF_PUSH: [&str; 3] = ["content-encoding", "content-type", "host"];

/// Whether a header of a push can be sent; the message does not show the value.
pub fn check_push(name: &str, value: &str) -> Result<(), String> {
    if OF_PUSH.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!(
            "`{name}` follows from the endpoint, the protocol and the compression, and cannot be set"
        ));
    }
    check(name, value)
}

/// Whether a header can be sent; the message does not show the value.
fn check(name: &str, value: &str) -> Result<(), String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))?;
    if FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!(
            "`{name}` is about the connection or the length of the request, and cannot be set"
        ));
    }
    if value == HIDDEN {
        return Err(format!("the value of `{name}` is what connscope config prints instead of it"));
    }
    HeaderValue::from_str(value).map_err(|_| format!("the value of `{name}` cannot be sent in a header"))?;
    Ok(())
}

/// Headers of a probe by name; names are made lowercase, as HTTP/2 wants them.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    checked(deserializer, check)
}

/// Headers of a push by name, in the same form.
pub fn deserialize_push<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    checked(deserializer, check_push)
}

fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: fn(&str, &str) -> Result<(), String>,
) -> Result<BTreeMap<String, String>, D::Error> {
    let mut headers = BTreeMap::new();
    for (name, value) in section::<D, BTreeMap<String, String>>(deserializer)? {
        check(&name, &value).map_err(D::Error::custom)?;
        if headers.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(D::Error::custom(format!("`{name}` is repeated; capitals make no other header")));
        }
    }
    Ok(headers)
}
