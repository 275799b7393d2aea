//! What a socket is grouped by (pure).

use super::diag::{Family, Record, State};
use super::direction::Direction;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of a socket that groups are made of.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Number of its network namespace.
    pub namespace: u32,
    /// Which end opened it; `None` of a socket that is no connection and does not listen.
    pub direction: Option<Direction>,
    /// Port of the end that was connected to; `None` where it is not known any more.
    pub port: Option<u16>,
    /// Address of the peer; `None` where there is none.
    pub peer: Option<IpAddr>,
    /// Family of its addresses.
    pub family: Family,
    /// Owner; `None` where it is not known.
    pub uid: Option<u32>,
    /// Path of its control group; `None` where it is not known.
    pub cgroup: Option<Arc<str>>,
    /// Name of its process; `None` where it is not known.
    pub process: Option<Arc<str>>,
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
    /// The attributes of a socket. `direction` is asked for where it is a TCP connection.
    pub fn of(
        namespace: u32,
        record: &Record<'_>,
        attribution: &Attribution,
        direction: impl FnOnce() -> Direction,
    ) -> Self {
        let mut attributes = Self {
            namespace,
            direction: None,
            port: Some(record.local.port()),
            peer: None,
            family: record.family,
            uid: (record.state != State::Close || record.tcp.is_none()).then_some(record.uid),
            cgroup: attribution.cgroup.clone(),
            process: attribution.process.clone(),
        };
        if record.state == State::Listen {
            attributes.direction = Some(Direction::Incoming);
        } else if !record.peer.ip().is_unspecified() {
            attributes.peer = Some(record.peer.ip());
            if record.tcp.is_some() {
                let direction = direction();
                attributes.direction = Some(direction);
                if direction == Direction::Outgoing {
                    // The kernel has forgotten the port of what was refused or reset from here.
                    attributes.port = Some(record.peer.port()).filter(|port| *port != 0);
                }
            } else {
                attributes.port = Some(record.peer.port());
            }
        }
        attributes
    }
}
