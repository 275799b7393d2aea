//! Netlink messages, whatever they are about: writing a request, splitting a datagram, walking attributes.
//!
//! `include/uapi/linux/netlink.h`. A datagram holds messages, each `nlmsghdr` (16 bytes: length, type, flags, sequence,
//! port) and a payload; a payload ends in attributes, each `nlattr` (4 bytes: length, type) and a payload. Both begin
//! at multiples of four bytes and are in the byte order of the machine. Pure: bytes in, values or an error out.

use crate::text::before_zero;

/// `NLM_F_REQUEST`: the message asks for something.
pub const REQUEST: u16 = 0x001;
/// `NLM_F_DUMP`: it asks for everything there is.
pub const DUMP: u16 = 0x300;

const NLM_F_DUMP_INTR: u16 = 0x010;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLMSGHDR: usize = 16;
const NLATTR: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`: flags in the type of an attribute.
const NLA_FLAGS: u16 = 0xc000;

/// Why a datagram could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message or an attribute whose length is not true: of so many bytes, a part that is longer or shorter than it
    /// can be.
    #[error("message cut off at byte {0}")]
    CutOff(usize),
    /// A known attribute of a length it cannot have.
    #[error("attribute {number} is {length} bytes long")]
    Length {
        /// Number of the attribute.
        number: u16,
        /// Length of its payload.
        length: usize,
    },
}

/// What a datagram said besides what was taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More will come.
    More,
    /// `NLMSG_DONE`: the dump is complete.
    Done,
    /// The kernel refused, with this error number.
    Refused(i32),
    /// The dump does not hold together (`NLM_F_DUMP_INTR`, `NLMSG_OVERRUN`).
    Interrupted,
}

/// A message that is not about netlink itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// What follows the header: a structure that goes with the type, and attributes.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The structure of `N` bytes that the payload begins with, and the attributes behind it.
    pub fn split<const N: usize>(self) -> Result<(&'a [u8; N], Attributes<'a>), Malformed> {
        let (header, rest) = self.payload.split_first_chunk().ok_or(Malformed::CutOff(self.payload.len()))?;
        Ok((header, attributes(rest)))
    }
}

/// Walks the messages of one datagram that answer `sequence`, handing over each that is not netlink's own. What is
/// behind the end of a dump is not looked at.
pub fn messages<'a, E: From<Malformed>>(
    mut datagram: &'a [u8],
    sequence: u32,
    mut take: impl FnMut(Message<'a>) -> Result<(), E>,
) -> Result<Progress, E> {
    while !datagram.is_empty() {
        let (header, payload, rest) = message(datagram)?;
        datagram = rest;
        if header.sequence != sequence {
            continue; // the late answer to a question that was given up
        }
        if header.flags & NLM_F_DUMP_INTR != 0 {
            return Ok(Progress::Interrupted);
        }
        match header.kind {
            // Carries what the dump function returned (`netlink_dump` in `net/netlink/af_netlink.c`).
            NLMSG_DONE => {
                return Ok(match payload.first_chunk().map(|number| i32::from_ne_bytes(*number)) {
                    Some(number) if number < 0 => Progress::Refused(number.saturating_neg()),
                    _ => Progress::Done,
                });
            }
            NLMSG_OVERRUN => return Ok(Progress::Interrupted),
            NLMSG_ERROR => {
                let number = payload.first_chunk().ok_or(Malformed::CutOff(payload.len()))?;
                return Ok(match i32::from_ne_bytes(*number) {
                    0 => Progress::Done,
                    number => Progress::Refused(number.saturating_neg()),
                });
            }
            kind => take(Message { kind, payload })?,
        }
    }
    Ok(Progress::More)
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// Splits the first message off a datagram: its header, its payload, and what follows it.
fn message(datagram: &[u8]) -> Result<(Header, &[u8], &[u8]), Malformed> {
    let cut_off = Malformed::CutOff(datagram.len());
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..]: [u8; NLMSGHDR] =
        *datagram.first_chunk().ok_or(cut_off)?;
    let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    let payload = datagram.get(NLMSGHDR..length).ok_or(cut_off)?;
    let rest = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    let header = Header {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
    };
    Ok((header, payload, rest))
}

/// A netlink attribute (`struct nlattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// `nla_type` without its flags.
    pub number: u16,
    /// Its payload, without the padding.
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The text of a string attribute, without the zero that ends it.
    pub fn text(self) -> &'a [u8] {
        before_zero(self.payload)
    }

    /// The first `N` bytes, which a number of this width is made of. A kernel may send more than it used to; what is
    /// shorter than ever is an error.
    pub fn first<const N: usize>(self) -> Result<[u8; N], Malformed> {
        let short = Malformed::Length { number: self.number, length: self.payload.len() };
        self.payload.first_chunk().copied().ok_or(short)
    }
}

/// The attributes that these bytes are made of. After an error there is nothing more.
pub const fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

/// Walks attributes.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of this number.
    ///
    /// # Errors
    ///
    /// An attribute before it is cut off.
    pub fn get(&self, number: u16) -> Result<Option<Attribute<'a>>, Malformed> {
        for attribute in self.clone() {
            let attribute = attribute?;
            if attribute.number == number {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// The attributes in the first attribute of this number; none without it.
    ///
    /// # Errors
    ///
    /// An attribute before it is cut off.
    pub fn nested(&self, number: u16) -> Result<Self, Malformed> {
        Ok(attributes(self.get(number)?.map_or(&[], |attribute| attribute.payload)))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Some(([l0, l1, k0, k1], _)) = bytes.split_first_chunk::<NLATTR>() else {
            return Some(Err(Malformed::CutOff(bytes.len())));
        };
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let Some(payload) = bytes.get(NLATTR..length) else {
            return Some(Err(Malformed::CutOff(bytes.len())));
        };
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Attribute { number: u16::from_ne_bytes([*k0, *k1]) & !NLA_FLAGS, payload }))
    }
}

/// Length of `struct nfgenmsg`, with which messages of netfilter begin (`include/uapi/linux/netfilter/nfnetlink.h`): address family,
/// version and a resource number.
pub const NFGENMSG: usize = 4;

/// A message to the kernel.
pub fn request(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = NLMSGHDR + payload.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(payload);
    message
}

/// What does not fit into an attribute, whose length has 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are too many for a netlink attribute, which holds {most}", most = MAX_ATTRIBUTE_BYTES)]
pub struct TooLong(pub usize);

/// Bytes that an attribute holds at most.
const MAX_ATTRIBUTE_BYTES: usize = u16::MAX as usize - NLATTR;

/// Adds an attribute to the payload of a request.
pub fn push_attribute(payload: &mut Vec<u8>, number: u16, bytes: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(NLATTR + bytes.len()).map_err(|_| TooLong(bytes.len()))?;
    payload.extend_from_slice(&length.to_ne_bytes());
    payload.extend_from_slice(&number.to_ne_bytes());
    payload.extend_from_slice(bytes);
    payload.resize(payload.len().next_multiple_of(4), 0);
    Ok(())
}
