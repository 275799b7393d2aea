//! Validation of the `Host` header.
//!
//! A web page can resolve its own name to an address of this machine (DNS rebinding) and then read the endpoint from
//! the browser of a user of this network. Its `Host` is then a public DNS name. So addresses, `localhost`, names
//! without a dot (which public DNS does not have) and the names of this machine are allowed, and other names only if
//! configured.

use crate::config::{Address, Listen};
use hyper::Request;
use hyper::header::HOST;
use std::net::IpAddr;

/// Value of `export.prometheus.hosts` that allows every name.
pub const ANY: &str = "any";

/// Host names that are allowed.
#[derive(Debug)]
pub struct Hosts {
    /// Names in lower case; `*.` at the beginning allows every subdomain.
    names: Vec<String>,
    any: bool,
}

impl Hosts {
    /// The names of the configuration and of this machine.
    pub fn new(configured: &[String], listen: &Listen) -> Self {
        let mut names: Vec<String> = configured.iter().map(|name| normalize(name)).collect();
        names.extend(listen.addresses().iter().filter_map(|address| match address {
            Address::At { host, .. } => Some(normalize(host)),
            Address::Unix(_) | Address::Systemd(_) => None,
        }));
        names.extend(own_names());
        Self { names, any: configured.iter().any(|name| name == ANY) }
    }

    /// The reason why a request is refused; `None` if it is allowed.
    pub fn refusal<B>(&self, request: &Request<B>) -> Option<String> {
        if self.any {
            return None;
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return Some("more than one Host header".to_owned()),
            (Some(authority), _, _) => authority.as_str(),
            (None, Some(host), None) => host.to_str().unwrap_or("?"),
            // HTTP/1.0 has no `Host`, and no browser uses it.
            (None, None, None) => return None,
        };
        if self.allows(host) {
            return None;
        }
        let host = crate::text::bounded(host, crate::text::LONGEST_NAME);
        Some(format!("requests for the host `{host}` are refused; add it to export.prometheus.hosts"))
    }

    fn allows(&self, host: &str) -> bool {
        let host = normalize(without_port(host));
        if host.parse::<IpAddr>().is_ok() || !host.contains('.') {
            return true;
        }
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => {
                host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => *name == host,
        })
    }
}

fn normalize(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The host of `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

/// Names of this machine that need no name server: its host name, that name below each search domain, and its names in
/// `/etc/hosts`.
fn own_names() -> Vec<String> {
    let node = normalize(&rustix::system::uname().nodename().to_string_lossy());
    let mut names = vec![node.clone()];
    for line in read("/etc/resolv.conf").lines() {
        let mut words = line.split_ascii_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            names.extend(words.map(|domain| normalize(&format!("{node}.{domain}"))));
        }
    }
    for line in read("/etc/hosts").lines() {
        let line = line.split('#').next().unwrap_or_default();
        let beside: Vec<String> = line.split_ascii_whitespace().skip(1).map(normalize).collect();
        if beside.contains(&node) {
            names.extend(beside);
        }
    }
    names
}

fn read(path: &str) -> String {
    crate::sys::read_limited(path, 64 * 1024).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Hosts;
    use crate::config::Address;
    use hyper::Request;

    fn allowed(configured: &[&str], host: &str) -> bool {
        let configured: Vec<String> = configured.iter().map(ToString::to_string).collect();
        let listen = Address::At { host: "agent.example".to_owned(), port: 1 };
        let request = Request::builder().uri("/metrics").header("host", host).body(()).unwrap();
        Hosts::new(&configured, &listen.into()).refusal(&request).is_none()
    }

    #[test]
    fn a_name_of_somebody_else_is_refused_and_an_address_is_not() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9371",
            "[::1]:9371",
            "localhost:9371",
            "LOCALHOST",
            "node",
            "agent.example",
        ] {
            assert!(allowed(&[], host), "{host}");
        }
        for host in [
            "rebound.evil.example",
            "evil.example:9371",
            "127.0.0.1.evil.example",
            "agent.example.evil",
            "",
            "?.?",
        ] {
            assert_eq!(allowed(&[], host), host.is_empty(), "{host}");
        }
        assert!(allowed(&["any"], "evil.example"));
        assert!(
            allowed(&["prom.example."], "PROM.example:9371") && !allowed(&["prom.example"], "a.prom.example")
        );
        assert!(
            allowed(&["*.example.org"], "a.b.example.org") && !allowed(&["*.example.org"], "example.org")
        );
        assert!(!allowed(&["*.example.org"], "evilexample.org"));
    }
}
