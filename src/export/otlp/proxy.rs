//! The proxy before the receiver, as the usual variables name it: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`,
//! in capitals or not. It is for OTLP over HTTP; over gRPC the agent connects to the receiver itself.
//!
//! Which hosts `NO_PROXY` excepts is hyper-util's matcher (curl's rules): `*`, addresses, networks, names with their
//! subdomains. Added here: a port (`host:4318`), `*.name`, brackets around an address of IPv6, and that this machine is
//! never asked for through a proxy.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use std::ffi::OsString;
use std::net::IpAddr;

/// A proxy to send messages through.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its scheme, host and port; without the user.
    pub(super) uri: Uri,
    /// `Proxy-Authorization`, where the variable has a user.
    pub(super) authorization: Option<HeaderValue>,
    /// The variable that names it.
    pub(super) variable: &'static str,
}

impl Proxy {
    /// The proxy for a receiver, if there is one. The error names the variable and does not show its value, which may hold
    /// a password.
    pub(super) fn of(
        receiver: &Uri,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, String> {
        let host = receiver.host().unwrap_or_default();
        if is_local(host) {
            return Ok(None);
        }
        let secure = receiver.scheme_str() == Some("https");
        let names: &[&[&'static str]] = if secure {
            &[&["HTTPS_PROXY", "https_proxy"], &["ALL_PROXY", "all_proxy"]]
        } else {
            &[&["HTTP_PROXY", "http_proxy"], &["ALL_PROXY", "all_proxy"]]
        };
        let mut named = None;
        for names in names {
            named = match named {
                None => first(names, variable)?,
                found => found,
            };
        }
        let Some((name, value)) = named else { return Ok(None) };
        let port = receiver.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let excepted = first(&["NO_PROXY", "no_proxy"], variable)?.map(|(_, list)| except(&list, port));
        let matcher = Matcher::builder().all(value.clone()).no(excepted.unwrap_or_default()).build();
        // The matcher says "no proxy" for one that it does not understand, too.
        let understood = Matcher::builder().all(value).build().intercept(receiver);
        let Some(understood) = understood else {
            return Err(format!("{name}: is not the URL of a proxy (http://HOST:PORT or https://HOST:PORT)"));
        };
        if matcher.intercept(receiver).is_none() {
            return Ok(None);
        }
        let uri = understood.uri().clone();
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            let scheme = uri.scheme_str().unwrap_or_default();
            return Err(format!(
                "{name}: names a {scheme} proxy; connscope speaks to http and https proxies. Add the receiver to NO_PROXY to \
                 reach it without one"
            ));
        }
        Ok(Some(Self { uri, authorization: understood.basic_auth().cloned(), variable: name }))
    }
}

/// The first of these variables that is set, and not to nothing.
fn first(
    names: &[&'static str],
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<(&'static str, String)>, String> {
    for name in names {
        let value = variable(name).filter(|value| !value.is_empty());
        if let Some(value) = value {
            let value = value.into_string().map_err(|_| format!("{name}: is not UTF-8"))?;
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

/// `NO_PROXY` in the matcher's form, for a receiver with this port.
fn except(list: &str, port: u16) -> String {
    let entries = list.split([',', ' ', '\t']).filter_map(|entry| {
        let (host, only) = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            // An address of IPv6 has more than one colon.
            None if entry.matches(':').count() == 1 => {
                entry.split_once(':').map(|(host, port)| (host, Some(port)))?
            }
            None => (entry, None),
        };
        let here = only.is_none_or(|only| only.parse() == Ok(port));
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        (here && !host.is_empty()).then(|| host.to_ascii_lowercase())
    });
    entries.collect::<Vec<_>>().join(",")
}

/// Whether a host is this machine under any circumstances (RFC 6761, section 6.3).
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}
