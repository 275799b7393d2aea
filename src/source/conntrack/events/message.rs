//! Events of connection tracking, as ctnetlink multicasts them (pure).
//!
//! `ctnetlink_conntrack_event` in `net/netfilter/nf_conntrack_netlink.c`: a message of type `IPCTNL_MSG_CT_NEW` or
//! `IPCTNL_MSG_CT_DELETE` with sequence number 0, `nfgenmsg` (4 bytes) and nested attributes with big-endian numbers. That of
//! a destroyed entry has its counters where `nf_conntrack_acct` was on when it was created, and its beginning and end where
//! `nf_conntrack_timestamp` was.

use crate::netlink::ctnetlink::{
    CTA_COUNTERS_BYTES, CTA_COUNTERS_ORIG, CTA_COUNTERS_PACKETS, CTA_COUNTERS_REPLY, CTA_PROTO_NUM,
    CTA_TIMESTAMP, CTA_TIMESTAMP_START, CTA_TIMESTAMP_STOP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO,
    IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_NEW,
};
use crate::netlink::{self, Attribute, Attributes, Malformed, NFGENMSG};

/// The multicast groups of new and of destroyed entries (`NFNLGRP_CONNTRACK_NEW`, `NFNLGRP_CONNTRACK_DESTROY`).
pub const GROUPS: [u32; 2] = [1, 3];

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It was created.
    New,
    /// It was destroyed.
    Destroyed(Ended),
}

/// The last numbers of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Number of the protocol.
    pub protocol: u8,
    /// Packets and bytes of both directions.
    pub counters: Option<(u64, u64)>,
    /// How long it existed, nanoseconds.
    pub lifetime: Option<u64>,
}

/// Reads a datagram, and calls `take` with each event in it.
pub fn parse(datagram: &[u8], mut take: impl FnMut(Event)) -> Result<(), Malformed> {
    netlink::messages(datagram, 0, |message| {
        match message.kind {
            // Nothing of a new entry is needed but that it is there.
            IPCTNL_MSG_CT_NEW => take(Event::New),
            IPCTNL_MSG_CT_DELETE => {
                let (_, attributes) = message.split::<NFGENMSG>()?;
                take(Event::Destroyed(ended(attributes)?));
            }
            _ => {}
        }
        Ok(())
    })
    .map(|_| ())
}

fn ended(attributes: Attributes<'_>) -> Result<Ended, Malformed> {
    let mut ended = Ended::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.number {
            CTA_TUPLE_ORIG => ended.protocol = protocol(attribute)?,
            CTA_COUNTERS_ORIG | CTA_COUNTERS_REPLY => {
                let [more_packets, more_bytes] =
                    numbers(attribute, [CTA_COUNTERS_PACKETS, CTA_COUNTERS_BYTES])?
                        .map(Option::unwrap_or_default);
                let (packets, bytes) = ended.counters.unwrap_or_default();
                ended.counters =
                    Some((packets.saturating_add(more_packets), bytes.saturating_add(more_bytes)));
            }
            CTA_TIMESTAMP => {
                let [start, stop] = numbers(attribute, [CTA_TIMESTAMP_START, CTA_TIMESTAMP_STOP])?;
                // The clock may have been set back since.
                ended.lifetime = stop.zip(start).map(|(stop, start)| stop.saturating_sub(start));
            }
            _ => {}
        }
    }
    Ok(ended)
}

fn protocol(tuple: Attribute<'_>) -> Result<u8, Malformed> {
    let number = netlink::attributes(tuple.payload).nested(CTA_TUPLE_PROTO)?.get(CTA_PROTO_NUM)?;
    Ok(number.map(Attribute::first).transpose()?.map_or(0, |[protocol]| protocol))
}

/// The 64-bit numbers of these two attributes.
fn numbers(nested: Attribute<'_>, wanted: [u16; 2]) -> Result<[Option<u64>; 2], Malformed> {
    let mut found = [None; 2];
    for number in netlink::attributes(nested.payload) {
        let number = number?;
        for (number_of, value) in wanted.iter().zip(&mut found) {
            if *number_of == number.number {
                *value = Some(u64::from_be_bytes(number.first()?));
            }
        }
    }
    Ok(found)
}
