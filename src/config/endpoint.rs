//! The endpoint of the OTLP receiver: what is taken, what is filled in, and what of it may be shown (pure).

use super::Protocol;
use crate::settings::values::HIDDEN;
use hyper::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::path::Path;

/// Port of OTLP over gRPC and over HTTP.
pub(super) const DEFAULT_GRPC: &str = "http://localhost:4317";
const DEFAULT_HTTP: &str = "http://localhost:4318";
const METRICS_PATH: &str = "/v1/metrics";

/// Most bytes of the path of a Unix socket (`sun_path` of `unix(7)` and the zero that ends it).
pub(super) const LONGEST_UNIX_PATH: usize = 107;

/// The path of an endpoint that is a Unix socket, as gRPC writes it (`unix:/PATH`, `unix:///PATH`).
pub fn unix_path(endpoint: &str) -> Option<&Path> {
    let path = endpoint.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (path.len() > 1 && path.starts_with('/') && !path.contains('\0')).then(|| Path::new(path))
}

/// What every endpoint must be, whatever the protocol: a URL, or for grpc a host and a port, or a Unix socket. The error
/// does not repeat the text, which may hold a secret.
pub fn check(text: &str) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match unix_path(text) {
            Some(path) if path.as_os_str().len() <= LONGEST_UNIX_PATH => Ok(text.to_owned()),
            Some(_) => Err(format!("has a path of more than {LONGEST_UNIX_PATH} bytes")),
            None if path.starts_with("//") => Err("has a host before the path; use unix:///PATH".to_owned()),
            None => Err("is not unix:/PATH, with the whole path of a socket".to_owned()),
        };
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user name; credentials go into headers".to_owned());
    }
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(scheme) => return Err(format!("has the scheme `{scheme}`; use http, https or unix")),
        None if uri.port().is_some() => {}
        None => return Err("is neither a URL nor HOST:PORT".to_owned()),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    if uri.query() == Some(HIDDEN) {
        return Err(format!("has {HIDDEN}, which connscope config prints instead of a query"));
    }
    Ok(text.to_owned())
}

/// The endpoint that is spoken to: the default of the protocol, the scheme and the path filled in. A query stays behind the
/// path.
pub fn settle(
    configured: Option<String>,
    protocol: Protocol,
    insecure: bool,
    as_is: bool,
) -> Result<String, String> {
    let http = protocol == Protocol::HttpProtobuf;
    let Some(endpoint) = configured else {
        return Ok(if http { format!("{DEFAULT_HTTP}{METRICS_PATH}") } else { DEFAULT_GRPC.to_owned() });
    };
    if unix_path(&endpoint).is_some() {
        let refused = "is a Unix socket, which is for grpc; http/protobuf needs http:// or https://";
        return if http { Err(format!("`{endpoint}` {refused}")) } else { Ok(endpoint) };
    }
    match (http, endpoint.contains("://")) {
        (true, false) => {
            let endpoint = shown(&endpoint);
            Err(format!("`{endpoint}` needs a scheme (http:// or https://) for http/protobuf"))
        }
        (false, false) => Ok(format!("{}{endpoint}", if insecure { "http://" } else { "https://" })),
        (false, true) => Ok(endpoint),
        (true, true) if as_is => Ok(endpoint),
        (true, true) => {
            let endpoint = endpoint.split('#').next().unwrap_or_default();
            let (base, query) = match endpoint.split_once('?') {
                Some((base, query)) => (base, Some(query)),
                None => (endpoint, None),
            };
            let base = base.trim_end_matches('/');
            let path = if base.ends_with(METRICS_PATH) { "" } else { METRICS_PATH };
            Ok(query.map_or_else(|| format!("{base}{path}"), |query| format!("{base}{path}?{query}")))
        }
    }
}

/// An endpoint, or what was meant to be one, without what may be secret: user and password, and the query.
pub fn shown(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // A password may hold any character, where what is written is no URL.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => (format!("{HIDDEN}@"), rest),
        None => (String::new(), rest),
    };
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}{user}{rest}?{HIDDEN}"),
        None => format!("{scheme}{user}{rest}"),
    }
}

/// `export.otlp.endpoint`
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) => check(&text)
            .map(Some)
            .map_err(|message| D::Error::custom(format!("`{}` {message}", shown(&text)))),
    }
}
