//! The proxy of the receiver, from the usual variables: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in upper
//! or lower case. For OTLP over HTTP only; over gRPC the agent connects to the receiver directly.
//!
//! `NO_PROXY` is evaluated by hyper-util's matcher (curl's rules): `*`, addresses, networks, names with their
//! subdomains. Added here: a port (`host:4318`), `*.name`, brackets around an IPv6 address, and that this machine is
//! never reached through a proxy.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use std::ffi::OsString;
use std::net::IpAddr;

/// A proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Scheme, host and port, without user.
    pub(super) uri: Uri,
    /// `Proxy-Authorization`, if the variable has a user.
    pub(super) authorization: Option<HeaderValue>,
    /// Name of the variable.
    pub(super) variable: &'static str,
}

impl Proxy {
    /// The proxy for a receiver; `None` without one. The error names the variable and not its value, which may contain
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
        // For a URL that it cannot parse, the matcher also returns no proxy.
        let understood = Matcher::builder().all(value.clone()).build().intercept(receiver);
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
                "{name}: names a {scheme} proxy; connscope supports http and https proxies. Add the receiver to NO_PROXY to \
                 reach it without one"
            ));
        }
        if !has_port(&value) {
            return Err(format!("{name}: the port of the proxy is not a number from 1 to 65535"));
        }
        Ok(Some(Self { uri, authorization: understood.basic_auth().cloned(), variable: name }))
    }
}

/// The first of these variables that is set and not empty.
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

/// `NO_PROXY` in the form of the matcher, for a receiver with this port.
fn except(list: &str, port: u16) -> String {
    let entries = list.split([',', ' ', '\t']).filter_map(|entry| {
        let (host, only) = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            // An IPv6 address has more than one colon.
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

/// Whether the port of a proxy's URL is one, or is not written; the matcher takes any other text for port 80.
fn has_port(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // An IPv6 address is in brackets.
    let port = match host.rsplit_once(']') {
        Some((_, rest)) => rest.strip_prefix(':').or(Some(rest).filter(|rest| !rest.is_empty())),
        None => host.split_once(':').map(|(_, port)| port),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    port.is_none_or(is_port)
}

/// Whether a host is always this machine (RFC 6761, section 6.3).
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::Proxy;

    /// The proxy for a receiver, as host and port, with these variables.
    fn of(receiver: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let receiver = receiver.parse().expect("a URL");
        let value =
            |name: &str| variables.iter().find(|(there, _)| *there == name).map(|(_, value)| value.into());
        let proxy = Proxy::of(&receiver, &value)?;
        Ok(proxy.and_then(|proxy| proxy.uri.authority().map(ToString::to_string)))
    }

    #[test]
    fn the_variable_of_the_scheme_goes_before_that_of_all() {
        let all = [
            ("HTTPS_PROXY", "http://s:1"),
            ("http_proxy", "p:2"),
            ("ALL_PROXY", "http://a:3"),
            ("NO_PROXY", ""),
            ("no_proxy", "excepted.example"),
        ];
        let named = |receiver, variables: &[_]| of(receiver, variables).expect("understood");
        assert_eq!(named("https://c.example", &all).as_deref(), Some("s:1"));
        assert_eq!(named("http://c.example:4318", &all).as_deref(), Some("p:2"));
        assert_eq!(named("http://c.example:4318", &all[2..]).as_deref(), Some("a:3"));
        assert_eq!(named("https://excepted.example", &all), None);
        assert_eq!(named("https://c.example", &[]), None);
        assert_eq!(named("https://c.example", &[("HTTPS_PROXY", "")]), None);
    }

    #[test]
    fn no_proxy_is_understood_in_all_its_forms() {
        let proxied = |receiver: &str, except: &str| {
            of(receiver, &[("ALL_PROXY", "http://p:1"), ("NO_PROXY", except)]).expect("understood").is_some()
        };
        for (receiver, except) in [
            ("http://c.example", "*"),
            ("http://c.example", "c.example"),
            ("http://c.example", "other,C.Example"),
            ("http://c.example", "other c.example"),
            ("http://a.c.example", "c.example"),
            ("http://a.c.example", " .c.example "),
            ("http://a.c.example", "*.c.example"),
            ("http://c.example:4318", "c.example:4318"),
            ("https://c.example", "c.example:443"),
            ("http://192.0.2.7:4318", "192.0.2.7"),
            ("http://192.0.2.7:4318", "192.0.2.7:4318"),
            ("http://192.0.2.7:4318", "192.0.2.0/24"),
            ("http://[2001:db8::7]:4318", "2001:db8::7"),
            ("http://[2001:db8::7]:4318", "[2001:db8::7]"),
            ("http://[2001:db8::7]:4318", "[2001:db8::7]:4318"),
            ("http://[2001:db8::7]:4318", "2001:db8::/32"),
        ] {
            assert!(!proxied(receiver, except), "{receiver} is excepted by {except}");
        }
        for (receiver, except) in [
            ("http://c.example", ""),
            ("http://c.example", ","),
            ("http://notc.example", "c.example"),
            ("http://c.example:4318", "c.example:4317"),
            ("http://c.example", "a.c.example"),
            ("http://192.0.2.7:4318", "198.51.100.0/24"),
            ("http://[2001:db8::7]:4318", "[2001:db8::7]:1"),
        ] {
            assert!(proxied(receiver, except), "{receiver} is not excepted by {except}");
        }
    }

    #[test]
    fn this_machine_is_never_proxied() {
        for receiver in [
            "http://localhost:4318",
            "http://LOCALHOST.:4318",
            "https://a.localhost",
            "http://127.8.9.1",
            "http://[::1]:4318",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert_eq!(of(receiver, &[("ALL_PROXY", "http://p:1")]), Ok(None), "{receiver}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_and_its_password_not_shown() {
        for wrong in [
            "http://user:hunter2@",
            "ftp://user:hunter2@p:1",
            "socks5h://user:hunter2@p:1",
            "http://hunter2 x",
            "http://user:hunter2@p:x",
            "http://user:hunter2@p:99999",
            "http://user:hunter2@p:0",
            "http://user:hunter2@p:-1/",
            "http://user:hunter2@p:",
            "http://user:hunter2@[::1]:x",
            "user:hunter2@p:1:2",
            "p:hunter2",
        ] {
            let why = of("http://c.example", &[("HTTP_PROXY", wrong)]).expect_err(wrong);
            assert!(why.starts_with("HTTP_PROXY: ") && !why.contains("hunter2"), "{why}");
            let excepted = [("HTTP_PROXY", "socks5h://p:1"), ("NO_PROXY", "c.example")];
            assert_eq!(of("http://c.example", &excepted), Ok(None), "what is not used is not refused");
        }
        for (right, place) in [
            ("http://user:hunter2@p:3128/", "p:3128"),
            ("p", "p"),
            ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
            ("http://[2001:db8::1]", "[2001:db8::1]"),
        ] {
            let proxy = of("http://c.example", &[("HTTP_PROXY", right)]);
            assert_eq!(proxy.map(Option::unwrap_or_default).as_deref(), Ok(place), "{right}");
        }
    }
}
