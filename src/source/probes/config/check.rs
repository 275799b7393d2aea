//! Validation of the keys of a target against each other (pure).

use super::kind::Protocol;
use super::single::{check_labels, split_zone};
use super::target::is_default;
use super::text::{regular, unescape, unhex};
use super::{ADDRESSES, Family, Kind, Preset, Step, Target};
use crate::settings::values;
use crate::text::{LONGEST_NAME, bounded};
use crate::url::{self, Url};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// A target whose keys were validated.
struct Checked(Target);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let target = Target::deserialize(deserializer)?;
        target.check().map_err(D::Error::custom)?;
        Ok(Self(target))
    }
}

/// Deserializer of `sources.probes.targets`.
pub(super) fn targets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Target>>, D::Error> {
    let targets: Vec<Checked> = values::section(deserializer)?;
    if targets.iter().map(|Checked(target)| target.max_addresses()).sum::<usize>() > super::TARGETS {
        return Err(D::Error::custom(format!(
            "at most {} can be probed, of which one with `all` is {ADDRESSES}",
            super::TARGETS
        )));
    }
    let mut series = TargetSeries::default();
    if let Some(Checked(twice)) = targets.iter().find(|Checked(target)| !series.add(target)) {
        return Err(D::Error::custom(format!(
            "`{}` is repeated with the same address and labels; give them different names",
            twice.name
        )));
    }
    Ok(targets.into_iter().map(|Checked(target)| Arc::new(target)).collect())
}

/// The series of all targets, to detect two targets with the same series.
#[derive(Debug, Default)]
pub struct TargetSeries(HashMap<String, BTreeSet<Option<Family>>>);

impl TargetSeries {
    /// Adds the series of a target; `false` if another target has them. A target without a fixed family may have the
    /// series of either.
    pub fn add(&mut self, target: &Target) -> bool {
        let (series, family) = Self::of(target);
        let known = self.0.entry(series).or_default();
        let other = match family {
            None => known.is_empty(),
            Some(_) => !known.contains(&None) && !known.contains(&family),
        };
        if other {
            known.insert(family);
        }
        other
    }

    /// Removes the series of a target that was added.
    pub fn remove(&mut self, target: &Target) {
        let (series, family) = Self::of(target);
        if let Some(known) = self.0.get_mut(&series) {
            known.remove(&family);
            if known.is_empty() {
                self.0.remove(&series);
            }
        }
    }

    fn of(target: &Target) -> (String, Option<Family>) {
        let (server, port) = target.server();
        let source = target.source.map(Family::of);
        let family = target.kind.family().or_else(|| family_of(&server)).or(source);
        let Target { name, labels, kind, .. } = target;
        // Prometheus writes `.` as `_`, so keys that differ only in that are equal.
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.replace('.', "_"), value)).collect();
        let series = format!("{:?}\n{server}\n{port:?}\n{labels:?}", kind.protocol().transport());
        (digest(name, &series), family)
    }
}

/// Maximum length of a name, host or query of a target, bytes. DNS names have at most 255.
pub(super) const LONGEST_TEXT: usize = 1024;

/// Maximum length of a URL, bytes; servers accept about 8 KiB.
const LONGEST_URL: usize = 8192;

impl Target {
    /// Name, address or path, and port: `server.address` and `server.port` of the series.
    pub fn server(&self) -> (String, Option<u16>) {
        match self.kind.protocol() {
            Protocol::Unix => (self.unix_path(), None),
            Protocol::Icmp => (self.ascii_host(), None),
            Protocol::Http => match Url::parse(&self.url) {
                Ok(url) => (url.host().to_owned(), Some(url.port())),
                Err(_) => (String::new(), None), // refused by `check`
            },
            Protocol::Tcp | Protocol::Udp | Protocol::Tls => (self.ascii_host(), self.port),
        }
    }

    /// The host as in DNS (A-labels); a host in ASCII stays as it is.
    fn ascii_host(&self) -> String {
        let ascii = if self.host.is_ascii() { None } else { url::ascii_host(&self.host).ok() };
        ascii.unwrap_or_else(|| self.host.clone()) // an invalid name is refused by `check`
    }

    /// The family of the host, if it is an address and not a name.
    pub fn literal_family(&self) -> Option<Family> {
        family_of(&self.server().0)
    }

