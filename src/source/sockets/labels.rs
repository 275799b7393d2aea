//! Labels of the sockets: closed sets of values, and label sets with their bounds.

use crate::metric::label::{Event, closed_set};
use crate::metric::{Label, LabelSet};

closed_set! {
    /// Values of the label `reason` of `tcp.limited.time`, in the kernel's words.
    LimitReason {
        /// The receive window of the peer was full.
        ReceiveWindow = "rwnd",
        /// The send buffer was full.
        SendBuffer = "sndbuf",
    }
}

closed_set! {
    /// Values of the label `key`: the limit or part of the source because of which a socket was left out.
    Key {
        /// Groups: `limit`.
        Group = "group",
        /// Sockets tracked between two cycles: `track`.
        Track = "track",
        /// Values of `server.port`.
        ServicePort = "service_port",
        /// Values of `peer_group`.
        PeerGroup = "peer_group",
        /// Values of `cgroup`.
        Cgroup = "cgroup",
        /// Values of `container.id`.
        Container = "container",
        /// Values of `process.executable.name`.
        Process = "process",
        /// Values of `user.id`.
        Uid = "uid",
        /// No limit: there was no evidence of the end that opened the connection.
        Direction = "direction",
        /// No limit: the destroy event has too little for the filter.
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
/// What limited a connection.
pub static LIMITED: LabelSet = LabelSet::fixed(&[Label::Reason], LimitReason::ALL.len());
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
