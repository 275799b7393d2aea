//! `[FAMILY:]ADDR[/PREFIX][:PORT]` and `[FAMILY:][:]PORT`, as `parse_hostcond` in iproute2's `misc/ss.c` takes them.

use super::expression::{Family, Network};
use super::number::number;
use super::services::Services;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a word after `src` or `dst` says.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) family: Option<Family>,
    pub(super) network: Option<Network>,
    pub(super) port: Option<u16>,
}

/// A word after `src` or `dst`. `Err` says what is wrong with it.
pub(super) fn host(word: &str, services: &Services) -> Result<Host, String> {
    let (family, rest) = family(word)?;
    let (address, prefix, port) = split(rest)?;
    let network = match address {
        "" | "*" | "any" | "all" | "default" if prefix.is_none() => None,
        address => Some(network(address, prefix)?),
    };
    let port = port.map_or(Ok(None), |word| port_or_any(word, services))?;
    match (family, network) {
        (Some(Family::V4), Some(Network { address: IpAddr::V6(_), .. })) => {
            Err("is not an IPv4 address, which `inet:` requires".into())
        }
        (Some(Family::V6), Some(Network { address: IpAddr::V4(_), .. })) => {
            Err("is an IPv4 address, and `inet6:` requires an IPv6 address (v4-mapped counts as IPv4)".into())
        }
        (_, Some(_)) => Ok(Host { family: None, network, port }),
        (family, None) => Ok(Host { family, network, port }),
    }
}

/// A word after `sport` or `dport`: the port, unless it is any. `Err` says what is wrong with it.
pub(super) fn port(word: &str, services: &Services) -> Result<(Option<Family>, Option<u16>), String> {
    let (family, rest) = family(word)?;
    Ok((family, port_or_any(rest.strip_prefix(':').unwrap_or(rest), services)?))
}

fn family(word: &str) -> Result<(Option<Family>, &str), String> {
    for other in ["unix:", "link:", "netlink:", "vsock:"] {
        if word.starts_with(other) {
            return Err("is not an internet address; only `inet:` and `inet6:` sockets are read".into());
        }
    }
    Ok(match (word.strip_prefix("inet:"), word.strip_prefix("inet6:")) {
        (Some(rest), _) => (Some(Family::V4), rest),
        (None, Some(rest)) => (Some(Family::V6), rest),
        (None, None) => (None, word),
    })
}

/// Address, prefix and port. Without brackets the last colon is the port's, as in `ss`, unless a prefix shows where the
/// address ends.
fn split(word: &str) -> Result<(&str, Option<&str>, Option<&str>), String> {
    let cut_port = |text| match str::rsplit_once(text, ':') {
        Some((rest, port)) => (rest, Some(port)),
        None => (text, None),
    };
    if let Some(rest) = word.strip_prefix('[') {
        let (inside, behind) =
            rest.split_once(']').ok_or_else(|| "has `[` and no `]` after it".to_owned())?;
        let (behind, port) = cut_port(behind);
        let (address, prefix) = inside.split_once('/').map_or((inside, None), |(a, p)| (a, Some(p)));
        return match (prefix, behind.strip_prefix('/')) {
            (None, Some(prefix)) => Ok((address, Some(prefix), port)),
            (_, None) if behind.is_empty() => Ok((address, prefix, port)),
            _ => Err("has something after `]` that is neither `/PREFIX` nor `:PORT`".into()),
        };
    }
    if let Some((address, rest)) = word.split_once('/') {
        let (prefix, port) = cut_port(rest);
        return Ok((address, Some(prefix), port));
    }
    let (address, port) = cut_port(word);
    if address.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        return Err(
            "is not an address; an IPv6 address stands in brackets: `[fd00::1]`, `[fd00::1]:80`".into()
        );
    }
    Ok((address, None, port))
}

fn network(address: &str, prefix: Option<&str>) -> Result<Network, String> {
    if let Ok(address) = address.parse::<Ipv6Addr>() {
        let prefix = prefix.map_or(Ok(128), |prefix| length(prefix, 128))?;
        // The agent reports a v4-mapped address as the IPv4 address it stands for, and a filter names it so.
        return Ok(match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
            (Some(address), Some(prefix)) => Network { address: address.into(), prefix },
            _ => Network { address: address.into(), prefix },
        }
        .masked());
    }
    let (address, whole) = ipv4(address)?;
    let prefix = match prefix {
        Some(prefix) => length(prefix, 32)?,
        // `ss` takes 127.1 for 127.1.0.0, everybody else takes it for 127.0.0.1.
        None if !whole => {
            return Err("is not a whole address; write all four parts, or a prefix length".into());
        }
        None => 32,
    };
    Ok(Network { address: address.into(), prefix }.masked())
}

/// One to four parts, and whether all are there.
fn ipv4(text: &str) -> Result<(Ipv4Addr, bool), String> {
    let mut octets = [0_u8; 4];
    let mut count = 0;
    let mut slots = octets.iter_mut();
    for part in text.split('.') {
        let plain = !part.starts_with('0') || part == "0";
        let octet = Some(part).filter(|part| plain && part.bytes().all(|byte| byte.is_ascii_digit()));
        match (octet.and_then(|part| part.parse().ok()), slots.next()) {
            (Some(octet), Some(slot)) => *slot = octet,
            _ if text.contains(|character: char| character.is_alphabetic()) => {
                return Err("is not an address; names of hosts are not looked up".into());
            }
            _ => return Err("is not an address".into()),
        }
        count += 1;
    }
    Ok((octets.into(), count == 4))
}

/// The length of a prefix, as a number or as an IPv4 netmask.
fn length(text: &str, bits: u8) -> Result<u8, String> {
    if let (32, Ok(mask)) = (bits, text.parse::<Ipv4Addr>()) {
        let mask = mask.to_bits();
        let ones = mask.leading_ones();
        if ones + mask.trailing_zeros() >= 32 {
            return u8::try_from(ones).map_err(|error| error.to_string());
        }
    }
    let length = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    length
        .and_then(|text| text.parse().ok())
        .filter(|length| *length <= bits)
        .ok_or_else(|| format!("has a prefix length that is not a number from 0 to {bits}"))
}

fn port_or_any(word: &str, services: &Services) -> Result<Option<u16>, String> {
    if word.is_empty() || word == "*" {
        return Ok(None);
    }
    if let Some(port) = number(word).and_then(|number| u16::try_from(number).ok()) {
        return Ok(Some(port));
    }
    services.port(word).map(Some).map_err(|why| {
        let short: String = word.chars().take(40).collect();
        format!("has a port `{}` that {why}", short.escape_debug())
    })
}
