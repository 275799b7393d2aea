//! Questions to a name server and its answers (RFC 1035, RFC 2782), pure.

use crate::source::probes::config::Record;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question as Asked, RCODE, TYPE};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A question.
#[derive(Debug)]
pub struct Question {
    bytes: Vec<u8>,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The records that were asked for; none where the name has others.
    Answers(Vec<Answer>),
    /// The name does not exist.
    NoSuchName,
    /// More than a datagram holds.
    Truncated,
    /// Something else; the server's word for it.
    Failed(&'static str),
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// `A` or `AAAA`.
    Address(IpAddr),
    /// `SRV`.
    Service {
        /// Host.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Question {
    /// A question for the records of a name, to be answered by whatever it takes.
    pub fn new(id: u16, name: &str, record: Record) -> Result<Self, String> {
        let kind = match record {
            Record::A => TYPE::A,
            Record::Aaaa => TYPE::AAAA,
            Record::Srv => TYPE::SRV,
        };
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).map_err(|error| error.to_string())?;
        packet.questions.push(Asked::new(name, kind.into(), CLASS::IN.into(), false));
        let bytes = packet.build_bytes_vec().map_err(|error| error.to_string())?;
        Ok(Self { bytes })
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a message says to it; `None` where it is no answer to this question: sixteen bits of an id are soon guessed, and
    /// a late answer may have the id of another question by chance.
    pub fn reply(&self, bytes: &[u8]) -> Option<Reply> {
        let (packet, own) = (Packet::parse(bytes).ok()?, Packet::parse(&self.bytes).ok()?);
        let answered = match (packet.questions.as_slice(), own.questions.as_slice()) {
            ([told], [asked]) => same(told, asked),
            _ => false,
        };
        if packet.id() != own.id() || !packet.has_flags(PacketFlag::RESPONSE) || !answered {
            return None;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Some(Reply::Truncated);
        }
        match packet.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Some(Reply::NoSuchName),
            RCODE::ServerFailure => return Some(Reply::Failed("SERVFAIL")),
            RCODE::Refused => return Some(Reply::Failed("REFUSED")),
            RCODE::FormatError => return Some(Reply::Failed("FORMERR")),
            RCODE::NotImplemented => return Some(Reply::Failed("NOTIMP")),
            _ => return Some(Reply::Failed("an error")),
        }
        let answers = packet.answers.iter().filter_map(|record| match &record.rdata {
            RData::A(a) => Some(Answer::Address(Ipv4Addr::from_bits(a.address).into())),
            RData::AAAA(aaaa) => Some(Answer::Address(Ipv6Addr::from_bits(aaaa.address).into())),
            // The root: the service is decidedly not there (RFC 2782).
            RData::SRV(service) if service.port == 0 || service.target.to_string().is_empty() => None,
            RData::SRV(service) => {
                Some(Answer::Service { host: service.target.to_string(), port: service.port })
            }
            _ => None,
        });
        Some(Reply::Answers(answers.collect()))
    }
}

/// Whether two questions ask for the same. Servers may write a name in other letters (RFC 4343).
fn same(one: &Asked<'_>, other: &Asked<'_>) -> bool {
    let kind = |asked: &Asked<'_>| (asked.qtype, asked.qclass, asked.unicast_response);
    let (labels, others) = (one.qname.as_bytes(), other.qname.as_bytes());
    let count = |asked: &Asked<'_>| asked.qname.as_bytes().count();
    kind(one) == kind(other)
        && count(one) == count(other)
        && labels.zip(others).all(|(label, other)| label.eq_ignore_ascii_case(other))
}
