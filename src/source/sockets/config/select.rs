//! Conditions on flows: the processes that have the socket, the peer's address and the peer's port. They select the
//! flows of the classic profile (evaluated in `src/source/sockets/select.rs`).

use crate::settings::network::{Address, Network};
use crate::settings::values::section;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Maximum number of entries of one list. Each flow is compared with each entry.
pub const ENTRIES: usize = 1000;
/// Maximum number of names in `hosts`. Each is looked up repeatedly while the agent runs.
pub const HOSTS: usize = 100;

/// Conditions on a flow. An empty list is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Processes that have the socket open.
    #[serde(deserialize_with = "section")]
    pub processes: Processes,
    /// Selection by the peer of the flow.
    #[serde(deserialize_with = "section")]
    pub peers: Peers,
    /// Ports of the peer: numbers, or ranges such as `8000-9000`, both ends included.
    #[serde(deserialize_with = "entries::<_, Ports, _, ENTRIES>")]
    pub ports: Vec<Ports>,
}

/// Processes, by number or by command; either is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Processes {
    /// PIDs.
    #[serde(deserialize_with = "entries::<_, Pid, _, ENTRIES>")]
    pub pids: Vec<u32>,
    /// Commands: the name of the process (`ps -o comm`), the file name of its program as it was called, or its whole
    /// command line.
    #[serde(deserialize_with = "entries::<_, Command, _, ENTRIES>")]
    pub commands: Vec<String>,
}

/// Peers, by address, by network or by name; any of them is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Peers {
    /// IPv4 and IPv6 addresses.
    #[serde(deserialize_with = "entries::<_, Address, _, ENTRIES>")]
    pub addresses: Vec<IpAddr>,
    /// Networks in CIDR notation.
    #[serde(deserialize_with = "entries::<_, Network, _, ENTRIES>")]
    pub networks: Vec<Network>,
    /// Host names, looked up again every minute.
    #[serde(deserialize_with = "entries::<_, Host, _, HOSTS>")]
    pub hosts: Vec<String>,
}

/// A list whose entries are checked by their own type, so that an error has the position of the entry.
pub(crate) fn entries<'de, D, Entry, T, const MAX_ENTRIES: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    Entry: Deserialize<'de> + Into<T>,
{
    let entries: Vec<Entry> = section(deserializer)?;
    if entries.len() > MAX_ENTRIES {
        return Err(D::Error::custom(format!("has more than {MAX_ENTRIES} entries")));
    }
    Ok(entries.into_iter().map(Into::into).collect())
}

/// A process number (PID), above 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pid(pub(crate) u32);

impl<'de> Deserialize<'de> for Pid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u32::try_from(number) {
            Ok(pid) if pid > 0 => Ok(Self(pid)),
            _ => Err(D::Error::custom(format!("`{number}` is not a PID"))),
        }
    }
}

impl From<Pid> for u32 {
    fn from(Pid(pid): Pid) -> Self {
        pid
    }
}

/// The name or command line of a process.
#[derive(Debug, Clone)]
pub(crate) struct Command(pub(crate) String);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() || text.contains('\0') {
            return Err(D::Error::custom(format!("`{}` is not a command", text.escape_debug())));
        }
        Ok(Self(text))
    }
}

impl From<Command> for String {
    fn from(Command(text): Command) -> Self {
        text
    }
}

/// A host name to look up.
#[derive(Debug, Clone)]
pub(crate) struct Host(pub(crate) String);

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let named = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        // A DNS message has room for names of 253 bytes (RFC 1035, 2.3.4).
        if text.is_empty() || text.len() > 253 || !named {
            return Err(D::Error::custom(format!("`{}` is not the name of a host", text.escape_debug())));
        }
        Ok(Self(text))
    }
}

impl From<Host> for String {
    fn from(Host(text): Host) -> Self {
        text
    }
}

/// A port or a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    lower: u16,
    upper: u16,
}

impl Ports {
    /// Ports from `lower` to `upper`, both included; `None` if the range is empty.
    pub fn new(lower: u16, upper: u16) -> Option<Self> {
        (lower <= upper).then_some(Self { lower, upper })
    }

    /// Whether a port is in the range.
    pub fn contains(&self, port: u16) -> bool {
        (self.lower..=self.upper).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (lower, upper) = text.split_once('-').unwrap_or((text, text));
        let port = |digits: &str| {
            let digits = digits.trim();
            // `parse` would accept a sign.
            let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok());
            number.flatten().ok_or_else(|| "is neither a port nor a range such as 8000-9000".to_owned())
        };
        let (lower, upper) = (port(lower)?, port(upper)?);
        Self::new(lower, upper).ok_or_else(|| "is a range that ends before it begins".to_owned())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { lower, upper } if lower == upper => lower.fmt(formatter),
            Self { lower, upper } => write!(formatter, "{lower}-{upper}"),
        }
    }
}

impl Serialize for Ports {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.lower == self.upper {
            serializer.serialize_u16(self.lower)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl Visitor<'_> for Entry {
            type Value = Ports;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a port, or a range such as 8000-9000")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Ports, E> {
                let port = u16::try_from(number).ok().and_then(|port| Ports::new(port, port));
                port.ok_or_else(|| E::custom(format!("`{number}` is not a port")))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Ports, E> {
                let number =
                    u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self));
                self.visit_u64(number?)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Ports, E> {
                text.parse().map_err(|message| E::custom(format!("`{text}` {message}")))
            }
        }
        deserializer.deserialize_any(Entry)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Ports {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 65535},
            {"type": "string", "pattern": "^ *[0-9]{1,5} *(- *[0-9]{1,5} *)?$"},
        ]})
    }
}
