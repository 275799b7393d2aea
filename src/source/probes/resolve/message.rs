//! DNS queries and responses (RFC 1035, RFC 2782, RFC 3596) (pure).
//!
//! Any datagram may be forged until its id and question match the query, so these are compared first. Each record is
//! parsed separately: an invalid one is skipped, and other sections are not parsed. A parser of whole messages rejects
//! everything for one invalid record.

use crate::source::probes::config::Record;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Size of the message header, bytes.
const HEADER: usize = 12;

/// Size of type and class after the name of a question, bytes.
const BEHIND_NAME: usize = 4;

/// Maximum size of an encoded name, bytes (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;

/// Maximum length of a label, bytes.
const LONGEST_LABEL: usize = 63;

/// The class IN.
const IN: u16 = 1;

/// Record types.
const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A query: name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    bytes: Vec<u8>,
}

/// Response of a name server to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Records of the requested type; empty if the name has only others.
    Records(Vec<RecordData>),
    /// The name does not exist.
    NoSuchName,
    /// The response exceeds the size of a datagram.
    Truncated,
    /// The server does not know the zone, and is not recursive.
    Referral,
    /// An error, by its name in DNS.
    Failed(&'static str),
}

/// Data of one resource record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordData {
    /// `A` or `AAAA`.
    Address(IpAddr),
    /// `SRV`.
    Service {
        /// Host, a full name without the final dot.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Question {
    /// A recursive query for the records of a full name.
    pub fn new(id: u16, name: &str, record: Record) -> Result<Self, String> {
        let kind = match record {
            Record::A => A,
            Record::Aaaa => AAAA,
            Record::Srv => SRV,
        };
        Self::of(id, name.split('.'), kind)
    }

    /// A query for the name servers of the root.
    pub fn root(id: u16) -> Self {
        Self { bytes: [header(id).as_slice(), &[0], &behind(NS)].concat() }
    }

    fn of<'a>(id: u16, labels: impl Iterator<Item = &'a str>, kind: u16) -> Result<Self, String> {
        let mut bytes = header(id).to_vec();
        for label in labels {
            let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
            if length == 0 {
                return Err("has two dots with nothing between them".to_owned());
            }
            if usize::from(length) > LONGEST_LABEL {
                return Err(format!("has a part with more than {LONGEST_LABEL} bytes"));
            }
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        if bytes.len() - HEADER > LONGEST_NAME {
            return Err(format!("has more than {} bytes", LONGEST_NAME - 2));
        }
        bytes.extend(behind(kind));
        Ok(Self { bytes })
    }

    /// The bytes of the query.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Parses a message as the response to this query; `None` if it answers another query, or is truncated. The 16-bit
    /// id alone is easily guessed, and may match a late response by chance.
    pub fn response(&self, bytes: &[u8]) -> Option<Response> {
        if bytes.get(..2) != self.bytes.get(..2) {
            return None;
        }
        let mut message = Reader { bytes, at: 2 };
        let [flags, code] = message.u16()?.to_be_bytes();
        let (questions, answers, _, others) =
            (message.u16()?, message.u16()?, message.u16()?, message.u16()?);
        let asked = self.bytes.get(HEADER..)?;
        let repeated = message.take(asked.len())?;
        // The QR bit; the opcode of a query is 0.
        if flags & 0xf8 != 0x80 || questions != 1 || !same(asked, repeated) {
            return None;
        }
        if flags & 0x02 != 0 {
            return Some(Response::Truncated);
        }
        match code & 0x0f {
            0 => {}
            1 => return Some(Response::Failed("FORMERR")),
            2 => return Some(Response::Failed("SERVFAIL")),
            3 => return Some(Response::NoSuchName),
            4 => return Some(Response::Failed("NOTIMP")),
            5 => return Some(Response::Failed("REFUSED")),
            _ => return Some(Response::Failed("an error")),
        }
        // Neither authoritative (AA) nor recursive (RA), and without records: the server does not know the zone.
        if answers == 0 && others == 0 && flags & 0x04 == 0 && code & 0x80 == 0 {
            return Some(Response::Referral);
        }
        let (name, kind) = asked.split_at_checked(asked.len().checked_sub(BEHIND_NAME)?)?;
        let wanted = u16::from_be_bytes(*kind.first_chunk()?);
        let mut records = Vec::new();
        for _ in 0..answers {
            let owner = Reader { ..message }.name();
            message.skip_name()?;
            let (kind, class) = (message.u16()?, message.u16()?);
            let _time_to_live = message.take(4)?;
            let length = usize::from(message.u16()?);
            let begin = message.at;
            let data = message.take(length)?;
            if let (Some(owner), IN) = (owner, class) {
                records.push((owner, kind, data, Reader { bytes, at: begin }));
            }
        }
        let names = aliases(name, &records);
        let of_name = |owner: &[u8]| names.iter().any(|name| name.eq_ignore_ascii_case(owner));
        records.retain(|(owner, kind, ..)| *kind == wanted && of_name(owner));
        let records =
            records.into_iter().filter_map(|(_, kind, data, reader)| record(kind, data, reader)).collect();
        Some(Response::Records(records))
    }
}

