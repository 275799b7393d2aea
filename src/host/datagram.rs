//! What arrives at a datagram socket: packets, and from its error queue ICMP errors and transmit timestamps.

use crate::sys::socket::{self, ORIGIN_TIMESTAMPING, Received};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Maximum number of times a datagram is resent because it exceeds the path MTU: a path has few such routers.
pub const RESENDS: u32 = 8;

/// A received datagram, or a message of the error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A packet of the peer: its length, and the kernel's receive timestamp (Unix time).
    Packet(usize, Option<Duration>),
    /// The number of a packet that was sent, and the kernel's transmit timestamp of it (Unix time).
    Sent(u32, Duration),
    /// A router dropped a packet that exceeds the path MTU, and quoted this many bytes from its transport header on.
    /// The kernel has learned the MTU and fragments from now on, so the packet can be resent.
    TooBig(usize),
}

/// The next packet, timestamp or error, without waiting; `WouldBlock` if there is none.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Arrival> {
    // The error queue comes first: the timestamp of a request must be known when its reply is processed.
    if let Some(arrival) = error_queue(socket, buffer)? {
        return Ok(arrival);
    }
    match socket::receive(socket, buffer, false) {
        Ok(packet) => Ok(Arrival::Packet(packet.length, packet.stamp)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        // An ICMP error that arrived meanwhile is in the queue, with more details.
        Err(error) => error_queue(socket, buffer)?.ok_or(error),
    }
}

fn error_queue(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
    match socket::receive(socket, buffer, true) {
        Ok(Received { stamp: Some(stamp), error: Some(extended), .. })
            if extended.origin == ORIGIN_TIMESTAMPING =>
        {
            Ok(Some(Arrival::Sent(extended.data, stamp)))
        }
        Ok(Received { length, error: Some(extended), .. }) if extended.errno == libc::EMSGSIZE => {
            Ok(Some(Arrival::TooBig(length)))
        }
        Ok(Received { error: Some(extended), .. }) if extended.errno != 0 => {
            Err(io::Error::from_raw_os_error(extended.errno))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
