//! URLs of HTTP peers (RFC 3986), and host names in any script as the DNS has them (RFC 3492, RFC 5890). Pure.
//!
//! `http::Uri`, which is linked anyway, parses what goes on a request line; it neither resolves the reference of a redirect
//! nor takes a host name that is not ASCII. The crate `url` does both and brings ICU's tables for it: 26 packages and
//! 190 KiB of the program.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Characters of a path or a query that do not go onto a request line as they are.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Longest name of a host, and longest part of one between dots (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// Host and port as URLs and people write them: an address of IPv6 in brackets.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Scheme of a URL: `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The URL as text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant where none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A URL with the scheme `http` or `https`; its fragment is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    userinfo: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    query: Option<String>,
}

impl Url {
    /// Parses an absolute URL. The error says what is wrong and does not repeat the text, which may hold a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = match scheme(text) {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => return Err("does not begin with http:// or https://".to_owned()),
        };
        let rest = rest.strip_prefix("//").ok_or("has no // after its scheme")?;
        Self::after_slashes(scheme, rest)
    }

    /// What follows `http://`: authority, path and query.
    fn after_slashes(scheme: Scheme, text: &str) -> Result<Self, String> {
        let end = text.find(['/', '?', '#', '\\']).unwrap_or(text.len());
        let (authority, rest) = text.split_at(end);
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, host_and_port)) => (Some(userinfo.to_owned()), host_and_port),
            None => (None, authority),
        };
        let (host, port) = split_port(host_and_port)?;
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let port = digits.parse::<u16>().map_err(|_| "has a port above 65535")?;
                Some(port).filter(|port| *port != scheme.default_port())
            }
            Some(_) => return Err("has a port that is not a number".to_owned()),
        };
        let (path, query) = split_query(rest);
        Ok(Self { scheme, userinfo, host: self::host(host)?, port, path: normal(&path), query })
    }

    /// Resolves a reference, such as the `Location` of a redirect, against this URL (RFC 3986, section 5.2.2).
    pub fn join(&self, reference: &str) -> Result<Self, String> {
        let reference = reference.trim();
        match scheme(reference) {
            Some(("http" | "https", rest)) if rest.starts_with("//") => return Self::parse(reference),
            Some(("http" | "https", _)) => return Err("has no // after its scheme".to_owned()),
            Some(_) => return Err("neither http nor https".to_owned()),
            None => {}
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::after_slashes(self.scheme, rest);
        }
        let mut joined = self.clone();
        let (path, query) = split_query(reference);
        if path.starts_with('/') {
            joined.path = normal(&path);
        } else if !path.is_empty() {
            let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            joined.path = normal(&format!("{parent}/{path}"));
        } else if query.is_none() {
            return Ok(joined);
        }
        joined.query = query;
        Ok(joined)
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name in lower case and ASCII, or an address, that of IPv6 without brackets and with its zone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, that of the scheme where none is written.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Host and port as the header `Host` has them: the port only where it is not that of the scheme, an address of IPv6
    /// in brackets and without a zone (RFC 6874, section 1).
    pub fn authority(&self) -> String {
        let host = match self.host.split_once('%') {
            Some((address, _)) => address,
            None => &self.host,
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        self.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    /// Path and query, as a request line has them.
    pub fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Whether it names a user, with or without a password.
    pub fn has_user(&self) -> bool {
        self.userinfo.is_some()
    }

    /// Whether scheme, host and port are the same.
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.scheme, self.host(), self.port()) == (other.scheme, other.host(), other.port())
    }
}

/// The URL without user and password.
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.word(), self.authority(), self.path_and_query())
    }
}

/// The scheme of an absolute URL, in lower case if it is one of ours, and what follows its colon.
fn scheme(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut characters = scheme.chars();
    let first = characters.next()?.is_ascii_alphabetic();
    let all = characters.all(|one| one.is_ascii_alphanumeric() || matches!(one, '+' | '-' | '.'));
    if !first || !all {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(("http", rest)),
        "https" => Some(("https", rest)),
        _ => Some(("", rest)),
    }
}

fn split_port(host_and_port: &str) -> Result<(&str, Option<&str>), String> {
    if !host_and_port.starts_with('[') {
        return Ok(host_and_port
            .split_once(':')
            .map_or((host_and_port, None), |(host, port)| (host, Some(port))));
    }
    let end = host_and_port.find(']').ok_or("has a [ without a ]")?;
    let (host, rest) = host_and_port.split_at(end + 1);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err("has something other than a port after ]".to_owned()),
    }
}

/// Path and query, encoded and without the fragment.
fn split_query(text: &str) -> (String, Option<String>) {
    let text = text.split('#').next().unwrap_or_default();
    let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    match text.split_once('?') {
        Some((path, query)) => (encode(&path.replace('\\', "/")), Some(encode(query))),
        None => (encode(&text.replace('\\', "/")), None),
    }
}