/// A record: owner, type, data, and a reader at its data within the message.
type AnswerRecord<'a> = (Vec<u8>, u16, &'a [u8], Reader<'a>);

/// Maximum number of aliases that are followed, as in most resolvers.
const ALIASES: usize = 16;

/// The name of the question and those that its aliases (`CNAME`) lead to. Records of other names are no answer: whoever
/// took them would reach another host.
fn aliases(name: &[u8], records: &[AnswerRecord<'_>]) -> Vec<Vec<u8>> {
    let mut names = vec![name.to_vec()];
    while let Some(last) = names.last()
        && names.len() <= ALIASES
        && let Some(next) = records.iter().find_map(|(owner, kind, _, reader)| {
            let alias = *kind == CNAME && owner.eq_ignore_ascii_case(last);
            alias.then(|| Reader { ..*reader }.name()).flatten()
        })
    {
        names.push(next);
    }
    names
}

fn header(id: u16) -> [u8; HEADER] {
    let [high, low] = id.to_be_bytes();
    // Recursion desired; one question.
    [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn behind(kind: u16) -> [u8; BEHIND_NAME] {
    let ([kind_high, kind_low], [high, low]) = (kind.to_be_bytes(), IN.to_be_bytes());
    [kind_high, kind_low, high, low]
}

/// Whether two questions are the same. Servers may change the case of a name (RFC 4343).
fn same(asked: &[u8], repeated: &[u8]) -> bool {
    let split = asked.len().saturating_sub(BEHIND_NAME);
    match (asked.split_at_checked(split), repeated.split_at_checked(split)) {
        (Some((name, kind)), Some((other_name, other_kind))) => {
            name.eq_ignore_ascii_case(other_name) && kind == other_kind
        }
        _ => false,
    }
}

/// Parses the data of a record; `None` if it is invalid for its type. `reader` is at the data within the message.
fn record(kind: u16, data: &[u8], mut reader: Reader<'_>) -> Option<RecordData> {
    match kind {
        A => Some(RecordData::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into())),
        AAAA => Some(RecordData::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into())),
        SRV => {
            let end = reader.at + data.len();
            let _priority_and_weight = reader.take(4)?;
            let port = reader.u16()?;
            let host = reader.host()?;
            // The root as host means that the service does not exist (RFC 2782).
            (reader.at == end && port != 0 && !host.is_empty()).then_some(RecordData::Service { host, port })
        }
        _ => None,
    }
}

/// A position in a message.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// Skips a name, without following its pointers.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                length @ 1..=0x3f => drop(self.take(length.into())?),
                0xc0.. => return self.u8().map(drop),
                _ => return None,
            }
        }
    }

    /// Reads a name, as its labels with their lengths, and moves behind it. Pointers must lead backwards, so there is no
    /// loop.
    fn name(&mut self) -> Option<Vec<u8>> {
        let mut name = Vec::new();
        let mut reader = *self;
        let mut begin = self.at;
        let mut jumped = false;
        loop {
            match reader.u8()? {
                0 => break,
                length @ 1..=0x3f => {
                    name.push(length);
                    name.extend_from_slice(reader.take(length.into())?);
                    if name.len() >= LONGEST_NAME {
                        return None;
                    }
                }
                high @ 0xc0.. => {
                    let to = usize::from(u16::from_be_bytes([high & 0x3f, reader.u8()?]));
                    if to >= begin {
                        return None;
                    }
                    if !jumped {
                        self.at = reader.at;
                    }
                    (reader.at, begin, jumped) = (to, to, true);
                }
                _ => return None,
            }
        }
        if !jumped {
            self.at = reader.at;
        }
        name.push(0);
        Some(name)
    }

    /// Reads a host name, without a final dot, and moves behind it.
    fn host(&mut self) -> Option<String> {
        let name = self.name()?;
        let mut labels = Reader { bytes: &name, at: 0 };
        let mut host = String::new();
        while let length @ 1.. = labels.u8()? {
            let label = std::str::from_utf8(labels.take(length.into())?).ok()?;
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return None;
            }
            if !host.is_empty() {
                host.push('.');
            }
            host.push_str(label);
        }
        Some(host)
    }
}
