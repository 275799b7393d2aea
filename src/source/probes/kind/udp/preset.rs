//! Requests of UDP protocols, and validation of their responses (pure, except for random identifiers).
//!
//! DNS (RFC 1035), NTP (RFC 5905), SNMP version 2c (RFC 3416), STUN (RFC 8489), SIP (RFC 3261). A response must have
//! the identifier of the request: a response to another request proves nothing.

use crate::source::probes::config::{Preset, Record};
use crate::source::probes::resolve::message::{self, Response};
use crate::url::ascii_host;
use std::hash::{BuildHasher, RandomState};

/// A request, and the identifier of its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetRequest {
    preset: Preset,
    bytes: Vec<u8>,
    token: Vec<u8>,
    /// Query of the preset `dns`.
    dns: Option<message::Question>,
}

/// STUN's magic cookie.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

impl PresetRequest {
    /// Creates a request with a random identifier.
    pub fn new(preset: Preset, query: &str, host: &str) -> Result<Self, String> {
        let chance = RandomState::new();
        let chance: Vec<u8> = (0..2).flat_map(|part| chance.hash_one(part).to_be_bytes()).collect();
        let token = |length: usize| chance.iter().copied().take(length).collect::<Vec<u8>>();
        let mut name_server = None;
        let (bytes, token) = match preset {
            Preset::Dns => {
                let question = dns(query, &token(2))?;
                let bytes = question.bytes().to_vec();
                name_server = Some(question);
                (bytes, Vec::new())
            }
            Preset::Ntp => ntp(&token(8)),
            // A positive number, whose encoding has four bytes.
            Preset::Snmp => {
                snmp(if query.is_empty() { "public" } else { query }, &[vec![0x3f], token(3)].concat())?
            }
            Preset::Stun => stun(&token(12)),
            Preset::Sip => sip(query, host, &token(8)),
        };
        Ok(Self { preset, bytes, token, dns: name_server })
    }

    /// The bytes of the request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Validates a response: it must belong to the request, and report no error.
    pub fn judge(&self, answer: &[u8]) -> Result<(), String> {
        let at = |from: usize, length: usize| answer.get(from..from + length);
        let token = self.token.as_slice();
        let (theirs, fine) = match self.preset {
            Preset::Dns => {
                let response = self.dns.as_ref().and_then(|question| question.response(answer));
                let fine = match response {
                    Some(Response::NoSuchName) => Err("the name server answers NXDOMAIN".to_owned()),
                    Some(Response::Failed(word)) => Err(format!("the name server answers {word}")),
                    _ => Ok(()),
                };
                (response.is_some(), fine)
            }
            Preset::Ntp => {
                let server = answer.first().is_some_and(|flags| flags & 7 == 4);
                let fine = match answer.get(1) {
                    Some(1..=15) => Ok(()),
                    _ => Err("the server is not synchronized, or refuses".to_owned()),
                };
                (server && answer.len() >= 48 && at(24, 8) == Some(token), fine)
            }
            Preset::Snmp => (answer.first() == Some(&0x30) && is_response(answer, token), Ok(())),
            Preset::Stun => {
                let fine = match at(0, 2) {
                    Some([1, 1]) => Ok(()),
                    _ => Err("the server answers with an error".to_owned()),
                };
                (at(4, 4) == Some(&COOKIE) && at(8, 12) == Some(token), fine)
            }
            Preset::Sip => (answer.starts_with(b"SIP/2.0 ") && contains(answer, token), Ok(())),
        };
        if theirs { fine } else { Err("the datagram is not a response to this request".to_owned()) }
    }
}

/// Whether the request id is where that of a `GetResponse` is: after its tag and its length, which takes one to three
/// bytes.
fn is_response(answer: &[u8], number: &[u8]) -> bool {
    let found = answer.windows(number.len()).position(|window| window == number);
    let before = found.and_then(|at| answer.get(..at)).unwrap_or(&[]);
    matches!(before, [.., 0xa2, 0..0x80] | [.., 0xa2, 0x81, _] | [.., 0xa2, 0x82, _, _])
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn dns(query: &str, id: &[u8]) -> Result<message::Question, String> {
    let id = u16::from_be_bytes(id.first_chunk().copied().unwrap_or_default());
    let name = query.trim_end_matches('.');
    if name.is_empty() {
        return Ok(message::Question::root(id));
    }
    let name = if name.is_ascii() { Ok(name.to_owned()) } else { ascii_host(name) };
    let asked = name.and_then(|name| message::Question::new(id, &name, Record::A));
    asked.map_err(|why| format!("has a query that {why}"))
}

/// Version 4, client mode; the response has the transmit timestamp as its origin timestamp.
fn ntp(stamp: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = vec![0x23];
    bytes.resize(40, 0);
    bytes.extend_from_slice(stamp);
    (bytes, stamp.to_vec())
}

/// `GetRequest` for `sysUpTime.0` (1.3.6.1.2.1.1.3.0).
fn snmp(community: &str, id: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let tagged = |tag: u8, parts: &[&[u8]]| -> Result<Vec<u8>, String> {
        let content = parts.concat();
        // Lengths up to 127 take one byte; a valid community does not exceed that.
        let length = u8::try_from(content.len()).ok().filter(|length| *length < 128);
        let length =
            length.ok_or_else(|| "has a community that is too long; 60 bytes are enough".to_owned())?;
        Ok([&[tag, length][..], &content].concat())
    };
    let name = tagged(6, &[&[0x2b, 6, 1, 2, 1, 1, 3, 0]])?;
    let binding = tagged(0x30, &[&name, &[5, 0]])?;
    let bindings = tagged(0x30, &[&binding])?;
    let number = tagged(2, &[id])?;
    let request = tagged(0xa0, &[&number, &[2, 1, 0], &[2, 1, 0], &bindings])?;
    let community = tagged(4, &[community.as_bytes()])?;
    Ok((tagged(0x30, &[&[2, 1, 1], &community, &request])?, number))
}

fn stun(transaction: &[u8]) -> (Vec<u8>, Vec<u8>) {
    ([&[0, 1, 0, 0], &COOKIE[..], transaction].concat(), transaction.to_vec())
}

fn sip(query: &str, host: &str, token: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let hex = format!("{:016x}", u64::from_be_bytes(token.first_chunk().copied().unwrap_or_default()));
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let uri = if query.is_empty() { format!("sip:{host}") } else { format!("sip:{query}") };
    let text = format!(
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP probe.invalid;branch=z9hG4bK{hex};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@probe.invalid>;tag={hex}\r\nTo: <{uri}>\r\nCall-ID: {hex}@probe.invalid\r\n\
         CSeq: 1 OPTIONS\r\nContact: <sip:probe@probe.invalid>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    );
    (text.into_bytes(), hex.into_bytes())
}