/// A path that begins with a slash and has no `.` and `..` (RFC 3986, section 5.2.4).
fn normal(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut open = true; // whether a slash stands at the end
    for segment in path.split('/').skip(usize::from(path.starts_with('/'))) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let slash = if open && !segments.is_empty() { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

/// The host of an authority.
fn host(text: &str) -> Result<String, String> {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let (address, zone) = match inner.split_once('%') {
            // RFC 6874 writes the percent sign encoded; everybody else does not.
            Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
            None => (inner, None),
        };
        let address: Ipv6Addr = address.parse().map_err(|_| "has no IPv6 address between [ and ]")?;
        return match zone {
            None => Ok(address.to_string()),
            Some(zone) if !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(format!("{address}%{zone}"))
            }
            Some(_) => Err("has an IPv6 address whose zone is not an interface".to_owned()),
        };
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "has a host that is not UTF-8")?;
    ascii_host(&decoded)
}

/// A host name as the DNS has it: in lower case, each label that is not ASCII in Punycode (`xn--`), or an address of IPv4
/// as it is.
///
/// Letters are made lower case and the full stops of CJK scripts are dots, as UTS 46 has it; further mapping
/// (compatibility forms, joiners) is not done. A name in decomposed form (a letter and its accent as two characters) is
/// refused: it would be another name.
pub fn ascii_host(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("names no host".to_owned());
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return Ok(name.to_owned());
    }
    no_short_address(name)?;
    let forbidden = |one: char| {
        one.is_control()
            || one.is_whitespace()
            || matches!(one, '"'..='%' | '/' | ':' | '<'..='@' | '['..='^' | '`' | '{'..='}')
    };
    if name.contains(forbidden) {
        return Err("has a character in its host that no host name has".to_owned());
    }
    if name.contains(|one| matches!(one, '\u{300}'..='\u{36f}')) {
        return Err(
            "has a host name with separate accents; write it in composed form (NFC), or as xn--".to_owned()
        );
    }
    let name = name.to_lowercase().replace(['\u{3002}', '\u{ff0e}', '\u{ff61}'], ".");
    let labels: Result<Vec<String>, String> = name.split('.').map(label).collect();
    let name = labels?.join(".");
    if name.trim_end_matches('.').len() > LONGEST_NAME {
        return Err(format!("has a host name of more than {LONGEST_NAME} characters"));
    }
    Ok(name)
}

/// Refuses the short forms of IPv4 addresses that some programs take (`inet_aton`: `127.1`, `0x7f000001`). No name of the
/// DNS ends in a number, so a name server that answers for one names another host.
pub fn no_short_address(host: &str) -> Result<(), String> {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let number = match hexadecimal {
        Some(digits) => digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|digit| digit.is_ascii_digit()),
    };
    if number && host.parse::<Ipv4Addr>().is_err() {
        return Err("ends in a number, and is no address of IPv4 with four decimal numbers".to_owned());
    }
    Ok(())
}

fn label(text: &str) -> Result<String, String> {
    let label = if text.is_ascii() { text.to_owned() } else { format!("xn--{}", punycode(text)?) };
    if label.len() > LONGEST_LABEL {
        return Err(format!("has a part of a host name with more than {LONGEST_LABEL} characters"));
    }
    Ok(label)
}

/// Punycode (RFC 3492, section 6.3).
fn punycode(text: &str) -> Result<String, String> {
    const BASE: u32 = 36;
    const FIRST_BIAS: u32 = 72;
    let too_long = || "has a host name that is too long".to_owned();
    if text.chars().count() > LONGEST_LABEL {
        return Err(too_long());
    }
    let mut encoded: String = text.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(encoded.len()).unwrap_or(0);
    let length = u32::try_from(text.chars().count()).unwrap_or(0);
    if basic > 0 {
        encoded.push('-');
    }
    let (mut next, mut delta, mut bias, mut handled) = (128u32, 0u32, FIRST_BIAS, basic);
    while handled < length {
        // At least one is left, or `handled` would be `length`.
        let Some(least) = text.chars().map(u32::from).filter(|code| *code >= next).min() else { break };
        delta = (least - next)
            .checked_mul(handled + 1)
            .and_then(|add| delta.checked_add(add))
            .ok_or_else(too_long)?;
        next = least;
        for code in text.chars().map(u32::from) {
            if code < next {
                delta += 1;
            }
            if code != next {
                continue;
            }
            let mut rest = delta;
            for k in (BASE..).step_by(36) {
                let threshold = k.saturating_sub(bias).clamp(1, 26);
                if rest < threshold {
                    break;
                }
                encoded.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
                rest = (rest - threshold) / (BASE - threshold);
            }
            encoded.push(digit(rest));
            bias = adapt(delta, handled + 1, handled == basic);
            delta = 0;
            handled += 1;
        }
        delta += 1;
        next += 1;
    }
    Ok(encoded)
}

/// RFC 3492, section 6.1.
fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > 455 {
        delta /= 35;
        k += 36;
    }
    k + 36 * delta / (delta + 38)
}

fn digit(value: u32) -> char {
    // Letters are 0 to 25, digits 26 to 35.
    let value = u8::try_from(value).unwrap_or(0);
    char::from(if value < 26 { b'a' + value } else { b'0' + (value - 26) })
}