    /// Total length of the labels, keys and values, bytes.
    pub fn label_bytes(&self) -> usize {
        self.labels.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// Number of targets that it counts as: each address has its own series.
    pub fn max_addresses(&self) -> usize {
        if self.all { ADDRESSES } else { 1 }
    }

    /// The identity of the target: a change of it is a new target, a change of other keys is not.
    pub fn identity(&self) -> String {
        let Self { name, kind, host, port, path, url, labels, all, .. } = self;
        // The states of addresses and of a name cannot continue each other, so `all` is included.
        digest(name, &format!("{}\n{host}\n{port:?}\n{path}\n{url}\n{labels:?}\n{all}", kind.word()))
    }

    /// Validates the keys. The error is a sentence about the target.
    pub fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        let checked = self.check_lengths().and_then(|()| self.check_place());
        checked
            .and_then(|()| self.check_payload())
            .and_then(|()| check_labels(&self.labels, self.label_bytes()))
            .map_err(|why| format!("`{}` {why}", bounded(&self.name, LONGEST_NAME)))
    }

    /// Validates the lengths of texts: they are stored for each target, and appear in series, pages and messages.
    fn check_lengths(&self) -> Result<(), String> {
        let texts = [
            ("name", &self.name, LONGEST_TEXT),
            ("host", &self.host, LONGEST_TEXT),
            ("query", &self.query, LONGEST_TEXT),
            ("url", &self.url, LONGEST_URL),
            // IFNAMSIZ without the final zero byte.
            ("interface", &self.interface, 15),
        ];
        match texts.into_iter().find(|(_, text, most)| text.len() > *most) {
            Some((key, text, most)) => {
                Err(format!("has {} bytes in {key}, which takes {most} at most", text.len()))
            }
            None => Ok(()),
        }
    }

    fn check_place(&self) -> Result<(), String> {
        let kind = self.kind.word();
        let protocol = self.kind.protocol();
        let refuse = |set: bool, key: &str| {
            if set { Err(format!("has {key}, which kind {kind} does not take")) } else { Ok(()) }
        };
        let internet = !matches!(protocol, Protocol::Unix);
        match protocol {
            Protocol::Tcp | Protocol::Udp | Protocol::Tls => {
                if self.host.is_empty() || self.port.unwrap_or(0) == 0 {
                    return Err(format!("needs host and port (1 to 65535) for kind {kind}"));
                }
            }
            Protocol::Icmp if self.host.is_empty() => return Err(format!("needs host for kind {kind}")),
            Protocol::Icmp => {}
            Protocol::Unix => {
                // The form of connection-status-exporter: `host` and `port` together are a path.
                let old = !self.host.is_empty() && self.port.is_some();
                if self.path.is_empty() != old || (self.path.is_empty() && !old) {
                    return Err(format!(
                        "needs path for kind {kind}: /run/x.sock, or @x for an abstract one"
                    ));
                }
                let length = self.unix_path().len();
                if length > 107 {
                    return Err(format!("has a path of {length} bytes; the kernel accepts at most 107"));
                }
            }
            Protocol::Http => {
                if self.url.is_empty() {
                    return Err(format!("needs url for kind {kind}"));
                }
                let url = Url::parse(&self.url).map_err(|why| format!("has a url that {why}"))?;
                if url.has_user() {
                    return Err("has a user name in its url; credentials go into http.headers".to_owned());
                }
            }
        }
        if internet {
            let checked = if self.host.is_ascii() {
                // A colon is one of an address of IPv6, as is the zone behind it.
                if self.host.contains(':') { Ok(()) } else { url::no_short_address(&self.host) }
            } else {
                url::ascii_host(&self.host).map(drop)
            };
            checked.map_err(|why| format!("has `{}`, which {why}", self.host))?;
        }
        refuse(!self.path.is_empty() && internet, "path")?;
        refuse(!self.url.is_empty() && protocol != Protocol::Http, "url")?;
        refuse(!self.host.is_empty() && protocol == Protocol::Http, "host")?;
        refuse(self.all && !internet, "all")?;
        let literal = self.literal_family();
        if let (Some(literal), Some(fixed)) = (literal, self.kind.family())
            && literal != fixed
        {
            return Err(format!("has an {} address for kind {kind}", literal.word()));
        }
        if let (Some(source), Some(fixed)) = (self.source, self.kind.family().or(literal))
            && Family::of(source) != fixed
        {
            return Err("has a source of another address family than its host".to_owned());
        }
        if !self.netns.is_empty() {
            crate::host::netns::config::check(&self.netns)?;
        }
        Ok(())
    }

