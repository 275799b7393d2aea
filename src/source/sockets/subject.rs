//! The fields of a socket that the filter compares (pure).

use super::diag::Record;
use crate::filter::FilteredSocket;

/// The fields that the filter compares, from the record of a dump.
pub(super) fn subject(record: &Record<'_>) -> FilteredSocket {
    FilteredSocket {
        local: record.local.ip(),
        peer: record.peer.ip(),
        local_port: record.local.port(),
        peer_port: record.peer.port(),
        state: record.state as u8,
        interface: record.interface,
        mark: record.mark,
        cgroup: record.cgroup,
        autobound: None,
    }
}
