//! The labels of the network source: the closed sets of their values, and which have one bound together.

use super::drops::record::Kind;
use super::drops::totals::SERIES;
use crate::metric::label::closed_set;
use crate::metric::{Label, LabelSet};

/// Interfaces that are reported, those of all network namespaces together.
pub const INTERFACES: usize = 256;

/// Rules of nftables that are reported, those of all network namespaces together.
pub const RULES: usize = 200;

closed_set! {
    /// The closed set of values of the label `limit`: what the cloud limits.
    Limit {
        /// Connections that the security groups track.
        Conntrack = "conntrack",
        /// Packets to link-local services: DNS, metadata and time.
        Linklocal = "linklocal",
        /// Packets per second.
        Pps = "pps",
        /// Bytes per second received.
        BandwidthIn = "bandwidth_in",
        /// Bytes per second sent.
        BandwidthOut = "bandwidth_out",
    }
}

closed_set! {
    /// The closed set of values of the label `kind` of an interface's errors.
    ErrorKind {
        /// The card dropped a received packet: the host took packets too slowly.
        Missed = "missed",
        /// No buffer was posted for a packet.
        NoBuffer = "no_buffer",
        /// The driver had no memory for a packet.
        NoMemory = "no_memory",
        /// A transmit queue did not move for seconds, and was reset.
        Timeout = "timeout",
    }
}

closed_set! {
    /// The closed set of values of the label `icmp.type`: the errors that ICMP has.
    IcmpError {
        /// Type 3, of IPv6 1: no route, closed port, or denied; of IPv4 also a packet that is too big.
        DestinationUnreachable = "destination_unreachable",
        /// Of IPv6 type 2: the packet does not fit into a link of the path.
        PacketTooBig = "packet_too_big",
        /// Type 11, of IPv6 3: a routing loop, or fragments that did not come.
        TimeExceeded = "time_exceeded",
        /// Type 12, of IPv6 4: a header that was not understood.
        ParameterProblem = "parameter_problem",
    }
}

impl IcmpError {
    /// By its number of IPv4 (RFC 792).
    pub fn of_ipv4(number: u8) -> Option<Self> {
        match number {
            3 => Some(Self::DestinationUnreachable),
            11 => Some(Self::TimeExceeded),
            12 => Some(Self::ParameterProblem),
            _ => None,
        }
    }
}

closed_set! {
    /// The closed set of values of the label `verdict`: what a rule does with a packet.
    Verdict {
        /// The packet is dropped without an answer.
        Drop = "drop",
        /// The packet is dropped, and the sender gets an ICMP error or a reset.
        Reject = "reject",
    }
}

closed_set! {
    /// The closed set of values of the label `key`: the limit that was exceeded.
    LeftOut {
        /// An interface, over 256.
        Interface = "interface",
        /// A rule of nftables, over 200.
        Rule = "rule",
    }
}

/// A network interface, and the network namespace that it is in.
pub static INTERFACE: LabelSet = LabelSet::fixed(&[Label::Netns, Label::InterfaceName], INTERFACES);

/// The limit of the cloud.
pub static LIMIT: LabelSet = LabelSet::fixed(&[Label::Limit], Limit::ALL.len());

/// The kind of an interface's error.
pub static KIND: LabelSet = LabelSet::fixed(&[Label::Kind], ErrorKind::ALL.len());

/// Kind of a queueing discipline; an interface has one for what it sends, and may have one for what it receives.
pub static QDISC: LabelSet = LabelSet::fixed(&[Label::Qdisc], 2);

/// A rule of nftables, and the network namespace that it is in. Rules that are alike in all of it are one.
pub static RULE: LabelSet = LabelSet::fixed(
    &[Label::Netns, Label::Family, Label::Table, Label::Chain, Label::Comment, Label::Verdict],
    RULES,
);

/// Why a packet was dropped, where, and for which port. Ports over three quarters of the limit are `~other`.
pub static DROP: LabelSet =
    LabelSet::fixed(&[Label::Netns, Label::Reason, Label::Transport, Label::ServerPort], SERIES);

/// Why a connection was reset, where, and for which port; of those received the kernel gives no reason.
pub static RESET: LabelSet =
    LabelSet::fixed(&[Label::Netns, Label::IoDirection, Label::Reason, Label::ServerPort], 2 * SERIES);

/// An error of ICMP that was sent, with its code.
pub static ICMP_SENT: LabelSet = LabelSet::fixed(&[Label::Netns, Label::IcmpType, Label::IcmpCode], SERIES);

/// Counters of the BPF programs.
pub static SAMPLED: LabelSet = LabelSet::fixed(&[Label::Kind], Kind::ALL.len());

/// The limit that was exceeded.
pub static KEY: LabelSet = LabelSet::fixed(&[Label::Key], LeftOut::ALL.len());

/// Number of the CPU whose counter it is.
pub static CPU: LabelSet = LabelSet::configured(&[Label::Cpu], "possible CPUs of the machine");

/// `ipv4` or `ipv6`.
pub static NETWORK_TYPE: LabelSet = LabelSet::fixed(&[Label::NetworkType], 2);

/// The error that an ICMP message reports.
pub static ICMP_TYPE: LabelSet = LabelSet::fixed(&[Label::IcmpType], IcmpError::ALL.len());
