//! The single values of the configuration: what they look like, what range they have, how a bad one is explained.

use crate::host::netns::{NAMESPACES, is_pattern};
use crate::source::conntrack::metrics::SYSCTL_FILES;
use hyper::header::{HeaderName, HeaderValue};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Range of `export.otlp.interval`.
pub const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
/// Range of `export.otlp.timeout`.
pub const EXPORT_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);
/// Range of the time-out of a source.
pub const SOURCE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// As much of `/etc/services` is read.
pub(super) const SERVICES: u64 = 1024 * 1024;

/// Address of the HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// There is none.
    Off,
    /// Name or address, and port; port 0 lets the kernel choose.
    At {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Default for Listen {
    fn default() -> Self {
        Self::At { host: "127.0.0.1".to_owned(), port: 9371 }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let wrong = || "is neither ADDRESS:PORT nor off".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => {
                return Err("an IPv6 address goes in brackets: [::1]:9371".to_owned());
            }
            None if host.is_empty() => "0.0.0.0",
            None => host,
        };
        Ok(Self::At { host: host.to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::At { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::At { host, port } => write!(formatter, "{host}:{port}"),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|message| D::Error::custom(format!("`{text}` {message}")))
    }
}

/// A section, or a list, that may be there with nothing in it: whoever comments out all its keys has said nothing.
pub fn section<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// JSON Schema of a duration.
pub fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$"})
}

/// JSON Schema of an address to listen on.
pub fn listen_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^(off|([^:]*|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5})$"})
}

/// JSON Schema of the network namespaces.
pub fn netns_schema(_: &mut SchemaGenerator) -> Schema {
    let entry = json_schema!({"type": "string", "pattern": "^(pid:[0-9]+|[^:]+|.*/.*)$"});
    json_schema!({"anyOf": [{"const": "all"}, {"type": "array", "items": entry}, {"type": "null"}]})
}

/// A duration with its unit (`10s`, `1m 30s`) within a range.
pub fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|_| "is not a duration with a unit, such as 10s or 500ms".to_owned())?;
    in_range(value, range)
}

/// A duration in milliseconds, as the `OTEL_*` variables have it.
pub fn milliseconds(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = text.trim().parse().map_err(|_| "is not a number of milliseconds".to_owned())?;
    in_range(Duration::from_millis(value), range)
}

/// A time-out in milliseconds, as the `OTEL_*` variables have it; 0 is no limit
/// (`specification/configuration/common.md`, "Timeout").
pub fn timeout_milliseconds(text: &str) -> Result<Duration, String> {
    if text.trim().parse() == Ok(0u64) { Ok(Duration::ZERO) } else { milliseconds(text, EXPORT_TIMEOUT) }
}

fn in_range(value: Duration, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) =
        (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
    Err(format!("is out of range: {least} to {most}"))
}

pub(super) fn ranged<'de, D: Deserializer<'de>>(
    deserializer: D,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text, range).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
}

/// `export.otlp.interval`
pub fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    ranged(deserializer, INTERVAL)
}

/// `export.otlp.timeout`; zero is no limit.
pub fn export_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    match humantime::parse_duration(&text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => {
            duration(&text, EXPORT_TIMEOUT).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
        }
    }
}

/// `sources.*.timeout`
pub fn source_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    ranged(deserializer, SOURCE_TIMEOUT)
}

/// A duration as it was written.
pub fn print<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

/// What `connscope config` prints in place of a header's value.
pub const HIDDEN: &str = "(hidden)";

/// Whether a header can be sent; the message does not show the value.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is not the name of a header"))?;
    if value == HIDDEN {
        return Err(format!("the value of `{name}` is what connscope config prints instead of it"));
    }
    HeaderValue::from_str(value).map_err(|_| format!("the value of `{name}` cannot be sent in a header"))?;
    Ok(())
}

/// `export.otlp.headers`; names are made lowercase, as HTTP/2 wants them.
pub fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut headers = BTreeMap::new();
    for (name, value) in section::<D, BTreeMap<String, String>>(deserializer)? {
        check_header(&name, &value).map_err(D::Error::custom)?;
        if headers.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(D::Error::custom(format!("`{name}` is there twice, in capitals and not")));
        }
    }
    Ok(headers)
}

/// A program that can be started.
pub fn check_command(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("is not the name of a program".to_owned());
    }
    Ok(text.to_owned())
}

/// `sources.conntrack.command`
pub fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_command(&text).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
}

/// `sources.*.netns`
pub fn netns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let entries = one_or_many(deserializer)?;
    if entries.len() > NAMESPACES {
        return Err(D::Error::custom(format!("at most {NAMESPACES} can be read")));
    }
    match entries.iter().find_map(|entry| refuse_netns(entry)) {
        Some(message) => Err(D::Error::custom(message)),
        None => Ok(entries),
    }
}

/// Why a configured namespace entry cannot be one; `None` if it can.
fn refuse_netns(entry: &str) -> Option<String> {
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

/// Whether a text can name one network namespace.
pub fn check_netns(entry: &str) -> Result<(), String> {
    if entry == "all" {
        return Err("`all` is not one network namespace".to_owned());
    }
    if is_pattern(entry) {
        return Err(format!("`{entry}` is a pattern, and not one network namespace"));
    }
    refuse_netns(entry).map_or(Ok(()), Err)
}

/// `netns: all` and `netns: [all]` are the same.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Entries;
    impl<'de> serde::de::Visitor<'de> for Entries {
        type Value = Vec<String>;
        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("a list of network namespaces, or all")
        }
        fn visit_str<E: Error>(self, entry: &str) -> Result<Self::Value, E> {
            Ok(vec![entry.to_owned()])
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_any(Entries)
}

/// `sources.conntrack.table.files`
pub fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let files: Vec<String> = section(deserializer)?;
    if files.len() > SYSCTL_FILES {
        return Err(D::Error::custom(format!("at most {SYSCTL_FILES} can be read")));
    }
    match files.iter().find(|file| file.is_empty() || file.contains('/')) {
        Some(file) => {
            Err(D::Error::custom(format!("`{file}` is not the name of a file; directories go into dirs")))
        }
        None => Ok(files),
    }
}
