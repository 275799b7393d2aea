//! A network in CIDR notation and an IP address, as the configuration has them.
//!
//! The kernel shows a peer of an IPv6 socket that speaks IPv4 as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2). It is the same
//! peer either way, so both types here fold such addresses to IPv4, and whoever compares folds what he compares with.

use ipnet::{IpNet, Ipv4Net};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bits of `::ffff:0:0/96`, the part of an IPv6 address that says that it is an IPv4 one.
const MAPPED: u8 = 96;

/// A network in CIDR notation. Bits of the host part are dropped (`10.1.2.3/8` is `10.0.0.0/8`), an address alone is
/// the network of that address, and a network inside `::ffff:0:0/96` is the IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in it. `::ffff:a.b.c.d` is `a.b.c.d`; no IPv4 address is in an IPv6 network, `::/0`
    /// included.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Length of the prefix in bits: 0 to 32 for IPv4, 0 to 128 for IPv6. Of two networks that contain an address, the
    /// one with the longer prefix is inside the other.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Its first and its last address.
    pub fn ends(&self) -> [IpAddr; 2] {
        [self.0.network(), self.0.broadcast()]
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "is not a network such as 10.0.0.0/8 or fd00::/8".to_owned();
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            // `parse` would take a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() => {
                let bits: Option<u8> = digits.parse().ok().filter(|bits| *bits <= most);
                bits.ok_or_else(|| format!("has a prefix of more than {most} bits"))?
            }
            Some(mask) if mask.parse::<IpAddr>().is_ok() => {
                return Err("has a mask; the length of the prefix goes there: 10.0.0.0/8".to_owned());
            }
            Some(_) => return Err(wrong()),
        };
        let network = match (address.to_canonical(), prefix.checked_sub(MAPPED)) {
            (IpAddr::V4(v4), Some(bits)) if address.is_ipv6() => Ipv4Net::new(v4, bits).map(IpNet::V4),
            _ => IpNet::new(address, prefix),
        };
        Ok(Self(network.map_err(|_| wrong())?.trunc()))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|message| D::Error::custom(format!("`{text}` {message}")))
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})
    }
}

/// An IP address, `::ffff:a.b.c.d` folded to IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl From<Address> for IpAddr {
    fn from(Address(address): Address) -> Self {
        address
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let address: Result<IpAddr, _> = text.parse();
        address.map(|address| Self(address.to_canonical())).map_err(|_| {
            let network = text.parse::<Network>().is_ok();
            let hint = if network { "; networks have a list of their own" } else { "" };
            D::Error::custom(format!("`{text}` is not an IP address{hint}"))
        })
    }
}
