//! One target of the probes: its keys. Which of them go together is in `check`.

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
    /// Whether `host` is a full name, to be looked up as it is: that of a service the DNS names (RFC 2782).
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    pub absolute: bool,
    /// Port of the peer: 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path of the socket for the kinds `unix`, `unixgram` and `unixpacket`; `@name` is an abstract one.
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
    /// How long one probe may take, name look-up included: 1ms to 10m; not set: `sources.probes.timeout`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "timeout", serialize_with = "print")]
    #[cfg_attr(test, schemars(schema_with = "values::duration_schema"))]
    pub timeout: Option<Duration>,
    /// Failed probes in a row before it counts as down: 1 to 1000; not set: that of `sources.probes`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_threshold")]
    pub failures_before_down: Option<u32>,
    /// Successful probes in a row before it counts as up again: 1 to 1000; not set: that of `sources.probes`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "some_threshold")]
    pub successes_before_up: Option<u32>,
    /// Address family that is probed where a name has both; not set: `sources.probes.prefer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefer: Option<Family>,
    /// Whether the other family is probed where a name does not have `prefer`; not set: `sources.probes.fallback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<bool>,
    /// Every address of the name is a target of its own, with the attribute `network.peer.address`.
    #[serde(skip_serializing_if = "is_false")]
    pub all: bool,
    /// Source address of the probe, one of this machine; not set: the kernel's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Interface the probe leaves by; takes `CAP_NET_RAW` where the kernel is older than 5.7.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Network namespace it is probed from: a name, a path or `pid:N`; takes `CAP_SYS_ADMIN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub netns: String,
    /// How a TCP connection ends: `fin`, or `reset` (`SO_LINGER` 0), which leaves no `TIME_WAIT` behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close: Option<TcpClose>,
    /// What is sent, and expected, over UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Name that `preset: dns` asks for; community of `preset: snmp`; address of `preset: sip`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// What is sent, as text; `\r`, `\n`, `\t`, `\\` and `\xNN` are understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// What is sent, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Regular expression that the answer has to match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Bytes that the answer has to contain, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<String>,
    /// What is said and heard over TCP, TLS or a stream socket of this machine, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversation: Vec<Step>,
    /// How TLS is spoken, for `tls`, `http` and STARTTLS.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: TargetTls,
    /// What is asked over HTTP, and what the answer has to be.
    #[serde(skip_serializing_if = "is_default")]
    pub http: Http,
    /// Settings of an ICMP echo probe.
    #[serde(skip_serializing_if = "is_default")]
    pub icmp: Icmp,
}

impl Target {
    /// Puts something else instead of what is secret more often than not: whatever is sent, the headers, body and query
    /// of a request, and the community of SNMP.
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
    /// In order.
    Fin,
    /// At once.
    Reset,
}

/// What is sent over UDP, and expected, without writing it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// A question for `query`, by default the name servers of the root; any answer without an error is right.
    Dns,
    /// A request of a client; the answer is that of a server.
    Ntp,
    /// A request for `sysUpTime.0`; the community is `query`, by default `public`.
    Snmp,
    /// A binding request.
    Stun,
    /// `OPTIONS`; any SIP answer is right.
    Sip,
}

/// What is looked up in the DNS for targets.
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

/// A step of a conversation: wait for what is expected, then send, then begin with TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// Regular expression that a line has to match; lines before it are skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// Bytes that have to come, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_hex: Option<String>,
    /// A line that is sent; `${1}` is what the first group of the last expectation matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Bytes that are sent, as hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_hex: Option<String>,
    /// Whether TLS begins after this step.
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
    /// Name that is sent (SNI) and that the certificate has to be for; not set: the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub server_name: String,
    /// Protocols that are offered (ALPN); the peer has to choose one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// Whether the certificate is verified; false: neither chain nor dates, name or signatures are.
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

/// What is asked over HTTP, and what the answer has to be.
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
    /// Redirects that are followed, at most.
    pub redirects: u8,
    /// Regular expression that the first 64 KiB of the body have to match.
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
    /// Echo requests of one probe, sent 200 ms apart; one answer is enough to be up: 1 to 20.
    #[serde(deserialize_with = "echoes")]
    pub count: u8,
    /// Bytes of payload: 0 to 65507.
    #[serde(deserialize_with = "payload")]
    pub size: u16,
    /// Hops a request may take; not set: as many as the system says.
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