    fn check_payload(&self) -> Result<(), String> {
        let kind = self.kind.word();
        let protocol = self.kind.protocol();
        let speaks = matches!(self.kind, Kind::Unix) || matches!(protocol, Protocol::Tcp | Protocol::Tls);
        let single = [&self.send, &self.send_hex, &self.expect, &self.expect_hex];
        let any = single.iter().any(|key| key.is_some());
        if any && !speaks && protocol != Protocol::Udp {
            return Err(format!("has send or expect, which kind {kind} does not take"));
        }
        if !self.conversation.is_empty() && (!speaks || any) {
            return Err(
                "has a conversation, which requires kind tcp, tls or unix, and excludes send and expect"
                    .to_owned(),
            );
        }
        if self.preset.is_some() && (protocol != Protocol::Udp || any) {
            return Err("has a preset, which requires kind udp, and excludes send and expect".to_owned());
        }
        if !self.query.is_empty() && !matches!(self.preset, Some(Preset::Dns | Preset::Snmp | Preset::Sip)) {
            return Err("has query, which requires preset dns, snmp or sip".to_owned());
        }
        let steps = self.conversation.iter().flat_map(|step| [&step.send, &step.send_hex]);
        let mut sent = [&self.send, &self.send_hex].into_iter().chain(steps).flatten();
        let hidden = |text: &String| text == values::HIDDEN;
        let page = self.url.split_once('?').is_some_and(|(_, query)| query == values::HIDDEN);
        if page || hidden(&self.query) || hidden(&self.http.body) || sent.any(hidden) {
            return Err(format!("has {}, which connscope config prints instead of secrets", values::HIDDEN));
        }
        both(self.send.as_ref(), self.send_hex.as_ref(), "send")?;
        both(self.expect.as_ref(), self.expect_hex.as_ref(), "expect")?;
        if let Some(text) = &self.send {
            unescape(text)?;
        }
        for hex in [&self.send_hex, &self.expect_hex].into_iter().flatten() {
            unhex(hex)?;
        }
        for step in &self.conversation {
            step.check()?;
        }
        let expressions = [&self.expect, &self.http.expect_body];
        let steps = self.conversation.iter().map(|step| &step.expect);
        for expression in expressions.into_iter().chain(steps).flatten() {
            regular(expression)?;
        }
        let tls = &self.tls;
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            return Err("has tls.cert_file or tls.key_file; they are set together or not at all".to_owned());
        }
        if let Some(status) = self.http.status.iter().find(|status| !(100..600).contains(*status)) {
            return Err(format!("expects the status {status}, which is out of range: 100 to 599"));
        }
        let begins = self.conversation.iter().filter(|step| step.starttls).count();
        if begins > 0 && protocol == Protocol::Unix {
            return Err(format!("has starttls, which kind {kind} does not take"));
        }
        if begins > 1 || (begins == 1 && matches!(protocol, Protocol::Tls)) {
            return Err("has starttls after TLS has already started".to_owned());
        }
        let takes_tls = matches!(protocol, Protocol::Tls | Protocol::Http)
            || self.conversation.iter().any(|step| step.starttls);
        if !takes_tls && !is_default(tls) {
            return Err(format!("has tls, which kind {kind} does not take without starttls"));
        }
        if protocol != Protocol::Http && !is_default(&self.http) {
            return Err(format!("has http, which kind {kind} does not take"));
        }
        if self.icmp.ttl == Some(0) {
            return Err("has icmp.ttl 0, which is out of range: 1 to 255".to_owned());
        }
        if protocol != Protocol::Icmp && !is_default(&self.icmp) {
            return Err(format!("has icmp, which kind {kind} does not take"));
        }
        Ok(())
    }

    /// The path of a Unix socket, or `host` and `port` as connection-status-exporter joins them.
    pub fn unix_path(&self) -> String {
        match self.port {
            Some(port) if self.path.is_empty() => format!("{}:{port}", self.host),
            _ => self.path.clone(),
        }
    }
}

/// A short key for a name and a text: the beginning of the name and a digest. The labels of ten thousand targets would
/// take more memory than the targets.
fn digest(name: &str, rest: &str) -> String {
    let sum = Uuid::new_v5(&Uuid::nil(), format!("{name}\n{rest}").as_bytes()).simple();
    format!("{}\n{sum}", bounded(name, LONGEST_NAME))
}

/// The family of an address, with or without a zone; `None` for a name.
fn family_of(host: &str) -> Option<Family> {
    let (address, _) = split_zone(host);
    address.parse::<IpAddr>().map(Family::of).ok()
}

impl Step {
    fn check(&self) -> Result<(), String> {
        both(self.send.as_ref(), self.send_hex.as_ref(), "send")?;
        both(self.expect.as_ref(), self.expect_hex.as_ref(), "expect")?;
        for hex in [&self.send_hex, &self.expect_hex].into_iter().flatten() {
            unhex(hex)?;
        }
        if let Some(text) = &self.send {
            unescape(text)?;
        }
        if *self == Self::default() {
            return Err("has an empty step in its conversation".to_owned());
        }
        Ok(())
    }
}

fn both<T>(text: Option<&T>, hex: Option<&T>, key: &str) -> Result<(), String> {
    match (text, hex) {
        (Some(_), Some(_)) => Err(format!("has {key} and {key}_hex; one of them is enough")),
        _ => Ok(()),
    }
}
