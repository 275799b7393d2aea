//! Which destination a connection has got behind NAT: the question to conntrack, its answer, and when to ask.
//!
//! `IPCTNL_MSG_CT_GET` of `net/netfilter/nf_conntrack_netlink.c` with the tuple of the original direction; the source of
//! the reply is what the connection has got. Numbers are big-endian, attributes nested. The messages and the rule when to
//! ask are pure.

use crate::netlink::{
    self, Attribute, Client, Malformed, Progress, ResponseHandler, TooLong, Transport, push_attribute,
};
use crate::reading::SourceError;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Subsystem 1 (ctnetlink), message 1.
const IPCTNL_MSG_CT_GET: u16 = 0x0101;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
const NFGENMSG: usize = 4;
const TCP: u8 = 6;

/// How often in a row a destination is not translated before it is not asked about for a while.
const SETTLED: u32 = 3;
/// How long a destination that is not translated is not asked about.
pub const WHILE: Duration = Duration::from_mins(1);
/// Destinations that are remembered.
const REMEMBERED: usize = 4096;

/// The question for a connection from `local` to `asked`, as a request with this sequence number.
pub fn request(local: SocketAddr, asked: SocketAddr, sequence: u32) -> Result<Vec<u8>, TooLong> {
    let mut addresses = Vec::new();
    let family = match (local.ip(), asked.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            push_attribute(&mut addresses, CTA_IP_V4_SRC, &from.octets())?;
            push_attribute(&mut addresses, CTA_IP_V4_DST, &to.octets())?;
            libc::AF_INET
        }
        (from, to) => {
            push_attribute(&mut addresses, CTA_IP_V6_SRC, &six(from).octets())?;
            push_attribute(&mut addresses, CTA_IP_V6_DST, &six(to).octets())?;
            libc::AF_INET6
        }
    };
    let mut protocol = Vec::new();
    push_attribute(&mut protocol, CTA_PROTO_NUM, &[TCP])?;
    push_attribute(&mut protocol, CTA_PROTO_SRC_PORT, &local.port().to_be_bytes())?;
    push_attribute(&mut protocol, CTA_PROTO_DST_PORT, &asked.port().to_be_bytes())?;
    let mut tuple = Vec::new();
    push_attribute(&mut tuple, CTA_TUPLE_IP | NLA_F_NESTED, &addresses)?;
    push_attribute(&mut tuple, CTA_TUPLE_PROTO | NLA_F_NESTED, &protocol)?;
    let mut payload = vec![u8::try_from(family).unwrap_or_default(), 0, 0, 0];
    push_attribute(&mut payload, CTA_TUPLE_ORIG | NLA_F_NESTED, &tuple)?;
    Ok(netlink::request(IPCTNL_MSG_CT_GET, netlink::REQUEST, sequence, &payload))
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Reads one datagram of the answer: the source of the reply goes into `got`.
pub fn parse(datagram: &[u8], sequence: u32, got: &mut Option<SocketAddr>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        let (_, attributes) = message.split::<NFGENMSG>()?;
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.number == CTA_TUPLE_REPLY {
                *got = source(attribute)?;
            }
        }
        Ok(())
    })
}

/// The source of a tuple: address and port.
fn source(tuple: Attribute<'_>) -> Result<Option<SocketAddr>, Malformed> {
    let (mut address, mut port) = (None, None);
    for part in netlink::attributes(tuple.payload) {
        let part = part?;
        for attribute in netlink::attributes(part.payload) {
            let attribute = attribute?;
            match (part.number, attribute.number) {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC) => {
                    address = Some(IpAddr::from(Ipv4Addr::from(attribute.first::<4>()?)));
                }
                (CTA_TUPLE_IP, CTA_IP_V6_SRC) => {
                    address = Some(Ipv6Addr::from(attribute.first::<16>()?).to_canonical());
                }
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => port = Some(u16::from_be_bytes(attribute.first()?)),
                _ => {}
            }
        }
    }
    Ok(address.zip(port).map(SocketAddr::from))
}

/// What a connection has got.
struct TranslationReply(Option<SocketAddr>);

impl ResponseHandler for TranslationReply {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        match parse(datagram, sequence, &mut self.0)? {
            // One message is all there is.
            Progress::More if self.0.is_some() => Ok(Progress::Done),
            progress => Ok(progress),
        }
    }

    fn restart(&mut self) {
        self.0 = None;
    }
}

/// Asks conntrack in the network namespace that the client was opened in. `Ok(None)`: it has no such connection.
pub fn ask<T: Transport>(
    client: &mut Client<T>,
    local: SocketAddr,
    asked: SocketAddr,
) -> Result<Option<SocketAddr>, SourceError> {
    const DOING: &str = "asking conntrack for the translation of a connection";
    let mut got = TranslationReply(None);
    let make = |sequence| request(local, asked, sequence).unwrap_or_default();
    match client.ask(make, &mut got) {
        Ok(()) => Ok(got.0),
        Err(netlink::RequestError::Refused(libc::ENOENT)) => Ok(None),
        Err(error) => Err(error.into_source(DOING.to_owned(), &[libc::EINVAL, libc::EOPNOTSUPP])),
    }
}

/// Which destinations are worth a question.
#[derive(Debug, Default)]
pub struct Rule {
    /// How often in a row a destination was not translated.
    untranslated: HashMap<SocketAddr, u32>,
    /// Destinations that are not asked about, and until when.
    paused: HashMap<SocketAddr, Instant>,
    second: Option<(Instant, u32)>,
}

impl Rule {
    /// Whether there may be one more question now: at most `rate` a second.
    pub fn allows(&mut self, rate: u32, now: Instant) -> bool {
        let (since, asked) = self.second.get_or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *asked) = (now, 0);
        }
        *asked += 1;
        *asked <= rate
    }

    /// Notes an answer: whether the destination was not translated three times in a row.
    pub fn settled(&mut self, asked: SocketAddr, got: Option<SocketAddr>) -> bool {
        if got.is_some_and(|got| got != asked) {
            self.untranslated.remove(&asked);
            return false;
        }
        if !self.untranslated.contains_key(&asked) && self.untranslated.len() >= REMEMBERED {
            self.untranslated.clear();
        }
        let times = self.untranslated.entry(asked).or_default();
        *times += 1;
        *times >= SETTLED
    }

    /// Notes that a destination is not asked about for so long; whether there was room for it.
    pub fn pause(&mut self, asked: SocketAddr, pause: Duration, now: Instant) -> bool {
        let room = self.paused.len() < REMEMBERED || self.paused.contains_key(&asked);
        if room {
            self.untranslated.remove(&asked);
            self.paused.insert(asked, now + pause);
        }
        room
    }

    /// Destinations that may be asked about again.
    pub fn expired(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.paused.extract_if(|_, until| *until <= now).map(|(asked, _)| asked).collect()
    }
}
