//! The keys of a target. Their validation against each other is in `check`.

use super::kind::{Family, Kind};
use super::single::{TargetLabels, echoes, host, interval, labels, payload, print, some_threshold, timeout};
use crate::settings::{headers, values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Name of the target: the attribute `probe.name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Kind of probe.
    pub kind: Kind,
    /// Name or address of the peer; a link-local address with its zone, `fe80::1%eth0`, or with `interface`.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "host")]
    pub host: String,
    /// Whether `host` is a full name, looked up without a search list: the target of an SRV record (RFC 2782).
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    pub absolute: bool,
    /// Port of the peer: 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path of the socket for the kinds `unix`, `unixgram` and `unixpacket`; `@name` is an abstract socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// URL that is requested by `kind: http`; a user name or password goes into `http.headers`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Attributes of its series, up to 4096 bytes altogether.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "labels")]
    #[cfg_attr(test, schemars(schema_with = "super::labels_schema"))]
    pub labels: TargetLabels,
    /// How often it is probed: 100ms to 24h; not set: `sources.probes.interval`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "interval",
        serialize_with = "print"
    )]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub interval: Option<Duration>,
    /// Time-out of one probe, name lookup included: 1ms to 10m; not set: `sources.probes.timeout`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "timeout", serialize_with = "print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Option<Duration>,
    /// Failed probes in a row after which it is down: 1 to 1000; not set: that of `sources.probes`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_threshold")]
    pub failures_before_down: Option<u32>,
    /// Successful probes in a row after which it is up again: 1 to 1000; not set: that of `sources.probes`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_threshold")]
    pub successes_before_up: Option<u32>,
    /// Preferred address family if the name has both; not set: `sources.probes.prefer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Family>,
    /// Whether the other family is probed if the name has no address of `prefer`; not set: `sources.probes.fallback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// Whether every address of the name is probed separately, with the attribute `network.peer.address`.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// Source address of the probe, one of this machine; not set: the kernel's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Interface that the probe is sent from; needs `CAP_NET_RAW` before Linux 5.7.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Network namespace that it is probed from: a name, a path or `pid:N`; needs `CAP_SYS_ADMIN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// How a TCP connection is closed: `fin`, or `reset` (`SO_LINGER` 0), which leaves no socket in `TIME_WAIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<TcpClose>,
    /// Predefined request and expected response over UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Name in the query of `preset: dns`; community of `preset: snmp`; address of `preset: sip`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Request, as text; the escapes `\r`, `\n`, `\t`, `\\` and `\xNN` are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Request, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Regular expression that the response must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Bytes that the response must contain, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<String>,
    /// Steps of a conversation over TCP, TLS or a Unix stream socket, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Step>,
    /// TLS settings, for `tls`, `http` and STARTTLS.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: TargetTls,
    /// HTTP request, and the expected response.
    #[serde(skip_serializing_if = "is_default")]
    pub http: Http,
    /// Settings of an ICMP echo probe.
    #[serde(skip_serializing_if = "is_default")]
    pub icmp: Icmp,
}

impl Target {
    /// Replaces values that are often secret by a placeholder: requests, headers, bodies and queries, and the community
    /// of SNMP.
    pub(super) fn hide(&mut self) {
        let steps = self.conversation.iter_mut().flat_map(|step| [&mut step.send, &mut step.send_hex]);
        let sent = [&mut self.send, &mut self.send_hex].into_iter().chain(steps).flatten();
        let filled = [&mut self.http.body].into_iter().filter(|body| !body.is_empty());
        let community =
            (self.preset == Some(Preset::Snmp) && !self.query.is_empty()).then_some(&mut self.query);
        for value in sent.chain(self.http.headers.values_mut()).chain(filled).chain(community) {
            values::HIDDEN.clone_into(value);
        }
        if let Some((page, _)) = self.url.split_once('?') {
            self.url = format!("{page}?{}", values::HIDDEN);
        }
    }
}

/// How a TCP connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TcpClose {
    /// In order, with a FIN.
    Fin,
    /// With a reset.
    Reset,
}

/// A predefined UDP request and its expected response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// A query for `query`, by default for the name servers of the root; any response without an error is accepted.
    Dns,
    /// A client request; the response must be that of a server.
    Ntp,
    /// A request for `sysUpTime.0`; the community is `query`, by default `public`.
    Snmp,
    /// A STUN binding request.
    Stun,
    /// `OPTIONS`; any SIP response is accepted.
    Sip,
}

/// DNS record type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Services: host and port.
    #[default]
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// A step of a conversation: waits for what is expected, then sends, then starts TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Regular expression that a line must match; lines before it are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Bytes that must be received, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<String>,
    /// Line to send; `${1}` is what the first group of the last `expect` matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Bytes to send, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Whether TLS is started after this step.
    #[serde(skip_serializing_if = "is_false")]
    pub starttls: bool,
}

/// TLS settings of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TargetTls {
    /// File with the authorities (PEM) that the peer's certificate is verified with; not set: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// File with the client certificate and its chain (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// File with the private key of `cert_file` (PEM), without a passphrase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Name that is sent (SNI) and that the certificate must have; not set: the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Protocols that are offered (ALPN); the peer must choose one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// Whether the certificate is verified; false: neither chain, dates, name nor signatures are checked.
    pub verify: bool,
}

impl Default for TargetTls {
    fn default() -> Self {
        Self {
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: String::new(),
            alpn: Vec::new(),
            verify: true,
        }
    }
}

/// HTTP request, and the expected response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Method of the request.
    pub method: Method,
    /// Headers of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "headers::deserialize")]
    pub headers: BTreeMap<String, String>,
    /// Body of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Status codes that count as success; empty: 200 to 299.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Maximum number of redirects that are followed.
    pub redirects: u8,
    /// Regular expression that the first 64 KiB of the body must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            method: Method::Get,
            headers: BTreeMap::new(),
            body: String::new(),
            status: Vec::new(),
            redirects: 10,
            expect_body: None,
        }
    }
}

/// Methods of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "each is the word it is written as")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Options,
}

/// Settings of an ICMP echo probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Icmp {
    /// Echo requests of one probe, sent 200 ms apart: 1 to 20; the target is up if one is answered.
    #[serde(deserialize_with = "echoes")]
    pub count: u8,
    /// Bytes of payload: 0 to 65507.
    #[serde(deserialize_with = "payload")]
    pub size: u16,
    /// Time to live (hop limit) of a request; not set: the system's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

impl Default for Icmp {
    fn default() -> Self {
        Self { count: 1, size: 56, ttl: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
