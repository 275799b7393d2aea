//! The actual destination of a connection behind NAT: the query to conntrack, its answer, and the rule when to query.
//!
//! `IPCTNL_MSG_CT_GET` of `net/netfilter/nf_conntrack_netlink.c` with the tuple of the original direction; the source of
//! the reply is the actual destination. Numbers are big-endian, attributes nested. The messages and the rule when to
//! query are pure.

use crate::netlink::ctnetlink::{
    CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, IPCTNL_MSG_CT_GET,
};
use crate::netlink::{
    self, Attribute, Client, Malformed, NFGENMSG, Progress, ResponseHandler, TooLong, Transport,
    push_attribute,
};
use crate::reading::SourceError;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

const NLA_F_NESTED: u16 = 0x8000;
const TCP: u8 = 6;

/// Lookups in a row without a translation after which the lookups of a destination are suspended.
const SETTLED: u32 = 3;
/// How long the lookups of a destination that is not translated are suspended.
pub const WHILE: Duration = Duration::from_mins(1);
/// Maximum number of destinations that are remembered.
const REMEMBERED: usize = 4096;

/// The query for a connection from `local` to `requested`, as a request with this sequence number.
pub fn request(local: SocketAddr, requested: SocketAddr, sequence: u32) -> Result<Vec<u8>, TooLong> {
    let mut addresses = Vec::new();
    let family = match (local.ip(), requested.ip()) {
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
    push_attribute(&mut protocol, CTA_PROTO_DST_PORT, &requested.port().to_be_bytes())?;
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

/// Reads one datagram of the answer: the source of the reply goes into `actual`.
pub fn parse(datagram: &[u8], sequence: u32, actual: &mut Option<SocketAddr>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        let (_, attributes) = message.split::<NFGENMSG>()?;
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.number == CTA_TUPLE_REPLY {
                *actual = source(attribute)?;
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

/// The answer: the actual destination of a connection.
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

/// Queries conntrack in the network namespace in which the client was opened. `Ok(None)`: there is no such connection.
pub fn ask<T: Transport>(
    client: &mut Client<T>,
    local: SocketAddr,
    requested: SocketAddr,
) -> Result<Option<SocketAddr>, SourceError> {
    const DOING: &str = "asking conntrack for the translation of a connection";
    let mut actual = TranslationReply(None);
    let make = |sequence| request(local, requested, sequence).unwrap_or_default();
    match client.ask(make, &mut actual) {
        Ok(()) => Ok(actual.0),
        Err(netlink::RequestError::Refused(libc::ENOENT)) => Ok(None),
        Err(error) => Err(error.into_source(DOING.to_owned(), &[libc::EINVAL, libc::EOPNOTSUPP])),
    }
}

/// The rule for which destinations conntrack is queried.
#[derive(Debug, Default)]
pub struct Rule {
    /// Lookups in a row without a translation, by destination.
    untranslated: HashMap<SocketAddr, u32>,
    /// Destinations whose lookups are suspended, and until when.
    paused: HashMap<SocketAddr, Instant>,
    second: Option<(Instant, u32)>,
}

impl Rule {
    /// Whether one more query is allowed now: at most `rate` a second.
    pub fn allows(&mut self, rate: u32, now: Instant) -> bool {
        let (since, requested) = self.second.get_or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *requested) = (now, 0);
        }
        *requested += 1;
        *requested <= rate
    }

    /// Records an answer. Returns whether the destination was not translated three times in a row.
    pub fn settled(&mut self, requested: SocketAddr, actual: Option<SocketAddr>) -> bool {
        if actual.is_some_and(|actual| actual != requested) {
            self.untranslated.remove(&requested);
            return false;
        }
        if !self.untranslated.contains_key(&requested) && self.untranslated.len() >= REMEMBERED {
            self.untranslated.clear();
        }
        let times = self.untranslated.entry(requested).or_default();
        *times += 1;
        *times >= SETTLED
    }

    /// Suspends the lookup of a destination for this long; `false` if the map is full.
    pub fn pause(&mut self, requested: SocketAddr, pause: Duration, now: Instant) -> bool {
        let room = self.paused.len() < REMEMBERED || self.paused.contains_key(&requested);
        if room {
            self.untranslated.remove(&requested);
            self.paused.insert(requested, now + pause);
        }
        room
    }

    /// Destinations whose suspension has ended.
    pub fn expired(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.paused.extract_if(|_, until| *until <= now).map(|(requested, _)| requested).collect()
    }
}
