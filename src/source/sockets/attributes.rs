//! What a socket is grouped by (pure).

use super::diag::{Family, Record, State};
use super::direction::{Direction, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a socket that groups are made of.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Number of its network namespace.
    pub namespace: u32,
    /// Which end opened it; `None` of a socket that is no connection and does not listen.
    pub direction: Option<Direction>,
    /// Whether there was evidence for the direction.
    pub certain: bool,
    /// Port of the end that was connected to; `None` where it is not known.
    pub port: Option<u16>,
    /// What can be said of the port as that of a service.
    pub port_kind: PortKind,
    /// Address of the peer; `None` where there is none.
    pub peer: Option<IpAddr>,
    /// Family of its addresses.
    pub family: Family,
    /// Owner; `None` where it is not known.
    pub uid: Option<u32>,
    /// Path of its control group, whole and as the kernel has it; `None` where it is not known.
    pub cgroup: Option<Arc<str>>,
    /// Name of its process, as the kernel has it; `None` where it is not known.
    pub process: Option<Arc<str>>,
}

/// What can be said of a port as that of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// Somebody listens on it here.
    Listened,
    /// A peer's, or one whose listener has gone; that it is a service's is certain.
    Connected,
    /// May be an ephemeral port of a client.
    Uncertain,
}

/// Whose socket it is, as far as was found out.
#[derive(Debug, Clone, Default)]
pub struct Attribution {
    /// Name of the process.
    pub process: Option<Arc<str>>,
    /// Path of the control group.
    pub cgroup: Option<Arc<str>>,
    /// Whether the path of the control group is still being looked up.
    pub cgroup_pending: bool,
}

impl Attributes {
    /// The attributes of a socket. `verdict` is asked for where it is a TCP connection or a UDP socket.
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
            port_kind: PortKind::Listened,
            peer: None,
            family: record.family,
            uid: (record.state != State::Close || record.tcp.is_none()).then_some(record.uid),
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
                PortKind::Connected
            } else if verdict.certain_port {
                PortKind::Listened
            } else {
                PortKind::Uncertain
            };
            attributes.port = match verdict.direction {
                Direction::Incoming => Some(record.local.port()),
                // The kernel has forgotten the port of what was refused or reset from here.
                Direction::Outgoing => Some(record.peer.port()).filter(|port| *port != 0),
                Direction::Unknown => None,
            };
        }
        attributes
    }
}
