//! A name server: `ADDRESS` or `ADDRESS:PORT`; a link-local IPv6 address has a zone (pure).

use super::single::split_zone;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Default port of name servers.
const PORT: u16 = 53;

/// A name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServer {
    /// Address and port.
    pub address: SocketAddr,
    /// Interface of a link-local address, by name or index: `eth0` in `fe80::53%eth0`.
    pub zone: Option<String>,
}

impl NameServer {
    /// A name server at port 53.
    pub fn new(address: IpAddr) -> Self {
        Self { address: SocketAddr::new(address, PORT), zone: None }
    }

    /// Parses a name server without a port, as in `resolv.conf`.
    pub fn address(text: &str) -> Result<Self, String> {
        Self::placed(text, PORT).ok_or_else(|| wrong(text))
    }

    /// Parses a configured name server.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(server) = Self::placed(text, PORT) {
            return Ok(server);
        }
        let parts = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:"),
            None => text.rsplit_once(':').filter(|(address, _)| !address.contains(':')),
        };
        let server = parts.and_then(|(address, port)| {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Self::placed(address, port).filter(|server| server.address.is_ipv6() == text.starts_with('['))
        });
        server.ok_or_else(|| wrong(text))
    }

    fn placed(address: &str, port: u16) -> Option<Self> {
        let (address, zone) = split_zone(address);
        let address: IpAddr = address.parse().ok()?;
        let usable = |zone: &str| {
            !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic() && !b"[]%".contains(&byte))
        };
        if zone.is_some_and(|zone| !usable(zone)) {
            return None;
        }
        Some(Self { address: SocketAddr::new(address, port), zone: zone.map(str::to_owned) })
    }
}

fn wrong(text: &str) -> String {
    format!(
        "`{text}` is neither ADDRESS nor ADDRESS:PORT; with a port, an IPv6 address needs brackets: [2001:db8::53]:53"
    )
}

/// In the form of the configuration, with the port.
impl fmt::Display for NameServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.zone, self.address) {
            (Some(zone), SocketAddr::V6(address)) => {
                write!(formatter, "[{}%{zone}]:{}", address.ip(), address.port())
            }
            _ => self.address.fmt(formatter),
        }
    }
}

impl Serialize for NameServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NameServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}
