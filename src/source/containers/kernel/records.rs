//! The records of the maps and of the ring, as `bpf/group.h` and `bpf/tcp.bpf.c` have them.
//!
//! Pure: bytes in, values out. Numbers are in the byte order of the machine, ports and addresses in that of the network.
//! An IPv4 address is written as IPv4-mapped address of IPv6.

use crate::text::before_zero;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

mod spent;
mod totals;

pub use spent::{GroupTotals, SPENT};
pub use totals::{BUCKETS, NUMBERS, TOTALS, Totals};

/// Length of a key of the map `destinations`.
pub const DESTINATION: usize = 48;
/// Length of a value of the map `groups`.
pub const GROUP: usize = 16 + LEVELS * NAME;
/// Length of a value of the map `listeners`.
pub const LISTENER: usize = 40;
/// Length of a value of the map `connections`.
pub const CONNECTION: usize = 96;
/// Length of a key of the map `answers`.
pub const QUESTION: usize = 16;
/// Length of a key of the map `direct` and of a value of `answers`.
pub const ENDPOINT: usize = 24;

const LEVELS: usize = 15;
const NAME: usize = 128;

/// Reads the fields of a record, from its beginning.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }

    fn port(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn address(&mut self) -> Option<IpAddr> {
        self.bytes().map(|bytes: [u8; 16]| Ipv6Addr::from(bytes).to_canonical())
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The key of a destination: control group, requested and actual destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Control group of the process that connected.
    pub group: u64,
    /// Address and port passed to `connect()`.
    pub requested: SocketAddr,
    /// Address and port of the actual peer; the same without address translation.
    pub actual: SocketAddr,
}

impl Destination {
    /// The control group of a key.
    pub fn group_of(key: &[u8; DESTINATION]) -> u64 {
        key.first_chunk().map_or(0, |group| u64::from_ne_bytes(*group))
    }

    /// Reads a key.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let group = fields.u64()?;
        let (requested, actual) = (fields.address()?, fields.address()?);
        let (asked_port, got_port) = (fields.port()?, fields.port()?);
        Some(Self { group, requested: (requested, asked_port).into(), actual: (actual, got_port).into() })
    }

    /// The bytes of the key.
    pub fn bytes(&self) -> [u8; DESTINATION] {
        let mut bytes = [0; DESTINATION];
        bytes[..8].copy_from_slice(&self.group.to_ne_bytes());
        bytes[8..24].copy_from_slice(&mapped(self.requested.ip()));
        bytes[24..40].copy_from_slice(&mapped(self.actual.ip()));
        bytes[40..42].copy_from_slice(&self.requested.port().to_be_bytes());
        bytes[42..44].copy_from_slice(&self.actual.port().to_be_bytes());
        bytes
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|index| bytes.get(index).copied().unwrap_or_default())
}

/// A control group at the time when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its path in its hierarchy: `/docker/4f5a…`. Of one with more than 15 levels only the last 15.
    pub path: String,
}

impl Group {
    /// Reads a value.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (_, _, levels, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let levels = usize::try_from(levels).ok().filter(|levels| *levels <= LEVELS)?;
        let mut names = Vec::with_capacity(levels);
        for _ in 0..levels {
            let name: [u8; NAME] = fields.bytes()?;
            names.push(String::from_utf8_lossy(before_zero(&name)).into_owned());
        }
        let path = names.iter().rev().fold(String::new(), |path, name| path + "/" + name);
        Some(Self { path: if path.is_empty() { "/".to_owned() } else { path } })
    }

    /// The value that makes the programs ignore the group; the agent writes it.
    pub fn ignored() -> [u8; GROUP] {
        let mut value = [0; GROUP];
        if let Some(ignored) = value.get_mut(4..8) {
            ignored.copy_from_slice(&1_u32.to_ne_bytes());
        }
        value
    }

    /// The value with another number of destinations.
    pub fn with_destinations(mut value: [u8; GROUP], used: u32) -> [u8; GROUP] {
        if let Some(first) = value.first_chunk_mut() {
            *first = used.to_ne_bytes();
        }
        value
    }
}

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Control group of the process that listens.
    pub group: u64,
    /// Where.
    pub at: SocketAddr,
    /// Inode of its network namespace.
    pub netns: u32,
    /// A process that listens, by its PID in the initial PID namespace.
    pub process: u32,
    /// Whether it accepts connections of its own family only; always true for IPv4.
    pub only: bool,
}

