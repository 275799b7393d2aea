//! What the HTTP endpoint listens on: addresses, Unix sockets, and sockets that the service manager hands over.

use super::endpoint::{LONGEST_UNIX_PATH, unix_path};
use crate::settings::values;
use crate::url::host_port;
use serde::de::Error;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Addresses that the endpoint may have.
const MAX_ADDRESSES: usize = 16;

/// The word that switches the endpoint off.
const OFF: &str = "off";

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Name or address, and port; port 0 lets the kernel choose.
    At {
        /// Name or address, without brackets; empty: every address of both families.
        host: String,
        /// Port number.
        port: u16,
    },
    /// The whole path of a Unix socket.
    Unix(PathBuf),
    /// The sockets that the service manager hands over: all of them, or those of this name (`FileDescriptorName=`).
    Systemd(Option<String>),
}

/// Every address that the endpoint listens on; none: there is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen(Vec<Address>);

impl Default for Listen {
    fn default() -> Self {
        Self(vec![Address::At { host: "127.0.0.1".to_owned(), port: 9371 }])
    }
}

impl From<Address> for Listen {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl Listen {
    /// No endpoint.
    pub const OFF: Self = Self(Vec::new());

    /// Whether there is no endpoint.
    pub fn is_off(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses, in the order in which they are configured.
    pub fn addresses(&self) -> &[Address] {
        &self.0
    }

    /// Of one or more texts; `off` is alone. The error repeats the text that is wrong.
    pub fn of(texts: &[String]) -> Result<Self, String> {
        match texts {
            [] => return Err("no address is named; `off` switches the endpoint off".to_owned()),
            [only] if only == OFF => return Ok(Self::OFF),
            _ if texts.len() > MAX_ADDRESSES => {
                return Err(format!("more than {MAX_ADDRESSES} addresses are named"));
            }
            _ => {}
        }
        let mut addresses = Vec::new();
        for text in texts {
            let address: Address = text.parse().map_err(|why| format!("`{text}` {why}"))?;
            if addresses.contains(&address) {
                return Err(format!("`{text}` is there twice"));
            }
            addresses.push(address);
        }
        Ok(Self(addresses))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Err("stands alone: it switches the endpoint off".to_owned());
        }
        if text.starts_with("unix:") {
            return match unix_path(text) {
                None => Err("is not unix:/PATH, with the whole path of a socket".to_owned()),
                Some(path) if path.as_os_str().len() > LONGEST_UNIX_PATH => {
                    Err(format!("has a path of more than {LONGEST_UNIX_PATH} bytes"))
                }
                Some(path) => Ok(Self::Unix(path.to_owned())),
            };
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        // With a number it is the port of a host of that name.
        let name =
            text.strip_prefix("systemd:").filter(|name| !name.is_empty() && name.parse::<u16>().is_err());
        if let Some(name) = name {
            return Ok(Self::Systemd(Some(name.to_owned())));
        }
        if text.contains("://") {
            return Err("is a URL; write ADDRESS:PORT, as in 127.0.0.1:9371".to_owned());
        }
        let wrong = || "is none of ADDRESS:PORT, unix:/PATH, systemd, systemd:NAME and off".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => {
                return Err("an IPv6 address goes in brackets: [::1]:9371".to_owned());
            }
            None => host,
        };
        Ok(Self::At { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { host, port } => formatter.write_str(&host_port(host, *port)),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Systemd(None) => formatter.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(formatter, "systemd:{name}"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_off() {
            return formatter.write_str(OFF);
        }
        for (position, address) in self.addresses().iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(formatter, "{comma}{address}")?;
        }
        Ok(())
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.addresses() {
            [] | [_] => serializer.collect_str(self),
            many => {
                let mut list = serializer.serialize_seq(Some(many.len()))?;
                for address in many {
                    list.serialize_element(&address.to_string())?;
                }
                list.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts =
            values::one_or_many(deserializer, "ADDRESS:PORT, unix:/PATH, systemd, a list of these, or off")?;
        Self::of(&texts).map_err(D::Error::custom)
    }
}

/// Permissions of the Unix sockets that the endpoint makes: who may connect is who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(pub u32);

impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl Serialize for SocketMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| octal && *mode <= 0o777);
        let wrong =
            || D::Error::custom(format!("`{text}` is not an octal mode from 0000 to 0777, such as 0660"));
        mode.map(Self).ok_or_else(wrong)
    }
}

/// JSON Schema of what to listen on.
#[cfg(test)]
pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let one = "^(([^:]*|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}|unix:/.+|systemd(:.+)?)$";
    let many = schemars::json_schema!({"type": "array", "minItems": 1, "maxItems": MAX_ADDRESSES, "items": {"type": "string", "pattern": one}});
    schemars::json_schema!({"anyOf": [{"const": OFF}, {"type": "string", "pattern": one}, many]})
}

/// JSON Schema of a mode.
#[cfg(test)]
pub(super) fn mode_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "pattern": "^0?[0-7]{3}$"})
}

#[cfg(test)]
mod tests {
    use super::{Address, Listen};

    fn of(texts: &[&str]) -> Result<Listen, String> {
        Listen::of(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn every_place_is_read_and_printed_as_it_was_written() {
        for text in [
            "127.0.0.1:9371",
            "[::1]:0",
            ":9371",
            "node:1",
            "unix:/run/a b",
            "systemd",
            "systemd:web",
            "systemd:1",
        ] {
            let listen = of(&[text]).unwrap();
            assert_eq!(listen.addresses().first().unwrap().to_string(), text);
        }
        assert!(matches!(of(&["systemd:1"]).unwrap().addresses(), [Address::At { port: 1, .. }]));
        assert_eq!(of(&["unix:///run/a"]), of(&["unix:/run/a"]));
        assert!(of(&["off"]).unwrap().is_off());
        assert_eq!(of(&["127.0.0.1:1", "unix:/a"]).unwrap().addresses().len(), 2);
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        for (texts, why) in [
            (&[][..], "no address is named"),
            (&["off", ":1"], "`off` stands alone"),
            (&[":1", ":1"], "`:1` is there twice"),
            (&["9371"], "is none of ADDRESS:PORT"),
            (&["::1:9371"], "goes in brackets"),
            (&["unix:run"], "is not unix:/PATH"),
            (&["unix:/"], "is not unix:/PATH"),
            (&["systemd:"], "is none of"),
        ] {
            let error = of(texts).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert!(of(&[&long]).unwrap_err().contains("more than 107 bytes"));
        assert!(of(&[":1"; 17]).unwrap_err().contains("more than 16"));
    }
}
