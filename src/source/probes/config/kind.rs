//! Kinds of probes, their protocols, and address families.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How a target is probed. `4` and `6` fix the family; `ip`, `ip4` and `ip6` are older names of the ICMP echo.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is the word it is written as")]
pub enum Kind {
    #[default]
    Tcp,
    Tcp4,
    Tcp6,
    Udp,
    Udp4,
    Udp6,
    Icmp,
    Icmp4,
    Icmp6,
    Ip,
    Ip4,
    Ip6,
    Unix,
    Unixgram,
    Unixpacket,
    Tls,
    Http,
}

/// Protocol of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TCP connection, and an optional conversation.
    Tcp,
    /// A UDP datagram and its response.
    Udp,
    /// An ICMP echo request.
    Icmp,
    /// A Unix socket, by path or abstract name.
    Unix,
    /// A TCP connection and a TLS handshake.
    Tls,
    /// An HTTP request.
    Http,
}

impl Kind {
    /// Every kind, with its name in the configuration.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::Tcp, "tcp"),
        (Self::Tcp4, "tcp4"),
        (Self::Tcp6, "tcp6"),
        (Self::Udp, "udp"),
        (Self::Udp4, "udp4"),
        (Self::Udp6, "udp6"),
        (Self::Icmp, "icmp"),
        (Self::Icmp4, "icmp4"),
        (Self::Icmp6, "icmp6"),
        (Self::Ip, "ip"),
        (Self::Ip4, "ip4"),
        (Self::Ip6, "ip6"),
        (Self::Unix, "unix"),
        (Self::Unixgram, "unixgram"),
        (Self::Unixpacket, "unixpacket"),
        (Self::Tls, "tls"),
        (Self::Http, "http"),
    ];

    /// Name of this kind in the configuration.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// Kind with this name in the configuration.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// Protocol that this kind of probe uses.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp | Self::Tcp4 | Self::Tcp6 => Protocol::Tcp,
            Self::Udp | Self::Udp4 | Self::Udp6 => Protocol::Udp,
            Self::Icmp | Self::Icmp4 | Self::Icmp6 | Self::Ip | Self::Ip4 | Self::Ip6 => Protocol::Icmp,
            Self::Unix | Self::Unixgram | Self::Unixpacket => Protocol::Unix,
            Self::Tls => Protocol::Tls,
            Self::Http => Protocol::Http,
        }
    }

    /// Address family that this kind requires, if any.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::Tcp4 | Self::Udp4 | Self::Icmp4 | Self::Ip4 => Some(Family::Ipv4),
            Self::Tcp6 | Self::Udp6 | Self::Icmp6 | Self::Ip6 => Some(Family::Ipv6),
            _ => None,
        }
    }
}

impl Protocol {
    /// Value of the attribute `network.transport`; the semantic conventions have none for ICMP.
    pub fn transport(self) -> Option<&'static str> {
        match self {
            Self::Tcp | Self::Tls | Self::Http => Some("tcp"),
            Self::Udp => Some("udp"),
            Self::Unix => Some("unix"),
            Self::Icmp => None,
        }
    }
}

/// Family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The other address family.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// Value of the attribute `network.type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}
