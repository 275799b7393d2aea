//! A datagram socket that receives packets, and ICMP errors from its error queue.
//!
//! The runtime's UDP socket waits for data only. For an ICMP error without data epoll reports only `EPOLLERR`, so the
//! error would be noticed when the probe times out.

use super::fault::Fault;
use crate::sys::socket::{ORIGIN_TIMESTAMPING, Received, receive, watch};
use rustix::net::SendFlags;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Maximum number of times a datagram is resent because it exceeds the path MTU: a path has few such routers.
pub const RESENDS: u32 = 8;

/// A connected datagram socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: AsyncFd<OwnedFd>,
}

/// A received datagram, or a message of the error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A packet of the peer: its length, and the kernel's receive timestamp (Unix time).
    Packet(usize, Option<Duration>),
    /// The kernel's transmit timestamp of a sent packet (Unix time).
    Sent(Duration),
    /// A router dropped a packet that exceeds the path MTU, and quoted this many bytes from its transport header on.
    /// The kernel has learned the MTU and fragments from now on, so the packet can be resent.
    TooBig(usize),
}

impl Datagrams {
    /// Wraps a connected, non-blocking socket.
    pub fn new(socket: Socket) -> Result<Self, Fault> {
        let watched = watch(socket.into()).map_err(|error| Fault::io("making a socket", &error))?;
        Ok(Self { socket: watched })
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        let send =
            || rustix::net::send(self.socket.get_ref(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        // An ICMP error of an earlier packet is reported by the next send, once (`sock_error` in `include/net/sock.h`).
        let sent = match send() {
            Err(rustix::io::Errno::MSGSIZE) => send(),
            sent => sent,
        };
        sent.map(|_| ()).map_err(|error| Fault::io("sending", &error.into()))
    }

    /// Waits until there is a packet or an error.
    pub async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Waits for the next packet, timestamp or error.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        loop {
            // If packets arrive faster than they are read, this loop never waits; consuming the budget lets other tasks
            // of the thread run.
            tokio::task::coop::consume_budget().await;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                came => return came,
            }
            let mut ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                came => return came,
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Arrival> {
        // The error queue comes first: the timestamp of a request must be known when its reply is processed.
        if let Some(arrival) = self.try_error_queue(buffer)? {
            return Ok(arrival);
        }
        match receive(self.socket.get_ref().as_fd(), buffer, false) {
            Ok(packet) => Ok(Arrival::Packet(packet.length, packet.stamp)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // An ICMP error that arrived meanwhile is in the queue, with more details.
            Err(error) => self.try_error_queue(buffer)?.ok_or(error),
        }
    }

    fn try_error_queue(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        match receive(self.socket.get_ref().as_fd(), buffer, true) {
            Ok(Received { stamp: Some(stamp), error: Some(extended), .. })
                if extended.origin == ORIGIN_TIMESTAMPING =>
            {
                Ok(Some(Arrival::Sent(stamp)))
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
}
