//! The key that the programs count by: `struct key` of `bpf/drops.bpf.c` (pure).

use crate::metric::label::closed_set;

/// Bytes of a key.
pub const KEY: usize = 12;

closed_set! {
    /// The closed set of values of the label `kind` of what the programs count.
    Kind {
        /// Packets that the kernel dropped.
        Drop = "drop",
        /// Resets of TCP that were sent.
        ResetSent = "reset_sent",
        /// Resets of TCP that were received for a socket.
        ResetReceived = "reset_received",
        /// Errors of ICMP that were sent.
        IcmpSent = "icmp_sent",
    }
}

impl Kind {
    /// The kernel's number of it.
    pub fn number(self) -> u8 {
        match self {
            Self::Drop => 0,
            Self::ResetSent => 1,
            Self::ResetReceived => 2,
            Self::IcmpSent => 3,
        }
    }
}

closed_set! {
    /// The closed set of values of the label `network.transport` of a packet.
    Transport {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// ICMP of either family.
        Icmp = "icmp",
        /// Another protocol, none at all (ARP), or behind extension headers of IPv6.
        Other = "~other",
    }
}

/// The key that packets are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Inode of the network namespace; 0 if it is not known.
    pub netns: u32,
    /// The kernel's number of the reason; of another subsystem's reasons the subsystem's number with the highest bit.
    pub reason: u16,
    /// Port of the server; 0 for one that is not told apart.
    pub port: u16,
    /// What happened.
    pub kind: Kind,
    /// Protocol of the packet.
    pub transport: Transport,
    /// Type of an ICMP message.
    pub icmp_type: u8,
    /// Code of an ICMP message.
    pub icmp_code: u8,
}

impl Key {
    /// Parses the kernel's bytes; `None` for a kind that is not known.
    pub fn parse(bytes: &[u8; KEY]) -> Option<Self> {
        let [n0, n1, n2, n3, r0, r1, p0, p1, kind, transport, icmp_type, icmp_code] = *bytes;
        let transport = match transport {
            6 => Transport::Tcp,
            17 => Transport::Udp,
            1 => Transport::Icmp,
            _ => Transport::Other,
        };
        Some(Self {
            netns: u32::from_ne_bytes([n0, n1, n2, n3]),
            reason: u16::from_ne_bytes([r0, r1]),
            port: u16::from_ne_bytes([p0, p1]),
            kind: *Kind::ALL.iter().find(|known| known.number() == kind)?,
            transport,
            icmp_type,
            icmp_code,
        })
    }

    /// The kernel's bytes.
    pub fn bytes(self) -> [u8; KEY] {
        let [n0, n1, n2, n3] = self.netns.to_ne_bytes();
        let ([r0, r1], [p0, p1]) = (self.reason.to_ne_bytes(), self.port.to_ne_bytes());
        let transport = match self.transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::Icmp => 1,
            Transport::Other => 0,
        };
        [n0, n1, n2, n3, r0, r1, p0, p1, self.kind.number(), transport, self.icmp_type, self.icmp_code]
    }
}