impl Listener {
    /// Reads a value.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (group, address, port, only) = (fields.u64()?, fields.address()?, fields.u16()?, fields.u16()?);
        let (netns, process) = (fields.u32()?, fields.u32()?);
        Some(Self { group, at: (address, port).into(), netns, process, only: only != 0 })
    }
}

/// Identity of a connection whose translation is looked up: the address of a socket may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Address of the socket in the kernel.
    pub socket: u64,
    /// Time of the call of `connect()`, in nanoseconds since boot.
    pub started: u64,
}

impl ConnectionId {
    /// Reads a key.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self { socket: fields.u64()?, started: fields.u64()? })
    }

    /// Whether it is the connection that a value of `connections` describes.
    pub fn is_of(self, connection: &[u8; CONNECTION]) -> bool {
        let mut fields = Fields(connection.get(64..).unwrap_or_default());
        fields.u64() == Some(self.started)
    }

    /// The bytes of the key.
    pub fn bytes(self) -> [u8; QUESTION] {
        fixed(&[self.socket.to_ne_bytes(), self.started.to_ne_bytes()].concat())
    }
}

/// Reads an address and a port.
pub fn parse_endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let mut fields = Fields(bytes);
    Some((fields.address()?, fields.port()?).into())
}

/// Writes an address and a port.
pub fn endpoint(at: SocketAddr) -> [u8; ENDPOINT] {
    fixed(&[mapped(at.ip()).as_slice(), &at.port().to_be_bytes()].concat())
}

/// Value of `before` for a connection that was established before the programs were loaded.
const BEFORE_OPEN: u16 = 1;

/// An event, which the kernel reports immediately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A control group that was not seen before.
    Group(u64),
    /// A connection was established to a destination that may be translated. The program counts it when it has the answer.
    Established(Established),
    /// Such a connection ended before there was an answer. The agent counts all of it.
    Ended(Ended),
}

/// A connection whose translation is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Established {
    /// Identity of the connection.
    pub connection: ConnectionId,
    /// Control group of the process that connected.
    pub group: u64,
    /// Local address and port.
    pub local: SocketAddr,
    /// Requested address and port.
    pub requested: SocketAddr,
}

/// A connection that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Identity of the connection.
    pub connection: ConnectionId,
    /// Control group of the process that connected.
    pub group: u64,
    /// Requested address and port.
    pub requested: SocketAddr,
    /// Whether it ended by a reset.
    pub reset: bool,
    /// Whether it was established after the programs were loaded.
    pub opened: bool,
    /// Duration of the handshake in nanoseconds; `None` if its beginning was not seen.
    pub handshake: Option<u64>,
    /// Segments retransmitted, without SYNs.
    pub retransmits: u32,
    /// SYNs retransmitted.
    pub syn_retransmits: u16,
    /// Payload sent, bytes.
    pub sent: u64,
    /// Payload received, bytes.
    pub received: u64,
    /// Smoothed round-trip time, eighths of a microsecond; 0 if there is none.
    pub rtt: u32,
}

impl Event {
    /// Parses an event; `None` if it is unknown or too short.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (kind, reset) = (fields.u32()?, fields.u32()? != 0);
        let group = fields.u64()?;
        let connection = ConnectionId { socket: fields.u64()?, started: fields.u64()? };
        let (local, requested) = (fields.address()?, fields.address()?);
        let (local_port, asked_port) = (fields.u16()?, fields.port()?);
        let retransmits = fields.u32()?;
        let handshake = fields.u64()?;
        let (sent, received, rtt) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let (before, syn_retransmits) = (fields.u16()?, fields.u16()?);
        let (local, requested) = ((local, local_port).into(), (requested, asked_port).into());
        match kind {
            1 => Some(Self::Group(group)),
            2 => Some(Self::Established(Established { connection, group, local, requested })),
            3 => Some(Self::Ended(Ended {
                connection,
                group,
                requested,
                reset,
                opened: before != BEFORE_OPEN,
                handshake: (before == 0).then_some(handshake),
                retransmits,
                syn_retransmits,
                sent,
                received,
                rtt,
            })),
            _ => None,
        }
    }
}
