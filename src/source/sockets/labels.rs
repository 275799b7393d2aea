//! The labels of the sockets: the closed sets of their values, and which have one bound together.

use crate::metric::label::{Event, closed_set};
use crate::metric::{Label, LabelSet};

closed_set! {
    /// The closed set of values of the label `reason` of `tcp.limited.time`, in the kernel's words.
    Limited {
        /// The window of the receiver was full.
        ReceiveWindow = "rwnd",
        /// The send buffer was full.
        SendBuffer = "sndbuf",
    }
}

closed_set! {
    /// The closed set of values of the label `key`: what a socket was left out of, as a rule because it had reached its limit.
    Key {
        /// Groups (`limit`).
        Group = "group",
        /// Sockets remembered between two cycles (`track`).
        Track = "track",
        /// Ports of services.
        ServicePort = "service_port",
        /// Groups of peers.
        PeerGroup = "peer_group",
        /// Control groups.
        Cgroup = "cgroup",
        /// Containers.
        Container = "container",
        /// Names of processes.
        Process = "process",
        /// Users.
        Uid = "uid",
        /// Nothing: there was no evidence of which end opened a connection.
        Direction = "direction",
        /// Nothing: the end of a socket tells too little for the filter.
        Filter = "filter",
    }
}

/// State of a connection.
pub static STATE: LabelSet = LabelSet::fixed(&[Label::ConnectionState], 11);
/// `tcp` or `udp`.
pub static TRANSPORT: LabelSet = LabelSet::fixed(&[Label::Transport], 2);
/// `ipv4` or `ipv6`.
pub static NETWORK_TYPE: LabelSet = LabelSet::fixed(&[Label::NetworkType], 2);
/// Event of a connection: opened, closed, reset or failed.
pub static EVENT: LabelSet = LabelSet::fixed(&[Label::Event], Event::ALL.len());
/// What a connection was limited by.
pub static LIMITED: LabelSet = LabelSet::fixed(&[Label::Reason], Limited::ALL.len());
/// The limit that was exceeded.
pub static KEY: LabelSet = LabelSet::fixed(&[Label::Key], Key::ALL.len());

/// A group of sockets: the labels that `sources.sockets.group_by` names. The bound holds for all network namespaces
/// together.
pub static GROUP: LabelSet = LabelSet::configured(
    &[
        Label::Cgroup,
        Label::ContainerId,
        Label::Direction,
        Label::Netns,
        Label::NetworkType,
        Label::PeerGroup,
        Label::ProcessName,
        Label::ServerPort,
        Label::UserId,
    ],
    "`sources.sockets.limit` and one for `~other`, of all network namespaces together",
);

/// One of the flows selected by `sources.sockets.top`; the bound holds for all network namespaces together.
pub static TOP: LabelSet = LabelSet::configured(
    &[Label::Netns, Label::LocalAddress, Label::LocalPort, Label::PeerAddress, Label::PeerPort],
    "`sources.sockets.top.count`",
);

/// A flow of the classic profile.
pub static FLOW: LabelSet = LabelSet::configured(&[Label::Flow], "`sources.sockets.classic.limit`");
