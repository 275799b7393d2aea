//! The attributes that sockets are grouped by (pure).

use super::diag::{Family, Record, State};
use super::direction::{Direction, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// The attributes of one socket.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Number of the network namespace.
    pub namespace: u32,
    /// The end that opened the connection; `None` for a socket that is neither a connection nor listening.
    pub direction: Option<Direction>,
    /// Whether the direction is based on evidence and not on a guess.
    pub certain: bool,
    /// Port of the end that accepted the connection; `None` if unknown.
    pub port: Option<u16>,
    /// How certain it is that `port` is the port of a service.
    pub port_kind: PortKind,
    /// Address of the peer; `None` without a peer.
    pub peer: Option<IpAddr>,
    /// Address family of the socket.
    pub family: Family,
    /// User id of the owner; `None` if unknown.
    pub uid: Option<u32>,
    /// Whole path of the control group, as the kernel has it; `None` if unknown.
    pub cgroup: Option<Arc<str>>,
    /// Name of the process, as the kernel has it; `None` if unknown.
    pub process: Option<Arc<str>>,
}

/// How certain it is that a port is the port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// A socket of this network namespace listens on the port, or receives datagrams there.
    Listened {
        /// Whether the port is in the range of ephemeral ports.
        ephemeral: bool,
    },
    /// Certain: the port is the peer's, or its listener has closed.
    Connected {
        /// Whether the port is in the range of ephemeral ports: probably of a service that is needed once, as a data
        /// connection of FTP.
        ephemeral: bool,
    },
    /// The port may be an ephemeral port of a client.
    Uncertain,
}

impl PortKind {
    /// The same of a port of which it is known whether it is in the range of ephemeral ports.
    pub(super) fn in_range(self, ephemeral: bool) -> Self {
        match self {
            Self::Listened { .. } => Self::Listened { ephemeral },
            Self::Connected { .. } => Self::Connected { ephemeral },
            Self::Uncertain => Self::Uncertain,
        }
    }
}

/// The process and control group of a socket, as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    /// Name of the process.
    pub process: Option<Arc<str>>,
    /// Path of the control group.
    pub cgroup: Option<Arc<str>>,
    /// Whether the path of the control group is still being looked up.
    pub cgroup_pending: bool,
}

/// What `sock_diag` reports for a user without a number in the user namespace of the agent: the default of
/// `kernel.overflowuid`.
const OVERFLOW: u32 = 65_534;

/// The user id of the owner, if the kernel reports it: destroy events have none, and before Linux 6.17 a socket without a
/// process has the number of root (`sock_i_uid` in `net/core/sock.c`), or [`OVERFLOW`] where root has none.
pub(super) fn known_uid(record: &Record<'_>) -> Option<u32> {
    let without_process = record.inode == 0 && record.state != State::Listen && record.tcp.is_some();
    let known = !without_process || record.state != State::Close && ![0, OVERFLOW].contains(&record.uid);
    known.then_some(record.uid)
}

impl Attributes {
    /// The attributes of a socket. `verdict` is called for TCP connections and UDP sockets.
    pub fn of(
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        verdict: impl FnOnce() -> Verdict,
    ) -> Self {
        let mut attributes = Self {
            namespace,
            direction: None,
            certain: true,
            port: Some(record.local.port()),
            port_kind: PortKind::Listened { ephemeral: false },
            peer: None,
            family: record.family,
            uid: known_uid(record),
            cgroup: attribution.cgroup.clone(),
            process: attribution.process.clone(),
        };
        if record.state == State::Listen {
            attributes.direction = Some(Direction::Incoming);
            return attributes;
        }
        let connected = !record.peer.ip().is_unspecified();
        let datagrams = record.tcp.is_none();
        attributes.peer = connected.then(|| record.peer.ip());
        if connected || datagrams {
            let verdict = verdict();
            if !datagrams {
                attributes.direction = Some(verdict.direction);
                attributes.certain = verdict.certain;
            }
            attributes.port_kind = if verdict.certain_port && connected {
                PortKind::Connected { ephemeral: false }
            } else if verdict.certain_port {
                PortKind::Listened { ephemeral: false }
            } else {
                PortKind::Uncertain
            };
            attributes.port = match verdict.direction {
                Direction::Incoming => Some(record.local.port()),
                // The kernel clears the peer's port when a connection is refused or reset from this end.
                Direction::Outgoing => Some(record.peer.port()).filter(|port| *port != 0),
                Direction::Unknown => None,
            };
        }
        attributes
    }
}
